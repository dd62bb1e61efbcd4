"""The scorecard of a study whose problem is a `trainables.tensors.TensorProblem`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from analysis.curves import Learning, curve
from analysis.scorecard import Scorecard
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial
from record.values import made_of
from trainables.tensors import TensorProblem

CPU = torch.device("cpu")


@dataclass(frozen=True)
class TensorScorecard(Scorecard):
    """Scores networks by the problem's own error of each test sample.

    Attributes:
        config: The study's config class.
        unit: Name of the samples, in the plural.
    """

    config: type[Any]
    unit: str = "samples"

    def outcomes(self, problem: TensorProblem, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        """Scores a trial by its errors on the test split; see `analysis.scorecard.Scorecard`."""
        network = problem.network(made_of(self.config, trial.config))
        network.load_state_dict(model)
        test = problem.split.test
        errors = problem.errors(network.eval(), test, CPU)
        return Outcomes(errors.numpy(), problem.references(test).numpy())

    def learning(self, study: RecordedStudy) -> Learning:
        """Returns train and validation loss over the epochs.

        Raises:
            InputError: If no trial finished.
        """
        study.best_or_refuse()
        return Learning(
            quantity="loss",
            name="loss",
            unit="",
            train=lambda trial: curve(trial, "train/loss"),
            validation=lambda trial: curve(trial, "validation/loss"),
            caption="The loss over the epochs, of the best trial and of the baseline.",
            during=True,
            is_error=True,
        )
