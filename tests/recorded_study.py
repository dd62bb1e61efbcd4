"""Records invented studies in a log and in MLflow, for tests of the analyses."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from engine.space import Space
from record import names
from record.artifacts import Artifacts
from record.definition import place_of
from record.events import Ended, Event, Placed, Proposed, Reported, SessionBegan, SessionEnded
from record.facts import facts_of
from record.folder import StudyFolder
from record.known_log import known_state
from record.log import FileLog
from record.mlflow_store import open_tracker
from record.mlflow_tracker import MLflowTracker
from record.reading import recorded_study
from record.recorded_study import RecordedStudy
from record.state import StudyState
from record.tracker import StudyStatus, sync
from record.trial import ENDED, Baseline, Placement, Report, Role, Searched, Status, Trial
from studies import gnn_sweep
from trainables.config import FitConfig
from trainables.models.gnn import GNNConfig

VALIDATION_VARIANCE = 4.0
"""Variance of the invented validation targets, in D²."""

TRAIN_VARIANCE = 2.0
"""Variance of the invented train targets, in D²; the unit of the loss of trials that standardize
the target."""

EPOCHS = 3
"""Number of epochs of a finished trial."""

HERE = Placement("here", "cpu", "x86 AVX2", 1, 4242, "a" * 40, {"torch": "2.13.0"})

SPEC: Mapping[str, Any] = {
    "study": "gnn",
    "objective": "validation/r2",
    "group_by": "family",
    "seed": 0,
    "preset": "none",
    "sampler": "tpe",
    "version": "1.0.0",
    "data.dataset": "gfn2",
    "data.target": "mu",
    "data.split": "random",
    "data.prior": "none",
    "data.digest": "0123",
    "facts.unit": "D",
}

SETTINGS = {
    names.QUESTION: "Which?",
    names.COMMAND: "python study.py",
    names.HOST: "here",
    names.RUNGS: "1, 2",
    names.SCHEDULER: "asha",
    names.DATA_TITLE: "gfn2-mu",
    **place_of(str(gnn_sweep.__file__)),
}


@dataclass(frozen=True)
class Told:
    """Description of an invented trial.

    Attributes:
        family: Family of the model.
        r2: ``validation/r2`` after each epoch.
        state: Status at the end; ``stopped``: the session ended before the trial did.
        baseline: Whether the trial has the default configuration of its family.
        standardize: Whether the loss is dimensionless.
        learning_rate: Learning rate of the optimiser.
        reason: Reason of a failure.
        title: Short label of the configuration; None: the configuration's own.
        placements: Machines on which the trial ran.
    """

    family: str
    r2: Sequence[float]
    state: Status = "finished"
    baseline: bool = False
    standardize: bool = True
    learning_rate: float = 2e-3
    reason: str = ""
    title: str | None = None
    placements: Sequence[Placement] = (HERE,)

    @property
    def config(self) -> GNNConfig:
        """Configuration of the trial."""
        return GNNConfig(
            family=self.family,
            standardize=self.standardize,
            learning_rate=self.learning_rate,
            epochs=EPOCHS,
        )


@dataclass
class Invented:
    """An invented study, recorded in its log and in MLflow.

    Attributes:
        folder: Folder of the study, which contains its log.
        uri: MLflow's tracking URI.
        tracker: Tracker that writes the study to MLflow.
    """

    folder: StudyFolder
    uri: str
    tracker: MLflowTracker = field(init=False)

    def __post_init__(self) -> None:
        self.tracker = open_tracker(self.uri, self.folder.name, self.folder.artifacts)

    @property
    def study(self) -> RecordedStudy:
        """The study as the analyses read it."""
        return recorded_study(self.folder, self.uri)

    @property
    def state(self) -> StudyState:
        """State of the study according to its log."""
        return known_state(self.folder)

    def add(self, *events: Event) -> None:
        """Appends events to the log and updates MLflow."""
        log = FileLog(self.folder.log)
        log.append(events)
        log.close()
        state = self.state
        if any(isinstance(event, SessionBegan) for event in events):
            self.tracker.begin(facts_of(state.session))
        sync(self.tracker, state)
        if state.ending is not None:
            self.tracker.close(state.ending.status, {})

    def go_on(self, told: Sequence[Told], status: StudyStatus = "FINISHED") -> None:
        """Adds another session with more trials."""
        last = self.state.session
        session = f"session-{len(self.state.sessions) + 1:04d}"
        trials = _happened(told, self.state.next_number, self.state.next_index)
        began = replace(last, session=session, at=now())
        self.add(began, *trials, *_end(session, status))

    def run_id(self, number: int) -> str:
        """Returns the id of a trial's MLflow run."""
        return self.tracker.runs[number].run_id


