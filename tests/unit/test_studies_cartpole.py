"""The CartPole study: its presets, how it scores, and what it draws."""

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from recorded_study import HERE, study_of

from datasets.errors import InputError
from engine.command import Command
from engine.options import Options
from engine.space import Space
from record.artifacts import Artifacts
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Replicate, Report, Role, Searched, Trial
from studies.cartpole_sweep import STUDY, CartPoleScorecard
from trainables.cartpole import (
    TEST,
    VALIDATION,
    CartPoleOptions,
    CartPoleProblem,
    controller,
    greedy,
    homework,
    play,
    returns,
    zoo,
)
from trainables.dqn import DQNConfig, DQNLearner

CARD = CartPoleScorecard()
QUICK = DQNConfig(width=8, learning_starts=900, updates_per_step=0.1, batch_size=8, epochs=1)
STEPS = 200
"""Cap of the episodes that are scored here: less to play."""

CAP: dict[str, Any] = {"data.episode_steps": STEPS}


@pytest.fixture(scope="module")
def problem() -> CartPoleProblem:
    return CartPoleProblem(CartPoleOptions(STEPS))


def trial(
    number: int,
    config: DQNConfig,
    metrics: Mapping[str, float],
    role: Role | None = None,
    epochs: int = 1,
) -> Trial:
    reports = tuple(Report(epoch, 0, 0.1, metrics) for epoch in range(1, epochs + 1))
    role = role or Searched(number)
    return Trial(number, vars(config), {}, role, "finished", reports, placements=(HERE,))


# --- Scores --------------------------------------------------------------------------------------


def trained(problem: CartPoleProblem) -> tuple[Trial, dict[str, Any]]:
    learner = DQNLearner(QUICK, problem.task, torch.device("cpu"))
    metrics = learner.advance(1)
    return trial(0, QUICK, metrics), dict(learner.snapshot().model)


def test_the_error_of_a_seed_is_what_its_return_lacks_of_the_highest(
    problem: CartPoleProblem,
) -> None:
    """Episodes are cut off after 200 steps here; what is printed is always the return."""
    one, model = trained(problem)
    found = CARD.outcomes(problem, one, model)
    expected = returns(play(greedy(problem.restored(QUICK, model)), TEST, STEPS))
    assert (STEPS - found.errors).tolist() == expected.tolist()
    assert found.reference.tolist() == [STEPS] * 100
    study = study_of([], **CAP)
    assert CARD.factor(study) * found.score == pytest.approx(expected.mean())


def test_baselines_are_scored_on_the_same_seeds(problem: CartPoleProblem) -> None:
    found = CARD.outcomes(problem, *trained(problem)).baselines
    means = {name: float(STEPS - errors.mean()) for name, errors in found.items()}
    assert means == {
        "random policy": pytest.approx(problem.facts["random_return"]),
        "angle + 0.5 angular velocity > 0": STEPS,
    }


def test_the_episode_that_is_drawn_is_the_first_test_seed_s(problem: CartPoleProblem) -> None:
    one, model = trained(problem)
    found = CARD.outcomes(problem, one, model).more["episode"]
    (expected,) = play(greedy(problem.restored(QUICK, model)), TEST[:1], STEPS)
    np.testing.assert_array_equal(found, expected.observations)


def test_weights_that_play_otherwise_than_recorded_are_refused(problem: CartPoleProblem) -> None:
    one, model = trained(problem)
    recorded = one.reports[-1].metrics["validation/return"]
    other = trial(0, QUICK, {"validation/return": recorded + 100})
    with pytest.raises(InputError, match="weights of trial 0 give a validation/return of"):
        CARD.outcomes(problem, other, model)


# --- What is drawn -------------------------------------------------------------------------------


class Scored:
    """Artifacts of trials that were scored: an episode of the controller and one fall."""

    def outcomes(self, trial: Trial) -> Outcomes:
        seen = play(controller, VALIDATION[:1], STEPS)[0].observations
        more = {"episode": seen, "random": seen[:20]}
        return Outcomes(np.zeros(100), np.full(100, float(STEPS)), more)


@pytest.fixture
def study() -> RecordedStudy:
    """Two finalists, the second the better one, each with two finals of three epochs."""
    trials = [
        trial(n, QUICK, {"validation/efficiency": 0.5 + 0.1 * n, "validation/return": 300.0})
        for n in range(2)
    ]
    finals = [
        trial(
            2 + 2 * of + seed,
            replace(QUICK, seed=10 + seed),
            {
                "validation/efficiency": 0.4 + 0.1 * of,
                "validation/return": 400.0 + 10 * seed,
                "train/return": 90.0,
            },
            Replicate(of, 10 + seed),
            epochs=3,
        )
        for of in range(2)
        for seed in range(2)
    ]
    made = study_of(trials, finals, **CAP)
    params = {
        **made.params,
        "study": "cartpole",
        "objective": "validation/efficiency",
        "group_by": "algorithm",
        "facts.random_return": 22.5,
    }
    return replace(made, params=params, artifacts=cast(Artifacts, Scored()), define=lambda: STUDY)


