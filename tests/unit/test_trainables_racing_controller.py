"""The controller of a car: its phases, its generations, and what it leaves to go on from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from docstring_parser import parse_from_object
from learner_contract import Begin, LearnerContract, advanced, same
from moving_blocks import blocks

from datasets.cache import Cache
from datasets.errors import InputError
from datasets.racing import Rules
from record.trial import Searched
from trainables import perception, racing_controller
from trainables.controller_config import ControllerConfig
from trainables.fit import SupervisedLearner
from trainables.problem import Context
from trainables.racing_controller import (
    FURTHER,
    POLICIES,
    TEST,
    TRAINING,
    VALIDATION,
    ControllerLearner,
    ControllerProblem,
    training_seeds,
)
from trainables.visions import VISIONS, autoencoder

CONTEXT = Context(torch.device("cpu"), 1)
QUICK = ControllerConfig(
    code=8,
    hidden=8,
    mixtures=2,
    population=4,
    rollouts=1,
    action_repeat=4,
    vision_epochs=1,
    memory_epochs=1,
    epochs=4,
)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens drives, and evaluates on two tracks."""
    monkeypatch.setattr(racing_controller, "PATIENCE", 12)
    monkeypatch.setattr(racing_controller, "VALIDATION", VALIDATION[:2])
    monkeypatch.setattr(ControllerLearner, "rules", Rules(size=32, steps=24, repeat=4))


def learner(folder: Path, config: ControllerConfig = QUICK) -> ControllerLearner:
    return ControllerLearner(config, blocks(), Cache(folder), -30.0, CONTEXT)


class TestControllerLearner(LearnerContract):
    @pytest.fixture
    def begin(self, tmp_path: Path) -> Begin:
        return lambda: learner(tmp_path)


def test_each_phase_has_its_metrics(tmp_path: Path) -> None:
    found = learner(tmp_path)
    first, second, third, _ = (found.advance(epoch) for epoch in (1, 2, 3, 4))
    assert {"validation/reconstruction_mse", "validation/divergence"} <= first.keys()
    assert "validation/surprise" in second
    assert first["validation/return"] == second["validation/return"] == -30
    assert third["validation/return"] != -30
    assert third["train/environment_steps"] > 0


def test_a_generation_goes_on_bit_by_bit(tmp_path: Path) -> None:
    whole, resumed = learner(tmp_path / "one"), learner(tmp_path / "other")
    advanced(whole, 1, 2, 3)
    resumed.restore(whole.snapshot())
    assert advanced(resumed, 4) == advanced(whole, 4)
    assert same(vars(resumed.snapshot()), vars(whole.snapshot()))
    assert not (tmp_path / "other").exists()  # all it needs is in the snapshot


def test_trials_that_see_alike_share_the_vision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    for module in (autoencoder, perception):
        monkeypatch.setattr(module, "SupervisedLearner", noting(made, SupervisedLearner))
    for config in (QUICK, replace(QUICK, sigma=0.2), replace(QUICK, hidden=9)):
        advanced(learner(tmp_path, config), 1, 2)
    assert made == ["CodingTask", "MemoryTask", "MemoryTask"]
    advanced(learner(tmp_path, replace(QUICK, seed=1)), 1)
    advanced(learner(tmp_path, replace(QUICK, beta=2.0)), 1)
    assert made[3:] == ["CodingTask", "CodingTask"]


def noting(made: list[str], original: type) -> object:
    def make(task: object, *arguments: object) -> object:
        made.append(type(task).__name__)
        return original(task, *arguments)

    return make


def test_a_layer_that_the_discriminator_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="feature_level is 3: expected 1 to 2"):
        ControllerConfig(vision="vaegan", feature_level=3)


def test_the_help_of_the_option_names_every_vision() -> None:
    fields = parse_from_object(ControllerConfig).params
    helps = {field.arg_name: str(field.description) for field in fields}
    assert [name for name in VISIONS if name not in helps["vision"]] == []


def test_a_damaged_vision_is_told_in_a_line(tmp_path: Path) -> None:
    advanced(learner(tmp_path), 1)
    (file,) = tmp_path.glob("vision-*.pt")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=r"vision-.*\.pt is damaged .*: delete it"):
        learner(tmp_path).advance(1)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("memory", ["untrained", "none"])
