"""A trial, one epoch at a time, with its results, checkpoints and failures."""

import errno
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from guessing import Guessing, GuessingProblem

from datasets.errors import InputError
from datasets.stores import Batch
from record.trial import Replicate
from trainables import checkpoint
from trainables.config import TrialConfig
from trainables.fit import SupervisedProblem
from trainables.learner import Diverged, Snapshot
from trainables.models.gnn import GNNConfig
from trainables.molecules import MoleculeProblem, MoleculeTask
from trainables.problem import Context
from trainables.trial_loop import Failed, OutOfMemory, TrialLoop
from trainables.trial_spec import TrialSpec

CPU = torch.device("cpu")
CONFIG = GNNConfig(family="gcn", width=8, depth=2, dropout=0.1, batch_size=32, epochs=3)
SPEC = TrialSpec(number=4, config=CONFIG)
GUESSED = TrialSpec(number=5, config=TrialConfig(epochs=3, seed=1))

ROW = {
    *("validation/loss", "validation/mse", "validation/mae", "validation/r2"),
    *("train/loss", "train/seconds", "train/learning_rate"),
    *("memory_gib", "epoch", "unix_ms"),
}


@pytest.fixture
def problem(molecules) -> MoleculeProblem:
    return MoleculeProblem(molecules)


def row_of(loop: TrialLoop) -> Mapping[str, Any]:
    """Does an epoch, which there is."""
    row = loop.step()
    assert not isinstance(row, Failed | OutOfMemory)
    return row


