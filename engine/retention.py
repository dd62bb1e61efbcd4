"""Decides which trials keep a checkpoint, so that disk usage stays bounded in a long search."""

from engine.checkpoints import Checkpoints
from record.state import StudyState
from record.trial import Baseline, Searched, Trial


def retained(state: StudyState, group_by: str, count: int) -> set[int]:
    """Returns the numbers of the finished trials that keep their last checkpoint.

    These are the best `count` trials of the search, and those that the analyses need: the
    baselines, the best trial of each group, and all trials outside of the search, such as finals.

    Args:
        state: State of the study.
        group_by: Config field whose values define the groups.
        count: Number of best trials, over all groups.
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
    """Removes checkpoints that are no longer needed; an observer of `engine.driver.Driver`.

    Args:
        state: State of the study.
        checkpoints: Checkpoints of the study.
        group_by: Config field whose values define the groups, see `retained`.
        count: Number of best trials that keep a checkpoint, see `retained`.
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
        """Removes checkpoints if the trial has ended: its own surplus ones, and those of trials
        that it displaced from the best.

        Raises:
            OSError: If a checkpoint cannot be read.
        """
        if not trial.is_open:
            before, self.staying = self.staying, self._kept()
            self._remove({trial.number} | (before - self.staying))

    def sweep(self) -> None:
        """Removes surplus checkpoints of all ended trials, which an interrupted session may have
        left.

        Raises:
            OSError: If a checkpoint cannot be read.
        """
        self._remove({trial.number for trial in self.state.trials() if not trial.is_open})

    def _remove(self, numbers: set[int]) -> None:
        for number in sorted(numbers):
            self.checkpoints.keep(number, 1 if number in self.staying else 0)

    def _kept(self) -> set[int]:
        return retained(self.state, self.group_by, self.count)
