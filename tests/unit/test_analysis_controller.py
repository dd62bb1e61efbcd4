"""The controller study: how it scores, and what it draws."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from learner_contract import advanced
from matplotlib.figure import Figure
from moving_blocks import blocks
from PIL import Image
from recorded_study import HERE, study_of
from test_trainables_racing_controller import CONTEXT, QUICK

from analysis import controller_scorecard, finals
from analysis.controller_scorecard import CEILING, ControllerScorecard
from datasets.cache import Cache
from datasets.errors import InputError
from datasets.racing import Rules
from record.artifacts import Artifacts
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Replicate, Report, Role, Searched, Trial
from studies.cartpole_sweep import STUDY as CARTPOLE
from studies.controller_sweep import STUDY
from trainables import racing_controller
from trainables.controller_config import ControllerConfig
from trainables.racing_controller import TEST, VALIDATION, ControllerProblem, Driver

CARD = ControllerScorecard()
SHORT = Rules(size=32, steps=24, repeat=4)


@pytest.fixture
def problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ControllerProblem:
    """Drives of 24 steps, on two tracks of validation and three of the test."""
    monkeypatch.setattr(racing_controller, "VALIDATION", VALIDATION[:2])
    for module in (racing_controller, controller_scorecard):
        monkeypatch.setattr(module, "TEST", TEST[:3])
    monkeypatch.setattr(racing_controller.ControllerLearner, "rules", SHORT)
    monkeypatch.setattr(
        racing_controller, "driven_without_learning", lambda _: np.arange(5.0) - 30
    )
    restored = ControllerProblem.restored

    def shortened(self: ControllerProblem, *arguments: Any) -> Driver:
        return replace(restored(self, *arguments), rules=SHORT)

    monkeypatch.setattr(ControllerProblem, "restored", shortened)
    return ControllerProblem(blocks(), Cache(tmp_path))


def trial(
    number: int,
    config: ControllerConfig,
    reports: Sequence[Mapping[str, float]],
    role: Role | None = None,
) -> Trial:
    told = tuple(Report(epoch, 0, 0.1, each) for epoch, each in enumerate(reports, start=1))
    role = role or Searched(number)
    return Trial(number, vars(config), {}, role, "finished", told, placements=(HERE,))


def trained(
    problem: ControllerProblem, config: ControllerConfig = QUICK
) -> tuple[Trial, dict[str, Any]]:
    learner = problem.learner(config, Searched(0), CONTEXT)
    rows = advanced(learner, 1, 2, 3)
    return trial(0, config, rows), dict(learner.snapshot().model)


def test_the_error_of_a_track_is_what_its_return_lacks_of_the_highest(
    problem: ControllerProblem,
) -> None:
    one, model = trained(problem)
    found = CARD.outcomes(problem, one, model)
    drives = problem.restored(QUICK, model).drives(TEST[:3])
    expected = [each.total for each in drives]
    assert (CEILING - found.errors).tolist() == pytest.approx(expected)
    assert CARD.factor(study_of([])) * found.score == pytest.approx(np.mean(expected))
    assert found.more["tiles"].tolist() == [each.tiles for each in drives]
    random = found.baselines["random actions"]
    assert (CEILING - random).tolist() == [-28, -27, -26]


@pytest.mark.parametrize("memory", ["trained", "none"])
def test_what_is_shown_of_a_trial_is_its_own(problem: ControllerProblem, memory: Any) -> None:
    found = CARD.outcomes(problem, *trained(problem, replace(QUICK, memory=memory))).more
    assert found["seen"].shape == found["reconstructed"].shape == (6, 3, 32, 32)
    assert ("dreamed" in found) == (memory == "trained")
    assert {"true", "again", "nearest", "sampled", "between"} <= found.keys()


class Scored:
    """Artifacts of trials that were scored."""

    def __init__(self, draws: bool) -> None:
        self.draws = draws

    def outcomes(self, trial: Trial) -> Outcomes:
        frames = np.random.default_rng(0).integers(0, 255, (8, 3, 32, 32), np.uint8)
        names = ["true", "nearest", "seen"]
        if self.draws:
            names += ["again", "sampled", "between", "reconstructed", "dreamed"]
        more = {"tiles": np.full(16, 0.5), **dict.fromkeys(names, frames)}
        return Outcomes(np.zeros(16), np.full(16, CEILING), more)


def study(draws: bool = True) -> RecordedStudy:
    """Two finalists, the second the better one, with two finals of two generations each."""

    def rows(level: float) -> list[Mapping[str, float]]:
        before = {"validation/return": -30.0}
        later = [
            {
                "validation/return": level + 100 * n,
                "train/return": level,
                "train/environment_steps": 30_000.0 * n,
            }
            for n in (1, 2)
        ]
        return [before, before, *later]

    config = replace(QUICK, seed=0)
    trials = [trial(n, config, rows(100.0 * n)) for n in range(2)]
    finals = [
        trial(
            2 + 2 * of + seed,
            replace(config, seed=10 + seed),
            rows(100.0 * of + 10 * seed),
            Replicate(of, 10 + seed),
        )
        for of in range(2)
        for seed in range(2)
    ]
    made = study_of(trials, finals)
    params = {
        **made.params,
        "study": "controller",
        "objective": "validation/return",
        "group_by": "vision",
        "facts.random_actions_return": -33.0,
        "facts.driver_that_sees_the_track_return": 697.0,
    }
    artifacts = cast(Artifacts, Scored(draws))
    return replace(made, params=params, artifacts=artifacts, define=lambda: STUDY)


def test_curves_are_over_environment_steps_beside_ha_s_log() -> None:
    card = next(iter(CARD.cards(study())))
    assert isinstance(card.table, pd.DataFrame)
    assert len(card.table) == 2 * 2 * 2
    assert set(card.table["steps"]) == {30_000, 60_000}
    figure = card.figures["return_curves"]
    assert isinstance(figure, Figure)
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    champion = lines["trial 1, VAE, trained memory, champion"]
    assert np.asarray(champion.get_xdata()).tolist() == [30_000, 60_000]
    assert np.asarray(champion.get_ydata()).tolist() == [205, 305]
    assert np.asarray(lines["Ha, best"].get_xdata())[0] == 25 * 1_024_000
    assert np.asarray(lines["driver that sees the track, test"].get_ydata()).tolist() == [697, 697]


def test_pictures_and_the_animation_have_a_caption_and_a_size_to_send() -> None:
    _, pictures, drive = CARD.cards(study())
    figure = pictures.figures["vision"]
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 5 * 8
    assert isinstance(pictures.table, pd.DataFrame)
    assert pictures.table["mse of reconstructed"].tolist() == [0] * 8
    made = drive.figures["drive"]
    assert isinstance(made, bytes)
    image = Image.open(io.BytesIO(made))
    assert (getattr(image, "n_frames"), image.size[0]) == (4, 3 * 192)  # noqa: B009
    for card in (pictures, drive):
        assert card.captions.keys() == card.figures.keys()
        assert "what the vision draws from" in card.captions[card.name]
    assert "every 25 actions" in drive.captions["drive"]


def test_a_vision_that_draws_nothing_shows_frames_alone() -> None:
    _, pictures, drive = CARD.cards(study(draws=False))
    assert "the vision draws" not in pictures.captions["vision"] + drive.captions["drive"]
    assert "dreams" not in drive.captions["drive"]
    figure = pictures.figures["vision"]
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 2 * 8
    made = drive.figures["drive"]
    assert isinstance(made, bytes)
    assert Image.open(io.BytesIO(made)).size[0] == 192


def test_without_finals_the_best_trial_of_the_search_is_shown() -> None:
    searched = replace(study(), finals=())
    curves, pictures, _ = CARD.cards(searched)
    figure = curves.figures["return_curves"]
    assert isinstance(figure, Figure)
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    best = lines["trial 1, VAE, trained memory"]
    assert np.asarray(best.get_ydata()).tolist() == [200, 300]
    assert "vision" in pictures.figures


def test_without_a_finished_trial_the_reason_is_said() -> None:
    failed = replace(trial(0, QUICK, []), status="failed")
    with pytest.raises(InputError, match="no trial"):
        next(iter(CARD.cards(study_of([failed]))))


def test_the_learning_curve_has_the_return_of_random_actions() -> None:
    found = CARD.learning(study())
    assert found.level == -33
    assert not found.is_error


def test_returns_of_validation_and_test_stand_on_one_axis_and_have_the_same_digits() -> None:
    made = study()
    found = finals.outcome(made)
    assert found is not None
    figure = finals.draw(found, made)
    (axis,) = figure.axes
    drawn = {str(line.get_label()): np.asarray(line.get_xdata()) for line in axis.lines}
    assert drawn["test, a fresh seed"].tolist() == [1000, 1000]
    assert drawn["validation, a fresh seed"].tolist() == [200, 210]  # of the last finalist
    assert axis.get_xlabel() == "return (dimensionless)"
    (row,) = (line for line in finals.markdown(found, made).splitlines() if "trial 0" in line[:40])
    assert [cell.strip() for cell in row.split("|")[2:5]] == ["200.0", "205.0", "-5.0"]


def test_another_quantity_than_the_objective_keeps_its_own_scale() -> None:
    own = {"study": "cartpole", "objective": CARTPOLE.objective, "data.episode_steps": 500}
    balanced = replace(study(), params={**study().params, **own}, define=lambda: CARTPOLE)
    assert finals.scale(study()) == CEILING
    assert finals.scale(balanced) == 1
    assert finals.test_axis(balanced) == "return / 500"
    assert finals.shown_of_validation(balanced, 0.5) == "0.5000"
