"""How the trials of a study are scored and shown: all that the analyses ask of a study."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from analysis.curves import Learning, of_the_objective
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial

if TYPE_CHECKING:
    from analysis.cards import Card


class Scorecard(ABC):
    """Scores and shows the trials of one kind of problem; picklable.

    Attributes:
        unit: What the test split consists of, in the plural: molecules, episodes, tracks.
        remark: What tells a score on the test split from one on the validation split, as a
            sentence; empty where they are the same quantity.
        heading: Of the report's section with the cards of `cards`.
    """

    unit: str
    remark: str = ""
    heading: str = "The test split"

    @abstractmethod
    def outcomes(self, problem: Any, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        """Scores a finished trial on the test split; each trial is scored once.

        Args:
            problem: What the study learned from.
            trial: Its configuration, its role, and what it reached on the validation split.
            model: What it has learned: `trainables.learner.Snapshot.model`.

        Raises:
            InputError: If the model is not the one that the trial recorded.
        """

    def learning(self, study: RecordedStudy) -> Learning:
        """What is drawn of how trials learned: by default the objective over the epochs.

        Raises:
            InputError: If no trial finished.
        """
        return of_the_objective(study)

    def cards(self, study: RecordedStudy) -> "Iterable[Card]":
        """What the study shows beside its finals and how its trials learned; by default nothing.

        Raises:
            InputError: If there is nothing to show, with the reason.
        """
        del study
        return ()

    def published(self, study: RecordedStudy) -> str:
        """Published figures that the study's are set beside, as Markdown; by default none."""
        del study
        return ""
