"""The only writer of runs to MLflow: one parent run a study, one child run a trial, from the
driver.

An experiment holds one study. `Recorder.sync` brings a trial's run up to what is known of the
trial, whatever stands there already, so that it serves a running study, one that goes on, and
studies/doctor.py. A write costs about 10 ms whether it holds one metric or ten, hence the batches.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
from botocore.exceptions import BotoCoreError, ClientError
from mlflow.entities import Dataset, DatasetInput, Metric, Param, Run, RunTag
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
)
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from analysis.runs import (
    BASELINE,
    KIND,
    NUMBER,
    OF,
    QUESTION,
    REASON,
    STATE,
    State,
    number_of,
    state_of,
)
from datasets.addresses import shown
from datasets.errors import InputError, described
from record.names import SPACE
from record.tracking import (
    SERVES,
    check_artifacts,
    check_artifacts_of,
    connect,
    experiment_named,
    innermost,
    is_server,
    local_database,
    package_of,
)
from studies.records import Row, Trial

BATCH = 500
"""Metrics in one write; MLflow takes at most 1,000."""

IDENTITY = "orrery.identity"
KEEP = "orrery.keep"
STORAGE = "orrery.storage"
GPU_MEMORY = "orrery.gpu_memory_gib"
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"

LONGEST_TAG = 8_000
"""Characters; MLflow takes no longer value."""

STATUS: Mapping[State, str] = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "infeasible": "FAILED",
    "stopped": "KILLED",
}
"""How a trial stands -> MLflow's word for it; KILLED for one that can go on later."""

ANSWER = 15
"""Seconds that a server may take for one answer."""


class NotRecorded(InputError):
    """The tracking store did not answer, or did not take it; nothing is lost by trying again."""


