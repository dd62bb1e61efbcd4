"""The only reader of MLflow: what a study recorded, as typed values.

A study is an experiment with one parent run and one child run a trial, as studies/recording.py
writes them. Analyses add files to these runs, and nothing else.
"""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from statistics import fmean
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException

from analysis.texts import from_texts, whole
from datasets.addresses import shown
from datasets.errors import InputError
from record.tracking import (
    by_hand,
    check_answers,
    check_artifacts_of,
    connect,
    experiment_named,
    local_database,
)
from trainables.checkpoint import WEIGHTS, load_weights

DataOptions = TypeVar("DataOptions")

KIND = "orrery.kind"
NUMBER = "orrery.trial"
OF = "orrery.of"
STATE = "orrery.state"
BASELINE = "orrery.baseline"
REASON = "orrery.reason"
DEVICE = "orrery.device"
QUESTION = "orrery.question"
SCHEDULER = "orrery.scheduler"
COMMIT = "orrery.commit"
VERSIONS = "orrery.versions"
FINALISTS = "orrery.finalists"
RUNGS = "orrery.rungs"
DEFAULTS = "orrery.defaults"
ENVIRONMENT = "orrery.environment"

OPTIONS, FACTS = "data.", "facts."
"""Begin the params that say what a study was told to learn from, and what was found there."""

PAGE = 1000
"""Runs in one answer of the tracking store."""

