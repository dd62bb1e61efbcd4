"""What a recorded study learned from is opened where it is now, and is what it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recorded_study import study_of

from analysis.opening import data_options, opened, problem_of
from datasets.driving import DrivingOptions
from datasets.errors import InputError
from datasets.sources import MoleculeOptions, MoleculeSet
from datasets.tools import Tools
from engine.study import NoOptions
from record.recorded_study import RecordedStudy
from studies import gnn_sweep, world_model_sweep
from trainables.molecules import MoleculeProblem

Recorded = Callable[..., RecordedStudy]


@pytest.fixture
def recorded(molecules: MoleculeSet) -> Recorded:
    """A study of the generated molecules, or of others."""
    digest = MoleculeProblem(molecules).digest

    def make(dataset: str = "gfn2", **others: Any) -> RecordedStudy:
        options = MoleculeOptions(dataset, molecules=120 if dataset == "gfn2" else None)
        params = {f"data.{name}": value for name, value in vars(options).items()}
        return study_of([], **{**params, "data.digest": digest, **others})

    return make


def changed(table: pa.Table, path: Path) -> Path:
    """A table of the same molecules with another dipole moment in one row."""
    values = table["mu"].to_numpy().copy()
    values[7] += 0.001
    place = table.column_names.index("mu")
    pq.write_table(table.set_column(place, table.schema.field("mu"), pa.array(values)), path)
    return path


@pytest.fixture
def file(molecule_rows: pa.Table, tmp_path: Path) -> Path:
    """The generated molecules, as a file of the user's."""
    pq.write_table(molecule_rows, tmp_path / "molecules.parquet")
    return tmp_path / "molecules.parquet"


def test_the_problem_is_that_of_the_study(
    recorded: Recorded, molecules: MoleculeSet, cache: Path
) -> None:
    problem = opened(recorded(), cache, None)
    assert isinstance(problem, MoleculeProblem)
    graphs, split = problem.molecules.graphs, problem.molecules.split
    assert np.array_equal(graphs.targets, molecules.graphs.targets)
    for name, part in vars(molecules.split).items():
        assert np.array_equal(getattr(split, name), part)


def test_the_split_is_drawn_with_the_seed_of_the_study(
    recorded: Recorded, molecules: MoleculeSet, cache: Path
) -> None:
    other = opened(recorded(seed=1), cache, None)
    assert not np.array_equal(other.molecules.split.test, molecules.split.test)


def test_a_data_set_may_lie_elsewhere(
    recorded: Recorded, molecules: MoleculeSet, file: Path, tmp_path: Path
) -> None:
    study = recorded(str(file))
    assert len(opened(study, tmp_path, None).molecules.graphs) == 120
    moved = file.rename(tmp_path / "moved.parquet")
    problem = opened(study, tmp_path, str(moved))
    assert np.array_equal(problem.molecules.graphs.targets, molecules.graphs.targets)


def test_a_data_set_that_is_not_there_is_asked_for(
    recorded: Recorded, file: Path, tmp_path: Path
) -> None:
    study = recorded(str(file))
    file.unlink()
    with pytest.raises(InputError) as error:
        opened(study, tmp_path, None)
    assert str(error.value) == f"the data of s are not at {file}: give their path with --data"
    there_neither = tmp_path / "neither.parquet"
    with pytest.raises(InputError, match=f"are not at {there_neither}: give their path"):
        opened(study, tmp_path, str(there_neither))


def test_another_data_set_is_refused(
    recorded: Recorded, molecule_rows: pa.Table, file: Path, cache: Path
) -> None:
    study = recorded(str(file))
    changed(molecule_rows, file)
    other = problem_of(study, cache, None).digest
    with pytest.raises(InputError, match="these are not the data of s: ") as error:
        opened(study, cache, None)
    assert f"their digest is {other}, recorded is {study.params['data.digest']};" in str(error)
    assert str(error.value).endswith("give the original with --data")
    assert other != study.params["data.digest"]


def test_another_data_set_is_refused_where_it_is_named(
    recorded: Recorded, molecule_rows: pa.Table, cache: Path, tmp_path: Path
) -> None:
    path = changed(molecule_rows, tmp_path / "other.parquet")
    with pytest.raises(InputError, match="these are not the data of s"):
        opened(recorded(**{"data.molecules": None}), cache, str(path))


def test_a_replay_may_open_other_data_than_those_of_the_study(
    recorded: Recorded, molecule_rows: pa.Table, file: Path, cache: Path
) -> None:
    study = recorded(str(file))
    changed(molecule_rows, file)
    assert len(problem_of(study, cache, None).molecules.graphs) == 120


def test_a_file_of_which_no_number_of_molecules_was_asked_is_read_whole(
    recorded: Recorded, molecule_rows: pa.Table, file: Path, tmp_path: Path
) -> None:
    problem = opened(recorded(**{"data.molecules": None}), tmp_path, str(file))
    assert len(problem.molecules.graphs) == molecule_rows.num_rows == 120


def test_the_number_of_molecules_is_that_of_the_study_wherever_they_are(
    recorded: Recorded, file: Path, tmp_path: Path
) -> None:
    problem = problem_of(recorded(**{"data.molecules": 90}), tmp_path, str(file))
    assert len(problem.molecules.graphs) == 90


@pytest.mark.parametrize("recordings", [None, "there.arrow"])
def test_recordings_are_a_file_or_none(
    recordings: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.arrow").touch()
    given = {f"data.{name}": value for name, value in vars(DrivingOptions()).items()}
    given["data.recordings"] = recordings
    study = replace(study_of([], **given), define=lambda: world_model_sweep.STUDY)
    drives = replace(study, params={**study.params, "study": "world-model"})
    assert data_options(drives, None).recordings == recordings
    assert data_options(drives, "there.arrow").recordings == "there.arrow"
    if recordings is not None:
        (tmp_path / recordings).unlink()
        with pytest.raises(InputError, match=r"the data of s are not at there\.arrow"):
            data_options(drives, None)


def test_a_study_that_learned_from_no_file_has_none_elsewhere() -> None:
    without = replace(gnn_sweep.STUDY, data_options=NoOptions, data_file=None)
    study = replace(study_of([]), define=lambda: without)
    assert data_options(study, None) == NoOptions()
    with pytest.raises(InputError, match=r"s learned from no file: --data x\.parquet is"):
        data_options(study, "x.parquet")


def test_options_of_another_version_are_refused() -> None:
    with pytest.raises(InputError, match="unit, molecules: expected with what was recorded, but"):
        data_options(study_of([]), None)


def test_a_study_opens_what_it_says_it_does(tmp_path: Path) -> None:
    asked: list[tuple[Any, int, Tools]] = []

    def open_nothing(options: Any, seed: int, tools: Tools) -> str:
        asked.append((options, seed, tools))
        return "a problem"

    own = replace(gnn_sweep.STUDY, data_options=NoOptions, data_file=None, open=open_nothing)
    study = replace(study_of([], seed=7), define=lambda: own)
    said: list[str] = []
    assert problem_of(study, tmp_path, None, map, said.append) == "a problem"
    ((options, seed, tools),) = asked
    tools.notify("a remark")
    assert (options, seed, tools.cache.folder, tools.parallel) == (NoOptions(), 7, tmp_path, map)
    assert said == ["a remark"]
