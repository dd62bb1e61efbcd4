"""The models that a study predicts with: the champion's finals, one per fresh seed, or, without
finals, the best trial of the search."""

from dataclasses import dataclass
from typing import Any

from analysis.kept_weights import weights
from analysis.markdown import escaped
from datasets.errors import InputError
from record.recorded_study import RecordedStudy
from record.trial import Trial


@dataclass(frozen=True)
class Champion:
    """A study's champion, or its best trial if it has none, with the weights that were kept.

    Attributes:
        trial: The trial of the search with this configuration.
        finals: The trainings on fresh seeds, or the trial alone, each with its weights as
            `kept_weights.weights` returns them.
    """

    trial: Trial
    finals: tuple[tuple[Trial, dict[str, Any]], ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The training seeds of the finals."""
        return tuple(final.config["seed"] for final, _ in self.finals)

    @property
    def has_finals(self) -> bool:
        """Whether this is a champion, trained again on fresh seeds, and not a trial alone."""
        return self.finals[0][0].replicate_of is not None

    @property
    def title(self) -> str:
        """``the champion`` or ``the best trial of the search``, with configuration and trial
        number; Markdown."""
        called = "the champion" if self.has_finals else "the best trial of the search"
        return f"{called}, {escaped(self.trial.title)} (trial {self.trial.number})"

    @property
    def trainings(self) -> str:
        """The number of trainings and their seeds, as text: ``2 trainings, seeds 4, 5``."""
        seeds = ", ".join(map(str, self.seeds))
        several = len(self.finals) > 1
        return f"{len(self.finals)} training{'s' * several}, seed{'s' * several} {seeds}"

    @property
    def remark(self) -> str:
        """The caveat that goes with a single trial in place of a champion; empty for a
        champion."""
        if self.has_finals:
            return ""
        return (
            " It is one training, the search's own, and how far others differ is not known: the "
            "study's command with --finalists 5 trains the best configurations again."
        )


def champion_of(study: RecordedStudy) -> Champion:
    """Fetches the champion of a study, or its best trial if it has no finals, with its weights.

    Raises:
        InputError: If the study has not ended, has no finished trial, or kept no weights of the
            one that would predict.
    """
    if study.status not in ("FINISHED", "FAILED"):
        raise InputError(
            f"{study.name} has not come to its end ({study.status}), where its champion is "
            "chosen: repeat its command to go on"
        )
    champion = study.champion
    trial = champion or study.best(study.trials)
    if trial is None:
        raise InputError(f"no trial of {study.name} finished: there is nothing to predict with")
    trainings = study.finalists[trial.number] if champion else (trial,)
    fetched = [(training, weights(study, training)) for training in trainings]
    kept = tuple((training, found) for training, found in fetched if found is not None)
    if not kept:
        which = "'s finals, the champion" if champion else ", the best"
        raise InputError(
            f"the weights of trial {trial.number}{which} of {study.name}, were not kept: nothing "
            "can be predicted"
        )
    return Champion(trial, kept)
