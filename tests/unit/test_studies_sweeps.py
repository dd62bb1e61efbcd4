"""What the two studies make of their data, and what they say of it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moving_stripes import stripes

from datasets.cache import Cache
from datasets.driving import DrivingOptions
from datasets.errors import InputError
from datasets.recordings import Recordings, write_recordings
from datasets.sources import MoleculeOptions
from datasets.splits import split_episodes
from engine.study import Tools
from studies import gnn_sweep, world_model_sweep
from trainables.driving import DrivingProblem
from trainables.molecules import MoleculeProblem


def molecules_of(
    rows: pa.Table, folder: Path, unit: str | None = None
) -> tuple[MoleculeProblem, str]:
    """The problem of a study of a table of one's own, and what was said."""
    path = folder / "mine.parquet"
    pq.write_table(rows, path)
    said: list[str] = []
    options = MoleculeOptions(dataset=str(path), unit=unit)
    tools = Tools(Cache(folder / "cache"), notify=said.append)
    return gnn_sweep.open_problem(options, 0, tools), "\n".join(said)


def test_a_target_without_a_unit_has_no_dipole_head_unless_it_is_said_to_be_in_d(
    molecule_rows: pa.Table, tmp_path: Path
) -> None:
    bare = molecule_rows.cast(pa.schema([f.remove_metadata() for f in molecule_rows.schema]))
    problem, said = molecules_of(bare, tmp_path)
    assert (problem.facts["unit"], problem.decided) == ("unit unknown", {"head": ["mean"]})
    assert said == (
        "the unit of mu is not recorded: no dipole head, only the mean; say --unit D if it is a "
        "dipole moment in D"
    )
    problem, said = molecules_of(bare, tmp_path, "D")
    assert (problem.facts["unit"], problem.decided, said) == ("D", {}, "")


def drives_of(lengths: list[int], folder: Path) -> tuple[DrivingProblem, list[str]]:
    """The problem of a study of twenty episodes, and what was said."""
    parts = [stripes(1, length, seed=place) for place, length in enumerate(lengths)]
    write_recordings(Recordings.of(parts), folder / "own.arrow")
    said: list[str] = []
    options = DrivingOptions(recordings=str(folder / "own.arrow"))
    tools = Tools(Cache(folder), notify=said.append)
    return world_model_sweep.open_problem(options, 0, tools), said


def test_trials_are_compared_as_far_as_the_test_episodes_go(tmp_path: Path) -> None:
    """Else all is trained, and the champion can never be judged."""
    lengths = np.full(20, 140)
    split = split_episodes(20, "random", 0)
    lengths[split.test] = [90, 70]
    lengths[split.validation[0]] = 60
    problem, said = drives_of(lengths.tolist(), tmp_path)
    assert problem.facts["horizon"] == 60
    assert said == [
        "1 of 2 validation episodes are left out: they have less than 70 frames",
        "trials are compared over 60 frames after the context, not 150",
    ]


def test_drives_in_which_nothing_moves_where_models_are_judged_are_refused(tmp_path: Path) -> None:
    drives = stripes(20, 40)
    for episode in split_episodes(20, "random", 0).test:
        drives.frames[40 * episode + 9 : 40 * episode + 40] = drives.frames[40 * episode + 9]
    write_recordings(drives, tmp_path / "own.arrow")
    options = DrivingOptions(recordings=str(tmp_path / "own.arrow"))
    with pytest.raises(InputError, match="the frames of the test episodes do not change where"):
        world_model_sweep.open_problem(options, 0, Tools(Cache(tmp_path)))
