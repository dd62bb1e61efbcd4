"""Writes runs to MLflow: one parent run per study, and one child run per trial.

An experiment holds one study. `MLflowTracker.tell` brings a trial's run up to date, whatever it
holds already. Metrics are written in batches, because a write costs about 10 ms whether it holds
one metric or ten.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

from botocore.exceptions import BotoCoreError, ClientError
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from datasets.addresses import shown
from datasets.errors import InputError, described
from record import names, placements, proposal
from record.mlflow_runs import found, is_replaced, last_epoch, number_of
from record.tracker import NotRecorded, RunDeleted, Shown, StudyFacts, StudyStatus
from record.tracking import SERVES, check_artifacts_of, innermost, package_of
from record.tracking_uri import is_server
from record.trial import Report, Status, Trial

BATCH = 500
"""Maximum number of metrics in one write; MLflow allows 1,000."""

LONGEST_TAG = 8_000
"""Maximum length in characters of a tag's value in MLflow."""

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LONGEST_DIGEST = 36
"""Maximum length in characters of a data set's digest in MLflow; the params have the full one."""

LONGEST_SHOWN = 60
"""Maximum number of characters of a wrong tag that are quoted in messages."""

STATUS: Mapping[Status, str] = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "infeasible": "FAILED",
    "paused": "KILLED",
    "stopped": "KILLED",
}
"""Status of a trial -> status of its MLflow run; a waiting trial has no run."""


