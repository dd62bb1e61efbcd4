"""Asynchronous successive halving (Li et al. 2020, https://arxiv.org/abs/1810.05934).

At certain epochs, the rungs, a trial is compared with all other search trials that reached the
rung before it, in this session or an earlier one, however they ended. A trial whose value is below
the quantile 1 - 1 / REDUCTION of theirs, which is the median, is stopped early. Baselines take
part in the comparison but are never stopped.
"""

from collections.abc import Sequence

import numpy as np

from engine.rungs import REDUCTION
from record.state import StudyState
from record.trial import Baseline, Searched, Trial


class Halving:
    """Decides which trials are stopped early.

    Args:
        state: State of the study.
        rungs: Epochs after which trials are compared.
    """

    def __init__(self, state: StudyState, rungs: Sequence[int]) -> None:
        self.state = state
        self.reached: dict[int, dict[int, float]] = {rung: {} for rung in rungs}
        for trial in state.search():
            self.is_behind(trial)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which trials are compared."""
        return tuple(self.reached)

    def is_behind(self, trial: Trial) -> bool:
        """Records the rungs that a trial reached since the last call.

        Returns:
            True if the trial should be stopped at one of them.
        """
        if not isinstance(trial.role, Searched | Baseline):
            return False
        new = [r for r in self.rungs if r <= trial.epoch and trial.number not in self.reached[r]]
        behind = [self._is_behind(trial, rung) for rung in new]
        return any(behind) and not isinstance(trial.role, Baseline)

    def _is_behind(self, trial: Trial, rung: int) -> bool:
        others = list(self.reached[rung].values())
        value = self.state.merit(trial.reports[rung - 1])
        self.reached[rung][trial.number] = value
        return bool(others) and value < float(np.percentile(others, 100 * (1 - 1 / REDUCTION)))
