"""Looks for what a study has lost: of its log, of what trials learned, of what MLflow shows.

The log and MLflow are read by themselves, without the code that makes one follow the other; then
the project's doctor is asked as well.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import Run

from benchmarks.typed_study import EPOCHS, NAME, TRIALS, TypedStudy
from datasets.errors import InputError
from record import names
from record.events import Ended, Event, Paused, Placed, SessionBegan
from record.state import IllegalEvent, StudyState, fold
from record.trial import WITH_RESULT, Trial

DIFFERENT = "train/seconds"
"""The one metric that no two trainings have alike."""


def violations(
    study: TypedStudy, known: StudyState | None = None, deleted: Sequence[str] = ()
) -> list[str]:
    """Lists what is wrong with a study that has ended.

    Args:
        study: The study.
        known: The undisturbed one; None: it is that one itself.
        deleted: Ids of the runs that were deleted in MLflow by hand.
    """
    try:
        events = study.events()
        state = fold(events)
    except (InputError, IllegalEvent) as error:
        return [f"the log does not fold: {error}"]
    found = [*of_log(events, state, study.seen), *of_trials(state, known or state)]
    found += _of_mlflow(state, MlflowClient(study.uri), deleted)
    return [*found, *filter(None, [study.doctor()])]


def of_log(events: Sequence[Event], state: StudyState, seen: Sequence[Event]) -> Iterator[str]:
    """Lists what is wrong with a log.

    Args:
        events: All events of the log.
        state: The sum of these events.
        seen: The events that were in the log when the study was disturbed.
    """
    if list(seen) != list(events[: len(seen)]):
        yield "the log has lost what was in it"
    sessions = Counter(session.session for session in state.sessions)
    for session, count in sessions.items():
        if count > 1:
            yield f"{count} sessions are called {session}"
    if state.ending is None or state.ending.status != "FINISHED":
        yield f"by its log the study has ended so: {state.ending}"
    yield from _run_twice(events)


def _run_twice(events: Sequence[Event]) -> Iterator[str]:
    """Lists trials that were begun while they ran."""
    running: set[int] = set()
    for event in events:
        match event:
            case SessionBegan():
                running.clear()
            case Placed(number):
                if number in running:
                    yield f"trial {number} ran twice at once"
                running.add(number)
            case Paused(number) | Ended(number):
                running.discard(number)


def of_trials(state: StudyState, known: StudyState) -> Iterator[str]:
    """Lists what is wrong with the trials of a study, beside those of the undisturbed one."""
    if len(state.trials()) != TRIALS:
        yield f"{len(state.trials())} of {TRIALS} trials"
    for trial in state.trials():
        epochs = [report.epoch for report in trial.reports]
        if trial.status not in WITH_RESULT:
            yield f"trial {trial.number} is {trial.status}: {trial.reason}"
        elif epochs != [*range(1, (EPOCHS if trial.status == "finished" else trial.epoch) + 1)]:
            yield f"trial {trial.number} is {trial.status} with epochs {epochs}"
        undisturbed = known.known(trial.number)
        if undisturbed is not None and not _is_same(trial, undisturbed):
            yield f"trial {trial.number}: other values than in the undisturbed study"


def _is_same(trial: Trial, undisturbed: Trial) -> bool:
    """Tells whether a trial did the same to the last bit, as far as both went."""
    if trial.config != undisturbed.config:
        return False
    pairs = zip(trial.reports, undisturbed.reports, strict=False)
    return all(_learned(one.metrics) == _learned(other.metrics) for one, other in pairs)


def _learned(metrics: Mapping[str, float]) -> dict[str, float]:
    """Leaves out the metric that no two trainings have alike."""
    return {name: value for name, value in metrics.items() if name != DIFFERENT}


def _of_mlflow(state: StudyState, client: MlflowClient, deleted: Sequence[str]) -> Iterator[str]:
    """Lists what MLflow shows otherwise than the log has it."""
    gone = [client.get_run(run_id) for run_id in deleted]
    if any(run.info.lifecycle_stage != "deleted" for run in gone):
        yield "a run that was deleted by hand is back"
    discarded = {_number(run) for run in gone}
    if state.discarded != discarded:
        yield f"deleted by hand: trials {discarded}; by the log: {state.discarded}"
    runs = _runs(client)
    shown = sorted(_number(run) for run in runs if names.NUMBER in run.data.tags)
    expected = [trial.number for trial in state.trials() if trial.number not in discarded]
    if shown != expected:
        yield f"MLflow shows trials {shown}, expected {expected}"
    for run in runs:
        if run.info.status not in ("FINISHED", "FAILED"):
            yield f"the run {run.info.run_name} is {run.info.status}"
        if names.NUMBER in run.data.tags:
            yield from _of_run(client, run, state.known(_number(run)))


def _of_run(client: MlflowClient, run: Run, trial: Trial | None) -> Iterator[str]:
    """Lists where a trial's run in MLflow differs from the trial."""
    if trial is None:
        yield f"MLflow alone knows trial {_number(run)}"
        return
    if run.data.tags[names.STATE] != trial.status:
        yield f"trial {trial.number} is {trial.status}, in MLflow {run.data.tags[names.STATE]}"
    for name in run.data.metrics:
        points = client.get_metric_history(run.info.run_id, name)
        steps = sorted(point.step for point in points)
        if steps != [*range(1, trial.epoch + 1)]:
            yield f"trial {trial.number}: epochs of {name} in MLflow are {steps}"
        values = {point.step: point.value for point in points}
        in_log = {report.epoch: report.metrics.get(name) for report in trial.reports}
        if "/" in name and values != in_log:
            yield f"trial {trial.number}: {name} is not what the log says"


def _runs(client: MlflowClient) -> list[Run]:
    """Fetches all runs of the study, its own one included."""
    experiment = client.get_experiment_by_name(NAME)
    return [] if experiment is None else [*client.search_runs([experiment.experiment_id])]


def _number(run: Run) -> int:
    """Reads off a run which trial it shows."""
    return int(run.data.tags[names.NUMBER])
