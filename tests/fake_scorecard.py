"""A scorecard of the fake study, for tests of the end of a study."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.cards import Card
from analysis.scorecard import Scorecard
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial

TOSSES = 8
"""Number of units in the test split."""


def a_card(study: RecordedStudy) -> Iterable[Card]:
    """Yields one card, a table with the number of trials."""
    table = pd.DataFrame({"trials": [len(study.trials)]})
    yield Card("tosses", "tosses", "planted: the card of the tosses", table)


@dataclass(frozen=True)
class FakeScorecard(Scorecard):
    """A scorecard that computes a trial's errors on invented units, tosses, from its level.

    Attributes:
        show: Function that makes the cards of a study.
        is_fragile: The first call ends its process.
    """

    show: Callable[[RecordedStudy], Iterable[Card]] = a_card
    is_fragile: bool = False

    unit = "tosses"
    heading = "The tosses"

    def outcomes(self, problem: Any, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        del problem, model
        if marker := trial.config["marker"]:
            is_first = not Path(marker).exists()
            Path(marker).touch()
            if self.is_fragile and is_first:
                os._exit(1)
        luck = np.random.default_rng(trial.number).random(TOSSES)
        return Outcomes((1 - trial.config["level"]) * luck, np.ones(TOSSES))

    def cards(self, study: RecordedStudy) -> Iterable[Card]:
        return self.show(study)