def now() -> datetime:
    """Returns the current time in UTC."""
    return datetime.now(UTC)


def metrics(r2: float, standardize: bool = True) -> dict[str, float]:
    """Returns the metrics of an epoch with this R²; the train loss is half the validation loss."""
    mse = (1 - r2) * VALIDATION_VARIANCE
    loss = mse / TRAIN_VARIANCE if standardize else mse
    return {
        "validation/r2": r2,
        "validation/mse": mse,
        "validation/loss": loss,
        "train/loss": loss / 2,
        "train/seconds": 0.25,
    }


def record(
    runs: Path,
    study: str,
    told: Sequence[Told],
    status: StudyStatus = "FINISHED",
    *,
    uri: str | None = None,
    settings: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] = SPEC,
) -> Invented:
    """Records a study of the given trials in a log and in MLflow.

    Args:
        runs: The runs folder.
        study: Name of the study.
        told: Trials of the study.
        status: Status of the study; ``RUNNING``: it has not ended.
        uri: MLflow's tracking URI; None: the database in the runs folder.
        settings: Settings that replace or extend `SETTINGS`.
        spec: Specification of the study.
    """
    folder = StudyFolder(runs, study)
    invented = Invented(folder, uri or f"sqlite:///{folder.database}")
    session = "session-0001"
    began = SessionBegan(
        session=session,
        identity=study,
        objective="validation/r2",
        direction="maximize",
        spec=spec,
        space=Space.of(GNNConfig, "family", {"epochs": [EPOCHS]}).searched(),
        settings={**SETTINGS, **(settings or {})},
        at=now(),
    )
    invented.add(began, *_happened(told, 0, 0), *_end(session, status))
    return invented


def _happened(told: Sequence[Told], number: int, index: int) -> list[Event]:
    """Makes the events of the trials, whose numbers and search indices count up from the given
    ones."""
    events: list[Event] = []
    for place, one in enumerate(told):
        role = Baseline(index + place) if one.baseline else Searched(index + place)
        events += _trial(number + place, one, role)
    return events


def _trial(number: int, one: Told, role: Role) -> list[Event]:
    config = one.config
    title = config.title if one.title is None else one.title
    reports = tuple(
        Report(epoch, int(now().timestamp() * 1000), 0.25, metrics(r2, one.standardize))
        for epoch, r2 in enumerate(one.r2, start=1)
    )
    events: list[Event] = [Proposed(number, asdict(config), {}, role, now(), title=title)]
    events += [Placed(number, placement, now()) for placement in one.placements]
    if reports:
        events.append(Reported(number, reports))
    if one.state in ENDED:
        events.append(Ended(number, one.state, now(), one.reason))
    return events


def _end(session: str, status: StudyStatus) -> list[Event]:
    return [] if status == "RUNNING" else [SessionEnded(session, status, "it is over", now())]


def trial(
    number: int,
    config: FitConfig,
    value: float,
    status: Status = "finished",
    *,
    metric: str = "validation/r2",
    epochs: int = 1,
    role: Role | None = None,
) -> Trial:
    """Makes a trial that has the same value of a metric after each of its epochs."""
    moment = datetime.fromtimestamp(number, UTC)
    return Trial(
        number,
        asdict(config),
        drawn={},
        role=role or Searched(number),
        status=status,
        reports=tuple(Report(epoch, 0, 0.25, {metric: value}) for epoch in range(1, epochs + 1)),
        placements=(HERE,),
        started=moment,
        ended=moment,
    )


def study_of(
    trials: Sequence[Trial],
    finals: Sequence[Trial] = (),
    status: StudyStatus = "FINISHED",
    tags: Mapping[str, str] | None = None,
    **params: Any,
) -> RecordedStudy:
    """Makes a study named ``s`` from trials, without a log or MLflow."""
    return RecordedStudy(
        "s",
        status,
        {**SPEC, **params},
        tags or {},
        tuple(trials),
        tuple(finals),
        artifacts=cast(Artifacts, None),
        read_space=lambda: None,
        define=lambda: gnn_sweep.STUDY,
    )
