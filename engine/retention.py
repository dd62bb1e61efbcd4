"""Which trials keep a checkpoint: disk use is bounded, whatever the number of trials."""

from engine.checkpoints import Checkpoints
from record.state import StudyState
from record.trial import Baseline, Searched, Trial


def retained(state: StudyState, group_by: str, count: int) -> set[int]:
    """Numbers of the trials that keep their last checkpoint, which is the one that the objective
    is of: the best `count` of the search, and what the analyses look at, the baselines, the best
    of each group, and whatever was trained beside the search.

    Args:
        state: The study.
        group_by: The config field whose values are compared.
        count: How many of the best, whatever their group.
    """
    finished = state.with_status("finished")
    others = {t.number for t in finished if not isinstance(t.role, Searched | Baseline)}
    searched = [trial for trial in finished if trial.number not in others]
    ascending = sorted(searched, key=state.standing)
    best_of_group = {trial.config[group_by]: trial.number for trial in ascending}
    baselines = {trial.number for trial in searched if isinstance(trial.role, Baseline)}
    best = {trial.number for trial in ascending[max(0, len(ascending) - count) :]}
    return others | best | set(best_of_group.values()) | baselines


class Retention:
    """Removes the checkpoints that nobody needs, as trials end.

    Args:
        state: The study.
        checkpoints: Of the study.
        group_by: See `retained`.
        count: See `retained`.
    """

    def __init__(
        self, state: StudyState, checkpoints: Checkpoints, group_by: str, count: int
    ) -> None:
        self.state = state
        self.checkpoints = checkpoints
        self.group_by = group_by
        self.count = count
        self.staying = self._kept()

    def changed(self, trial: Trial) -> None:
        """A trial may have ended: its own checkpoints, and those of who is no longer among the
        best, are looked at.

        Raises:
            OSError: If a checkpoint cannot be read.
        """
        if not trial.is_open:
            before, self.staying = self.staying, self._kept()
            self._remove({trial.number} | (before - self.staying))

    def sweep(self) -> None:
        """Looks at all trials that have ended: a session that was cut off may not have.

        Raises:
            OSError: If a checkpoint cannot be read.
        """
        self._remove({trial.number for trial in self.state.trials() if not trial.is_open})

    def _remove(self, numbers: set[int]) -> None:
        for number in sorted(numbers):
            self.checkpoints.keep(number, 1 if number in self.staying else 0)

    def _kept(self) -> set[int]:
        return retained(self.state, self.group_by, self.count)