NO_RUN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow says of an id that no run has."""

NAMED = 8
"""Studies that are named to a user who asked for one that is not there."""

NO_RESULT = ("failed", "infeasible")
"""States of a trial that has ended and has no value."""

State = Literal[
    "running", "finished", "pruned", "failed", "infeasible", "stopped", "paused", "dropped"
]

Value = TypeVar("Value")


class _Recorded(dict[str, Value]):
    """Params, tags or metrics of a run, of which one may have been removed in MLflow."""

    run = ""

    def __missing__(self, name: str) -> Value:
        raise InputError(
            f"the run {self.run} in MLflow has no {name}, which the study wrote: put it back; or "
            "delete the run of a trial there, and studies/doctor.py --repair records it anew"
        )


def _recorded(run: str, values: Mapping[str, Value]) -> _Recorded[Value]:
    made = _Recorded(values)
    made.run = run
    return made


@dataclass(frozen=True)
class TrialRun:
    """One trial as recorded.

    Attributes:
        number: Its number in the study.
        name: Number and configuration at a glance.
        run_id: MLflow's.
        state: ``finished`` its whole budget; ``pruned``: stopped early by the scheduler;
            ``failed``; ``infeasible``: it needs more memory than there is; ``stopped``: the
            session ended first; ``running``: not ended, as far as MLflow was told.
        baseline: Whether it is the default (or preset) configuration of its group.
        params: Hyperparameter -> value as text.
        metrics: Name -> value after the last epoch, in the units of `trainables.fit`.
        started: When; UTC.
        ended: When it ended; None while it runs.
        tags: What else there is to say of it: how and where it was trained, why it failed.
        of: Of a final the number of the trial that it is another training of, with another seed.
    """

    number: int
    name: str
    run_id: str
    state: State
    baseline: bool
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    started: datetime
    ended: datetime | None
    tags: Mapping[str, str]
    of: int | None = None

    @property
    def configuration(self) -> str:
        """The most telling of its hyperparameters, as its name has them after the number."""
        return self.name.partition(" ")[2]

    @property
    def reason(self) -> str:
        """Why it failed, or cannot be run."""
        return self.tags.get(REASON, "")


@dataclass(frozen=True)
class StudyRuns:
    """A study as recorded: its parent run and all of its trials.

    Attributes:
        name: The study's.
        run_id: Of the parent run.
        status: MLflow's, of the parent run: FINISHED; FAILED: no trial finished; KILLED: stopped
            before all trials were done; RUNNING.
        params: What the study is, as text.
        tags: What changes from session to session.
        trials: Of the search, by number.
        finals: Those that train finalists again, by number.
    """

    name: str
    run_id: str
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    trials: tuple[TrialRun, ...]
    finals: tuple[TrialRun, ...] = ()

    @property
    def objective(self) -> str:
        """The metric that the study maximised, on the validation split."""
        return self.params["objective"]

    @property
    def question(self) -> str:
        """What it asks."""
        return self.tags.get(QUESTION, "")

    @property
    def by(self) -> str:
        """The hyperparameter whose values are compared, such as the family."""
        return self.params["by"]

    @property
    def kind(self) -> Literal["molecules", "drives", "unknown"]:
        """What it learned from."""
        kinds = {"data.target": "molecules", "data.driver": "drives"}
        found = (kind for param, kind in kinds.items() if param in self.params)
        return cast(Literal["molecules", "drives", "unknown"], next(found, "unknown"))

    @property
    def unit(self) -> str:
        """Of the target."""
        return self.fact("unit", "unit unknown")

    def fact(self, name: str, otherwise: str | None = None) -> str:
        """What was found in its data, see `engine.study.StudyData`.

        Raises:
            InputError: If that was not recorded, and nothing stands for it.
        """
        told = self.params.get(FACTS + name, otherwise)
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
        texts = {
            name.removeprefix(OPTIONS): text
            for name, text in self.params.items()
            if name.startswith(OPTIONS)
        }
        return from_texts(kind, texts)

    def trained_with(self, tag: str) -> str:
        """What a tag of the trials and finals says of the code that trained them, one after the
        other where it changed in between; empty if nothing was recorded."""
        told = [trial.tags.get(tag, "") for trial in (*self.trials, *self.finals)]
        return ", then ".join(
            dict.fromkeys(each for some in told for each in some.split(", ") if each)
        )

    @property
    def defaults(self) -> set[int]:
        """Numbers of the trials that had a default configuration, or a preset's."""
        told = self.tags.get(DEFAULTS)
        if told is None:
            return {trial.number for trial in self.trials if trial.baseline}
        return {whole(DEFAULTS, number) for number in told.split(", ") if number}

    @property
    def groups(self) -> dict[str, tuple[TrialRun, ...]]:
        """Value of `by` -> its trials; in the order in which the values were first tried."""
        # A run that was begun and then cut off has no params yet.
        known = [trial for trial in self.trials if self.by in trial.params]
        values = dict.fromkeys(trial.params[self.by] for trial in known)
        return {
            value: tuple(trial for trial in known if trial.params[self.by] == value)
            for value in values
        }

    @property
    def finalists(self) -> dict[int, tuple[TrialRun, ...]]:
        """Number of a trial -> its finals that finished; finalists without one are left out.

        Where the finals were cut short some have had more seeds than others: only the seeds that
        all have had count, whether they finished with them or failed. Those of a trial that was
        deleted in MLflow are left out too.
        """
        there = {trial.number for trial in self.trials}
        over = [final for final in self.finals if final.state in ("finished", *NO_RESULT)]
        numbers = dict.fromkeys(final.of for final in over if final.of in there)
        had = [
            {final.params["seed"] for final in over if final.of == number} for number in numbers
        ]
        common = set.intersection(*had) if had else set()
        found = {
            number: tuple(
                final
                for final in over
                if final.of == number
                and final.state == "finished"
                and final.params["seed"] in common
            )
            for number in numbers
        }
        return {number: finals for number, finals in found.items() if finals}

    @property
    def without_finals(self) -> tuple[int, ...]:
        """The finalists of which no final counts, since all failed or they were cut short."""
        named = self.tags.get(FINALISTS, "")
        wanted = [whole(FINALISTS, number) for number in named.split(", ") if number]
        return tuple(number for number in wanted if number not in self.finalists)

    @property
    def champion(self) -> TrialRun | None:
        """The finalist whose mean of the objective over the fresh seeds is the highest; None
        without finals. One of which a training failed wins only where that is true of all, and
        one that was trained once only where all were."""
        most = max((len(finals) for finals in self.finalists.values()), default=0)

        def standing(number: int) -> tuple[bool, bool, float]:
            finals = self.finalists[number]
            reached = [final.metrics[self.objective] for final in finals]
            return len(finals) >= min(2, most), not self.failed_finals(number), fmean(reached)

        number = max(self.finalists, key=standing, default=None)
        return None if number is None else self.trial(number)

    def trial(self, number: int) -> TrialRun:
        """The trial of the search with this number, which has to be there."""
        return next(trial for trial in self.trials if trial.number == number)

    def failed_finals(self, number: int) -> int:
        """How many trainings of a finalist ended without a result."""
        return sum(final.of == number and final.state in NO_RESULT for final in self.finals)

    @property
    def champion_final(self) -> TrialRun | None:
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

    def best(self, trials: Iterable[TrialRun]) -> TrialRun | None:
        """The trial of the highest objective among those that finished; None if none did.

        The value of a pruned trial was reached on a smaller budget and does not compete. Of equal
        ones the latest wins, as it does where the study keeps the weights of the best.
        """
        finished = [trial for trial in trials if trial.state == "finished"]
        return max(
            finished, key=lambda trial: (trial.metrics[self.objective], trial.number), default=None
        )


