"""The homework's loop is what it says, and both of its rivals learn from the same windows."""

from dataclasses import replace

import pytest
import torch
from moving_stripes import striped_drives
from torch import nn
from torch.nn import functional

from benchmarks.driving_step import StepLoop, after_equal_time, homework_task, measures
from trainables.driving import DrivingTask
from trainables.fit import fit
from trainables.models.world_model import WorldModelConfig

CPU = torch.device("cpu")


def test_the_homework_s_loop_takes_a_step_of_the_optimiser_after_each_frame() -> None:
    """Written out for one window of two steps: the second step's gradient stops at the state."""
    drives = striped_drives()
    config = replace(homework_task(drives, "builtin", 1, CPU).config, hidden=8, batch_size=4)
    config = replace(config, sequence_length=2)
    loop = StepLoop(DrivingTask(drives, config, CPU), CPU)
    batch = next(
        loop.task.training_batches(loop.model, torch.Generator().manual_seed(config.seed), 1)
    )
    torch.manual_seed(config.seed)
    model = loop.task.model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    first, state = model(batch.frames[:, :1], batch.actions[:, :1])
    functional.mse_loss(first, batch.frames[:, 1:2]).backward()
    optimizer.step()
    optimizer.zero_grad()
    hidden, cell = (part.detach() for part in state)
    second, _ = model(batch.frames[:, 1:2], batch.actions[:, 1:2], (hidden, cell))
    functional.mse_loss(second, batch.frames[:, 2:3]).backward()
    optimizer.step()

    loop.task.to_predict = 1  # one batch
    order = torch.Generator().manual_seed(config.seed)
    again = next(loop.task.training_batches(loop.model, order, 1))
    assert torch.equal(again.frames, batch.frames[: len(again.frames)])
    loop.train_epoch()
    for (name, found), (_, expected) in zip(
        loop.model.named_parameters(), model.named_parameters(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7, msg=name)


def test_the_three_sides_are_measured() -> None:
    rates = {name: measure() for name, measure in measures(striped_drives(), CPU, 1).items()}
    assert len(rates) == 3
    assert all(rate > 0 for rate in rates.values())


def test_errors_after_some_time_are_tabulated_for_both_sides() -> None:
    rows = after_equal_time(striped_drives(), CPU, seconds=4)
    assert [row[0].startswith("ours") for row in rows] == [False, True]
    assert all(float(cell) > 0 for row in rows for cell in row[2:])
    # A batch or an epoch more or less, and whatever else the machine does.
    assert all(1 < float(row[1]) < 12 for row in rows)


def test_torch_s_lstm_and_ours_learn_the_same() -> None:
    """So that their speeds can be compared."""
    found = []
    for core in ("builtin", "scratch"):
        task = homework_task(striped_drives(), core, 1, CPU)
        assert isinstance(task.config, WorldModelConfig)
        epoch = next(fit(task, task.config, CPU))
        assert isinstance(epoch.model, nn.Module)
        found.append(epoch.metrics["train/loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
