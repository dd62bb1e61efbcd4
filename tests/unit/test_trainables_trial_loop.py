"""A trial's fit, one epoch at a time, with its results, checkpoints and failures."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from trainables.stepper import Stepper, TaskFactory

from datasets.stores import Batch
from trainables import checkpoint
from trainables.models.gnn import GNNConfig
from trainables.molecules import MoleculeTask
from trainables.trial_spec import TrialSpec

CPU = torch.device("cpu")
CONFIG = GNNConfig(family="gcn", width=8, depth=2, dropout=0.1, batch_size=32, epochs=3)
SPEC = TrialSpec(number=4, config=CONFIG)

RESULT = {
    *("validation/loss", "validation/mse", "validation/mae", "validation/r2"),
    *("train/loss", "train/seconds", "train/learning_rate"),
    *("memory_gib", "epoch", "unix_ms", "done"),
}


@pytest.fixture
def make_task(molecules) -> TaskFactory:
    return partial(MoleculeTask, molecules)


def of_the_fit(result: dict[str, Any]) -> dict[str, Any]:
    """What the fit alone decides, and no clock or memory."""
    clocks = ("train/seconds", "memory_gib", "unix_ms")
    return {key: value for key, value in result.items() if key not in clocks}


class DivergesInEpoch2(MoleculeTask):
    """The loss is not a number from the fourth batch on."""

    steps = 0

    def loss(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        self.steps += 1
        return super().loss(model, batch) * (math.nan if self.steps > 3 else 1.0)


def test_each_step_is_an_epoch_and_the_last_one_says_that_it_is_done(make_task):
    stepper = Stepper(SPEC, make_task, CPU)
    results = [stepper.step() for _ in range(3)]
    assert [set(result) for result in results] == [RESULT] * 3
    assert [result["epoch"] for result in results] == [1, 2, 3]
    assert [result["done"] for result in results] == [False, False, True]
    assert all(result["memory_gib"] > 0.01 for result in results)


def test_a_result_holds_plain_values_only(make_task):
    """It travels through Ray, into MLflow and Optuna."""
    result = Stepper(SPEC, make_task, CPU).step()
    assert {type(value) for value in result.values()} == {float, int, bool}


def test_nothing_is_saved_before_the_first_epoch(make_task, tmp_path):
    Stepper(SPEC, make_task, CPU).save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_diverged_fit_reports_its_failure_and_is_not_saved(molecules, tmp_path):
    stepper = Stepper(SPEC, partial(DivergesInEpoch2, molecules), CPU)
    assert stepper.step()["epoch"] == 1
    failure = stepper.step()
    assert set(failure) == {"failure", "done"}
    assert failure["done"] is True
    assert failure["failure"].startswith("loss nan in epoch 2, batch 1 of 3; last finite loss")
    stepper.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [1, 2])
def test_a_trial_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(make_task, tmp_path, stop):
    whole = Stepper(SPEC, make_task, CPU)
    expected = [of_the_fit(whole.step()) for _ in range(3)]
    begun = Stepper(SPEC, make_task, CPU)
    for _ in range(stop):
        begun.step()
    begun.save(tmp_path)
    torch.rand(5)
    resumed = Stepper(replace(SPEC, resume=tmp_path), make_task, CPU)
    assert [of_the_fit(resumed.step()) for _ in range(3 - stop)] == expected[stop:]


def test_a_checkpoint_knows_every_epoch_so_far(make_task, tmp_path):
    """Whoever waited for the results may have died before the process that made them."""
    stepper = Stepper(SPEC, make_task, CPU)
    told = [stepper.step() for _ in range(2)]
    stepper.save(tmp_path)
    history = checkpoint.load(tmp_path, CPU)["history"]
    kept = [{name: row[name] for name in row if name != "done"} for row in told]
    assert history == kept
    resumed = Stepper(replace(SPEC, resume=tmp_path), make_task, CPU)
    resumed.step()
    assert resumed.history[:2] == kept
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3]


class NeedsMore(MoleculeTask):
    """Asks the allocator for a pebibyte."""

    def loss(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return torch.empty(2**48).sum()


def no_room_for_the_data(config: Any, device: torch.device) -> MoleculeTask:
    raise MemoryError


def test_a_lack_of_memory_is_reported_and_not_raised(molecules, tmp_path):
    for task in (partial(NeedsMore, molecules), no_room_for_the_data):
        stepper = Stepper(SPEC, task, CPU)
        result = stepper.step()
        assert set(result) == {"out_of_memory", "done"}
        assert result["done"] is True
        assert result["out_of_memory"]
        stepper.save(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_a_trial_that_had_done_all_its_epochs_is_done_when_it_is_resumed(make_task, tmp_path):
    """The session died between its last checkpoint and the word that it had finished."""
    stepper = Stepper(SPEC, make_task, CPU)
    last = [of_the_fit(stepper.step()) for _ in range(3)][-1]
    stepper.save(tmp_path)
    resumed = Stepper(replace(SPEC, resume=tmp_path), make_task, CPU)
    result = resumed.step()
    assert (result["done"], result["epoch"]) == (True, 3)
    assert result["validation/r2"] == last["validation/r2"]
    resumed.save(make(tmp_path / "again"))
    assert checkpoint.load(tmp_path / "again", CPU)["epoch"] == 3


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_saved_model_predicts_what_the_trial_measured(make_task, tmp_path):
    stepper = Stepper(SPEC, make_task, CPU)
    result = stepper.step()
    stepper.save(tmp_path)
    checkpoint.export_weights(tmp_path, tmp_path)
    weights = checkpoint.load_weights(tmp_path)
    assert GNNConfig(**weights["config"]) == CONFIG
    task = make_task(GNNConfig(**weights["config"]), CPU)
    model = task.model().eval()
    model.load_state_dict(weights["model"])
    with torch.no_grad():
        assert task.evaluate(model)["validation/r2"] == result["validation/r2"]
