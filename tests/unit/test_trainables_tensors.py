"""Networks that are fitted to tensors: the split, what is recorded of it, and the score."""

import pickle
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from contracts import here
from learner_contract import Begin, LearnerContract, advanced, assert_same, read_again
from ray.cloudpickle.cloudpickle import dumps
from recorded_study import trial
from torch import Tensor, nn

from analysis.tensor_scorecard import TensorScorecard
from datasets.errors import InputError
from record.trial import Replicate, Role, Searched
from trainables import tensors
from trainables.config import FitConfig
from trainables.fit import SupervisedLearner
from trainables.problem import Context
from trainables.tensors import TensorProblem

SAMPLES = 100


@dataclass(frozen=True)
class LineConfig(FitConfig):
    """A linear map, with some of its inputs left out in training."""

    dropout: float = 0.0
    """Share of the inputs that are left out."""


def line(config: LineConfig) -> nn.Module:
    """Inputs (B, 3) -> (B,)."""
    return nn.Sequential(nn.Dropout(config.dropout), nn.Linear(3, 1), nn.Flatten(0))


def squared(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square()


def drawn(samples: int = SAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (samples, 3), and one target for each, their sum."""
    inputs = np.random.default_rng(5).normal(size=(samples, 3)).astype("float32")
    return inputs, inputs.sum(axis=1)


def problem(samples: int = SAMPLES, seed: int = 0, **changes: Any) -> TensorProblem:
    inputs, targets = drawn(samples)
    given: dict[str, Any] = {
        "inputs": inputs,
        "targets": targets,
        "network": line,
        "loss": nn.functional.mse_loss,
        "error": squared,
        "reference": torch.square,
    }
    return TensorProblem(**{**given, "seed": seed, **changes})


def splits(made: TensorProblem) -> list[list[int]]:
    split = made.split
    return [part.tolist() for part in (split.train, split.validation, split.test)]


def begun(
    made: TensorProblem, config: FitConfig, role: Role | None = None, device: Any = None
) -> SupervisedLearner[Any]:
    return made.learner(config, role or Searched(0), Context(device or here(), 1))


# The split


@pytest.mark.parametrize(
    ("samples", "sizes"), [(20, (16, 2, 2)), (100, (80, 10, 10)), (1797, (1438, 179, 180))]
)
def test_each_sample_is_in_one_of_the_splits(samples: int, sizes: tuple[int, ...]) -> None:
    parts = splits(problem(samples))
    assert tuple(map(len, parts)) == sizes
    assert sorted(chain(*parts)) == list(range(samples))


def test_the_seed_of_the_study_draws_the_split() -> None:
    assert splits(problem(seed=1)) == splits(problem(seed=1))
    one, other = problem(seed=1).split, problem(seed=2).split
    assert all(
        set(getattr(one, name)) != set(getattr(other, name))
        for name in ("train", "validation", "test")
    )
    assert splits(problem(seed=1))[0] != list(range(80)), "in the order of the samples"


def test_drawing_the_split_leaves_the_generators_of_the_process_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    others = repr(np.random.get_state())  # noqa: NPY002
    problem()
    assert torch.equal(torch.get_rng_state(), before)
    assert repr(np.random.get_state()) == others  # noqa: NPY002


def test_facts_say_how_many_samples_each_split_has() -> None:
    assert problem().facts == {"train": 80, "validation": 10, "test": 10}
    assert problem().decided == {}


@pytest.mark.parametrize("samples", [0, 1, 10, 17, 18, 19])
def test_too_few_samples_are_refused(samples: int) -> None:
    with pytest.raises(InputError, match=f"^{samples} samples: expected 20 or more"):
        problem(samples)


def test_targets_have_to_be_as_many_as_inputs() -> None:
    inputs, targets = drawn()
    with pytest.raises(InputError, match="100 inputs and 99 targets: expected one target"):
        problem(inputs=inputs, targets=targets[:-1])


Wrong = tuple[dict[str, Any], str]

IN_CLASSES = np.arange(SAMPLES) % 3

BAD_SAMPLES: dict[str, Wrong] = {
    "texts": (
        {"targets": np.where(IN_CLASSES, "left", "right")},
        "targets are texts: expected numbers; number the classes from 0",
    ),
    "objects": (
        {"inputs": np.full((SAMPLES, 3), None)},
        "inputs are objects: expected numbers; turn them into numbers first",
    ),
    "dates": (
        {"targets": np.zeros(SAMPLES, "datetime64[s]")},
        "targets are dates: expected numbers; number the classes from 0",
    ),
    "ragged": (
        {"inputs": [[1.0], [1.0, 2.0]]},
        "inputs are no array (setting an array element with a sequence. The requested array has "
        "an inhomogeneous shape after 1 dimensions. The detected shape was (2,) + inhomogeneous "
        "part.): expected one",
    ),
    "a number": ({"targets": 3.0}, "targets are of shape (): expected (samples, ...)"),
    "nothing in each": (
        {"inputs": np.zeros((SAMPLES, 0))},
        "inputs are of shape (100, 0): expected (samples, ...)",
    ),
    "NaN": (
        {"inputs": np.where(np.arange(SAMPLES)[:, None] >= 98, np.nan, drawn()[0])},
        "inputs of 2 of 100 samples, the first one sample 98, are NaN or infinite: leave those "
        "samples out, or fill them in",
    ),
    "infinite in 32 bits": (
        {"targets": [*drawn()[1][1:].tolist(), 1e300]},
        "targets of 1 of 100 samples, the first one sample 99, are NaN or infinite: leave those "
        "samples out, or fill them in",
    ),
}


@pytest.mark.parametrize("bad", BAD_SAMPLES)
def test_what_is_no_array_of_finite_numbers_is_refused_in_one_line(bad: str) -> None:
    changes, message = BAD_SAMPLES[bad]
    with pytest.raises(InputError) as error:
        problem(**changes)
    assert str(error.value) == message


def test_samples_in_64_bits_are_learned_from_in_32() -> None:
    inputs, targets = drawn()
    config = LineConfig(epochs=2)
    whole = begun(problem(), config)
    given: list[tuple[Any, Any]] = [
        (inputs.astype(float), targets.astype(">f8")),
        (inputs.tolist(), targets.tolist()),
        (torch.from_numpy(inputs).requires_grad_(), torch.from_numpy(targets).double()),
        (np.pad(inputs, ((0, 0), (0, 2)))[::-1, ::-1][::-1, :1:-1], targets[::-1][::-1]),
    ]
    found = whole.advance(1)["train/loss"]
    for each in given:
        made = problem(inputs=each[0], targets=each[1])
        assert begun(made, config).advance(1)["train/loss"] == found


@pytest.mark.parametrize("kind", ["uint8", "int32", "bool", "int64"])
def test_whole_numbers_stay_so_and_classes_have_64_bits(kind: str) -> None:
    made = problem(inputs=np.arange(SAMPLES, dtype="int32"), targets=IN_CLASSES.astype(kind))
    assert (made.inputs.dtype, made.targets.dtype) == (np.int32, np.int64)
    assert made.targets.tolist() == IN_CLASSES.astype(kind).astype(int).tolist()


# Its functions


def scores(config: LineConfig) -> nn.Module:
    """Inputs (B, 3) -> a score for each of three classes, (B, 3)."""
    return nn.Linear(3, 3)


def column(config: LineConfig) -> nn.Module:
    """Inputs (B, 3) -> (B, 1)."""
    return nn.Linear(3, 1)


CROSS_ENTROPY = nn.functional.cross_entropy
OF_CLASSES = {
    "network": scores,
    "targets": IN_CLASSES,
    "loss": CROSS_ENTROPY,
    "error": lambda said, target: (said.argmax(dim=1) != target).float(),
    "reference": lambda target: torch.ones(len(target)),
}
ALIKE = (
    "predictions and targets have to be of one shape: end the network with nn.Flatten(0), or give "
    "targets of shape (samples, 1)"
)

BAD_FUNCTIONS: dict[str, Wrong] = {
    "no network": (
        {"network": lambda config: None},
        "network() gave a NoneType: expected a torch.nn.Module",
    ),
    "inputs of another width": (
        {"network": lambda config: nn.Linear(4, 1)},
        "the network fails on samples (5, 3) float32 (mat1 and mat2 shapes cannot be multiplied "
        "(5x3 and 4x1))",
    ),
    "a broadcast loss": (
        {"network": column, "error": lambda said, target: (said[:, 0] - target).abs()},
        "loss fails on predictions (5, 1) float32 and targets (5,) float32 (Using a target size "
        "(torch.Size([5])) that is different to the input size (torch.Size([5, 1]))): " + ALIKE,
    ),
    "a broadcast error": (
        {"network": column, "loss": lambda said, target: (said[:, 0] - target).abs().mean()},
        "error gives (5, 5) float32 for predictions (5, 1) float32 and targets (5,) float32: "
        "expected (5,), a number for each sample; " + ALIKE,
    ),
    "an error of a column": (
        {"network": column, "targets": drawn()[1][:, None], "reference": lambda t: t[:, 0] ** 2},
        "error gives (5, 1) float32 for predictions (5, 1) float32 and targets (5, 1) float32: "
        "expected (5,), a number for each sample; " + ALIKE,
    ),
    "a loss of each sample": (
        {"loss": squared},
        "loss gives (5,) float32 for predictions (5,) float32 and targets (5,) float32: expected "
        "a scalar tensor, such as a mean over the samples",
    ),
    "a loss that is no tensor": (
        {"loss": lambda said, target: 0.5},
        "loss gives a float for predictions (5,) float32 and targets (5,) float32: expected a "
        "scalar tensor, such as a mean over the samples",
    ),
    "an error below 0": (
        {"error": lambda said, target: -torch.ones(len(target))},
        "error gives -1 for a sample: expected at least 0, such as a square or an absolute value",
    ),
    "a reference for all": (
        {"reference": lambda target: target.var()},
        "reference gives () float32 for samples (5,) float32: expected (5,), a number for each "
        "sample; average over all other axes",
    ),
    "classes from 1": (
        {**OF_CLASSES, "targets": IN_CLASSES + 1},
        "loss fails on predictions (5, 3) float32 and targets (5,) int64 (Target 3 is out of "
        "bounds): number the classes from 0, and let the network give a score for each of them",
    ),
    "one class more in a single sample": (
        {**OF_CLASSES, "targets": np.where(np.arange(SAMPLES) == 57, 3, IN_CLASSES)},
        "loss fails on predictions (5, 3) float32 and targets (5,) int64 (Target 3 is out of "
        "bounds): number the classes from 0, and let the network give a score for each of them",
    ),
}


@pytest.mark.parametrize("bad", BAD_FUNCTIONS)
@pytest.mark.parametrize("begin", [TensorProblem.check, begun])
def test_functions_that_do_not_fit_the_samples_are_refused_in_one_line(
    bad: str, begin: Any
) -> None:
    """Before the study and, where it depends on the configuration, when a trial begins."""
    changes, message = BAD_FUNCTIONS[bad]
    with pytest.raises(InputError) as error:
        begin(problem(**changes), LineConfig())
    assert str(error.value) == message


@pytest.mark.parametrize("changes", [{}, OF_CLASSES])
def test_trying_the_functions_draws_nothing_and_leaves_the_network_as_it_was(
    changes: dict[str, Any],
) -> None:
    """A network that draws where it predicts, too."""

    class Draws(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs + torch.rand(1)

    def network(config: LineConfig) -> nn.Module:
        return nn.Sequential(Draws(), changes.get("network", line)(config))

    made = problem(**{**changes, "network": network})
    torch.manual_seed(3)
    expected = network(LineConfig())
    after = torch.get_rng_state()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    made.check(LineConfig())
    assert torch.equal(torch.get_rng_state(), before)
    found = made.checked_network(LineConfig())
    assert torch.equal(torch.get_rng_state(), after)
    assert found.training
    for mine, its in zip(found.parameters(), expected.parameters(), strict=True):
        assert torch.equal(mine, its)


def test_a_lack_of_memory_there_is_no_bad_input() -> None:
    def hungry(said: Tensor, target: Tensor) -> Tensor:
        return torch.empty(2**48)

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        begun(problem(loss=hungry), LineConfig())


@pytest.mark.usefixtures("on_each_device")
def test_samples_are_moved_to_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[np.ndarray] = []
    as_tensor = tensors.as_tensor

    def counted(array: np.ndarray, device: torch.device) -> Tensor:
        moved.append(array)
        return as_tensor(array, device)

    made = problem()
    learner = begun(made, LineConfig(batch_size=8, epochs=2))
    monkeypatch.setattr(tensors, "as_tensor", counted)
    learner.advance(1)
    assert moved == []
    (batch, *_) = learner.task.training_batches(learner.model, torch.Generator(), 1)
    assert {batch.inputs.device.type, batch.targets.device.type} == {here().type}


# The digest


def test_the_digest_is_that_of_the_samples_and_their_split() -> None:
    inputs, targets = drawn()
    known = problem().digest
    assert problem(inputs=inputs.copy(), targets=targets.tolist()).digest == known, "in 32 bits"
    assert problem(inputs=np.asfortranarray(inputs), targets=targets.copy()).digest == known
    swapped = inputs[[1, 0, *range(2, SAMPLES)]]
    others = [
        problem(seed=1),
        problem(inputs=np.nextafter(inputs, inputs + (np.arange(3) == 2))),
        problem(targets=np.r_[targets[:-1], np.float32(0)]),
        problem(inputs=swapped),
        problem(inputs=inputs.reshape(SAMPLES, 3, 1)),
        problem(inputs=inputs.view("int32")),
    ]
    digests = [each.digest for each in others]
    assert known not in digests
    assert len(set(digests)) == len(others)


# The score


@pytest.mark.usefixtures("on_each_device")
def test_the_score_is_one_minus_the_mean_error_as_a_share_of_the_reference_s() -> None:
    made = problem()
    learner = begun(made, LineConfig(learning_rate=0.03, epochs=2))
    found = learner.advance(1)
    network = learner.evaluator
    with torch.no_grad():
        inputs = torch.from_numpy(made.inputs[made.split.validation]).to(here())
        said = network(inputs).cpu().double().numpy()
    targets = made.targets[made.split.validation].astype(float)
    error, reference = np.square(said - targets).mean(), np.square(targets).mean()
    assert found["validation/score"] == pytest.approx(1 - error / reference, abs=1e-6)
    assert found["validation/loss"] == pytest.approx(error, rel=1e-5)


def test_the_reference_is_one_for_each_sample_where_none_is_given() -> None:
    inputs, targets = drawn()
    functions: dict[str, Any] = {"network": line, "loss": nn.functional.mse_loss}
    made = TensorProblem(inputs, targets, 0, error=squared, **functions)
    assert made.references(made.split.test).tolist() == [1.0] * 10
    found = begun(made, LineConfig()).advance(1)
    assert found["validation/score"] == pytest.approx(1 - found["validation/loss"], abs=1e-6)


def test_errors_are_the_same_however_many_are_predicted_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, network = problem(), line(LineConfig())
    whole = made.errors(network, made.split.train, here())
    evaluated = begun(made, LineConfig()).advance(1)
    monkeypatch.setattr(tensors, "EVALUATION_BATCH", 7)
    parts = made.errors(network, made.split.train, here())
    assert (whole.dtype, whole.shape) == (torch.float64, (80,))
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=0)
    found = begun(made, LineConfig()).advance(1)
    for name in ("validation/score", "validation/loss"):
        assert found[name] == pytest.approx(evaluated[name], rel=1e-5)


def test_the_scorecard_scores_what_was_learned_on_the_test_split() -> None:
    made, config = problem(), LineConfig(learning_rate=0.03, dropout=0.2, epochs=3)
    learner = begun(made, config)
    for epoch in (1, 2, 3):
        learner.advance(epoch)
    model = read_again(learner.snapshot()).model
    found = TensorScorecard(LineConfig).outcomes(made, trial(0, config, 0.5), model)
    rows = made.split.test
    weight, bias = (model[f"1.{name}"].double().numpy() for name in ("weight", "bias"))
    said = made.inputs[rows].astype(float) @ weight[0] + bias[0]
    np.testing.assert_allclose(found.errors, np.square(said - made.targets[rows]), rtol=1e-4)
    np.testing.assert_allclose(found.reference, np.square(made.targets[rows]), rtol=1e-6)


# Its learners


def test_a_network_learns_a_line() -> None:
    config = LineConfig(learning_rate=0.05, batch_size=16, epochs=20)
    learner = begun(problem(), config)
    scores = [learner.advance(epoch)["validation/score"] for epoch in range(1, 21)]
    assert scores[0] < 0.9
    assert scores[-1] > 0.99


def test_nothing_is_learned_from_the_other_splits() -> None:
    """Whatever stands there, the same is learned; on the validation split another score."""
    config, made = LineConfig(epochs=2), problem()
    others = np.setdiff1d(np.arange(SAMPLES), made.split.train)
    changed = made.targets.copy()
    changed[others] += 5
    one, other = begun(made, config), begun(problem(targets=changed), config)
    first, second = one.advance(1), other.advance(1)
    assert_same(read_again(one.snapshot()), read_again(other.snapshot()))
    assert first["train/loss"] == second["train/loss"]
    assert first["validation/score"] != second["validation/score"]


def test_every_role_learns_from_the_same_split() -> None:
    made, config = problem(), LineConfig(epochs=2)
    searched, again = begun(made, config), begun(made, config, Replicate(0, seed=0))
    assert advanced(searched, 1, 2) == advanced(again, 1, 2)


def test_a_problem_that_was_pickled_is_the_same_one() -> None:
    """With functions that go with it, as those of a file do that the other machines lack."""
    width = 3

    def local(config: LineConfig) -> nn.Module:
        return nn.Sequential(nn.Linear(width, 1), nn.Flatten(0))

    made = problem(network=local, error=lambda said, target: (said - target).abs())
    copy = pickle.loads(dumps(made))
    assert copy.digest == made.digest
    assert splits(copy) == splits(made)
    config = LineConfig(epochs=2)
    assert advanced(begun(copy, config), 1, 2) == advanced(begun(made, config), 1, 2)


def test_a_study_may_hold_its_samples_where_nothing_may_be_written() -> None:
    """As Ray's object store does."""
    inputs, targets = drawn()
    for each in (inputs, targets):
        each.flags.writeable = False
    begun(problem(inputs=inputs, targets=targets), LineConfig()).advance(1)


@pytest.mark.usefixtures("on_each_device")
class TestLearnersOfTensors(LearnerContract):
    """With dropout and averaged weights."""

    @pytest.fixture(params=[0.0, 0.5], ids=["trained weights", "averaged weights"])
    def begin(self, request: pytest.FixtureRequest) -> Begin:
        made = problem()
        config = LineConfig(dropout=0.2, batch_size=32, averaging=request.param, epochs=3)
        return lambda: begun(made, config)


@pytest.mark.usefixtures("on_each_device")
def test_a_gpu_learns_what_a_cpu_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    config = LineConfig(learning_rate=0.03, batch_size=32, epochs=3)
    made = problem()
    found = advanced(begun(made, config), 1, 2, 3)
    expected = advanced(begun(made, config, device=torch.device("cpu")), 1, 2, 3)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