def test_curves_are_the_means_of_the_finals_over_steps_with_their_range(
    study: RecordedStudy,
) -> None:
    card = next(iter(CARD.cards(study)))
    assert isinstance(card.table, pd.DataFrame)
    assert len(card.table) == 2 * 2 * 3
    assert set(card.table["steps"]) == {1000, 2000, 3000}
    figure = card.figures["return_curves"]
    assert isinstance(figure, Figure)
    first, second, *_ = figure.axes
    assert first.get_title() == "trial 1, champion: efficiency 0.500"
    assert second.get_title() == "trial 0: efficiency 0.400"
    lines = {line.get_label(): line for line in first.lines}
    assert np.asarray(lines["mean over seeds"].get_ydata()).tolist() == [405.0] * 3
    assert np.asarray(lines["mean over seeds"].get_xdata()).tolist() == [1000, 2000, 3000]
    assert np.asarray(lines["random policy"].get_ydata()).tolist() == [22.5] * 2
    band = first.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (400, 410)


def test_the_champion_s_episode_is_an_animation_in_real_time_below_a_megabyte(
    study: RecordedStudy,
) -> None:
    _, card = CARD.cards(study)
    made = card.figures["episode"]
    assert isinstance(made, bytes)
    assert len(made) < 1e6
    image = Image.open(io.BytesIO(made))
    assert getattr(image, "n_frames") == -(-(STEPS + 1) // 3)  # noqa: B009 - of a GIF only
    assert image.info["duration"] == 60
    assert image.size[0] == 2 * 192


def test_without_finals_the_reason_is_said(study: RecordedStudy) -> None:
    with pytest.raises(InputError, match="s has no finals"):
        list(CARD.cards(replace(study, finals=())))


def test_the_learning_curves_are_returns(study: RecordedStudy) -> None:
    learning = CARD.learning(study)
    assert learning.validation(study.finals[0]).values.tolist() == [400.0] * 3
    assert learning.train(study.finals[0]).values.tolist() == [90.0] * 3
    assert learning.level == 22.5


# --- Configurations ------------------------------------------------------------------------------


def space(*presets: str, sampler: str = "tpe", **given: Any) -> Space:
    options = Options(preset=presets[0] if presets else None, sampler=cast(Any, sampler))
    return Command(STUDY, options, None, given, ()).space({})


def test_the_homework_is_a_grid_of_sixteen_points_of_plain_dqn_without_the_mask() -> None:
    listed = space("homework", sampler="grid").listed
    assert listed is not None
    found = [cast(DQNConfig, each) for each in listed]
    points = {each for each in found if each != DQNConfig(**zoo("dqn"))}
    assert len(points) == 16
    assert {(p.algorithm, p.n_step, p.gamma, p.terminal_mask) for p in points} == {
        ("dqn", 1, 0.95, False)
    }


def test_the_homework_with_and_without_the_mask_are_thirty_two() -> None:
    listed = space("homework", sampler="grid", terminal_mask=[True, False]).listed
    assert listed is not None
    found = [cast(DQNConfig, each) for each in listed]
    masks = [each.terminal_mask for each in found if each.gamma == 0.95]
    assert (masks.count(True), masks.count(False)) == (16, 16)


def test_the_zoo_is_the_baseline_of_either_algorithm() -> None:
    for algorithm in ("dqn", "double_dqn"):
        found = cast(DQNConfig, space().baseline(algorithm))
        assert found == DQNConfig(**zoo(algorithm))
        assert found.algorithm == algorithm


def test_the_zoo_s_hyperparameters_are_the_published_ones() -> None:
    """hyperparams/dqn.yml of rl-baselines3-zoo, CartPole-v1; its replay is never full."""
    config = DQNConfig(**zoo("dqn"))
    assert (config.learning_rate, config.batch_size, config.replay_size) == (2.3e-3, 64, 50_000)
    assert (config.learning_starts, config.gamma, config.target_every) == (1000, 0.99, 10)
    assert (config.update_every, config.update_every * config.updates_per_step) == (256, 128)
    assert (config.exploration_steps, config.exploration_end) == (0.16 * 50_000, 0.04)
    assert (config.width, config.layers) == (256, 2)


def test_exploration_in_the_homework_is_over_after_a_hundred_episodes() -> None:
    config = DQNConfig(**homework("dqn"))
    assert config.exploration_decay**100 < 0.01
