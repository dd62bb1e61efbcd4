"""Which deep Q-learning balances a pole from the fewest steps, and what makes it so?

Deep Q-learning on CartPole-v1, single and double, searched over learning rate, discount, returns
over several steps, replay, target network, averaging, exploration and width. One line of
arithmetic balances the pole for all 500 steps, so that the final return cannot be the question:
the objective is the efficiency, the mean of the greedy return over all epochs of 1,000 steps, as a
share of the highest possible one. The hyperparameters of rl-baselines3-zoo are the baseline. Needs
no data.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.curves import Learning, curve, recorded
from analysis.scorecard import Scorecard
from datasets.errors import InputError
from datasets.tools import Tools
from engine.main import main
from engine.study import Study
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial
from record.values import made_of
from trainables.cartpole import (
    HOMEWORK_GRID,
    LONGEST,
    RANDOM,
    TEST,
    VALIDATION,
    CartPoleOptions,
    CartPoleProblem,
    greedy,
    homework,
    play,
    returns,
    zoo,
)
from trainables.dqn import EPOCH, DQNConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.cards import Card

TOLERANCE = 0.1
"""Largest difference, as a share of the highest return, between a model's return on the validation
seeds and the recorded one: on another kind of processor rounding may decide some actions
otherwise."""

PANEL = (2.9, 2.1)
"""Width and height of a panel of the learning curves, in inches."""

STRIDE = 3
"""Steps of the simulator, 20 ms each, between two frames of the animation, which last as long."""

SIDE = 192
"""Side of a frame of the animation, in pixels."""

PIXELS = 38
"""Pixels for one metre in the animation: the track of 4.8 m fills the frame."""


class CartPoleScorecard(Scorecard):
    """Scores greedy policies by their return on the test seeds."""

    unit = "episodes"
    quantity = "return"
    heading = "Learning curves of the finals, and an episode"
    remark = (
        "The return is the number of steps for which the greedy policy balances the pole, at most "
        f"{LONGEST} or --episode-steps, after the last epoch; the efficiency by which "
        "configurations are compared is its mean over all epochs, as a share of the highest "
        "possible one."
    )

    def outcomes(
        self, problem: CartPoleProblem, trial: Trial, model: Mapping[str, Any]
    ) -> Outcomes:
        """Scores a trial by how much its returns lack; see `analysis.scorecard.Scorecard`.

        Raises:
            InputError: If the model is not the one that the trial recorded.
        """
        network = problem.restored(made_of(DQNConfig, trial.config), model)
        ceiling, seen = problem.task.ceiling, problem.task.validation_returns(network)
        _check_recorded(trial, float(seen.mean()), ceiling)
        episodes = play(greedy(network), TEST, problem.task.episode_steps)
        others = problem.baselines
        return Outcomes(
            errors=ceiling - returns(episodes),
            reference=np.full(len(TEST), ceiling),
            more={"episode": episodes[0].observations, "random": others[RANDOM][0].observations},
            baselines={name: ceiling - returns(played) for name, played in others.items()},
        )

    def factor(self, study: RecordedStudy) -> float:
        """Returns the highest possible return: scores are printed as returns."""
        return highest_return(study)

    def learning(self, study: RecordedStudy) -> Learning:
        """Returns the return over the epochs, greedy and in training.

        Raises:
            InputError: If no trial finished.
        """
        study.best_or_refuse()
        return Learning(
            quantity="return (steps)",
            name="return",
            unit="steps",
            train=lambda trial: curve(trial, "train/return"),
            validation=lambda trial: curve(trial, "validation/return"),
            reference="random policy",
            level=study.fact("random_return"),
            mark="random policy",
            during=True,
            is_error=False,
            caption=f"Return over the epochs, each of {EPOCH:,} steps of the environment, of the "
            "best trial and of the baseline: of episodes in training, with random actions, and of "
            f"the greedy policy on {len(VALIDATION)} fixed seeds.",
        )

    def cards(self, study: RecordedStudy) -> "Iterator[Card]":
        """Yields the learning curves of the finals, and an animation of the champion.

        Raises:
            InputError: If there are no finals.
        """
        champion = study.champion_final
        if champion is None:
            raise InputError(f"{study.name} has no finals, of which these figures are")
        yield _curves(study)
        outcomes = study.artifacts.outcomes(champion)
        if outcomes is not None:
            yield _animation(champion, outcomes)


def highest_return(study: RecordedStudy) -> float:
    """Returns the steps after which a study's episodes are cut off, which no return exceeds."""
    return float(study.params["data.episode_steps"])


def _check_recorded(trial: Trial, found: float, ceiling: float) -> None:
    """Checks that a model has the return that its trial recorded.

    Raises:
        InputError: If it has not.
    """
    expected = recorded(trial, "validation/return")
    if abs(found - expected) > TOLERANCE * ceiling:
        raise InputError(
            f"the weights of trial {trial.number} give a validation/return of {found:.1f}, "
            f"recorded is {expected:.1f}: the environment or the model have changed since"
        )


