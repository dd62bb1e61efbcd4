"""The finals of a study's champion, each trained with a seed of its own, to predict with."""

from dataclasses import dataclass
from typing import Any

from analysis.runs import StudyRuns, TrackingStore, TrialRun
from datasets.errors import InputError


@dataclass(frozen=True)
class Champion:
    """A champion, as far as its weights were kept.

    Attributes:
        trial: The trial of the search that had its configuration.
        finals: Its trainings on fresh seeds, and of each what `TrackingStore.weights` gives.
    """

    trial: TrialRun
    finals: tuple[tuple[TrialRun, dict[str, Any]], ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the finals."""
        return tuple(int(final.params["seed"]) for final, _ in self.finals)

    @property
    def title(self) -> str:
        """Configuration and trial."""
        return f"{self.trial.configuration} (trial {self.trial.number})"

    @property
    def trainings(self) -> str:
        """How many there are, and with which seeds."""
        seeds = ", ".join(map(str, self.seeds))
        several = len(self.finals) > 1
        return f"{len(self.finals)} training{'s' * several}, seed{'s' * several} {seeds}"


def champion_of(store: TrackingStore, runs: StudyRuns) -> Champion:
    """Fetches the champion of a study.

    Raises:
        InputError: If it has none, or no weights of it were kept.
    """
    if runs.status != "FINISHED":
        raise InputError(
            f"{runs.name} has not come to its end ({runs.status}), where its champion is chosen: "
            "repeat its command to go on"
        )
    trial = runs.champion
    if trial is None:
        raise InputError(
            f"{runs.name} has no finals, and so no champion: repeat its command with --finalists 5"
        )
    fetched = [(final, store.weights(final)) for final in runs.finalists[trial.number]]
    kept = tuple((final, weights) for final, weights in fetched if weights is not None)
    if not kept:
        raise InputError(
            f"the weights of trial {trial.number}'s finals, the champion of {runs.name}, were not "
            "kept: nothing can be predicted"
        )
    return Champion(trial, kept)
