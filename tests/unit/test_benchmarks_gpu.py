"""benchmarks/gpu.py on a machine without a GPU."""

from typing import get_args

import pytest
from contracts import on_a_gpu
from family_contracts import KEYS
from moving_stripes import striped_drives
from pretended_gpu import CPU, GPU

from benchmarks.gpu import ONE_BY_ONE, OURS, Load, drive_loads, measure, molecule_loads
from benchmarks.inputs import Inputs
from benchmarks.stock import mirrored
from datasets.sources import MoleculeSet
from trainables.models.gnn import GNNConfig
from trainables.models.world_model import Core


def measured(load: Load) -> tuple[float, float]:
    return measure(load, GPU, None)


@pytest.mark.parametrize("family", KEYS)
def test_each_way_of_training_molecules_runs_on_a_gpu(
    family, molecules: MoleculeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = Inputs(molecules.graphs, molecules.split, "molecules")
    loads = molecule_loads(inputs, [family], epochs=2)
    ways = [OURS, ONE_BY_ONE, f"{OURS}, lists of edges", *["PyG's loop"] * (family in mirrored())]
    assert [load.way for load in loads] == ways
    assert all(load.count == len(molecules.split.train) for load in loads)
    for load in loads:
        with on_a_gpu(monkeypatch):
            rate, memory = measured(load)
        assert rate > 0
        assert memory == 1.5  # what the pretended GPU says: 1 GiB reserved, and a context


def test_both_cores_run_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = drive_loads(striped_drives(length=45), get_args(Core), epochs=2)
    for load in loads:
        with on_a_gpu(monkeypatch):
            assert measured(load)[0] > 0


def test_a_rate_is_that_of_the_epochs_after_the_first(molecules: MoleculeSet) -> None:
    seconds = iter([100.0, 2.0, 3.0])
    load = Load(GNNConfig(), "made up", 50, lambda device: seconds)
    assert measure(load, CPU, None)[0] == 50 * 2 / 5
