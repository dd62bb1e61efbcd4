"""Optuna's side of a study: ask for a configuration, tell how it ended, as what it was.

Each ending has its own state: finished COMPLETE with its value; stopped early PRUNED with the
value it had at its budget, so that no sampler takes it for a result of the whole budget; crashed
or non-finite FAIL with the reason; too large for the memory PRUNED and infeasible, which samplers
keep away from. A trial that nothing was told of stays RUNNING: the next session of the study goes
on with it.
"""

import heapq
import uuid
import warnings
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from analysis.runs import State
from datasets.errors import InputError
from studies.space import Space
from trainables.config import FitConfig

SamplerName = Literal["tpe", "random", "gp"]
SPEC = "spec"
IDENTITY = "identity"

STARTUP = 8
"""Trials before TPE begins to learn, after the baselines some at random."""

LEARNT = 500
"""Trials that a sampler learns from at most, the newest, besides the best of the older ones: what
a proposal costs then stops growing with the study."""

BEST = 25
"""Those best, as many as TPE takes for good ones at most (Optuna's ``default_gamma``)."""

REASON = "reason"

OF = "of"
"""Attribute of a final: the trial of the search that it is another training of."""

MEMORY = "memory"
"""Name of the constraint that an infeasible trial violates."""


@dataclass(frozen=True)
class Proposal:
    """A configuration to try.

    Attributes:
        number: Its number in the study.
        config: What to fit.
        baseline: Whether it is one that everything else is compared with.
        of: Of a final the trial that it is another training of; None: it is one of the search.
    """

    number: int
    config: FitConfig
    baseline: bool
    of: int | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class FinishedTrial(Proposal):
    """A trial that used its whole budget, and the objective that it reached."""

    value: float


@dataclass(frozen=True)
class Told:
    """What Optuna was told of a trial.

    Attributes:
        number: Its number in the study.
        state: How it ended; ``running`` if nothing was told.
        value: The objective; None without a result.
        epoch: After which a pruned trial had it.
        reason: Why a failed one has none.
        ended: When Optuna heard of it, in seconds since 1970.
        is_final: Whether it is one of the finals, and not of the search.
    """

    number: int
    state: State
    value: float | None
    epoch: int | None
    reason: str
    ended: float
    is_final: bool


def mend(journal: Path) -> list[str]:
    """Removes what a process that was killed while it wrote left of Optuna's journal: half a line,
    on which the next one would be appended, and the lock. Only for who holds the study's lock.

    Returns:
        What was mended.
    """
    said = []
    lock = journal.with_name(f"{journal.name}.lock")
    if lock.is_symlink() or lock.exists():
        lock.unlink()
        said.append("the lock of Optuna's journal was held by a process that is gone: removed")
    content = journal.read_bytes() if journal.is_file() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with journal.open("r+b") as file:
            file.truncate(whole)
        said.append("Optuna's journal ended in half a line: removed")
    return said


