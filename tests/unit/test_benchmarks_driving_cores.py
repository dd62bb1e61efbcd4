"""The cores of the world model are measured one beside the other, on the same drives."""

from dataclasses import replace
from typing import get_args

import pytest
from moving_stripes import striped_drives

from analysis.rollout_scores import dream
from benchmarks.driving_cores import CPU, HEADER, dreaming, rows, trained, training
from benchmarks.rounds import take_turns
from trainables.driving import DrivingTask
from trainables.fit import fit
from trainables.models.world_model import Core, WorldModelConfig

CORES = get_args(Core)
NAMES = ["torch.nn.LSTM", "LSTM from scratch", "transformer"]


def test_each_core_trains_and_dreams_so_many_frames_a_second() -> None:
    drives = striped_drives(length=45)
    measured = [take_turns(sides, 1) for sides in (training(drives, 1), dreaming(drives))]
    assert [[*rates] for rates in measured] == [[*CORES]] * 2
    assert all(rate > 0 for rates in measured for (rate,) in rates.values())


def test_a_row_has_speeds_and_the_errors_after_as_many_epochs_as_fit() -> None:
    """Those of a core that is twice as fast are twice as many."""
    drives = striped_drives(length=45)
    frames = {core: trained(drives, WorldModelConfig(core=core))[1] for core in CORES}
    rates = {core: [frames[core] * (3.0 if core == "scratch" else 1.4)] for core in CORES}
    dreams = {core: [10.0] for core in CORES}
    made = [dict(zip(HEADER, row, strict=True)) for row in rows(drives, [rates, dreams], 1, 1)]
    assert [row["core"] for row in made] == NAMES
    assert [row["epochs"] for row in made] == ["1", "3", "1"]
    assert made[0]["parameters"] == made[1]["parameters"] != made[2]["parameters"]
    assert all(float(row[each]) > 0 for row in made for each in HEADER[8:11])
    assert all(0 <= int(row["horizons below both"]) <= 149 for row in made)


@pytest.mark.parametrize("core", CORES)
def test_leaving_evaluations_out_changes_no_training(core: Core) -> None:
    drives = striped_drives(length=45)
    config = replace(WorldModelConfig(core=core), epochs=2, hidden=8)
    *_, expected = fit(DrivingTask(drives, config, CPU), config, CPU)
    *_, found = trained(drives, config)[0]
    one, other = (dream(epoch.model, drives) for epoch in (found, expected))
    assert (one.mse == other.mse).all()