def test_every_vision_goes_with_every_memory(tmp_path: Path, vision: str, memory: str) -> None:
    config = replace(QUICK, vision=vision, memory=memory)  # pyright: ignore[reportArgumentType]
    found = learner(tmp_path, config)
    rows = advanced(found, 1, 2, 3)
    assert "validation/surprise" not in rows[1]
    assert ("validation/reconstruction_mse" in rows[0]) == (vision != "random")
    assert ("validation/diversity" in rows[0]) == VISIONS[vision].has_prior
    snapshot = found.snapshot()
    hidden = 8 if memory == "untrained" else 0
    assert len(snapshot.model["controller"]) == 3 * (8 + hidden + 1)
    other = learner(tmp_path / "empty", config)
    other.restore(snapshot)
    assert advanced(other, 4) == advanced(found, 4)


def test_all_candidates_of_a_generation_drive_on_the_same_tracks_and_no_other_does() -> None:
    first, second = (training_seeds(0, generation, 3) for generation in (1, 2))
    assert training_seeds(0, 1, 3) == first
    assert len({*first, *second, *training_seeds(1, 1, 3)}) == 9
    assert min(*first, *second) >= TRAINING > max(*VALIDATION, *TEST, *FURTHER)
    assert not {*VALIDATION} & {*TEST} | {*TEST} & {*FURTHER}
    assert (len(VALIDATION), len(TEST), len(FURTHER)) == (16, 16, 100)


def test_the_mean_of_the_candidates_is_what_is_judged(tmp_path: Path) -> None:
    found = learner(tmp_path)
    advanced(found, 1, 2, 3)
    expected = found.judged(VALIDATION[:2], found.rules)
    before = found.search.mean.copy()
    assert found.judged(VALIDATION[:2], found.rules) == expected
    np.testing.assert_array_equal(found.search.mean, before)


def test_a_generation_that_learns_in_a_dream_asks_no_simulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    driven = racing_controller.driven

    def noted(senses: object, weights: np.ndarray, *more: object) -> object:
        seen.append(len(weights))
        return driven(senses, weights, *more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(racing_controller, "driven", noted)
    config = replace(QUICK, learn_in="dream")
    found = learner(tmp_path / "one", config)
    rows = advanced(found, 1, 2, 3)
    assert seen == [2]  # the validation tracks
    assert rows[2]["train/environment_steps"] == 0
    other = learner(tmp_path / "other", config)
    other.restore(found.snapshot())
    assert advanced(other, 4) == advanced(found, 4)


@pytest.mark.parametrize("memory", ["untrained", "none"])
def test_only_a_trained_memory_dreams(tmp_path: Path, memory: str) -> None:
    config = replace(QUICK, learn_in="dream", memory=memory)  # pyright: ignore[reportArgumentType]
    rows = advanced(learner(tmp_path, config), 1, 2, 3)
    assert rows[2]["train/environment_steps"] > 0


@pytest.fixture
def problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ControllerProblem:
    """Whose baselines are not driven: 0, 1 and 2 on the first track, then 3, 4, 5 and so on."""
    returns = iter(np.arange(96.0).reshape(32, 3).T)
    monkeypatch.setattr(racing_controller, "driven_without_learning", lambda _: next(returns))
    monkeypatch.setattr(racing_controller, "VALIDATION", VALIDATION)
    return ControllerProblem(blocks(), Cache(tmp_path))


def test_policies_that_learn_nothing_are_driven_once_and_compared_on_the_test_tracks(
    problem: ControllerProblem, tmp_path: Path
) -> None:
    assert list(problem.baselines) == list(POLICIES)
    assert problem.baselines["straight on"].tolist() == list(range(49, 97, 3))
    assert problem.before == pytest.approx(np.arange(0, 48, 3).mean())
    assert problem.facts["random_actions_return"] == 70.5
    again = ControllerProblem(blocks(), Cache(tmp_path))  # there is nothing left to drive
    assert again.facts == problem.facts
    assert again.digest == problem.digest
    assert ControllerProblem(blocks(seed=1), Cache(tmp_path)).digest != problem.digest


def test_a_driver_drives_as_its_learner_judged(problem: ControllerProblem, tmp_path: Path) -> None:
    found = problem.learner(QUICK, Searched(0), CONTEXT)
    advanced(found, 1, 2, 3)
    driver = problem.restored(QUICK, found.snapshot().model)
    driver = replace(driver, rules=found.rules)
    assert driver.drives(VALIDATION[:2]) == found.judged(VALIDATION[:2], found.rules)
    assert driver.watched(VALIDATION[0], dreams=True)["seen"].shape == (6, 3, 32, 32)


def test_random_actions_are_scored_as_a_policy_of_the_table() -> None:
    """On whole tracks, without frames: the first two of validation."""
    found = POLICIES["random actions"](VALIDATION[:2], Rules(0))
    assert all(-120 < each.total < 0 for each in found)
