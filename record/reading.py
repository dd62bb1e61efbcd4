"""Reads a recorded study from its log, or from MLflow if this machine has no log of it."""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from mlflow.entities import Run

from datasets.addresses import shown
from datasets.errors import InputError
from record import names, placements, proposal, values
from record.artifacts import Artifacts
from record.definition import definition
from record.facts import facts_of
from record.folder import StudyFolder
from record.known_log import OLDEST, check_not_old, has_log, known_state, without_log
from record.lazy_reports import Fetch, LazyReports
from record.mlflow_runs import last_epoch, number_of
from record.own_commands import own_command
from record.recorded_study import RecordedStudy, Space
from record.state import StudyState
from record.tracker import StudyStatus
from record.trial import OPEN, Status, Trial

Value = TypeVar("Value")


def recorded_study(
    folder: StudyFolder, uri: str, define: Callable[[], Any] | None = None
) -> RecordedStudy:
    """Reads a recorded study.

    Args:
        folder: Folder layout of the study.
        uri: MLflow's tracking URI, used if there is no log.
        define: Returns the ``STUDY`` that was recorded; None to import it, see
            `record.definition`.

    Raises:
        InputError: If there is no such study, it was recorded by an old version without a log, or
            its log is damaged.
        OSError: If its log cannot be read.
    """
    is_here = has_log(folder)
    if is_here:
        found = from_log(folder.name, known_state(folder), uri)
    else:
        check_not_old(folder)
        found = from_mlflow(folder.name, uri)
    look = partial(definition, folder.name, found.tags, is_of_this_folder=is_here)
    return replace(found, define=define or look)


def from_log(study: str, state: StudyState, uri: str) -> RecordedStudy:
    """Builds a recorded study from the state in its log.

    As in MLflow, addresses have no passwords, and times are rounded down to milliseconds.

    Args:
        study: Name of the study.
        state: Its state.
        uri: MLflow's tracking URI, for the artifacts.
    """
    session, facts = state.session, facts_of(state.session)
    begun = [_timed(trial) for trial in state.trials() if trial.started or not trial.is_open]
    made = _study(
        study,
        state.ending.status if state.ending else "RUNNING",
        params={name: _shown(value) for name, value in facts.params.items()},
        tags={name: shown(text) for name, text in facts.tags.items()},
        trials=begun,
        artifacts=Artifacts(uri, study, session.identity),
        read_space=lambda: state.sessions[0].space,
    )
    return made.without(state.discarded)


def _timed(trial: Trial) -> Trial:
    """Rounds the times of a trial down to milliseconds, as MLflow stores them."""
    return replace(trial, started=_floor(trial.started), ended=_floor(trial.ended))


def _floor(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _shown(value: Any) -> Any:
    return shown(value) if isinstance(value, str) else value


def from_mlflow(study: str, uri: str) -> RecordedStudy:
    """Reads a recorded study from MLflow.

    Raises:
        InputError: If there is no such study, it was recorded by an old version without a log, or
            one of its runs was changed by hand.
    """
    artifacts = Artifacts(uri, study)
    runs = artifacts.runs
    fetch = artifacts.store.points
    return _study(
        study,
        cast(StudyStatus, runs.parent.info.status),
        params=_params(study, runs.parent),
        tags=runs.parent.data.tags,
        trials=[_trial(runs.trials[number], fetch) for number in sorted(runs.trials)],
        artifacts=artifacts,
        read_space=lambda: _space(artifacts),
    )


def _study(
    study: str,
    status: StudyStatus,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    trials: Iterable[Trial],
    artifacts: Artifacts,
    read_space: Callable[[], Space | None],
) -> RecordedStudy:
    every = tuple(trials)
    return RecordedStudy(
        define=partial(definition, study, tags, is_of_this_folder=False),
        name=study,
        status=status,
        params=params,
        tags=tags,
        trials=tuple(trial for trial in every if trial.replicate_of is None),
        finals=tuple(trial for trial in every if trial.replicate_of is not None),
        artifacts=artifacts,
        read_space=read_space,
    )


def _params(study: str, parent: Run) -> Mapping[str, Any]:
    """Reads the params of a study's run, with their types."""
    if names.SPEC not in parent.data.tags:
        version = parent.data.params.get("version", OLDEST)
        raise InputError(without_log(study, version))
    params = _read(parent, names.SPEC, lambda text: values.from_json(json.loads(text)))
    if names.GROUP_BY not in params:
        raise InputError(
            f"the study {study} was recorded by an earlier version of this code ("
            f"{params.get('version', 'unknown')}, with a log of version 1): look at it with that "
            "version"
        )
    return params


def _trial(run: Run, fetch: Fetch) -> Trial:
    """Converts an MLflow run to its trial.

    Raises:
        InputError: If a tag of the run is missing or was changed.
    """
    status = _read(run, names.STATE, _status)
    where = _read(run, names.PLACEMENTS, placements.read)
    return Trial(
        number=number_of(run),
        status=status,
        reports=LazyReports(run, fetch) if last_epoch(run) else (),
        reason=run.data.tags.get(names.REASON, ""),
        placements=where,
        started=_time(run.info.start_time) if where else None,
        ended=None if status in OPEN else _time(run.info.end_time),
        dropped=run.data.tags.get(names.DROPPED, ""),
        **_read(run, names.PROPOSED, proposal.read),
    )


def _read(run: Run, tag: str, read: Callable[[str], Value]) -> Value:
    """Reads and decodes a tag of a run.

    Args:
        run: The run.
        tag: Name of the tag.
        read: Decodes the text of the tag; raises ValueError if it is invalid.

    Raises:
        InputError: If the tag is missing or invalid.
    """
    text = run.data.tags.get(tag)
    if text is None:
        raise InputError(
            f"the run {run.info.run_id} in MLflow has no {tag}, which the study wrote: put it "
            "back; or delete the run of a trial there, and "
            f"`{own_command('studies.doctor')} NAME --repair` records it anew"
        )
    try:
        return read(text)
    except ValueError as error:
        raise InputError(
            f"the run {run.info.run_id} in MLflow has {tag} {text[:40]!r}: {error}"
        ) from error


def _status(text: str) -> Status:
    if text not in get_args(Status):
        raise ValueError(f"expected one of {', '.join(get_args(Status))}")
    return cast(Status, text)


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _space(artifacts: Artifacts) -> Space | None:
    """Reads the search space from the artifact of the study's run; None if there is none."""
    with tempfile.TemporaryDirectory() as scratch:
        file = artifacts.fetch(None, names.SPACE, Path(scratch))
        return None if file is None else values.from_json(json.loads(file.read_text("utf-8")))
