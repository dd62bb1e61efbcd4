"""Scores and shows the fake study: for the tests of how a study ends."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.cards import Card
from analysis.scorecard import Scorecard
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial

TOSSES = 8
"""Units of the test split."""


def a_card(study: RecordedStudy) -> Iterable[Card]:
    """Shows how many trials there are."""
    table = pd.DataFrame({"trials": [len(study.trials)]})
    yield Card("tosses", "tosses", "planted: the card of the tosses", table)


@dataclass(frozen=True)
class FakeScorecard(Scorecard):
    """Scores a trial by its level, on tosses.

    Attributes:
        show: Makes the cards.
    """

    show: Callable[[RecordedStudy], Iterable[Card]] = a_card

    unit = "tosses"
    heading = "The tosses"

    def outcomes(self, problem: Any, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        del problem, model
        luck = np.random.default_rng(trial.number).random(TOSSES)
        return Outcomes((1 - trial.config["level"]) * luck, np.ones(TOSSES))

    def cards(self, study: RecordedStudy) -> Iterable[Card]:
        return self.show(study)