class Journal:
    """What Optuna knows of a study, and how it is told.

    Args:
        path: The journal file; created if it is not there.
        name: The study's name.
    """

    def __init__(self, path: Path, name: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = JournalStorage(JournalFileBackend(str(path)))
        # Loading a study as if it were created would write into its journal.
        if name in optuna.get_all_study_names(storage):
            self.study = optuna.load_study(study_name=name, storage=storage)
        else:
            self.study = optuna.create_study(
                study_name=name, storage=storage, direction="maximize"
            )

    @property
    def identity(self) -> str | None:
        """What tells this study from another one of the same name; None before it is begun."""
        return self.study.user_attrs.get(IDENTITY)

    def told(self) -> dict[int, Told]:
        """What it was told of each trial that was begun, by number."""
        begun = (t for t in self._trials() if t.state is not TrialState.WAITING)
        return {trial.number: _told(trial) for trial in begun}

    @property
    def ended(self) -> int:
        """Number of trials of the search that ended, whatever came of them."""
        return sum(trial.state.is_finished() for trial in self._searched())

    @property
    def asked(self) -> int:
        """Number of trials of the search begun so far, whatever became of them."""
        return sum(t.state is not TrialState.WAITING for t in self._searched())

    def finished(self, number: int, value: float) -> None:
        """Tells that a trial used its whole budget."""
        self.study.tell(number, value)

    def pruned(self, number: int, value: float, epoch: int) -> None:
        """Tells that a trial was stopped early, with the value it had after `epoch`."""
        if epoch not in self._trials()[number].intermediate_values:
            self._trial(number).report(value, epoch)
        self.study.tell(number, state=TrialState.PRUNED)

    def failed(self, number: int, reason: str) -> None:
        """Tells that a trial has no value, and why."""
        self._trial(number).set_user_attr(REASON, reason)
        self.study.tell(number, state=TrialState.FAIL)

    def infeasible(self, number: int, reason: str) -> None:
        """Tells that a trial cannot be run for want of memory: no bad value, no value at all."""
        trial = self._trial(number)
        trial.set_user_attr(REASON, reason)
        if not trial.constraints:
            trial.set_constraint(MEMORY, 1.0)
        self.study.tell(number, state=TrialState.PRUNED)

    def tell(
        self, number: int, state: State, value: float | None, epoch: int, reason: str
    ) -> None:
        """Tells how a trial ended."""
        match state:
            case "finished" if value is not None:
                self.finished(number, value)
            case "pruned" if value is not None:
                self.pruned(number, value, epoch)
            case "failed":
                self.failed(number, reason)
            case "infeasible":
                self.infeasible(number, reason)
            case _:
                raise ValueError(f"trial {number} has not ended: {state}, value {value}")

    def _trial(self, number: int) -> optuna.trial.Trial:
        return optuna.trial.Trial(self.study, self._trials()[number]._trial_id)

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _searched(self) -> Iterator[optuna.trial.FrozenTrial]:
        return (trial for trial in self._trials() if OF not in trial.user_attrs)

    def finals(self) -> list[optuna.trial.FrozenTrial]:
        """The trials that are finals."""
        return [trial for trial in self._trials() if OF in trial.user_attrs]

    def add_final(self, facts: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
        """Begins a final that nobody proposed.

        Args:
            facts: What it is, `OF` among them.
        """
        running = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs=dict(facts))
        self.study.add_trial(running)
        return self.finals()[-1]


def _told(trial: optuna.trial.FrozenTrial) -> Told:
    states: Mapping[TrialState, State] = {
        TrialState.RUNNING: "running",
        TrialState.COMPLETE: "finished",
        TrialState.PRUNED: "infeasible" if trial.constraints else "pruned",
        TrialState.FAIL: "failed",
    }
    epoch = max(trial.intermediate_values, default=None)
    early = None if epoch is None else trial.intermediate_values[epoch]
    return Told(
        number=trial.number,
        state=states[trial.state],
        value=trial.value if trial.state is TrialState.COMPLETE else early,
        epoch=epoch,
        reason=trial.user_attrs.get(REASON, ""),
        ended=trial.datetime_complete.timestamp() if trial.datetime_complete else 0.0,
        is_final=OF in trial.user_attrs,
    )


class Search(Journal):
    """One study in Optuna, and its search space.

    Args:
        journal: The journal file; created if it is not there.
        name: The study's name.
        space: What is searched.
        sampler: Which sampler proposes.
        seed: Seeds the sampler.
        spec: What the study is, as plain values: the space, the data, the objective.

    Raises:
        InputError: If the study exists with another spec.
    """

    def __init__(
        self,
        journal: Path,
        name: str,
        space: Space,
        sampler: SamplerName,
        seed: int,
        spec: dict[str, Any],
    ) -> None:
        super().__init__(journal, name)
        self.space = space
        self.sampler: SamplerName = sampler
        self.seed = seed
        known = self.study.user_attrs.get(SPEC)
        if known is None:
            for parameters in space.first():
                self.study.enqueue_trial(parameters, skip_if_exists=True)
            self.study.set_user_attr(IDENTITY, uuid.uuid4().hex)
            self.study.set_user_attr(SPEC, spec)
        else:
            _refuse_another(name, known, spec)

    @property
    def key(self) -> str:
        """Its identity, which it has."""
        return self.study.user_attrs[IDENTITY]

    called = "trials"
    """What the user knows its trials as."""

    stops_early = True
    """Whether unpromising ones may be stopped."""

    def endings(self) -> list[Told]:
        """What Optuna was told of the trials of the search that ended, in that order."""
        return in_order(told for told in self.told().values() if not told.is_final)

    def unfinished(self) -> Iterator[Proposal]:
        """Trials that an earlier session began and did not end, with their configuration.

        Of one that was cut off while its configuration was drawn, the rest is drawn.
        """
        for place, frozen in enumerate(self._searched()):
            if frozen.state is not TrialState.RUNNING:
                continue
            self._seed(place)
            yield self._proposal(optuna.trial.Trial(self.study, frozen._trial_id))

    def ask(self) -> Proposal:
        """A new configuration; baselines and defaults come first."""
        self._seed(self.asked)
        return self._proposal(self.study.ask())

    def _seed(self, place: int) -> None:
        """A sampler of its own for each trial: what it proposes then depends on the seed and on
        what is known, not on how often the study was stopped and continued.

        Args:
            place: Of the trial among those of the search.
        """
        self.study.sampler = _Sampler(self.sampler, (self.seed + 7919 * place) % 2**32)

    def _proposal(self, trial: optuna.trial.BaseTrial) -> Proposal:
        config = self.space.suggest(trial)
        return Proposal(trial.number, config, self.space.is_baseline(trial.number))

    def finished_trials(self) -> list[FinishedTrial]:
        """The trials of the search that used their whole budget, the best last."""
        finished = []
        for frozen in self._searched():
            if frozen.state is not TrialState.COMPLETE:
                continue
            known = self._proposal(optuna.trial.FixedTrial(frozen.params, frozen.number))
            assert frozen.value is not None
            finished.append(
                FinishedTrial(known.number, known.config, known.baseline, frozen.value)
            )
        return sorted(finished, key=lambda trial: trial.value)

    def best(self) -> FinishedTrial | None:
        """The best of them."""
        return next(reversed(self.finished_trials()), None)


def in_order(told: Iterable[Told]) -> list[Told]:
    """Those that ended, in the order in which they did."""
    return sorted((t for t in told if t.state != "running"), key=lambda told: told.ended)


class _Sampler(optuna.samplers.BaseSampler):
    """The sampler of one trial, with random numbers of their own for each parameter that is drawn
    by itself: the rest of a configuration that was cut off is drawn as it would have been.

    Args:
        name: Which sampler.
        seed: Of the trial.
    """

    def __init__(self, name: SamplerName, seed: int) -> None:
        self.name: SamplerName = name
        self.seed = seed
        self.whole = _sampler(name, seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self.whole.infer_relative_search_space(_Learnt(study), trial)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        return self.whole.sample_relative(_Learnt(study), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        own = _sampler(self.name, zlib.crc32(f"{self.seed} {param_name}".encode()))
        return own.sample_independent(_Learnt(study), trial, param_name, param_distribution)


class _Learnt(optuna.Study):
    """A study as its sampler sees it: without finals, and of many trials the newest and the best.

    Optuna's samplers look at all trials for each proposal. TPE itself weighs old bad trials down
    (its ``default_weights``), so that these miss little in what it proposes.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.__dict__ = study.__dict__

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[optuna.trial.FrozenTrial]:
        known = super()._get_trials(deepcopy, states, use_cache)
        trials = [trial for trial in known if OF not in trial.user_attrs]
        older = [t for t in trials[:-LEARNT] if t.state is TrialState.COMPLETE]
        best = heapq.nlargest(BEST, older, key=attrgetter("value"))
        return sorted(best, key=attrgetter("number")) + trials[-LEARNT:]


def _sampler(name: SamplerName, seed: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Without groups, parameters that only some trials have would be drawn independently.
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=STARTUP,
            multivariate=True,
            group=True,
            constant_liar=True,
        )


def _refuse_another(name: str, known: dict[str, Any], spec: dict[str, Any]) -> None:
    differences = list(_differences(known, spec))
    if differences:
        raise InputError(
            f"the study {name} was begun with another question: {'; '.join(differences)}; "
            "give this one a --name of its own, or repeat the command it was begun with"
        )


def _differences(known: Any, given: Any, place: str = "") -> Iterator[str]:
    """Each difference between two nested values as ``place: known, now given``."""
    if isinstance(known, dict) and isinstance(given, dict):
        for key in sorted(known | given):
            inner = f"{place}.{key}" if place else key
            if key not in known:
                yield f"{inner} is new"
            elif key not in given:
                yield f"{inner} is gone"
            else:
                yield from _differences(known[key], given[key], inner)
    elif known != given:
        yield f"{place} was {known}, now {given}"