@contextmanager
def not_recorded(*, network: bool = True) -> Iterator[None]:
    """Makes `NotRecorded` of what MLflow raises, with the innermost reason.

    Args:
        network: Also of errors of the operating system, where they can only be the network's.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, BotoCoreError, ClientError, OSError) as error:
        if isinstance(error, OSError) and not network:
            raise
        raise NotRecorded(described(innermost(error))[:200]) from error


@dataclass
class _Child:
    """What stands in MLflow of a trial."""

    run_id: str
    last_epoch: int = 0
    started_ms: int = 0
    status: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    params: bool = False


class Recorder:
    """Records one study.

    Args:
        uri: MLflow's tracking URI.
        study: Name of the study, and of the experiment.
        artifacts: Folder for artifacts, used where the tracking store is a local database.
        trial_tags: What to say of the data with every trial.

    Attributes:
        trial_runs: The runs of all trials as they stood at first, finals too, the oldest first.

    Raises:
        InputError: If the tracking store cannot be used.
    """

    def __init__(
        self, uri: str, study: str, artifacts: Path, trial_tags: Mapping[str, str] | None = None
    ) -> None:
        # The study does not wait for MLflow, and who does has its own patience.
        MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(1)
        MLFLOW_HTTP_REQUEST_TIMEOUT.set(ANSWER)
        database = local_database(uri)
        if database is not None:
            make_database(database)
        self.client = connect(uri)
        self.study = study
        local = artifacts if uri.startswith("sqlite") else None
        with not_recorded():
            self.experiment = self._experiment(study, local)
            known = self._runs(f"tags.`{KIND}` = 'study'")
            self.trial_runs = self._runs(f"tags.`{KIND}` != 'study'")
        self.parent_run = known[0] if known else None
        self.parent = known[0].info.run_id if known else ""
        self.identity = known[0].data.tags.get(IDENTITY) if known else None
        self.trial_tags = dict(trial_tags or {})
        self.children: dict[int, _Child] = {}
        self.unsure: set[int] = set()
        for run in self.trial_runs:
            self.adopt(run)

    def _experiment(self, study: str, artifacts: Path | None) -> str:
        known = experiment_named(self.client, study)
        if known is not None:
            more = "; and choose another --name, since this experiment keeps its place"
            check_artifacts(self.client, known.artifact_location, more)
            return known.experiment_id
        location = artifacts.resolve().as_uri() if artifacts else None
        made = self.client.create_experiment(study, artifact_location=location)
        try:
            check_artifacts(self.client, self.client.get_experiment(made).artifact_location)
        except InputError:
            # Where artifacts go is decided once: the name has to be free for a better one.
            self.client.rename_experiment(made, f"{study} refused {made}")
            self.client.delete_experiment(made)
            raise
        return made

    @not_recorded()
    def open(
        self,
        question: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        data: tuple[str, str],
        *,
        identity: str,
        space: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Begins the parent run, or goes on with it.

        Args:
            question: What the study asks; the UI shows it as the run's description.
            params: What the study is.
            tags: What changes from session to session, such as the command.
            data: Name and digest of the data set.
            identity: Tells this study from another one of the same name.
            space: What is searched, see `analysis.searched`.

        Raises:
            NotRecorded: If the store does not take it.
        """
        if self.parent:
            self.client.update_run(self.parent, status="RUNNING")
        else:
            first = {KIND: "study", IDENTITY: identity, QUESTION: question}
            self.parent = self.client.create_run(
                self.experiment, run_name=self.study, tags=first
            ).info.run_id
        known = self.parent_run.data.params if self.parent_run else {}
        if not known:  # also where a crash came between the run and what it is
            name, digest = map(shown, data)
            entity = Dataset(name=name, digest=digest, source_type="local", source=name)
            self.client.log_inputs(self.parent, [DatasetInput(entity)])
            self._attach_text(json.dumps(list(space), indent=1), SPACE)
            self.client.log_batch(self.parent, params=_params(params))
        # What the run said of an earlier end holds no longer.
        self.client.log_batch(self.parent, tags=_tags({NOTE: question, **tags}))

    def _attach_text(self, text: str, file: str) -> None:
        """Puts a file among the artifacts of the study: the first of all.

        Raises:
            InputError: If a server wants them where this machine cannot put them.
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

    def _runs(self, filter_string: str) -> list[Run]:
        runs, token = [], None
        while True:
            page = self.client.search_runs(
                [self.experiment],
                filter_string,
                max_results=1000,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def adopt(self, run: Run) -> None:
        """Takes a run as that of its trial.

        Raises:
            InputError: If it does not say of which, or how that stands.
        """
        state_of(run)
        self.children[number_of(run)] = _Child(
            run_id=run.info.run_id,
            last_epoch=int(run.data.metrics.get("epoch", 0)),
            started_ms=run.info.start_time,
            status=run.info.status,
            tags=run.data.tags,
            params=bool(run.data.params),
        )

    @not_recorded()
    def sync(self, trial: Trial) -> None:
        """Brings the run of a trial up to what is known of the trial.

        An epoch that is there already is passed over; writing one twice, when the answer to the
        first time was lost, leaves it there once, since time and value are the same.

        Raises:
            NotRecorded: If the store does not take it, or not all of it.
        """
        child = self.children.get(trial.number) or self._begin(trial)
        params = [] if child.params else _params(trial.params)
        tags = _news(child, trial)
        rows = [row for row in trial.rows if row["epoch"] > child.last_epoch]
        *batches, last = [*_batches(rows)] or [[]]
        for metrics in batches:
            self.client.log_batch(child.run_id, metrics=metrics)
            child.last_epoch = metrics[-1].step
        if last or params or tags:
            self.client.log_batch(child.run_id, last, params, _tags(tags))
        child.last_epoch = last[-1].step if last else child.last_epoch
        child.params = True
        child.tags = {**child.tags, **tags}
        if child.status != (status := STATUS[trial.state]):
            self._set_status(child, status, trial.ended_ms)

    def _begin(self, trial: Trial) -> _Child:
        """The trial's run; a new one, unless one was begun and the answer lost."""
        if trial.number in self.unsure:
            for run in self._runs(f"tags.`{NUMBER}` = '{trial.number}'"):
                self.adopt(run)
                return self.children[trial.number]
        self.unsure.add(trial.number)
        tags = {
            **self.trial_tags,
            PARENT: self.parent_of(trial.of),
            KIND: "trial" if trial.of is None else "final",
            NUMBER: str(trial.number),
            IDENTITY: trial.identity,
            STATE: "running",
            BASELINE: str(trial.baseline).lower(),
            **({} if trial.of is None else {OF: str(trial.of)}),
        }
        tags = _taken(tags)
        run = self.client.create_run(
            self.experiment, start_time=trial.started_ms, run_name=trial.name, tags=tags
        )
        child = _Child(run.info.run_id, started_ms=trial.started_ms, status="RUNNING", tags=tags)
        self.children[trial.number] = child
        self.unsure.discard(trial.number)
        return child

    def parent_of(self, of: int | None) -> str:
        """Under which run one hangs: that of the trial that it is another training of, or the
        study's own.

        Raises:
            NotRecorded: If that trial has no run.
        """
        if of is not None and of not in self.children:
            raise NotRecorded(f"trial {of} has no run")
        return self.parent if of is None else self.children[of].run_id

    def _set_status(self, child: _Child, status: str, ended_ms: int | None) -> None:
        if status == "RUNNING":
            self.client.update_run(child.run_id, status=status)
        else:
            self.client.set_terminated(child.run_id, status, ended_ms)
        child.status = status

    @not_recorded()
    def stopped(self, number: int) -> None:
        """Closes the run of a trial whose session died."""
        child = self.children[number]
        self.client.set_tag(child.run_id, STATE, "stopped")
        self.client.set_terminated(child.run_id, STATUS["stopped"])
        child.tags, child.status = {**child.tags, STATE: "stopped"}, STATUS["stopped"]

    @not_recorded()
    def attach_run(self, run_id: str, parent: str) -> None:
        """Hangs a run under another one."""
        self.client.set_tag(run_id, PARENT, parent)

    @not_recorded()
    def epochs(self, run: Run) -> list[int]:
        """The epochs of a run as they stand.

        Raises:
            NotRecorded: If the store does not answer.
        """
        points = self.client.get_metric_history(run.info.run_id, "epoch")
        return sorted(point.step for point in points)

    @not_recorded()
    def rows(self, run: Run) -> list[Row]:
        """The epochs of a run as they stand, all metrics of them.

        Raises:
            NotRecorded: If the store does not answer.
        """
        rows: dict[int, dict[str, Any]] = {}
        for metric in run.data.metrics:
            points = self.client.get_metric_history(run.info.run_id, metric)
            for point in points:
                row = rows.setdefault(point.step, {"unix_ms": point.timestamp})
                row[metric] = int(point.value) if metric == "epoch" else point.value
        return [{**row, "epoch": epoch} for epoch, row in sorted(rows.items())]

    @not_recorded()
    def discard(self, run_id: str) -> None:
        """Moves a run to MLflow's deleted ones, from which it can be restored."""
        self.client.delete_run(run_id)
        self.children = {n: child for n, child in self.children.items() if child.run_id != run_id}

    @not_recorded()
    def attach(self, number: int, folder: Path) -> None:
        """Copies a folder into a trial's artifacts.

        Raises:
            NotRecorded: If the store does not take it.
        """
        run = self.children[number].run_id
        check_artifacts_of(self.client, run)
        self.client.log_artifacts(run, str(folder), folder.name)

    @not_recorded()
    def describe(self, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Tells the parent run what the study has come to.

        Raises:
            NotRecorded: If the store does not take it.
        """
        values = [Metric(name, value, 0, 0) for name, value in metrics.items()]
        self.client.log_batch(self.parent, metrics=values, tags=_tags(tags))

    @not_recorded()
    def close(self, status: str, tags: Mapping[str, str]) -> None:
        """Closes the parent run.

        Raises:
            NotRecorded: If the store does not take it.
        """
        self.client.log_batch(self.parent, tags=_tags(tags))
        self.client.set_terminated(self.parent, status)


def make_database(file: Path) -> None:
    """Makes a local database, whole or not at all; MLflow itself cannot go on with half of one."""
    with filelock.FileLock(f"{file}.lock"):
        if file.is_file():
            return
        partial = file.with_name(f"{file.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            connect(f"sqlite:///{partial / file.name}")
            (partial / file.name).rename(file)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _batches(rows: Sequence[Row]) -> Iterator[list[Metric]]:
    """Whole epochs together, as many as fit. The metric named ``epoch`` is the last of each: where
    it stands, the others do."""
    batch: list[Metric] = []
    for row in rows:
        names = [key for key in row if key not in ("epoch", "unix_ms") and row[key] is not None]
        epoch = [
            Metric(name, row[name], row["unix_ms"], row["epoch"]) for name in (*names, "epoch")
        ]
        if batch and len(batch) + len(epoch) > BATCH:
            yield batch
            batch = []
        while len(epoch) > BATCH:
            yield epoch[:BATCH]
            epoch = epoch[BATCH:]
        batch += epoch
    if batch:
        yield batch


def _news(child: _Child, trial: Trial) -> dict[str, str]:
    """The tags of a trial that its run does not have."""
    tags = {**trial.tags, STATE: trial.state}
    if trial.reason:
        tags[REASON] = trial.reason
    return {key: text for key, text in _taken(tags).items() if child.tags.get(key) != text}


def _params(params: Mapping[str, Any]) -> list[Param]:
    return [Param(key, shown(str(value))) for key, value in params.items()]


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(key, value) for key, value in _taken(tags).items()]


def _taken(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without passwords, and cut to what MLflow takes."""
    return {key: shown(value)[:LONGEST_TAG] for key, value in tags.items()}
