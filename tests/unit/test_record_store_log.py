"""The log in a store: few objects, few reads, and never two drivers."""

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from happened import began, ended, long_study, placed, proposed, reported
from log_contract import LogContract, Open
from upath import UPath

from datasets.errors import InputError
from record import lines
from record.appender import Appender
from record.events import Event, Proposed, Reported
from record.log import Superseded
from record.state import fold
from record.store_log import StoreLog


class TestStoreLogInAFolder(LogContract):
    def opener(self, folder: Path) -> Open:
        return lambda: StoreLog(folder / "s" / "log")


class TestStoreLogInMemory(LogContract):
    def opener(self, folder: Path) -> Open:
        return lambda: StoreLog(UPath(f"memory://{folder.name}/log"))


@pytest.fixture(autouse=True)
def _no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def pieces(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize("earlier", [0, 1, 5, 64])
def test_a_long_log_is_read_in_few_pieces(tmp_path: Path, earlier: int) -> None:
    """Of one session, or of one that goes on after another: 1 + log2(n) at most."""
    if earlier:
        log = StoreLog(tmp_path)
        for epoch in range(1, earlier + 1):
            log.append([reported(0, epoch)])
    log = StoreLog(tmp_path)
    for epoch in range(earlier + 1, 301):
        log.append([reported(0, epoch)])
        reader = StoreLog(tmp_path)
        found = [event.reports[0].epoch for event in reader.read() if isinstance(event, Reported)]
        assert found == [*range(1, epoch + 1)]
        assert reader.reads <= 1 + (epoch - earlier).bit_length()
    assert len(pieces(tmp_path)) == 300


def test_each_group_is_written_a_few_times_only(tmp_path: Path) -> None:
    log = StoreLog(tmp_path)
    for epoch in range(1, 513):
        log.append([reported(0, epoch)])
    written = sum(
        gzip.decompress(file.read_bytes()).count(b"Reported") for file in tmp_path.iterdir()
    )
    assert written / 512 < 6


@pytest.mark.parametrize("epochs_a_second", [0.5, 20.0])
def test_a_study_of_a_thousand_trials_has_at_most_two_thousand_objects(
    tmp_path: Path, epochs_a_second: float
) -> None:
    """50 epochs each; at half an epoch a second it takes more than a day."""
    now, log = 0.0, StoreLog(tmp_path)
    appender = Appender(log, clock=lambda: now)
    for group in long_study(trials=1000, epochs=50):
        now += 1 / epochs_a_second
        appender.append(*group)
    assert len(pieces(tmp_path)) <= 2000
    reader = StoreLog(tmp_path)
    state = fold(reader.read())
    assert [len(trial.reports) for trial in state.trials()] == [50] * 1000
    assert reader.reads <= 12


def test_of_two_drivers_the_one_that_comes_second_is_superseded(tmp_path: Path) -> None:
    one, two = StoreLog(tmp_path), StoreLog(tmp_path)
    one.append([began()])
    assert list(two.read()) == [began()]
    one.append([proposed(0)])
    for _ in range(2):
        with pytest.raises(Superseded, match="another driver went on"):
            two.append([proposed(0)])
    one.append([placed(0)])
    assert list(StoreLog(tmp_path).read()) == [began(), proposed(0), placed(0)]


def test_a_driver_whose_study_was_taken_over_is_superseded_at_its_next_append(
    tmp_path: Path,
) -> None:
    old = StoreLog(tmp_path)
    old.append([began()])
    old.append([proposed(0)])
    new = StoreLog(tmp_path)
    new.append([began(2)])
    with pytest.raises(Superseded):
        old.append([placed(0)])
    new.append([placed(0)])
    assert list(StoreLog(tmp_path).read()) == [began(), proposed(0), began(2), placed(0)]


def test_two_drivers_at_once_leave_one_log(tmp_path: Path) -> None:
    """Both begin at the same place, and append as fast as they can."""
    logs = [StoreLog(tmp_path), StoreLog(tmp_path)]
    assert [list(log.read()) for log in logs] == [[], []]
    done: list[list[int]] = [[], []]

    def write(place: int) -> None:
        for count in range(50):
            event = proposed(1000 * place + count)
            try:
                logs[place].append([event])
            except Superseded:
                return
            done[place].append(event.number)

    threads = [threading.Thread(target=write, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [event.number for event in StoreLog(tmp_path).read() if isinstance(event, Proposed)]
    assert sorted(done) == [[], found]
    assert len(found) == 50


def test_an_answer_that_was_lost_is_no_second_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that asks again finds its own piece."""
    log = StoreLog(UPath(f"memory://{tmp_path.name}/lost"))
    log.append([began()])
    fs = log.folder.fs  # pyright: ignore
    pipe: Callable[..., None] = fs.pipe_file

    def twice(*arguments: object, **more: object) -> None:
        pipe(*arguments, **more)
        pipe(*arguments, **more)

    monkeypatch.setattr(fs, "pipe_file", twice)
    log.append([proposed(0)])
    assert list(StoreLog(log.folder).read()) == [began(), proposed(0)]


def test_after_an_append_that_failed_the_log_takes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = StoreLog(tmp_path)
    log.append([began()])

    def away(*arguments: object) -> None:
        raise OSError(5, "the store is away")

    with monkeypatch.context() as patch:
        patch.setattr("record.store_log.write_new", away)
        with pytest.raises(OSError, match="away"):
            log.append([proposed(0)])
    with pytest.raises(OSError, match="away"):
        log.append([proposed(0)])
    StoreLog(tmp_path).append([proposed(0)])
    assert list(StoreLog(tmp_path).read()) == [began(), proposed(0)]


def three_pieces(folder: Path) -> list[Path]:
    log = StoreLog(folder)
    events: list[Event] = [began(), proposed(0), placed(0)]
    for event in events:
        log.append([event])
    return sorted(folder.iterdir())


@pytest.mark.parametrize("size", [0, 10, -20, -1])
def test_a_piece_that_was_cut_off_is_named(tmp_path: Path, size: int) -> None:
    *_, last = three_pieces(tmp_path)
    last.write_bytes(last.read_bytes()[:size])
    for use in (lambda log: list(log.read()), lambda log: log.append([ended(0, "failed")])):
        with pytest.raises(InputError, match=f"{last} is damaged: bring it back"):
            use(StoreLog(tmp_path))
    assert len(pieces(tmp_path)) == 3


def test_a_piece_that_is_gone_is_named(tmp_path: Path) -> None:
    first, *_ = three_pieces(tmp_path)
    first.unlink()
    with pytest.raises(InputError, match=f"{first} is gone: bring it back"):
        list(StoreLog(tmp_path).read())


def test_a_piece_with_other_groups_than_its_own_is_named(tmp_path: Path) -> None:
    _, second, third = three_pieces(tmp_path)
    third.write_bytes(second.read_bytes())
    with pytest.raises(InputError, match=f"{third} has 1 groups, expected 2"):
        list(StoreLog(tmp_path).read())


def test_another_version_is_refused_in_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_pieces(tmp_path)
    monkeypatch.setattr(lines, "OLDEST", lines.VERSION + 1)
    monkeypatch.setattr(lines, "VERSION", lines.VERSION + 1)
    with pytest.raises(
        InputError,
        match=rf"has version {lines.VERSION - 1} .*this code reads versions {lines.OLDEST} to",
    ):
        list(StoreLog(tmp_path).read())


def test_what_else_lies_in_the_folder_does_not_matter(tmp_path: Path) -> None:
    three_pieces(tmp_path)
    (tmp_path / "00000009.log.gz.0123.partial").write_bytes(b"x")
    assert len(list(StoreLog(tmp_path).read())) == 3
