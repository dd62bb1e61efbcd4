"""A study as it is known: what it asked, its trials, and what follows from them alone.

It is read from the study's log, or from MLflow where this machine has no log of it; see
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
from record.tracker import StudyStatus
from record.trial import WITHOUT_RESULT, Placement, Replicate, Trial

DataOptions = TypeVar("DataOptions")

Space = Sequence[Mapping[str, Any]]
"""What is searched, as `record.events.SessionBegan` has it."""


@dataclass(frozen=True)
class RecordedStudy:
    """A study, with the trials of which something is to be told.

    Trials whose runs the user deleted in MLflow are left out, and so are those that have not begun
    and may.

    Attributes:
        name: The study's.
        status: FINISHED; FAILED: no trial finished; KILLED: stopped before all trials were done;
            RUNNING: that, or cut off.
        params: What the study is: typed, by the names of `record.names`.
        tags: What changes from session to session, such as the command; as texts.
        trials: Those of the search, by number.
        finals: Those that train finalists again, by number.
        artifacts: What is kept with its runs in MLflow.
        read_space: Gives what was searched; None where that is not known.
        define: Gives the ``STUDY`` that it is a record of; see `record.definition`.
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

    # What it is

    @property
    def objective(self) -> str:
        """The metric that the study maximised, on the validation split."""
        return self.params[names.OBJECTIVE]

    @property
    def question(self) -> str:
        """What it asks."""
        return self.tags.get(names.QUESTION, "")

    @property
    def group_by(self) -> str:
        """The hyperparameter whose values are compared, such as the family."""
        return self.params[names.GROUP_BY]

    @cached_property
    def definition(self) -> Definition:
        """The ``STUDY`` that it is a record of.

        Raises:
            InputError: If that is not to be had; the message says how it is.
        """
        found = self.define()
        if found.key != (key := self.params[names.STUDY]):
            raise InputError(f"{self.name} is a study of {key}, that file defines {found.key}")
        return found

    @property
    def scorecard(self) -> Any:
        """What scores and shows its trials.

        Raises:
            InputError: If the study has none.
        """
        if (found := self.definition.scorecard) is None:
            raise InputError(f"{self.name} has no scorecard: nothing of it is scored or drawn")
        return found

    @property
    def unit(self) -> str:
        """Of the target."""
        return self.fact("unit", "unit unknown")

    @cached_property
    def space(self) -> Space | None:
        """What was searched; None where that is not known."""
        return self.read_space()

    def fact(self, name: str, otherwise: Any = None) -> Any:
        """What was found in its data, such as the unit and the sizes of the split.

        Raises:
            InputError: If that was not recorded, and nothing stands for it.
        """
        told = self.params.get(names.FACTS + name, otherwise)
        if told is None:
            raise InputError(
                f"{self.name} does not say what {name} its data have: an older or a newer version "
                "of the code recorded it; check out that version"
            )
        return told

    def data_options(self, kind: type[DataOptions]) -> DataOptions:
        """What the study learned from, as the options that its data set has.

        Raises:
            InputError: If they were recorded by another version of the code.
        """
        options = {
            name.removeprefix(names.OPTIONS): value
            for name, value in self.params.items()
            if name.startswith(names.OPTIONS)
        }
        return values.made_of(kind, options)

    def numbers(self, tag: str) -> list[int]:
        """The whole numbers that a tag lists.

        Raises:
            InputError: If it lists something else.
        """
        listed = [text for text in self.tags.get(tag, "").split(", ") if text]
        for text in listed:
            if not text.isdecimal():
                raise InputError(
                    f"{tag} of {self.name} is recorded as {text!r}: expected a number, as the "
                    "study wrote it; put it back in MLflow"
                )
        return list(map(int, listed))

    # Its trials

    @property
    def every(self) -> tuple[Trial, ...]:
        """The trials of the search, and then the finals."""
        return (*self.trials, *self.finals)

    def trial(self, number: int) -> Trial:
        """The trial of the search with this number, which has to be there."""
        return next(trial for trial in self.trials if trial.number == number)

    def value(self, trial: Trial) -> float:
        """The objective after a trial's last epoch.

        Raises:
            InputError: If the trial has none.
        """
        value = trial.value(self.objective)
        if value is None:
            raise InputError(
                f"trial {trial.number} of {self.name} has no {self.objective}, which the study "
                f"wrote: `python studies/doctor.py {self.name} --repair` puts it back"
            )
        return value

    def group(self, trial: Trial) -> str:
        """The value of `group_by` that a trial has."""
        return str(trial.config[self.group_by])

    @property
    def groups(self) -> dict[str, tuple[Trial, ...]]:
        """Value of `group_by` -> its trials; in the order in which the values were first tried."""
        found = dict.fromkeys(map(self.group, self.trials))
        return {
            value: tuple(trial for trial in self.trials if self.group(trial) == value)
            for value in found
        }

    @property
    def defaults(self) -> set[int]:
        """Numbers of the trials that had a default configuration, or a preset's."""
        if names.DEFAULTS in self.tags:
            return set(self.numbers(names.DEFAULTS))
        return {trial.number for trial in self.trials if trial.is_baseline}

    def trained_with(self, tell: Callable[[Placement], str]) -> tuple[str, ...]:
        """What there is to tell of the places and the code that trained trials and finals, each
        once, in the order in which it came up."""
        told = [tell(placement) for trial in self.every for placement in trial.placements]
        return tuple(dict.fromkeys(filter(None, told)))

    def best(self, trials: Iterable[Trial]) -> Trial | None:
        """The trial of the highest objective among those that finished; None if none did.

        The value of a pruned trial was reached on a smaller budget and does not compete. Of equal
        ones the latest wins, as it does where the study keeps the weights of the best.
        """
        finished = [trial for trial in trials if trial.status == "finished"]
        return max(finished, key=lambda trial: (self.value(trial), trial.number), default=None)

    def best_or_refuse(self) -> Trial:
        """The best trial of the search.

        Raises:
            InputError: If no trial finished.
        """
        best = self.best(self.trials)
        if best is None:
            raise InputError(f"no trial of {self.name} finished, so there is nothing to compare")
        return best

    # Its finals

    def finals_of(self, number: int) -> list[Trial]:
        """All trainings of a finalist on fresh seeds, however they stand."""
        return [final for final in self.finals if final.replicate_of == number]

    @cached_property
    def finalists(self) -> dict[int, tuple[Trial, ...]]:
        """Number of a trial -> its finals that finished; finalists without one are left out.

        Where the finals were cut short some have had more seeds than others: only the seeds that
        all have had count, whether they finished with them or failed. Those of a trial that was
        deleted in MLflow are left out too.
        """
        there = {trial.number for trial in self.trials}
        over = [final for final in self.finals if _is_over(final)]
        numbers = [n for n in dict.fromkeys(map(_replicated, over)) if n in there]
        had = [{_seed(final) for final in over if _replicated(final) == n} for n in numbers]
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
        """The finalists of which no final counts, since all failed or they were cut short."""
        wanted = dict.fromkeys(map(_replicated, self.finals))
        return tuple(number for number in wanted if number not in self.finalists)

    def failed_finals(self, number: int) -> int:
        """How many trainings of a finalist ended without a result."""
        return sum(final.status in WITHOUT_RESULT for final in self.finals_of(number))

    @property
    def champion(self) -> Trial | None:
        """The finalist whose mean of the objective over the fresh seeds is the highest; None
        without finals. One of which a training failed wins only where that is true of all, and
        one that was trained once only where all were."""
        most = max((len(finals) for finals in self.finalists.values()), default=0)

        def standing(number: int) -> tuple[bool, bool, float]:
            finals = self.finalists[number]
            mean = fmean(map(self.value, finals))
            return len(finals) >= min(2, most), not self.failed_finals(number), mean

        number = max(self.finalists, key=standing, default=None)
        return None if number is None else self.trial(number)

    @property
    def champion_final(self) -> Trial | None:
        """The champion's final with the highest objective: the one to keep of equal
        configurations. None without finals."""
        return self.best(self.finalists[self.champion.number]) if self.champion else None

    def check_ended(self) -> None:
        """Checks that the test split may be looked at.

        Raises:
            InputError: If the study has not ended, or nothing of it can be scored.
        """
        if self.status not in ("FINISHED", "FAILED"):
            less = "--finalists 0" if self.finals else "a smaller --trials"
            raise InputError(
                f"{self.name} has not ended ({self.status}) and the test split is scored at the "
                f"end only: repeat its command to go on, or with {less} to end it"
            )
        if self.best(self.trials) is None:
            raise InputError(f"no trial of {self.name} finished, so there is nothing to score")

    # What was deleted

    def without(self, numbers: Collection[int]) -> "RecordedStudy":
        """The study without some trials, and finals."""
        return replace(
            self,
            trials=tuple(trial for trial in self.trials if trial.number not in numbers),
            finals=tuple(final for final in self.finals if final.number not in numbers),
        )

    def in_mlflow(self) -> "RecordedStudy":
        """The study without the trials whose runs the user deleted since the log last heard of it;
        MLflow is asked.

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
