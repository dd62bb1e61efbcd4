"""A recorded study: its definition, its trials, and results derived from them.

It is read from the study's log, or from MLflow if this machine has no log of it; see
`record.reading`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import Any, TypeVar, cast

from datasets.errors import InputError
from record import names, values
from record.artifacts import Artifacts
from record.definition import Definition
from record.own_commands import own_command
from record.tracker import StudyStatus
from record.trial import WITHOUT_RESULT, Placement, Replicate, Trial

DataOptions = TypeVar("DataOptions")

Space = Sequence[Mapping[str, Any]]
"""The searched parameters, in the form of `record.events.SessionBegan`."""


@dataclass(frozen=True)
class RecordedStudy:
    """A recorded study with its trials.

    Trials whose MLflow run the user deleted are left out, as are open trials that have not begun.

    Attributes:
        name: Name of the study.
        status: ``FINISHED``; ``FAILED``: no trial finished; ``KILLED``: stopped before all trials
            were done; ``RUNNING``: running, or cut off.
        params: Definition of the study: typed values by the names of `record.names`.
        tags: Facts that may change between sessions, such as the command, as strings.
        trials: Trials of the search, by number.
        finals: Trials that train finalists again, by number.
        artifacts: Artifacts of the study's MLflow runs.
        read_space: Reads the searched parameters; returns None if they are unknown.
        define: Returns the ``STUDY`` that was recorded; see `record.definition`.
    """

    name: str
    status: StudyStatus
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    trials: tuple[Trial, ...]
    finals: tuple[Trial, ...]
    artifacts: Artifacts = field(compare=False, repr=False)
    read_space: Callable[[], Space | None] = field(compare=False, repr=False)
    define: Callable[[], Any] = field(compare=False, repr=False)

    # Definition

    @property
    def objective(self) -> str:
        """Name of the metric that the study maximised, on the validation split."""
        return self.params[names.OBJECTIVE]

    @property
    def question(self) -> str:
        """The question that the study answers."""
        return self.tags.get(names.QUESTION, "")

    @property
    def group_by(self) -> str:
        """Name of the hyperparameter whose values are compared, such as the family."""
        return self.params[names.GROUP_BY]

    @cached_property
    def definition(self) -> Definition:
        """The ``STUDY`` that was recorded.

        Raises:
            InputError: If it cannot be imported, or is of another study; the message says what to
                do.
        """
        found = self.define()
        if found.key != (key := self.params[names.STUDY]):
            raise InputError(f"{self.name} is a study of {key}, that file defines {found.key}")
        return found

    @property
    def scorecard(self) -> Any:
        """The study's `analysis.scorecard.Scorecard`, which scores and presents its trials.

        Raises:
            InputError: If the study has none.
        """
        if (found := self.definition.scorecard) is None:
            raise InputError(f"{self.name} has no scorecard: nothing of it is scored or drawn")
        return found

    @property
    def unit(self) -> str:
        """Unit of the target."""
        return self.fact("unit", "unit unknown")

    @cached_property
    def space(self) -> Space | None:
        """The parameters that the study was begun with, of which a later session may have searched
        some only; None if they are unknown."""
        return self.read_space()

    def fact(self, name: str, otherwise: Any = None) -> Any:
        """Returns a fact found in the study's data, such as the unit or the split sizes.

        Args:
            name: Name of the fact.
            otherwise: Value to return if the fact was not recorded; None to raise.

        Raises:
            InputError: If the fact was not recorded, and `otherwise` is None.
        """
        told = self.params.get(names.FACTS + name, otherwise)
        if told is None:
            raise InputError(
                f"{self.name} does not say what {name} its data have: an older or a newer version "
                "of the code recorded it; check out that version"
            )
        return told

    def data_options(self, kind: type[DataOptions]) -> DataOptions:
        """Returns the study's data options.

        Args:
            kind: Dataclass of the data options.

        Raises:
            InputError: If the options were recorded by another version of the code.
        """
        options = {
            name.removeprefix(names.OPTIONS): value
            for name, value in self.params.items()
            if name.startswith(names.OPTIONS)
        }
        return values.made_of(kind, options)

    def numbers(self, tag: str) -> list[int]:
        """Returns the integers that a tag lists.

        Raises:
            InputError: If the tag lists something else.
        """
        listed = [text for text in self.tags.get(tag, "").split(", ") if text]
        for text in listed:
            if not text.isdecimal():
                raise InputError(
                    f"{tag} of {self.name} is recorded as {text!r}: expected a number, as the "
                    "study wrote it; put it back in MLflow"
                )
        return list(map(int, listed))

    # Trials

    @property
    def every(self) -> tuple[Trial, ...]:
        """All trials: those of the search, and then the finals."""
        return (*self.trials, *self.finals)

    def trial(self, number: int) -> Trial:
        """Returns the search trial with this number, which must exist."""
        return next(trial for trial in self.trials if trial.number == number)

    def value(self, trial: Trial) -> float:
        """Returns the objective after a trial's last epoch.

        Raises:
            InputError: If the trial has none.
        """
        value = trial.value(self.objective)
        if value is None:
            raise InputError(
                f"trial {trial.number} of {self.name} has no {self.objective}, which the study "
                f"wrote: `{own_command('studies.doctor')} {self.name} --repair` puts it back"
            )
        return value

    def group(self, trial: Trial) -> str:
        """Returns a trial's value of `group_by`, as a string."""
        return str(trial.config[self.group_by])

    @property
    def groups(self) -> dict[str, tuple[Trial, ...]]:
        """Value of `group_by` -> its search trials; ordered by the first trial of each value."""
        found = dict.fromkeys(map(self.group, self.trials))
        return {
            value: tuple(trial for trial in self.trials if self.group(trial) == value)
            for value in found
        }

    @property
    def defaults(self) -> set[int]:
        """Numbers of the trials with a default configuration, or a preset's."""
        if names.DEFAULTS in self.tags:
            return set(self.numbers(names.DEFAULTS))
        return {trial.number for trial in self.trials if trial.is_baseline}

    def trained_with(self, tell: Callable[[Placement], str]) -> tuple[str, ...]:
        """Returns the distinct non-empty texts for all placements, in order of first appearance.

        Args:
            tell: Returns the text for a placement, such as its device.
        """
        told = [tell(placement) for trial in self.every for placement in trial.placements]
        return tuple(dict.fromkeys(filter(None, told)))

    def best(self, trials: Iterable[Trial]) -> Trial | None:
        """Returns the finished trial with the highest objective; None if none has finished.

        Pruned trials do not compete, because they were trained for fewer epochs. Of equal trials
        the latest wins, which is also the one whose weights the study keeps.
        """
        finished = [trial for trial in trials if trial.status == "finished"]
        return max(finished, key=lambda trial: (self.value(trial), trial.number), default=None)

    def best_or_refuse(self) -> Trial:
        """Returns the best trial of the search.

        Raises:
            InputError: If no trial finished.
        """
        best = self.best(self.trials)
        if best is None:
            raise InputError(f"no trial of {self.name} finished, so there is nothing to compare")
        return best

    # Finals

    def finals_of(self, number: int) -> list[Trial]:
        """Returns all finals of a finalist, whatever their status."""
        return [final for final in self.finals if final.replicate_of == number]

    @cached_property
    def finalists(self) -> dict[int, tuple[Trial, ...]]:
        """Number of a finalist -> its finished finals; finalists without any are left out.

        If the finals were cut short, some finalists were trained with more seeds than others. Only
        seeds with which the finals of all finalists ended count, whether they finished or failed;
        those that were dropped, and therefore have fewer, do not limit the others. Finalists that
        were deleted in MLflow are left out too.
        """
        there = {trial.number for trial in self.trials}
        over = [final for final in self.finals if _is_over(final)]
        numbers = [n for n in dict.fromkeys(map(_replicated, over)) if n in there]
        limiting = [n for n in numbers if not self.trial(n).dropped] or numbers
        had = [{_seed(final) for final in over if _replicated(final) == n} for n in limiting]
        common = set.intersection(*had) if had else set()
        counted = [final for final in over if final.status == "finished"]
        counted = [final for final in counted if _seed(final) in common]
        found = {
            number: tuple(final for final in counted if _replicated(final) == number)
            for number in numbers
        }
        return {number: finals for number, finals in found.items() if finals}

    @property
    def without_finals(self) -> tuple[int, ...]:
        """Numbers of the finalists without a final that counts: all failed, or were cut short."""
        wanted = dict.fromkeys(map(_replicated, self.finals))
        return tuple(number for number in wanted if number not in self.finalists)

    def failed_finals(self, number: int) -> int:
        """Returns the number of a finalist's finals that ended without a result."""
        return sum(final.status in WITHOUT_RESULT for final in self.finals_of(number))

    @property
    def champion(self) -> Trial | None:
        """The finalist with the highest mean objective over its fresh seeds; None without finals.

        A dropped finalist wins only if all were dropped; of the others one with a failed final
        only if all have one, and one with a single finished final only if no finalist has more.
        """
        most = max((len(finals) for finals in self.finalists.values()), default=0)

        def standing(number: int) -> tuple[bool, bool, bool, float]:
            finals = self.finalists[number]
            counts = len(finals) >= min(2, most)
            mean = fmean(map(self.value, finals))
            is_in = not self.trial(number).dropped
            return is_in, counts, not self.failed_finals(number), mean

        number = max(self.finalists, key=standing, default=None)
        return None if number is None else self.trial(number)

    @property
    def champion_final(self) -> Trial | None:
        """The champion's final with the highest objective, whose weights are registered.

        None without finals.
        """
        return self.best(self.finalists[self.champion.number]) if self.champion else None

    def check_ended(self) -> None:
        """Checks that the test split may be used, which is only allowed after the study's end.

        Raises:
            InputError: If the study has not ended, or no trial of it finished.
        """
        if self.status not in ("FINISHED", "FAILED"):
            less = "--finalists 0" if self.finals else "a smaller --trials"
            raise InputError(
                f"{self.name} has not ended ({self.status}) and the test split is scored at the "
                f"end only: repeat its command to go on, or with {less} to end it"
            )
        if self.best(self.trials) is None:
            raise InputError(f"no trial of {self.name} finished, so there is nothing to score")

    # Deleted trials

    def without(self, numbers: Collection[int]) -> "RecordedStudy":
        """Returns the study without the trials and finals of these numbers."""
        return replace(
            self,
            trials=tuple(trial for trial in self.trials if trial.number not in numbers),
            finals=tuple(final for final in self.finals if final.number not in numbers),
        )

    def in_mlflow(self) -> "RecordedStudy":
        """Returns the study without the trials whose MLflow run the user deleted.

        This queries MLflow, which may know of deletions that the log does not have yet.

        Raises:
            InputError: If MLflow cannot be read, or does not know the study.
        """
        return self.without(self.artifacts.runs.deleted)


def _is_over(final: Trial) -> bool:
    return final.status in ("finished", *WITHOUT_RESULT)


def _replicated(final: Trial) -> int:
    return cast(Replicate, final.role).of


def _seed(final: Trial) -> int:
    return cast(Replicate, final.role).seed