def _curves(study: RecordedStudy) -> "Card":
    import pandas as pd

    from analysis import style
    from analysis.cards import Card

    rows = [
        {"trial": number, "seed": final.config["seed"], "steps": EPOCH * epoch, "return": value}
        for number in _ranked(study)
        for final in study.finalists[number]
        for found in [curve(final, "validation/return")]
        for epoch, value in zip(found.epochs.tolist(), found.values.tolist(), strict=True)
    ]
    labels = ("environment steps", "return (steps)")

    def paint(axes: "Sequence[Axes]") -> None:
        for axis, number in zip(axes, _ranked(study), strict=True):
            _paint(axis, study, number, study.finalists[number])

    figure: Figure = style.draw(PANEL, len(study.finalists), labels, paint)
    caption = (
        "Greedy return of the finalists on the validation seeds over the steps of the "
        "environment: mean over fresh seeds, and from the least to the greatest of them."
    )
    return Card(
        title="learning curves of the finals",
        name="return_curves",
        text="",
        table=pd.DataFrame(rows),
        figures={"return_curves": figure},
        captions={"return_curves": caption},
    )


def _ranked(study: RecordedStudy) -> list[int]:
    """Returns the numbers of the finalists by descending mean objective, the champion first."""

    def standing(number: int) -> tuple[bool, float]:
        crowned = study.champion is not None and number == study.champion.number
        return crowned, fmean(map(study.value, study.finalists[number]))

    return sorted(study.finalists, key=standing, reverse=True)


def _paint(axis: "Axes", study: RecordedStudy, number: int, finals: Sequence[Trial]) -> None:
    """Draws the mean and the range of a finalist's return over its seeds."""
    from analysis import style

    found = [curve(final, "validation/return") for final in finals]
    steps, values = EPOCH * found[0].epochs, np.stack([each.values for each in found])
    axis.axhline(highest_return(study), color=style.GREY, ls="--", lw=1, label="highest return")
    level = study.fact("random_return")
    axis.axhline(level, color=style.ORANGE, ls=":", lw=1, label="random policy")
    least, most = values.min(axis=0), values.max(axis=0)
    axis.fill_between(steps, least, most, color=style.SKY, alpha=0.4, lw=0, label="range of seeds")
    axis.plot(steps, values.mean(axis=0), color=style.BLUE, label="mean over seeds")
    crowned = study.champion is not None and number == study.champion.number
    mean = fmean(map(study.value, finals))
    axis.set_title(f"trial {number}{', champion' * crowned}: efficiency {mean:.3f}")
    axis.set_ylim(0, 1.05 * highest_return(study))


def _animation(champion: Trial, outcomes: Outcomes) -> "Card":
    import pandas as pd

    from analysis import film
    from analysis.cards import Card

    films = {
        f"trial {champion.replicate_of}": outcomes.more["episode"],
        "random policy": outcomes.more["random"],
    }
    length = max(map(len, films.values()))
    columns = [(name, _frames(seen, length)) for name, seen in films.items()]
    caption = (
        "The first test episode as the champion plays it, one frame every "
        f"{STRIDE} steps, and with random actions, which end in a fall."
    )
    return Card(
        title="an episode",
        name="episode",
        text="",
        table=pd.DataFrame(
            outcomes.more["episode"],
            columns=["position (m)", "velocity (m/s)", "angle (rad)", "angular velocity (rad/s)"],
        ),
        figures={"episode": film.play(columns)},
        captions={"episode": caption},
    )


def _frames(observations: np.ndarray, length: int) -> np.ndarray:
    """Draws an episode, (T, 4), as frames, (frames, 3, side, side) uint8; the last stays."""
    shown = np.minimum(np.arange(0, length, STRIDE), len(observations) - 1)
    return np.stack([_frame(*observations[step, [0, 2]].tolist()) for step in shown])


def _frame(position: float, angle: float) -> np.ndarray:
    """Draws a cart, at a position in metres, and its pole, of one metre, at an angle in radians to
    the right of upright; (3, side, side) uint8."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(picture)
    middle, ground = SIDE / 2 + PIXELS * position, 0.8 * SIDE
    draw.line((0, ground, SIDE, ground), fill="#BBBBBB")
    draw.rectangle((middle - 14, ground - 8, middle + 14, ground + 8), fill="#0072B2")
    top = (middle + PIXELS * 2 * np.sin(angle), ground - PIXELS * 2 * np.cos(angle))
    draw.line((middle, ground, *top), fill="#D55E00", width=5)
    return np.asarray(picture).transpose(2, 0, 1)


def open_problem(options: CartPoleOptions, seed: int, tools: Tools) -> CartPoleProblem:
    """Opens the environment; evaluation has seeds of its own, whatever the study's seed."""
    del seed, tools
    return CartPoleProblem(options)


def data_title(options: CartPoleOptions) -> str:
    """Returns what the study's name says of the environment: its cap, unless it is 500."""
    return "" if options.episode_steps == LONGEST else f"{options.episode_steps}-steps"


STUDY = Study(
    key="cartpole",
    question=__doc__ or "",
    file=__file__,
    config=DQNConfig,
    group_by="algorithm",
    objective="validation/efficiency",
    data_options=CartPoleOptions,
    open=open_problem,
    data_title=data_title,
    presets={"zoo": zoo, "homework": homework},
    grids={"homework": HOMEWORK_GRID},
    baseline="zoo",
    first_rung=0.4,
    scorecard=CartPoleScorecard(),
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
