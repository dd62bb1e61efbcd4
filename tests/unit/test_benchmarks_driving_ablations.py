"""Changes to a recipe are compared after equal processor time, and none is trained twice."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from moving_stripes import striped_drives
from places import ROOT

from benchmarks import driving_ablations
from benchmarks.driving_ablations import (
    CHANGES,
    ROWS,
    Row,
    changes,
    check_same,
    measured,
    missing,
    read,
    shown,
    written,
)
from benchmarks.driving_cores import timed_fit
from datasets.errors import InputError
from trainables.models.world_model import WorldModelConfig

ROW = Row(
    change="{}",
    config=written(WorldModelConfig(seed=1, epochs=20)),
    data="digest",
    asked=100,
    seed=1,
    epochs=20,
    seconds=101.0,
    one_step=0.2,
    dream=0.8,
    below=0.9,
)


def test_a_change_is_trained_for_as_many_epochs_as_fit_and_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def two_seconds(*given: Any) -> tuple[float, Any]:
        return 2.0, timed_fit(*given)[1]

    monkeypatch.setattr(driving_ablations, "timed_fit", two_seconds)
    drives = striped_drives(length=45)
    small = WorldModelConfig(hidden=8, sequence_length=6, context=2, free_steps=2, seed=3)
    row = measured(drives, small, {"noise": 0.05}, seconds=5)
    assert (row.change, row.seed, row.asked) == ('{"noise": 0.05}', 3, 5)
    assert row.data == drives.digest
    assert row.config == written(replace(small, noise=0.05, epochs=row.epochs))
    assert (row.epochs, row.seconds) == (5, 2.0)
    assert row.one_step > 0 and row.dream > 0 and 0 <= row.below <= 1
    assert row.skill == pytest.approx(1 - (row.one_step + row.dream) / 2)


def test_rows_are_read_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    assert read(file) == []
    rows = [ROW, replace(ROW, change='{"hidden": 256, "dreams": 0}', seed=2)]
    for row in rows:
        driving_ablations._append(file, row)
    assert read(file) == rows
    assert file.read_text().splitlines()[0] == ",".join(asdict(ROW))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("change,seed\n{},1\n", "has other columns: expected change, config"),
        ("", "has other columns"),
        (",".join(asdict(ROW)) + "\n" + "word," * 9 + "word\n", "line 2: .*'word'"),
        (",".join(asdict(ROW)) + "\n{},1\n", "line 2: "),
    ],
)
def test_a_file_of_something_else_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(InputError, match=rf"rows\.csv.* {said}"):
        read(tmp_path / "rows.csv")


def test_what_a_file_has_is_not_trained_again() -> None:
    listed = [{}, {"dreams": 0}]
    assert [*missing(listed, 2, [ROW])] == [({"dreams": 0}, 1), ({}, 2), ({"dreams": 0}, 2)]


def test_the_table_begins_with_the_best_and_has_means_over_seeds() -> None:
    better = replace(ROW, change='{"hidden": 256}', one_step=0.1)
    off = replace(ROW, change='{"hidden": 256, "dreams": 0}', one_step=0.7)
    rows = [ROW, replace(ROW, seed=2, one_step=0.3), better, off]
    text = shown(rows)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert lines[2:] == [
        ["hidden 256", "20", "0.100", "0.800", "90", "0.550"],
        ["the default", "20 ± 0", "0.250 ± 0.071", "0.800 ± 0.000", "90 ± 0", "0.475 ± 0.035"],
        ["hidden 256, dreams 0", "20", "0.700", "0.800", "90", "0.250"],
    ]


def test_every_listed_change_is_a_configuration_and_every_row_is_listed() -> None:
    listed = json.loads(CHANGES.read_text())
    default = WorldModelConfig()
    assert all(replace(default, **change) != default for change in listed if change)
    names = [json.dumps(change) for change in listed]
    assert len(names) == len({*names})
    assert {row.change for row in read(ROWS)} <= {*names}


def test_every_row_is_of_the_default_configuration() -> None:
    for row in read(ROWS):
        own = {"seed": row.seed, "epochs": row.epochs}
        assert row.config == written(replace(WorldModelConfig(), **json.loads(row.change), **own))


def test_the_page_has_the_table_of_the_rows() -> None:
    assert shown(read(ROWS)) in (ROOT / "docs/results-driving.md").read_text()


@pytest.mark.parametrize(
    "row",
    [
        replace(ROW, asked=400),
        replace(ROW, data="other"),
        replace(ROW, config=written(WorldModelConfig(seed=1, epochs=20, hidden=7))),
    ],
)
def test_rows_of_something_else_are_not_added_to(row: Row) -> None:
    drives = replace(striped_drives(), digest="digest")
    check_same(Path("rows.csv"), [ROW], drives, 100)
    with pytest.raises(InputError, match=r"rows\.csv has rows of another default configuration"):
        check_same(Path("rows.csv"), [row], drives, 100)


@pytest.mark.parametrize("text", ["{", '[{"width": 3}]', "[3]", '[{"hidden": 0}]'])
def test_changes_that_cannot_be_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "changes.json").write_text(text)
    with pytest.raises(InputError):
        changes(tmp_path / "changes.json")


@pytest.mark.parametrize("part", ["0/2", "3/2", "half", "1"])
def test_a_part_that_cannot_be_is_refused(part: str) -> None:
    with pytest.raises(InputError, match=f"{part}: expected a part of several, such as 1/2"):
        driving_ablations.main(["--part", part])
