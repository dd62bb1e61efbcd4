"""The only writer to MLflow: one parent run a study, one child run a trial, from the driver.

An experiment holds one study. Metrics are kept back and written in batches, because a write costs
the driver about 10 ms whether it holds one metric or ten.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, Metric, Param, Run, RunTag

from analysis.runs import BASELINE, KIND, NUMBER, STATE, connect
from trainables.config import FitConfig

PATIENCE = 5.0
"""Seconds that metrics are kept back at most."""

BATCH = 500
"""Metrics in one write; MLflow takes at most 1,000."""

IDENTITY = "orrery.identity"

LONGEST_TAG = 5_000
"""Characters; MLflow refuses a longer value."""


@dataclass
class _Child:
    """One trial's run and the metrics not written yet."""

    run_id: str
    last_epoch: int
    waiting: list[Metric] = field(default_factory=list)
    written: float = field(default_factory=time.monotonic)


class Recorder:
    """Records one study.

    Args:
        uri: MLflow's tracking URI.
        study: Name of the study, and of the experiment.
        artifacts: Folder for artifacts, used where the tracking store is a local database.

    Raises:
        InputError: If the tracking store cannot be used.
    """

    def __init__(self, uri: str, study: str, artifacts: Path) -> None:
        self.client = connect(uri)
        self.study = study
        self.children: dict[int, _Child] = {}
        self.experiment = self._experiment(study, artifacts if uri.startswith("sqlite") else None)
        known = self._runs(f"tags.`{KIND}` = 'study'")
        self.parent = known[0].info.run_id if known else ""
        self.identity = known[0].data.tags.get(IDENTITY) if known else None
        self.trial_tags: dict[str, str] = {}

    def _experiment(self, study: str, artifacts: Path | None) -> str:
        known = self.client.get_experiment_by_name(study)
        if known is not None:
            return known.experiment_id
        location = artifacts.resolve().as_uri() if artifacts else None
        return self.client.create_experiment(study, artifact_location=location)

    def open(
        self,
        question: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        data: tuple[str, str],
        *,
        identity: str,
        trial_tags: Mapping[str, str],
    ) -> None:
        """Begins the parent run, or goes on with it.

        Args:
            question: What the study asks; the UI shows it as the run's description.
            params: What the study is.
            tags: What changes from session to session, such as the command.
            data: Name and digest of the data set.
            identity: Tells this study from another one of the same name.
            trial_tags: What to say of the data with every trial.
        """
        self.trial_tags = dict(trial_tags)
        if self.parent:
            self.client.update_run(self.parent, status="RUNNING")
        else:
            self.parent = self._create(
                self.study, {KIND: "study", IDENTITY: identity, "mlflow.note.content": question}
            )
            name, digest = data
            entity = Dataset(name=name, digest=digest, source_type="local", source=name)
            self.client.log_inputs(self.parent, [DatasetInput(entity)])
            self.client.log_batch(
                self.parent, params=[Param(key, str(value)) for key, value in params.items()]
            )
        self.client.log_batch(self.parent, tags=_tags(tags))
        for run in self._runs(f"tags.`{KIND}` = 'trial'"):
            last = int(run.data.metrics.get("epoch", 0))
            self.children[int(run.data.tags[NUMBER])] = _Child(run.info.run_id, last)

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        created = self.client.create_run(self.experiment, run_name=name, tags=dict(tags))
        return created.info.run_id

    def _runs(self, filter_string: str) -> list[Run]:
        runs, token = [], None
        while True:
            page = self.client.search_runs(
                [self.experiment], filter_string, max_results=1000, page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def started(self, number: int, name: str, config: FitConfig, baseline: bool) -> None:
        """Begins a trial's run, or goes on with the one that an earlier session began."""
        if number in self.children:
            run_id = self.children[number].run_id
            self.client.update_run(run_id, status="RUNNING")
            self.client.set_tag(run_id, STATE, "running")
            return
        tags = {
            "mlflow.parentRunId": self.parent,
            KIND: "trial",
            NUMBER: str(number),
            STATE: "running",
            BASELINE: str(baseline).lower(),
            **self.trial_tags,
        }
        run_id = self._create(name, tags)
        params = [Param(key, str(value)) for key, value in asdict(config).items()]
        self.client.log_batch(run_id, params=params)
        self.children[number] = _Child(run_id, last_epoch=0)

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keeps an epoch's metrics, and writes them with others before long.

        An epoch that is there already, because the trial went on from an older checkpoint, is
        passed over.
        """
        child = self.children[number]
        if epoch <= child.last_epoch:
            return
        child.last_epoch = epoch
        now = int(time.time() * 1000)
        values = {**metrics, "epoch": epoch}
        child.waiting += [Metric(name, value, now, epoch) for name, value in values.items()]
        if len(child.waiting) >= BATCH or time.monotonic() - child.written > PATIENCE:
            self._write(child)

    def _write(self, child: _Child) -> None:
        for first in range(0, len(child.waiting), BATCH):
            self.client.log_batch(child.run_id, metrics=child.waiting[first : first + BATCH])
        child.waiting = []
        child.written = time.monotonic()

    def ended(self, number: int, status: str, tags: Mapping[str, str]) -> None:
        """Writes what is left and closes the run.

        Args:
            number: The trial.
            status: MLflow's: FINISHED, FAILED, or KILLED for a trial that can go on later.
            tags: Its state, reason, node and device.
        """
        child = self.children[number]
        self._write(child)
        self.client.log_batch(child.run_id, tags=_tags(tags))
        self.client.set_terminated(child.run_id, status)

    def attach(self, number: int, folder: Path) -> None:
        """Copies a folder into a trial's artifacts."""
        self.client.log_artifacts(self.children[number].run_id, str(folder), folder.name)

    def abort(self) -> None:
        """Closes the parent run after something that nobody foresaw."""
        self.client.set_terminated(self.parent, "KILLED")

    def close(
        self, status: str, tags: Mapping[str, str], metrics: Mapping[str, float] | None = None
    ) -> None:
        """Closes the parent run with what the study has come to."""
        now = int(time.time() * 1000)
        values = [Metric(name, value, now, 0) for name, value in (metrics or {}).items()]
        self.client.log_batch(self.parent, metrics=values, tags=_tags(tags))
        self.client.set_terminated(self.parent, status)


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(key, value[:LONGEST_TAG]) for key, value in tags.items()]
