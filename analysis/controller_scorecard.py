"""The scorecard of a study of controllers: how trials are scored and what is shown of them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.curves import Learning, curve
from analysis.scorecard import Scorecard
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial
from record.values import made_of
from trainables import sights
from trainables.controller_config import ControllerConfig
from trainables.racing_controller import PATIENCE, RANDOM, TEST, ControllerProblem, returns
from trainables.visions import VISIONS

if TYPE_CHECKING:
    from analysis.cards import Card

CEILING = 1000.0
"""Return that no drive exceeds: the sum of all tiles."""


class ControllerScorecard(Scorecard):
    """Scores controllers by their return on the test tracks."""

    unit = "tracks"
    quantity = "return"
    heading = "What the controller sees, and how it drives"
    remark = (
        "The return is 1,000 shared among the tiles of a track for those that the car reaches, "
        "less 0.1 for each of at most 1,000 steps, and less 100 where the car leaves the field. "
        "One controller is scored: the mean of the distribution from which CMA-ES would draw the "
        "next candidates. Test tracks are others than those of validation. The driver that sees "
        "the track is the one that recorded the drives, with a trembling hand and a cruising "
        "speed drawn for each drive: a reference, not the best that is possible."
    )

    def outcomes(
        self, problem: ControllerProblem, trial: Trial, model: Mapping[str, Any]
    ) -> Outcomes:
        """Scores a trial by how much its returns lack; see `analysis.scorecard.Scorecard`."""
        config = made_of(ControllerConfig, trial.config)
        driver = problem.restored(config, model)
        found = driver.drives(TEST)
        return Outcomes(
            errors=CEILING - returns(found),
            reference=np.full(len(TEST), CEILING),
            more={
                "tiles": np.array([each.tiles for each in found]),
                **driver.watched(TEST[0], dreams=config.memory == "trained"),
                **sights.of_frames(
                    driver.senses.vision, problem.drives, VISIONS[config.vision].has_prior
                ),
            },
            baselines={name: CEILING - found for name, found in problem.baselines.items()},
        )

    def factor(self, study: RecordedStudy) -> float:
        """Returns the highest possible return: scores are printed as returns."""
        del study
        return CEILING

    def learning(self, study: RecordedStudy) -> Learning:
        """Returns the return over the epochs.

        Raises:
            InputError: If no trial finished.
        """
        study.best_or_refuse()
        return Learning(
            quantity="return",
            name="return",
            unit="",
            train=lambda trial: curve(trial, "train/return"),
            validation=lambda trial: curve(trial, "validation/return"),
            reference=RANDOM,
            level=study.fact("random_actions_return"),
            mark=f"{RANDOM}, test tracks",
            during=True,
            is_error=False,
            caption="Return over the epochs, of the best trial and of the baseline: the average "
            f"over the candidates of a generation, whose drives are cut off after {PATIENCE} "
            "steps without a new tile, and that of the mean controller on the validation tracks. "
            "Vision and memory learn in the first epochs.",
        )

    def cards(self, study: RecordedStudy) -> "Iterator[Card]":
        """Yields the curves over environment steps, what the vision makes of frames, and an
        animation of a drive; see `analysis.controller_cards.make`.

        Raises:
            InputError: If no trial finished.
        """
        from analysis import controller_cards  # imports plotting, which scoring can skip

        yield from controller_cards.make(study)
