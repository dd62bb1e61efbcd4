"""How a study of molecules is scored and shown."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from analysis.curves import Learning, curve, recorded
from analysis.predictions import Predictions, checked
from analysis.scorecard import Scorecard
from analysis.units import squared
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.molecules import MoleculeProblem, predict

if TYPE_CHECKING:
    from analysis.cards import Card


class MoleculeScorecard(Scorecard):
    """Scores predictions by their squared errors.

    The score is R²: its reference is the squared error of predicting the test targets' mean.
    """

    unit = "molecules"
    heading = "The test split, by family"

    def outcomes(
        self, problem: MoleculeProblem, trial: Trial, model: Mapping[str, Any]
    ) -> Outcomes:
        """Predicts the test split; see `analysis.scorecard.Scorecard`."""
        data, test = problem.molecules, problem.molecules.split.test
        network, task = checked(trial, {"config": trial.config, "model": model}, data)
        made = Predictions(
            row=np.array(data.graphs.rows[test]),
            target=np.array(data.graphs.targets[test]),
            prediction=predict(network, task.store, torch.from_numpy(test)).numpy(),
        )
        return Outcomes(made.errors(), made.reference(), vars(made))

    def learning(self, study: RecordedStudy) -> Learning:
        """Mean squared errors in the square of the target's unit.

        They are compared with predicting the validation split's own mean for every molecule: that
        errs by the split's variance, which R² = 1 - MSE / variance gives back from what any trial
        recorded. A trial that standardizes its target divides the squared error by the variance of
        the train split, which is its ``validation/mse`` over its ``validation/loss``.
        """
        best, unit = study.best_or_refuse(), squared(study.unit)
        variance = recorded(best, "validation/mse") / (1 - recorded(best, "validation/r2"))
        return Learning(
            quantity=f"mean squared error ({unit})",
            name="mse",
            unit=unit,
            train=_training_error,
            validation=lambda trial: curve(trial, "validation/mse"),
            reference="predicting the mean",
            level=variance,
            mark="predicting the mean (R² = 0)",
            during=True,
            caption="Mean squared error over the epochs, of the best trial and of the baseline.",
        )

    def cards(self, study: RecordedStudy) -> "Iterator[Card]":
        """The test scores of each family's best trial."""
        from analysis import r2_table  # draws, which a node that scores need not

        yield r2_table.make(study)

    def published(self, study: RecordedStudy) -> str:
        """Published scores of the dipole moment."""
        from analysis.published import of_dipoles

        return of_dipoles(study).markdown() if study.params["data.target"] == "mu" else ""


def _training_error(trial: Trial) -> Any:
    train = curve(trial, "train/loss")
    # Squared error by loss: the variance that this trial's loss is measured in.
    scale = recorded(trial, "validation/mse") / recorded(trial, "validation/loss")
    return train.times(scale)