def of_the_learner(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the learner alone decides, and no clock or memory."""
    clocks = ("train/seconds", "memory_gib", "unix_ms")
    return {key: value for key, value in row.items() if key not in clocks}


def assert_nothing_is_saved(loop: TrialLoop, folder: Path) -> None:
    loop.save(folder)
    assert list(folder.iterdir()) == []


def test_each_step_is_an_epoch(problem):
    loop = TrialLoop(SPEC, problem, CPU)
    rows = [row_of(loop) for _ in range(3)]
    assert [set(row) for row in rows] == [ROW] * 3
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(row["memory_gib"] > 0.01 for row in rows)
    assert loop.history == rows
    assert loop.epoch == 3


def test_a_row_holds_plain_values_only(problem):
    """It travels through Ray, into MLflow and Optuna."""
    row = row_of(TrialLoop(SPEC, problem, CPU))
    assert {type(value) for value in row.values()} == {float, int}


def test_the_problem_is_told_what_is_to_be_learned_what_for_and_where():
    problem, role = GuessingProblem(), Replicate(2, 7)
    TrialLoop(replace(GUESSED, role=role), problem, CPU)
    assert problem.begun == [(GUESSED.config, role, Context(CPU, torch.get_num_threads()))]


def test_nothing_is_saved_before_the_first_epoch(problem, tmp_path):
    assert_nothing_is_saved(TrialLoop(SPEC, problem, CPU), tmp_path)


# Metrics


def saying(*epochs: Any) -> GuessingProblem:
    """Its learners report these scores, or raise them."""

    class Saying(Guessing):
        def advance(self, epoch: int) -> dict[str, Any]:
            super().advance(epoch)
            if isinstance(epochs[epoch - 1], Exception):
                raise epochs[epoch - 1]
            return {"validation/score": epochs[epoch - 1], "train/loss": 0.5}

    return GuessingProblem(Saying)


@pytest.mark.parametrize("value", [np.float32(0.25), np.float64(0.25), torch.tensor(0.25), 0.25])
def test_metrics_become_plain_numbers(value, tmp_path):
    """Others would travel to MLflow, and be no part of a file that is loaded safely."""
    loop = TrialLoop(GUESSED, saying(value), CPU)
    found = row_of(loop)["validation/score"]
    assert (type(found), found) == (float, 0.25)
    loop.save(tmp_path)
    assert checkpoint.load(tmp_path)["history"] == loop.history


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32(math.nan)])
def test_a_metric_that_is_not_finite_is_a_failure_that_names_it_and_its_epoch(value, tmp_path):
    loop = TrialLoop(GUESSED, saying(0.25, value), CPU)
    row_of(loop)
    failed = Failed(f"validation/score is {float(value)} after epoch 2")
    assert loop.step() == failed
    assert [row["epoch"] for row in loop.history] == [1]
    assert_nothing_is_saved(loop, tmp_path)
    assert loop.step() == failed, "there is no further epoch"


def test_so_is_one_of_a_fit_whose_loss_was_finite(molecules, tmp_path):
    class Overflows(MoleculeTask):
        def evaluate(self, model: torch.nn.Module) -> dict[str, float]:
            return {**super().evaluate(model), "validation/r2": -math.inf}

    loop = TrialLoop(SPEC, SupervisedProblem(partial(Overflows, molecules), ""), CPU)
    assert loop.step() == Failed("validation/r2 is -inf after epoch 1")
    assert_nothing_is_saved(loop, tmp_path)


class Reporting(Guessing):
    """Gives something else than metrics."""

    given: Any = None

    def advance(self, epoch: int) -> Any:
        return self.given


EXPECTED = (
    "expected split/metric, such as validation/score, of letters, digits, spaces and _ - . :"
)

METRICS: list[tuple[Any, str]] = [
    (
        {"height": 1.0},
        f"metric 'height': {EXPECTED}",
    ),
    (
        {"/height": 1.0},
        f"metric '/height': {EXPECTED}",
    ),
    (
        {"test/": 1.0},
        f"metric 'test/': {EXPECTED}",
    ),
    (
        {"validation/f1@5": 1.0},
        f"metric 'validation/f1@5': {EXPECTED}",
    ),
    ({3: 1.0}, f"metric 3: {EXPECTED}"),
    ({"train/all": [1.0]}, "metric 'train/all' is a list: expected one number"),
    ({"train/all": torch.zeros(2)}, "metric 'train/all' is a Tensor: expected one number"),
    ({"train/all": np.zeros(2)}, "metric 'train/all' is a ndarray: expected one number"),
    ({"train/all": None}, "metric 'train/all' is a NoneType: expected one number"),
    (
        None,
        "advance() gave a NoneType: expected metrics by name, such as {'validation/height': 8.8}",
    ),
]


@pytest.mark.parametrize(("given", "message"), METRICS)
def test_what_is_no_metrics_is_refused_in_one_line(given: Any, message: str):
    """A name without a split would be nowhere in the record."""
    kind = type("Given", (Reporting,), {"given": given})
    with pytest.raises(InputError) as error:
        TrialLoop(GUESSED, GuessingProblem(kind), CPU).step()
    assert str(error.value) == message


def test_what_is_no_learner_is_refused_when_it_begins():
    class Half:
        def advance(self, epoch: int) -> dict[str, float]:
            return {"validation/score": 1.0}

    def half(seed: int) -> Any:
        return Half()

    problem: Any = GuessingProblem(kind=half)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"^learner.. gave a Half without snapshot, restore, pro"):
        TrialLoop(GUESSED, problem, CPU)


# Failures


class DivergesInEpoch2(MoleculeTask):
    """The loss is not a number from the fourth batch on."""

    steps = 0

    def loss(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        self.steps += 1
        return super().loss(model, batch) * (math.nan if self.steps > 3 else 1.0)


def test_a_diverged_fit_says_so_and_is_not_saved(molecules, tmp_path):
    problem = SupervisedProblem(partial(DivergesInEpoch2, molecules), "")
    loop = TrialLoop(SPEC, problem, CPU)
    assert row_of(loop)["epoch"] == 1
    failure = loop.step()
    assert isinstance(failure, Failed)
    assert failure.reason.startswith("loss nan in epoch 2, batch 1 of 3; last finite loss")
    assert_nothing_is_saved(loop, tmp_path)


def test_a_learner_may_say_that_there_is_no_sense_in_going_on(tmp_path):
    loop = TrialLoop(GUESSED, saying(Diverged("the worst of all guesses")), CPU)
    assert loop.step() == Failed("the worst of all guesses")
    assert_nothing_is_saved(loop, tmp_path)


@pytest.mark.parametrize("error", [RuntimeError("planted"), ValueError("planted")])
def test_what_is_no_fault_of_the_numbers_is_raised(error):
    with pytest.raises(type(error), match="planted"):
        TrialLoop(GUESSED, saying(error), CPU).step()


class NeedsMore(MoleculeTask):
    """Asks the allocator for a pebibyte."""

    def loss(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return torch.empty(2**48).sum()


def no_room_for_the_data(config: Any, device: torch.device) -> MoleculeTask:
    raise MemoryError


def test_a_lack_of_memory_is_reported_and_not_raised(molecules, tmp_path):
    for make_task in (partial(NeedsMore, molecules), no_room_for_the_data):
        loop = TrialLoop(SPEC, SupervisedProblem(make_task, ""), CPU)
        result = loop.step()
        assert isinstance(result, OutOfMemory)
        assert result.reason
        assert_nothing_is_saved(loop, tmp_path)
        assert loop.step() == result, "there is no further epoch"


def restoring(error: Exception) -> GuessingProblem:
    """Its learners cannot be restored."""

    class Restoring(Guessing):
        def restore(self, snapshot: Snapshot) -> None:
            raise error

    return GuessingProblem(Restoring)


@pytest.fixture
def begun(tmp_path) -> TrialSpec:
    """A trial that goes on after an epoch."""
    loop = TrialLoop(GUESSED, GuessingProblem(), CPU)
    loop.step()
    loop.save(make(tmp_path / "begun"))
    return replace(GUESSED, resume=str(tmp_path / "begun"))


NO_ROOM = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]


@pytest.mark.parametrize("error", NO_ROOM)
def test_a_lack_of_memory_in_an_epoch_is_reported_whoever_says_so(error, tmp_path):
    loop = TrialLoop(GUESSED, saying(error), CPU)
    assert isinstance(loop.step(), OutOfMemory)
    assert_nothing_is_saved(loop, tmp_path)


def test_another_error_of_the_machine_is_raised():
    with pytest.raises(FileNotFoundError):
        TrialLoop(GUESSED, saying(FileNotFoundError(errno.ENOENT, "No such file")), CPU).step()


@pytest.mark.parametrize("error", NO_ROOM)
def test_a_lack_of_memory_for_what_was_learned_before_is_one_too(error, begun, tmp_path):
    loop = TrialLoop(begun, restoring(error), CPU)
    result = loop.step()
    assert isinstance(result, OutOfMemory)
    assert result.reason
    assert loop.history == [], "or a message would tell of its epochs again"
    assert_nothing_is_saved(loop, make(tmp_path / "again"))


def test_another_error_there_is_raised(begun):
    with pytest.raises(RuntimeError, match="planted"):
        TrialLoop(begun, restoring(RuntimeError("planted")), CPU)


# Going on


@pytest.mark.parametrize("stop", [1, 2])
def test_a_trial_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(problem, tmp_path, stop):
    whole = TrialLoop(SPEC, problem, CPU)
    expected = [of_the_learner(row_of(whole)) for _ in range(3)]
    begun = TrialLoop(SPEC, problem, CPU)
    for _ in range(stop):
        begun.step()
    begun.save(tmp_path)
    torch.rand(5)
    resumed = TrialLoop(replace(SPEC, resume=str(tmp_path)), problem, CPU)
    assert resumed.epoch == stop
    assert [of_the_learner(row_of(resumed)) for _ in range(3 - stop)] == expected[stop:]


def test_a_learner_without_a_network_goes_on_too(begun):
    whole = TrialLoop(GUESSED, GuessingProblem(), CPU)
    expected = [of_the_learner(row_of(whole)) for _ in range(3)]
    resumed = TrialLoop(begun, GuessingProblem(), CPU)
    assert [of_the_learner(row_of(resumed)) for _ in range(2)] == expected[1:]


def test_a_checkpoint_knows_every_epoch_so_far(problem, tmp_path):
    """Whoever waited for the results may have died before the process that made them."""
    loop = TrialLoop(SPEC, problem, CPU)
    told = [row_of(loop) for _ in range(2)]
    loop.save(tmp_path)
    state = checkpoint.load(tmp_path)
    assert (state["epoch"], state["history"]) == (2, told)
    assert GNNConfig(**state["config"]) == CONFIG
    resumed = TrialLoop(replace(SPEC, resume=str(tmp_path)), problem, CPU)
    resumed.step()
    assert resumed.history[:2] == told
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3]


def test_a_trial_that_had_done_all_its_epochs_knows_them_when_it_is_resumed(problem, tmp_path):
    """The session died between its last checkpoint and the word that it had finished."""
    loop = TrialLoop(SPEC, problem, CPU)
    told = [row_of(loop) for _ in range(3)]
    loop.save(tmp_path)
    resumed = TrialLoop(replace(SPEC, resume=str(tmp_path)), problem, CPU)
    assert (resumed.epoch, resumed.history) == (3, told)
    resumed.save(make(tmp_path / "again"))
    first, again = checkpoint.load(tmp_path), checkpoint.load(tmp_path / "again")
    assert (again["epoch"], again["history"]) == (3, told)
    for name, tensor in first["model"].items():
        assert torch.equal(again["model"][name], tensor), name


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_saved_model_predicts_what_the_trial_measured(problem, molecules, tmp_path):
    loop = TrialLoop(SPEC, problem, CPU)
    row = row_of(loop)
    loop.save(tmp_path)
    checkpoint.export_weights(tmp_path, tmp_path)
    weights = checkpoint.load_weights(tmp_path)
    assert GNNConfig(**weights["config"]) == CONFIG
    task = MoleculeTask(molecules, GNNConfig(**weights["config"]), CPU)
    model = task.model().eval()
    model.load_state_dict(weights["model"])
    with torch.no_grad():
        assert task.evaluate(model)["validation/r2"] == row["validation/r2"]
