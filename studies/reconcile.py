"""Whether Tune's trials, Optuna's journal and MLflow's runs tell the same of each trial.

The three are joined by the trial's number in the study. What Tune did stands in the ledger, a file
a trial, written before the other two are told (studies/records.py); so where one of them did not
hear of an ending, it is told again. A trial that Optuna knows as begun and the ledger not as ended
is open: the study goes on with it, from its checkpoint.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from analysis.runs import NUMBER, OF, REASON, STATE, State
from datasets.errors import InputError
from studies.checkpoints import Checkpoints
from studies.kept import Finished, kept
from studies.recording import IDENTITY, PARENT, STATUS, Recorder, Run
from studies.records import Records, Trial
from studies.search import Journal, Told
from trainables import checkpoint

OPEN = "open"
"""Of a trial that was begun and has not ended."""

OLDER = "none: Optuna's journal is an older one; put back the right one"


@dataclass(frozen=True)
class Finding:
    """Something that does not agree.

    Attributes:
        trial: Which one; None: the study as a whole.
        what: What is wrong.
        cure: What is to be done, or why nothing can be.
        repair: Does it; None: it cannot be repaired.
    """

    trial: int | None
    what: str
    cure: str
    repair: Callable[[], object] | None


@dataclass(frozen=True)
class Memories:
    """All that is known of a study that nobody is running now.

    Attributes:
        journal: Optuna's.
        records: What Tune did.
        recorder: MLflow's.
        checkpoints: All of them.
        objective: The metric that was maximised.
        by: The hyperparameter whose values are compared.
        keep: Of how many finished trials a checkpoint is kept.
    """

    journal: Journal
    records: Records
    recorder: Recorder
    checkpoints: Checkpoints
    objective: str
    by: str
    keep: int


def mend(memories: Memories) -> tuple[list[Finding], list[Finding]]:
    """Repairs what a crash left, as every start of a study does.

    Returns:
        What was repaired, and what could not be.

    Raises:
        InputError: If going on would mix trials up.
    """
    found = examine(memories, thorough=False)
    older = [finding for finding in found if finding.cure == OLDER]
    if older:
        raise InputError(f"trial {older[0].trial}: {older[0].what}; {OLDER}")
    for finding in found:
        if finding.repair is not None:
            finding.repair()
    done = [finding for finding in found if finding.repair is not None]
    return done, [finding for finding in found if finding.repair is None]


def examine(memories: Memories, thorough: bool) -> list[Finding]:
    """Compares everything; changes nothing.

    Args:
        memories: Of the study.
        thorough: Read every epoch of every trial, on disk and in MLflow; else only those of open
            trials, and of the others how many there are and what came of them.
    """
    return [*_Examination(memories, thorough).findings()]


def agreement(memories: Memories) -> dict[str, Counter[str]]:
    """How many trials each memory knows in each state: Tune, Optuna, MLflow."""
    look = _Examination(memories, thorough=False)
    begun = [*look.told, *(number for number in look.outlines if number not in look.told)]
    return {
        "Tune": Counter(look.state_in_ledger(number) for number in begun),
        "Optuna": Counter(_state(told.state) for told in look.told.values()),
        "MLflow": Counter(
            [
                *(look.state_in_mlflow(run) for runs in look.runs.values() for run in runs),
                *(OPEN for number in begun if look.never_placed(number)),
            ]
        ),
    }


def _state(state: str) -> str:
    return OPEN if state in ("running", "stopped") else state


class _Examination:
    """One look at everything."""

    def __init__(self, memories: Memories, thorough: bool) -> None:
        self.all = memories
        self.thorough = thorough
        self.recorder = memories.recorder
        self.records = memories.records
        self.told = memories.journal.told()
        known = self.records.read if thorough else self.records.outline
        self.outlines = {number: known(number) for number in self.records.numbers()}
        self.runs: dict[int, list[Run]] = defaultdict(list)
        for run in self.recorder.trial_runs:
            self.runs[int(run.data.tags.get(NUMBER, -1))].append(run)

    def state_in_ledger(self, number: int) -> str:
        outline = self.outlines.get(number)
        return _state(outline.state) if outline else OPEN

    def state_in_mlflow(self, run: Run) -> str:
        return "running" if run.info.status == "RUNNING" else _state(run.data.tags[STATE])

    def never_placed(self, number: int) -> bool:
        """Whether a trial was asked for and not begun."""
        return number not in self.runs and self.state_in_ledger(number) == OPEN

    def findings(self) -> Iterator[Finding]:
        unknown = sorted(self.outlines.keys() - self.told.keys())
        if unknown:
            for number in unknown:
                yield Finding(number, "the ledger has it, Optuna does not know it", OLDER, None)
            return  # all else may follow from that
        yield from self._study()
        for number, runs in sorted(self.runs.items()):
            if number not in self.told:
                for run in runs:
                    yield Finding(
                        number,
                        "MLflow has a run of it, Optuna does not know it",
                        "move the run to MLflow's deleted ones",
                        partial(self.recorder.discard, run.info.run_id),
                    )
        for number, told in sorted(self.told.items()):
            if (outline := self.outlines.get(number)) is not None:
                yield from self._ended(told, outline)
            else:
                yield from self._without_record(told)
        yield from self._leftovers()

    def _study(self) -> Iterator[Finding]:
        parent = self.recorder.parent_run
        if parent is not None and parent.info.status == "RUNNING":
            yield Finding(
                None,
                "the study's own run is RUNNING, and nobody is running it",
                "close it as KILLED",
                lambda: self.recorder.close("KILLED", {}),
            )

    def _run_of(self, number: int, epochs: int) -> tuple[Run | None, list[Finding]]:
        """The run of a trial, and what to do with others that claim to be."""
        runs = self.runs.get(number, [])
        if not runs:
            return None, []
        fits = {run.info.run_id: int(run.data.metrics.get("epoch", 0)) for run in runs}
        best = min(runs, key=lambda run: abs(fits[run.info.run_id] - epochs))
        others = [run for run in runs if run is not best]
        findings = [
            Finding(
                number,
                "MLflow has another run of it",
                "move the other one to MLflow's deleted ones",
                partial(self._keep_only, best, run),
            )
            for run in others
        ]
        return best, findings

    def _keep_only(self, best: Run, other: Run) -> None:
        self.recorder.discard(other.info.run_id)
        self.recorder.adopt(best)

    # Trials whose ending is in the ledger

    def _ended(self, told: Told, outline: Trial) -> Iterator[Finding]:
        number = told.number
        if told.state == "running":
            yield Finding(
                number,
                f"it is {outline.state}, Optuna was not told",
                "tell Optuna",
                lambda: self.all.journal.tell(
                    number, outline.state, outline.value, outline.epoch, outline.reason
                ),
            )
        elif (disagreement := self._with_optuna(told, outline)) is not None:
            yield disagreement
            return
        run, findings = self._run_of(number, outline.epoch)
        yield from findings
        if run is None:
            yield Finding(
                number,
                "MLflow has no run of it",
                "record it from the ledger",
                partial(self._record, number, again=None),
            )
        elif (wrong := self._in_run(run, outline)) is not None:
            yield wrong

    def _with_optuna(self, told: Told, outline: Trial) -> Finding | None:
        same_value = told.state not in ("finished", "pruned") or told.value == outline.value
        if told.state == outline.state and same_value:
            return None
        trial = self.records.read(told.number)
        last = trial.rows[-1].get(self.all.objective) if trial and trial.rows else None
        what = (
            f"it is {outline.state} {outline.value} in the ledger, {told.state} {told.value} "
            "in Optuna"
        )
        if trial is None or (told.value is not None and told.value != last):
            return Finding(told.number, what, "none: its epochs bear neither out", None)
        right = replace(
            trial,
            state=told.state,
            value=last if told.value is None else told.value,
            reason=told.reason,
        )
        return Finding(
            told.number,
            what,
            "correct the ledger and MLflow: the epochs bear Optuna out",
            partial(self._correct, right),
        )

    def _correct(self, trial: Trial) -> None:
        self.records.write(trial)
        self.recorder.sync(trial)

    def _in_run(self, run: Run, outline: Trial) -> Finding | None:
        """What is wrong with the run of an ended trial."""
        number, tags, metrics = outline.number, run.data.tags, run.data.metrics
        bring = partial(self._record, number, again=None)
        anew = partial(self._record, number, again=run.info.run_id)
        epochs = int(metrics.get("epoch", 0))
        value = metrics.get(self.all.objective)
        complete = epochs == outline.epoch
        if epochs > outline.epoch or (complete and epochs and value != outline.value):
            what = f"its run has {epochs} epochs up to {value}, the ledger {outline.epoch} up to "
            return Finding(number, f"{what}{outline.value}", "record it anew", anew)
        if self.thorough and complete and (gap := self._gap(run)):
            return Finding(number, gap, "record it anew from the ledger", anew)
        if not complete:
            missing = f"MLflow has {epochs} of its {outline.epoch} epochs"
            return Finding(number, missing, "deliver the others", bring)
        if tags[STATE] != outline.state or run.info.status != STATUS[outline.state]:
            known = f"it is {outline.state}, in MLflow {tags[STATE]} and {run.info.status}"
            return Finding(number, known, "correct MLflow", bring)
        if self._is_orphan(run):
            return self._orphan(run, number)
        if not run.data.params:
            lacking = "its run lacks its hyperparameters"
            return Finding(number, lacking, "record them", bring)
        return None

    def _parent(self, run: Run) -> str | None:
        """Under which run another one should hang; None if that one is not there."""
        of = run.data.tags.get(OF)
        known = of is None or int(of) in self.recorder.children
        return self.recorder.parent_of(int(of) if of else None) if known else None

    def _is_orphan(self, run: Run) -> bool:
        return run.data.tags.get(PARENT) != self._parent(run) is not None

    def _orphan(self, run: Run, number: int) -> Finding:
        return Finding(
            number,
            "its run does not hang under the study's",
            "hang it there",
            lambda: self.recorder.attach_run(run.info.run_id, self._parent(run) or ""),
        )

    def _gap(self, run: Run) -> str | None:
        """Whether every epoch of a run is there once."""
        epochs = int(run.data.metrics.get("epoch", 0))
        steps = self.recorder.epochs(run)
        if steps == [*range(1, epochs + 1)]:
            return None
        twice = sorted({step for step in steps if steps.count(step) > 1})
        missing = sorted({*range(1, epochs + 1)} - {*steps})
        said = [f"epochs {twice} twice"] * bool(twice) + [f"not epochs {missing}"] * bool(missing)
        return f"MLflow has {' and '.join(said)}"

    def _record(self, number: int, again: str | None) -> None:
        """Brings MLflow up to the ledger; in a new run, if the one that is there is past it."""
        if again is not None:
            self.recorder.discard(again)
        trial = self.records.read(number)
        if trial is not None:
            self.recorder.sync(trial)

    # Trials whose ending is not in the ledger

    def _without_record(self, told: Told) -> Iterator[Finding]:
        number = told.number
        damaged = number in self.outlines
        run, findings = self._run_of(number, 10**9)
        yield from findings
        said = run is not None and run.info.status != "RUNNING" and run.data.tags[STATE]
        over = said if said and _state(said) != OPEN else None
        if told.state == "running" and over is None:
            yield from self._open(number, run, damaged)
            return
        lost = "its file in the ledger is damaged" if damaged else "the ledger does not have it"
        from_mlflow = self._rebuilt(run, told) if run is not None else None
        if from_mlflow is None:
            yield Finding(number, lost, "none: MLflow does not know its epochs either", None)
            return
        yield Finding(
            number,
            lost,
            "write it from what MLflow and Optuna know",
            partial(self._restore, from_mlflow, told),
        )

    def _restore(self, trial: Trial, told: Told) -> None:
        self.records.write(trial)
        self.recorder.sync(trial)
        if told.state == "running":
            self.all.journal.tell(
                trial.number, trial.state, trial.value, trial.epoch, trial.reason
            )

    def _rebuilt(self, run: Run, told: Told) -> Trial | None:
        """An ended trial from its run; None if its epochs do not bear out what Optuna knows."""
        rows = self.recorder.rows(run)
        state = told.state if told.state != "running" else cast(State, run.data.tags[STATE])
        value = rows[-1].get(self.all.objective) if rows else None
        whole = [row["epoch"] for row in rows] == [*range(1, len(rows) + 1)]
        if not whole or (told.value is not None and told.value != value):
            return None
        if state in ("finished", "pruned") and value is None:
            return None
        return Trial(
            identity=run.data.tags.get(IDENTITY, ""),
            number=told.number,
            name=run.info.run_name or "",
            params=run.data.params,
            baseline=run.data.tags.get("orrery.baseline") == "true",
            of=int(run.data.tags[OF]) if OF in run.data.tags else None,
            state=state,
            epoch=len(rows),
            value=value,
            reason=told.reason or run.data.tags.get(REASON, ""),
            tags={key: text for key, text in run.data.tags.items() if key.startswith("orrery.")},
            started_ms=run.info.start_time,
            ended_ms=run.info.end_time or run.info.start_time,
            rows=tuple(rows),
        )

    def _open(self, number: int, run: Run | None, damaged: bool) -> Iterator[Finding]:
        if damaged:
            yield Finding(
                number,
                "its file in the ledger is damaged",
                "remove the file: the trial is open and goes on from its checkpoint",
                self.records.path(number).unlink,
            )
        if run is not None:
            if gap := self._gap(run):
                yield Finding(
                    number,
                    gap,
                    "move the run to MLflow's deleted ones: it is recorded anew when it goes on",
                    partial(self.recorder.discard, run.info.run_id),
                )
            elif run.info.status == "RUNNING":
                yield Finding(
                    number,
                    "its run is RUNNING, and nobody is running it",
                    "close it as KILLED: it goes on in the same run",
                    partial(self.recorder.stopped, number),
                )
            elif self._is_orphan(run):
                yield self._orphan(run, number)
        for folder in self.all.checkpoints.of_trial(number):
            if checkpoint.is_whole(folder):
                break
            yield Finding(
                number,
                f"its checkpoint {self.all.checkpoints.name(folder)} is damaged or cut off",
                "remove it: the trial goes on from the one before",
                partial(self.all.checkpoints.remove, number, folder),
            )

    # Checkpoints

    def _leftovers(self) -> Iterator[Finding]:
        if any(n not in self.told or o is None for n, o in self.outlines.items()):
            return  # first it has to be known which trials are the best
        ended = {number: outline for number, outline in self.outlines.items() if outline}
        staying = kept(self._finished(ended), self.all.keep)
        for number in ended:
            folders = self.all.checkpoints.of_trial(number)
            allowed = 1 if number in staying else 0
            if len(folders) > allowed:
                yield Finding(
                    number,
                    f"{len(folders)} checkpoints are left of it, {allowed} is to be kept",
                    "remove the others",
                    partial(self.all.checkpoints.keep, number, allowed),
                )

    def _finished(self, ended: Mapping[int, Trial]) -> Sequence[Finished]:
        found = []
        for number, trial in ended.items():
            told = self.told[number]
            known = trial if told.state == "running" else told
            if known.state == "finished" and known.value is not None:
                group = str(trial.params[self.all.by])
                final = trial.of is not None
                found.append(Finished(known.value, number, group, trial.baseline, final))
        return found
