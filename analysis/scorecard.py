"""The scorecard: the interface by which a study scores its trials and shows its results."""

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
        unit: The samples of the test split, in the plural: molecules, episodes, tracks.
        quantity: Name of the score on the test split in tables, 1 - error / reference.
        remark: A sentence on how scores on the test and validation splits differ; empty if they
            are the same quantity.
        heading: Heading of the report's section that shows `cards`.
        unseen: Continues "on the test UNITS" by what the search did not see of them.
    """

    unit: str
    quantity: str = "score"
    remark: str = ""
    heading: str = "The test split"
    unseen: str = "that neither the search nor this choice saw"

    @abstractmethod
    def outcomes(self, problem: Any, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        """Scores a finished trial on the test split; each trial is scored once.

        Args:
            problem: The study's problem, with its data.
            trial: The trial, with its configuration, role and recorded metrics.
            model: The trained model: `trainables.learner.Snapshot.model`.

        Raises:
            InputError: If the model is not the one that the trial recorded.
        """

    def factor(self, study: RecordedStudy) -> float:
        """Returns the number by which scores on the test split are multiplied to be printed, such
        as the highest possible return; by default 1."""
        del study
        return 1.0

    def learning(self, study: RecordedStudy) -> Learning:
        """Returns what the figure of learning curves shows: by default the objective over the
        epochs.

        Raises:
            InputError: If no trial finished.
        """
        return of_the_objective(study)

    def cards(self, study: RecordedStudy) -> "Iterable[Card]":
        """Yields further results for the report, beside finals and learning curves; by default
        none.

        Raises:
            InputError: If there is nothing to show; the message is the reason.
        """
        del study
        return ()

    def published(self, study: RecordedStudy) -> str:
        """Returns published results to compare the study's with, as Markdown; by default none."""
        del study
        return ""