@dataclass(frozen=True)
class History:
    """A metric over the epochs of a trial.

    Attributes:
        epochs: (epochs,) int64, ascending, from 1; without those that were lost in a crash.
        values: (epochs,) float64.
    """

    epochs: np.ndarray
    values: np.ndarray


class TrackingStore:
    """MLflow, as far as an analysis needs it.

    Args:
        uri: MLflow's tracking URI.

    Raises:
        InputError: If it cannot be read.
    """

    def __init__(self, uri: str) -> None:
        _check_there(uri)
        check_answers(uri)
        self.client = connect(uri)
        self.uri = uri

    def study(self, name: str) -> StudyRuns:
        """Reads a study, trials and all.

        Raises:
            InputError: If there is no such study; the message names those that there are.
        """
        experiment = experiment_named(self.client, name)
        runs = self._runs(experiment.experiment_id) if experiment else []
        parent = next((run for run in runs if run.data.tags.get(KIND) == "study"), None)
        if parent is None:
            raise InputError(self._missing(name, experiment))
        trials = [_trial(run) for run in runs if run.data.tags.get(KIND) in ("trial", "final")]
        trials.sort(key=lambda trial: trial.number)
        for params in (parent.data.params, *(trial.params for trial in trials)):
            whole("seed", params.get("seed", "0"))
        return StudyRuns(
            name=name,
            run_id=parent.info.run_id,
            status=parent.info.status,
            params=_recorded(parent.info.run_id, parent.data.params),
            tags=_recorded(parent.info.run_id, parent.data.tags),
            trials=tuple(trial for trial in trials if trial.of is None),
            finals=tuple(trial for trial in trials if trial.of is not None),
        )

    def trial(self, named: str) -> tuple[StudyRuns, TrialRun]:
        """Reads one trial, or final, and its study.

        Args:
            named: MLflow's id of its run, or name of the study and number of the trial:
                ``gnn-gfn2-mu/14``.

        Raises:
            InputError: If there is none; the message says what to give.
        """
        name, slash, number = named.rpartition("/")
        runs = self.study(name if slash else self._study_of(named))
        known = {
            str(trial.number) if slash else trial.run_id: trial
            for trial in (*runs.trials, *runs.finals)
        }
        wanted = number if slash else named
        if wanted in known:
            return runs, known[wanted]
        numbers = [trial.number for trial in (*runs.trials, *runs.finals)]
        instead = f"{runs.name}/NUMBER, {min(numbers, default=0)} to {max(numbers, default=0)}"
        if wanted == runs.run_id:
            raise InputError(f"{named} is the run of the study itself: give a trial, {instead}")
        raise InputError(f"no trial {wanted} in {runs.name}, or it was deleted: give {instead}")

    def _study_of(self, run_id: str) -> str:
        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in NO_RUN:
                raise
            raise InputError(
                f"no run {run_id} in {shown(self.uri)}: expected MLflow's id of a trial's run, or "
                "NAME/NUMBER, name of the study and number of the trial"
            ) from error
        return self.client.get_experiment(run.info.experiment_id).name

    def _runs(self, experiment: str) -> list[Run]:
        runs, token = [], None
        while True:
            page = self.client.search_runs([experiment], max_results=PAGE, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    def _missing(self, name: str, experiment: Experiment | None) -> str:
        """Why a study is not there."""
        gone = (
            self.client.search_runs(
                [experiment.experiment_id], f"tags.`{KIND}` = 'study'", ViewType.DELETED_ONLY
            )
            if experiment
            else []
        )
        if gone:
            restore = by_hand(self.client, f"runs restore --run-id {gone[0].info.run_id}")
            return f"the run of the study {name} was deleted in MLflow: `{restore}` brings it back"
        return f"no study {name} in {shown(self.uri)}; there: {self._known()}"

    def _known(self) -> str:
        """The latest studies, as text."""
        experiments = self.client.search_experiments(order_by=["creation_time DESC"])
        names = [experiment.name for experiment in experiments if experiment.name != "Default"]
        more = [f"and {len(names) - NAMED} more"] if len(names) > NAMED else []
        return ", ".join([*names[:NAMED], *more]) or "none"

    def history(self, trial: TrialRun, metric: str) -> History:
        """A metric of a trial over its epochs; empty if it has none of that name."""
        points = self.client.get_metric_history(trial.run_id, metric)
        latest = {point.step: point.value for point in sorted(points, key=lambda p: p.timestamp)}
        epochs = sorted(latest)
        return History(
            np.array(epochs, np.int64), np.array([latest[e] for e in epochs], np.float64)
        )

    def weights(self, trial: TrialRun) -> dict[str, Any] | None:
        """``epoch``, ``config`` and ``model`` of a trial; None where they were not kept."""
        with tempfile.TemporaryDirectory() as scratch:
            file = self.fetch(trial.run_id, f"weights/{WEIGHTS}", Path(scratch))
            return load_weights(file.parent) if file else None

    def fetch(self, run_id: str, artifact: str, folder: Path) -> Path | None:
        """Copies an artifact of a run into a folder.

        Returns:
            Where it is; None if the run has no such artifact.
        """
        check_artifacts_of(self.client, run_id)
        parent = PurePosixPath(artifact).parent
        inside = None if parent == PurePosixPath() else str(parent)
        if artifact not in {there.path for there in self.client.list_artifacts(run_id, inside)}:
            return None
        return Path(self.client.download_artifacts(run_id, artifact, str(folder)))

    def publish(self, run_id: str, files: Iterable[Path], folder: str | None = None) -> None:
        """Copies files into the artifacts of a run, over those of the same name.

        Args:
            run_id: The run.
            files: Files on this machine.
            folder: Where among the artifacts; None: at the top.
        """
        check_artifacts_of(self.client, run_id)
        for file in files:
            self.client.log_artifact(run_id, str(file), folder)


def _trial(run: Run) -> TrialRun:
    """A trial of a run.

    Raises:
        InputError: If the run lacks what was written there, or has something else.
    """
    tags = _recorded(run.info.run_id, run.data.tags)
    state = state_of(run)
    ended = None if state == "running" else run.info.end_time
    return TrialRun(
        number=number_of(run),
        name=run.info.run_name or "",
        run_id=run.info.run_id,
        state=state,
        baseline=tags[BASELINE] == "true",
        params=_recorded(run.info.run_id, run.data.params),
        metrics=_recorded(run.info.run_id, run.data.metrics),
        started=_time(run.info.start_time),
        ended=_time(ended) if ended else None,
        tags=tags,
        of=whole(OF, tags[OF]) if OF in tags else None,
    )


def number_of(run: Run) -> int:
    """Which trial a run is of.

    Raises:
        InputError: If the run does not say.
    """
    return whole(NUMBER, _recorded(run.info.run_id, run.data.tags)[NUMBER])


def state_of(run: Run) -> State:
    """How the trial of a run stands.

    Raises:
        InputError: If the run does not say.
    """
    # Tag and time tell how the trial's last session ended; MLflow's status knows of a later one.
    if run.info.status == "RUNNING":
        return "running"
    state = _recorded(run.info.run_id, run.data.tags)[STATE]
    if state not in get_args(State):
        raise InputError(
            f"the run {run.info.run_id} in MLflow has {STATE} {state!r}: expected one of "
            f"{', '.join(get_args(State))}"
        )
    return cast(State, state)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _check_there(uri: str) -> None:
    """Checks that a local database exists: MLflow would make an empty one."""
    database = local_database(uri)
    if database is not None and not database.is_file():
        raise InputError(
            f"no studies are recorded in {database.parent}: there is no {database.name}; "
            "expected the --runs-dir of a study"
        )
