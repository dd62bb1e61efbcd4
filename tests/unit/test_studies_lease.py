"""A driver says that it runs a study, and another one listens."""

import time
from pathlib import Path

import pytest
from upath import UPath

from datasets.errors import InputError
from datasets.files import write_whole
from record.folder import StudyFolder
from studies import lease


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.05)
    monkeypatch.setattr(lease, "WATCHED", 0.5)


def folder_of(tmp_path: Path, machine: str) -> StudyFolder:
    return StudyFolder(tmp_path / machine, "s", UPath(tmp_path / "shared"))


def sign_in(folder: StudyFolder) -> str:
    return lease._file(folder).read_text()


def test_a_driver_gives_signs_of_life_until_it_leaves(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "first")
    with lease.lease(folder, print):
        first = sign_in(folder)
        until = time.monotonic() + 20
        while sign_in(folder) == first:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert sign_in(folder).split("\n")[0] == first.split("\n")[0], "the same driver's"
    assert not lease._file(folder).exists()
    lease.check_free(folder, pytest.fail)


def test_who_listens_hears_a_driver_that_lives(tmp_path: Path) -> None:
    first, second, said = folder_of(tmp_path, "first"), folder_of(tmp_path, "second"), []
    with lease.lease(first, print), pytest.raises(InputError) as refused:
        lease.check_free(second, said.append)
    assert f"shared/studies/s is run by {lease._name(sign_of(first))} now" in str(refused.value)
    assert "\n" not in str(refused.value)
    (line,) = said
    assert "did not take its leave: seeing for 0 s whether it still does" in line


def sign_of(folder: StudyFolder) -> bytes:
    return lease._sign(lease._here(folder))


def test_what_a_dead_driver_left_is_waited_for_and_removed(tmp_path: Path) -> None:
    dead, folder = folder_of(tmp_path, "dead"), folder_of(tmp_path, "here")
    write_whole(lease._file(dead), sign_of(dead))
    said: list[str] = []
    begun = time.monotonic()
    with lease.lease(folder, said.append):
        assert time.monotonic() - begun >= 0.5
        assert sign_in(folder).startswith(lease._here(folder))
    assert len(said) == 1


def test_what_an_earlier_process_left_of_the_same_folder_is_not_waited_for(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "here")
    write_whole(lease._file(folder), sign_of(folder))
    with lease.lease(folder, pytest.fail):
        pass


def test_a_driver_that_was_taken_for_dead_writes_over_no_sign(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path, "first"), folder_of(tmp_path, "second")
    with lease.lease(first, print):
        sign = sign_of(second)
        write_whole(lease._file(first), sign)
        time.sleep(0.3)
        assert sign_in(first).encode() == sign
    assert sign_in(first).encode() == sign, "it is not removed either"


def test_machines_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    """As are containers, which also have the same folders."""
    folder = folder_of(tmp_path, "same")
    with lease.lease(folder, print):
        folder.key.unlink()
        with pytest.raises(InputError, match="is run by"):
            lease.check_free(folder, print)
