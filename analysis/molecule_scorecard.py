"""The scorecard of a study of molecules: how trials are scored and what is shown of them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from analysis.curves import Curve, Learning, curve, recorded
from analysis.predictions import Predictions, checked, of_prior
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
    quantity = "R²"
    heading = "The test split, by family"

    def outcomes(
        self, problem: MoleculeProblem, trial: Trial, model: Mapping[str, Any]
    ) -> Outcomes:
        """Scores a trial by its test predictions; see `analysis.scorecard.Scorecard`.

        Raises:
            InputError: If the model is not the one that the trial recorded.
        """
        data, test = problem.molecules, problem.molecules.split.test
        network, task = checked(trial, {"config": trial.config, "model": model}, data)
        prior, line = of_prior(data.graphs, data.split)
        made = Predictions(
            row=np.array(data.graphs.rows[test]),
            target=np.array(data.graphs.targets[test]),
            prediction=predict(network, task.store, torch.from_numpy(test)).numpy(),
            prior=prior,
            line=line,
        )
        without_network = {
            name: (values - made.target) ** 2 for name, values in made.of_prior.items()
        }
        return Outcomes(made.errors(), made.reference(), vars(made), without_network)

    def learning(self, study: RecordedStudy) -> Learning:
        """Returns mean squared errors over the epochs, in the square of the target's unit.

        The baseline predicts the validation split's own mean for every molecule. Its error is the
        variance of that split, computed from the best trial's metrics by R² = 1 - MSE / variance.
        A trial that standardizes its target records the squared error divided by the variance of
        the train split as its loss; that variance is its ``validation/mse`` over its
        ``validation/loss``, and the training loss is multiplied by it.

        Raises:
            InputError: If no trial finished.
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
            caption="Mean squared error over the epochs, of the best trial and of the baseline; "
            "on the train split of those whose loss is the squared error.",
        )

    def cards(self, study: RecordedStudy) -> "Iterator[Card]":
        """Yields the card with the test scores of each family's best trial.

        Raises:
            InputError: See `analysis.r2_table.make`.
        """
        from analysis import r2_table  # imports plotting, which a node that only scores can skip

        yield r2_table.make(study)

    def published(self, study: RecordedStudy) -> str:
        """Returns published scores of the dipole moment, as Markdown; empty for other targets."""
        from analysis.published import of_dipoles

        return of_dipoles(study).markdown() if study.params["data.target"] == "mu" else ""


def _training_error(trial: Trial) -> Curve:
    """Returns the squared error on the train split, from the loss; empty if the loss was another
    than the squared error."""
    if trial.config.get("loss", "squared") != "squared":
        return Curve(np.empty(0, np.int64), np.empty(0))
    train = curve(trial, "train/loss")
    # The squared error over the loss is the variance by which this trial's loss is scaled.
    scale = recorded(trial, "validation/mse") / recorded(trial, "validation/loss")
    return train.times(scale)
