"""The scorecard of a study of drives: how trials are scored and what is shown of them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from analysis.curves import Learning, curve, recorded
from analysis.rollout_scores import checked, dream
from analysis.scorecard import Scorecard
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.driving import STRIDE, DrivingProblem
from trainables.rollout import CONTEXT

if TYPE_CHECKING:
    from analysis.cards import Card


class DrivingScorecard(Scorecard):
    """Scores rollouts by their squared errors.

    The score is the mean of two skills: of the teacher-forced rollout, with copying the frame
    before as its reference, and of the free-running one, with the better of freeze and climatology
    at each horizon.
    """

    unit = "episodes"
    quantity = "skill"
    heading = "Rollouts of the test episodes"
    remark = (
        f"A test rollout begins with the first {CONTEXT} frames of its episode; those of the "
        f"validation split begin every {STRIDE} frames, so that the two skills are not of windows "
        "alike: compare configurations within a column. Shorter episodes than a rollout are left "
        "out of both."
    )

    def outcomes(
        self, problem: DrivingProblem, trial: Trial, model: Mapping[str, Any]
    ) -> Outcomes:
        """Scores a trial by rolling out the test episodes; see `analysis.scorecard.Scorecard`.

        Raises:
            InputError: If the model is not the one that the trial recorded.
        """
        network = checked(trial, {"config": trial.config, "model": model}, problem.drives)
        made = dream(network, problem.drives)
        errors, reference = made.judged(problem.horizon)
        return Outcomes(errors, reference, vars(made))

    def learning(self, study: RecordedStudy) -> Learning:
        """Returns the one-step errors over the epochs, with copying the previous frame as the
        baseline; train errors are measured after each epoch, on some of the train episodes.

        Raises:
            InputError: If no trial finished.
        """
        best = study.best_or_refuse()
        share = recorded(best, "validation/persistence_ratio")
        return Learning(
            quantity="one-step mean squared error\n(squared pixel values)",
            name="mse",
            unit="squared pixel values",
            train=lambda trial: curve(trial, "train/mse"),
            validation=lambda trial: curve(trial, "validation/mse"),
            reference="copying the last frame",
            level=recorded(best, "validation/mse") / share,
            mark="copying the last frame",
            during=False,
            caption="Mean squared error over the epochs, of the best trial and of the baseline.",
        )

    def cards(self, study: RecordedStudy) -> "Iterator[Card]":
        """Yields the card with rollouts of the best trial and the baselines.

        Raises:
            InputError: See `analysis.rollouts.make`.
        """
        from analysis import rollouts  # imports plotting, which a node that only scores can skip

        yield rollouts.make(study)

    def published(self, study: RecordedStudy) -> str:
        """Returns the published homework's one-step errors, as Markdown."""
        from analysis.published import of_drives

        del study
        return of_drives().markdown()