@contextmanager
def not_recorded(*, network: bool = True) -> Iterator[None]:
    """Converts exceptions of MLflow to `NotRecorded`, with the innermost cause as the message.

    Args:
        network: True to convert OSError as well, for code where only the network can raise it.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, BotoCoreError, ClientError, OSError) as error:
        if isinstance(error, OSError) and not network:
            raise
        raise NotRecorded(described(innermost(error))[:200]) from error


@dataclass
class _Run:
    """The MLflow run of a trial, as far as it is known to be written."""

    run_id: str
    last_epoch: int = 0
    status: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    has_params: bool = False


class MLflowTracker:
    """Writes one study to MLflow; implements `record.tracker.Tracker`. It is not thread-safe.

    Args:
        client: Client of the tracking store.
        experiment: Id of the study's experiment.
        study: Name of the study.

    Attributes:
        parent: Id of the study's own run; empty if there is none.
        identity: Unique id of the study in MLflow; None if it is not there.
        runs: Trial number -> its run.
        spare: Id of a surplus run -> number of its trial.
        gone: Numbers of the trials whose run the user deleted.
        unsure: Numbers of the trials whose run may have been created without a response.

    Raises:
        InputError: If a run in the experiment has no trial number.
        NotRecorded: If the store does not answer.
    """

    @not_recorded()
    def __init__(self, client: MlflowClient, experiment: str, study: str) -> None:
        self.client = client
        self.experiment = experiment
        self.study = study
        self.trial_tags: Mapping[str, str] = {}
        known = self._found(f"tags.`{names.KIND}` = 'study'")
        self.parent_run = known[0] if known else None
        self.parent = known[0].info.run_id if known else ""
        self.identity = known[0].data.tags.get(names.IDENTITY) if known else None
        self.runs: dict[int, _Run] = {}
        self.spare: dict[str, int] = {}
        self.gone: set[int] = set()
        self.unsure: set[int] = set()
        for run in self._found(f"tags.`{names.KIND}` != 'study'"):
            self.trial_tags = self.trial_tags or _of_the_data(run)
            if is_replaced(run):  # a crash came between marking and deleting it
                self.spare[run.info.run_id] = number_of(run)
            else:
                self._adopt(run)
        self._look_for_deleted()

    # The study's own run

    @not_recorded()
    def begin(self, facts: StudyFacts) -> None:
        """Creates or reopens the study's run and writes its facts."""
        self.tidy()
        if self.parent:
            self.client.update_run(self.parent, status="RUNNING")
        else:
            first = {names.KIND: "study", names.IDENTITY: facts.identity}
            first[names.QUESTION] = shown(facts.question)[:LONGEST_TAG]
            run = self.client.create_run(self.experiment, run_name=self.study, tags=first)
            self.parent, self.identity = run.info.run_id, facts.identity
        if self.parent_run is None or not self.parent_run.data.params:
            # The params are also missing after a crash between creating the run and writing them.
            self._say_what_it_is(facts)
        self.trial_tags = facts.trial_tags
        # Resets the note, which may describe the end of an earlier session.
        tags = {names.NOTE: facts.question, **facts.tags}
        self.client.log_batch(self.parent, tags=_tags(tags))

    def _say_what_it_is(self, facts: StudyFacts) -> None:
        name, digest = map(shown, facts.data)
        short = digest[:LONGEST_DIGEST]
        entity = Dataset(name=name, digest=short, source_type="local", source=name)
        self.client.log_inputs(self.parent, [DatasetInput(entity)])
        self._attach_text(json.dumps(list(facts.space), indent=1), names.SPACE)
        self.client.log_batch(self.parent, params=_params(facts.params))

    def _attach_text(self, text: str, file: str) -> None:
        """Stores a file among the study's artifacts; it is the first artifact of all.

        Raises:
            InputError: If the server's artifact location cannot be written from this machine.
        """
        check_artifacts_of(self.client, self.parent)
        try:
            self.client.log_text(self.parent, text, file)
        except (ImportError, OSError, BotoCoreError, ClientError) as error:
            where = self.client.get_run(self.parent).info.artifact_uri or ""
            if not is_server(self.client.tracking_uri) or where.startswith("mlflow-artifacts:"):
                raise
            why = package_of(error) if isinstance(error, ImportError) else described(error)
            raise InputError(
                f"the tracking server wants artifacts in {shown(where)}, where they cannot be put "
                f"from here ({why}): see to that, or have the server started with {SERVES}"
            ) from error

    @not_recorded()
    def describe(self, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Writes results of the study as tags and metrics of its run."""
        values = [Metric(name, value, 0, 0) for name, value in metrics.items()]
        self.client.log_batch(self.parent, metrics=values, tags=_tags(tags))

    @not_recorded()
    def close(self, status: StudyStatus, tags: Mapping[str, str]) -> None:
        """Writes the final status and tags of the session to the study's run."""
        self.client.log_batch(self.parent, tags=_tags(tags))
        self.client.set_terminated(self.parent, status)

    # The runs of trials

    @not_recorded()
    def tell(self, trial: Trial) -> None:
        """Brings a trial's run up to date; a trial that was never placed is not written.

        Epochs that are written already are skipped. An epoch written twice, because the response
        to the first write was lost, is stored once, because time and value are the same.

        Raises:
            RunDeleted: If the user deleted the run.
        """
        if trial.number in self.gone:
            raise RunDeleted(trial.number)
        if trial.started is None and trial.is_open:
            return
        run = self.runs.get(trial.number) or self._begin(trial)
        try:
            self._bring_up(run, trial)
        except MlflowException:
            self._check_there(trial.number, run)
            raise

    def _bring_up(self, run: _Run, trial: Trial) -> None:
        params = [] if run.has_params else _params(trial.config)
        tags = self._news(run, trial)
        new = [report for report in trial.reports if report.epoch > run.last_epoch]
        *batches, last = [*_batches(new)] or [[]]
        for metrics in batches:
            self.client.log_batch(run.run_id, metrics=metrics)
            run.last_epoch = metrics[-1].step
        if last or params or tags:
            self.client.log_batch(run.run_id, last, params, _tags(tags))
        run.last_epoch = last[-1].step if last else run.last_epoch
        run.has_params = True
        run.tags = {**run.tags, **tags}
        if run.status != (status := STATUS[trial.status]):
            self._set_status(run, status, trial.ended)

    def _check_there(self, number: int, run: _Run) -> None:
        """Checks whether a run that cannot be written to was deleted.

        Raises:
            RunDeleted: If it was deleted.
        """
        if self.client.get_run(run.run_id).info.lifecycle_stage == "deleted":
            del self.runs[number]
            self.gone.add(number)
            raise RunDeleted(number)

    def _begin(self, trial: Trial) -> _Run:
        """Creates the run of a trial, unless an attempt whose response was lost has created it."""
        if trial.number in self.unsure:
            for run in self._found(f"tags.`{names.NUMBER}` = '{trial.number}'"):
                self._adopt(run)
            self.tidy()
            if trial.number in self.runs:
                return self.runs[trial.number]
        self.unsure.add(trial.number)
        tags = _taken({**self.trial_tags, **self._first_tags(trial)})
        begun = self.client.create_run(
            self.experiment,
            start_time=_unix_ms(trial.started or trial.ended),
            run_name=_name(trial),
            tags=tags,
        )
        run = self.runs[trial.number] = _Run(begun.info.run_id, status="RUNNING", tags=tags)
        self.unsure.discard(trial.number)
        return run

    def _first_tags(self, trial: Trial) -> dict[str, str]:
        """Returns the tags that a trial's run has from the start; they override the data tags."""
        of = trial.replicate_of
        return {
            names.PARENT: self._parent_of(trial),
            names.KIND: "trial" if of is None else "final",
            names.NUMBER: str(trial.number),
            names.IDENTITY: self.identity or "",
            names.STATE: "running",
            names.BASELINE: str(trial.is_baseline).lower(),
            names.PROPOSED: proposal.written(trial),
            **({} if of is None else {names.REPLICATE_OF: str(of)}),
        }

    def _news(self, run: _Run, trial: Trial) -> dict[str, str]:
        """Returns the tags of a trial that its run lacks or has with another value."""
        told = self._first_tags(trial) | placements.in_turn(trial.placements)
        told[names.PLACEMENTS] = placements.written(trial.placements, LONGEST_TAG)
        told[names.STATE] = trial.status
        if trial.reason or names.REASON in run.tags:
            told[names.REASON] = trial.reason
        if trial.dropped or names.DROPPED in run.tags:
            told[names.DROPPED] = trial.dropped
        if trial.output:
            told[names.NOTE] = _note(trial)
        return {key: text for key, text in _taken(told).items() if run.tags.get(key) != text}

    def _parent_of(self, trial: Trial) -> str:
        """Returns the id of the parent run: for a final, its finalist's run; else the study's run.

        Raises:
            NotRecorded: If the finalist has no run yet.
        """
        of = trial.replicate_of
        if of is None or of in self.gone:
            return self.parent
        if of not in self.runs:
            raise NotRecorded(f"trial {of} has no run")
        return self.runs[of].run_id

    def _set_status(self, run: _Run, status: str, ended: datetime | None) -> None:
        if status == "RUNNING":
            self.client.update_run(run.run_id, status=status)
        else:
            self.client.set_terminated(run.run_id, status, ended and _unix_ms(ended))
        run.status = status

    @not_recorded()
    def shown(self, number: int) -> Shown | None:
        """Reads the status and all epochs of a trial's run; None if it has none."""
        if number not in self.runs:
            return None
        run = self.client.get_run(self.runs[number].run_id)
        points = [
            point
            for metric in run.data.metrics
            for point in self.client.get_metric_history(run.info.run_id, metric)
        ]
        return Shown(status_of(run), tuple(_reports(points)))

    def numbers(self) -> set[int]:
        """Returns the numbers of the trials that have a run."""
        return set(self.runs)

    def faults(self, trial: Trial) -> list[str]:
        """Describes each tag, status or parent of a trial's run that is missing or wrong."""
        run, of = self.runs[trial.number], trial.replicate_of
        if of is not None and of not in self.runs.keys() | self.gone:
            return [f"its run cannot hang under that of trial {of}, which has none"]
        told = [_other(tag, run.tags.get(tag), t) for tag, t in self._news(run, trial).items()]
        if run.status != (status := STATUS[trial.status]):
            told.append(f"its run is {run.status}, not {status}")
        if not run.has_params:
            told.append("its run lacks its configuration")
        return told

    def doubled(self) -> set[int]:
        """Returns the numbers of the trials that have more than one run."""
        return set(self.spare.values())

    @not_recorded()
    def tidy(self) -> None:
        """Moves surplus runs of trials to MLflow's deleted runs."""
        for run_id in tuple(self.spare):
            self._put_away(run_id)
            del self.spare[run_id]

    @not_recorded()
    def study_status(self) -> str | None:
        """Returns the status of the study's run; None if it has none."""
        return self.client.get_run(self.parent).info.status if self.parent else None

    @not_recorded()
    def deleted(self) -> set[int]:
        """Returns the numbers of the trials whose run the user deleted."""
        self._look_for_deleted()
        return set(self.gone)

    @not_recorded()
    def forget(self, number: int) -> None:
        """Moves a trial's run to MLflow's deleted runs, so that `tell` creates a new one."""
        self._put_away(self.runs.pop(number).run_id)

    @not_recorded()
    def attach(self, number: int, folder: Path) -> None:
        """Uploads a folder to the artifacts of a trial's run."""
        run_id = self.runs[number].run_id
        check_artifacts_of(self.client, run_id)
        self.client.log_artifacts(run_id, str(folder), folder.name)

    def _put_away(self, run_id: str) -> None:
        self.client.set_tag(run_id, names.REPLACED, "true")
        self.client.delete_run(run_id)

    def _adopt(self, there: Run) -> None:
        """Registers a run as that of its trial; of two, the one with fewer epochs is spare."""
        run = _Run(
            run_id=there.info.run_id,
            last_epoch=last_epoch(there),
            status=there.info.status,
            tags=there.data.tags,
            has_params=bool(there.data.params),
        )
        number = number_of(there)
        known = self.runs.get(number)
        if known is not None:
            run, other = (run, known) if run.last_epoch > known.last_epoch else (known, run)
            self.spare[other.run_id] = number
        self.runs[number] = run

    def _look_for_deleted(self) -> None:
        """Updates which trials have no run because the user deleted it."""
        deleted = self._found(f"tags.`{names.KIND}` != 'study'", ViewType.DELETED_ONLY)
        by_hand = {run.info.run_id: number_of(run) for run in deleted if not is_replaced(run)}
        self.runs = {n: run for n, run in self.runs.items() if run.run_id not in by_hand}
        self.gone = set(by_hand.values()) - self.runs.keys()

    def _found(self, filter_string: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
        return found(self.client, self.experiment, filter_string, view)


def _name(trial: Trial) -> str:
    """Returns the name of a trial's run: number and title; a final has its finalist's number."""
    of = trial.replicate_of
    return f"{trial.number if of is None else of:04d} {trial.title}"


def _of_the_data(run: Run) -> dict[str, str]:
    """Returns the tags of a run that describe the data, which are the same for all runs."""
    tags = run.data.tags
    return {key: text for key, text in tags.items() if key.startswith(names.DATA_DIGEST)}


def status_of(run: Run) -> Status | None:
    """Returns the trial status in a run's tag; None if the tag is missing or unknown."""
    text = run.data.tags.get(names.STATE)
    known: tuple[Status, ...] = get_args(Status)
    return next((status for status in known if status == text), None)


def _other(tag: str, found: str | None, expected: str) -> str:
    """Describes what is wrong with a tag, in a few words.

    Args:
        tag: Name of the tag.
        found: Its value in MLflow; None if it is missing.
        expected: The value that it should have.
    """
    if tag == names.PARENT:
        return "its run hangs under another one than it should"
    if found is None:
        return f"its run lacks the tag {tag}"
    return f"its run has {tag} {found[:LONGEST_SHOWN]!r}, not {expected[:LONGEST_SHOWN]!r}"


def _reports(points: Sequence[Metric]) -> Iterator[Report]:
    """Yields the epochs among metric points; duplicates of an epoch are yielded separately.

    Points with the same step and time form one epoch. If a metric has several such points, each
    starts another epoch.
    """
    counts: Counter[tuple[str, int, int]] = Counter()
    moments: dict[tuple[int, int, int], dict[str, float]] = defaultdict(dict)
    for point in points:
        moment = point.step, point.timestamp
        counts[point.key, *moment] += 1
        moments[*moment, counts[point.key, *moment]][point.key] = point.value
    for (epoch, unix_ms, _), metrics in sorted(moments.items()):
        metrics.pop(names.EPOCH, None)
        yield Report(epoch, unix_ms, metrics.pop(names.MEMORY, 0.0), metrics)


def _batches(reports: Sequence[Report]) -> Iterator[list[Metric]]:
    """Yields batches of metrics, each with as many whole epochs as fit.

    An epoch with more than `BATCH` metrics is split. The metric ``epoch`` is the last one of each
    epoch: if it is present, the epoch is complete.
    """
    batch: list[Metric] = []
    for report in reports:
        values = {**report.metrics, names.MEMORY: report.memory_gib, names.EPOCH: report.epoch}
        epoch = [Metric(name, values[name], report.unix_ms, report.epoch) for name in values]
        if batch and len(batch) + len(epoch) > BATCH:
            yield batch
            batch = []
        while len(epoch) > BATCH:
            yield epoch[:BATCH]
            epoch = epoch[BATCH:]
        batch += epoch
    if batch:
        yield batch


def _note(trial: Trial) -> str:
    """Formats the reason and output of a failed trial as a Markdown code block, for MLflow."""
    said = "\n".join(f"    {line}" for line in (trial.reason, "", *trial.output.splitlines()))
    return said[:LONGEST_TAG]


def _params(params: Mapping[str, Any]) -> list[Param]:
    return [Param(key, shown(str(value))) for key, value in params.items()]


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(key, value) for key, value in _taken(tags).items()]


def _taken(tags: Mapping[str, str]) -> dict[str, str]:
    """Removes passwords from tags, and cuts them to MLflow's maximum length."""
    return {key: shown(value)[:LONGEST_TAG] for key, value in tags.items()}


def _unix_ms(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - UNIX_EPOCH) // timedelta(milliseconds=1)
