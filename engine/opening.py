"""Opens a new or existing study: its log, the source of truth, and its MLflow experiment."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from datasets.addresses import shown
from datasets.errors import InputError
from engine.history import History
from engine.place import check_place, log_of
from engine.projection import catch_up
from engine.session import changed_file, refuse_another
from record import names
from record.appender import Appender
from record.events import EndStatus, SessionBegan, SessionEnded
from record.facts import facts_of
from record.folder import StudyFolder
from record.log import FileLog, Log
from record.mlflow_store import open_tracker
from record.mlflow_tracker import MLflowTracker
from record.state import IllegalEvent, StudyState, fold
from record.tracker import NotRecorded


@dataclass
class OpenStudy:
    """A study that has a running session.

    Attributes:
        folder: Folder layout of the study.
        history: Log and state of the study.
        tracker: MLflow tracker, brought up to date with the log.
        seconds: Time that bringing the tracker up to date took, in seconds.
    """

    folder: StudyFolder
    history: History
    tracker: MLflowTracker
    seconds: float

    @property
    def state(self) -> StudyState:
        """Current state of the study."""
        return self.history.state

    def end(self, status: EndStatus, reason: str) -> None:
        """Logs the end of the session, unless it is logged already or an earlier write failed.

        Args:
            status: Final status of the session, see `record.events.SessionEnded`.
            reason: Why the session ended, for the user.

        Raises:
            OSError: If the log cannot be written.
        """
        if self.history.failure is None and self.state.ending is None:
            session = self.state.session.session
            self.history.add(SessionEnded(session, status, reason, self.history.now()))

    def cut_off(self) -> None:
        """Ends the session as killed, after an error or interrupt, unless it has ended already."""
        if self.state.ending is None and not self.history.is_superseded:
            with suppress(NotRecorded, OSError):
                self.end("KILLED", "it was cut off")
                self.tracker.close("KILLED", {})


def open_study(
    folder: StudyFolder,
    uri: str,
    begin: Callable[[StudyState], SessionBegan],
    notify: Callable[[str], None],
) -> OpenStudy:
    """Begins a session of a study whose folder this process has locked.

    Args:
        folder: Folder layout of the study.
        uri: MLflow's tracking URI.
        begin: Returns the event that begins the session, given the state of the study so far.
        notify: Prints a message for the user about the remains of an earlier session.

    Raises:
        InputError: If the name belongs to a different study, the study was begun elsewhere or by
            an old version, its log is damaged, or MLflow cannot be used.
        NotRecorded: If MLflow's store does not answer.
        OSError: If the log cannot be read or written.
    """
    check_place(folder)
    log = log_of(folder)
    state = _folded(folder, log)
    if isinstance(log, FileLog) and log.torn:
        notify(
            f"{folder.log}: the last line was cut off when it was written, and counts for nothing"
        )
    tracker = open_tracker(uri, folder.name, folder.artifacts)
    session = begin(state)
    _check_same(folder, uri, tracker, state)
    if state.sessions:
        refuse_another(folder.name, state.sessions[0], session)
        if changed := changed_file(state.session, session):
            notify(
                f"{changed} is not what it was in the session before: the trials so far were "
                "trained with it as it was then"
            )
    history = History(Appender(log), state)
    history.add(session)
    begun = time.monotonic()
    tracker.begin(facts_of(session))
    catch_up(tracker, history)
    return OpenStudy(folder, history, tracker, time.monotonic() - begun)


def _folded(folder: StudyFolder, log: Log) -> StudyState:
    try:
        return fold(log.read())
    except IllegalEvent as error:
        where = folder.store_log or folder.log
        raise InputError(f"{where} tells what cannot have happened: {error}") from error


def _check_same(folder: StudyFolder, uri: str, tracker: MLflowTracker, state: StudyState) -> None:
    """Checks that MLflow's experiment of this name belongs to this study, if there is one.

    There is none if the study or the database is new, or the database was lost.
    """
    known = state.session.identity if state.sessions else None
    if tracker.identity in (None, known):
        return
    storage = tracker.parent_run.data.tags.get(names.STORAGE) if tracker.parent_run else None
    if storage and folder.storage is None:
        raise InputError(
            f"the study {folder.name} ran with a --storage, and keeps its trials in "
            f"{shown(storage)}: give that --storage, or choose another --name"
        )
    raise InputError(
        f"the tracking store {shown(uri)} and {folder.store or folder.path} do not know the same "
        f"study {folder.name}: one of them is another one's, or was removed; choose another --name"
    )
