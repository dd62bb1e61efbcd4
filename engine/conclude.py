"""Ends a session: updates MLflow, informs the user, and if the study is complete, writes its
report and registers its champion."""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from analysis import cards, finals, report
from datasets.addresses import shown
from datasets.errors import InputError
from engine.budgets import Stop
from engine.keep import keep
from engine.prepare import Prepared
from engine.registry import register_champion
from engine.run import Outcome as SessionOutcome
from record import names
from record.events import EndStatus
from record.mlflow_tracker import not_recorded
from record.own_commands import own_command
from record.reading import recorded_study
from record.recorded_study import RecordedStudy
from record.tracker import NotRecorded
from record.tracking_uri import is_server, local_database

ROOT = Path(__file__).resolve().parent.parent


def conclude(prepared: Prepared, outcome: SessionOutcome) -> int:
    """Ends a session.

    Args:
        prepared: The open study.
        outcome: Outcome of the session's trials.

    Returns:
        The exit code: 0 on success; 1 if no trial finished or not everything could be recorded; 2
        after a system error, or if another driver took over the study; 130 after Ctrl-C.
    """
    return _Conclusion(prepared).end(outcome)


class _Conclusion:
    """Ends the session of an open study."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.command = prepared.command
        self.open = prepared.open
        self.state = prepared.open.state

    @cached_property
    def study(self) -> RecordedStudy:
        """The recorded study, as of the end of its trials."""
        return self._recorded()

    def end(self, outcome: SessionOutcome) -> int:
        """Ends the session and returns the exit code, see the function `conclude`."""
        if outcome.stop is not None and not outcome.is_answer:
            return self._stopped(outcome.stop, outcome)
        if self.state.best() is None:
            return self._without_result(outcome.undelivered)
        if not self._tell(lambda: keep(self.prepared, self.study), outcome.undelivered):
            return 1
        self.prepared.resources.leave()
        self.open.end("FINISHED", "it has its answer")
        told = self._tell(lambda: self._close("FINISHED")) and self._tell(self._analyse)
        return 0 if told else 1

    def _without_result(self, undelivered: Sequence[int]) -> int:
        reasons = "; ".join(sorted({t.reason for t in self.state.search() if t.reason}))
        self.open.end("FAILED", f"no trial finished: {reasons}")
        self._tell(lambda: self._end("FAILED"), undelivered)
        print(f"no trial of {self.command.name} finished: {reasons}", file=sys.stderr)
        return 1

    def _stopped(self, stop: Stop, outcome: SessionOutcome) -> int:
        """Ends a session that stopped before the study was complete; returns the exit code."""
        if self.open.history.is_superseded:
            print(f"error: {stop.text}", file=sys.stderr)
            return 2
        self.open.end("KILLED", stop.text)
        told = self._tell(lambda: self._end("KILLED"), outcome.undelivered)
        done = f"{outcome.ended} of {outcome.total} {outcome.called}"
        if stop.kind in ("system_error", "failures"):
            print(
                f"error: {stop.text}; {done} are done; once the cause is gone, the same command "
                f"goes on: {self.command.text}",
                file=sys.stderr,
            )
            return 2 if stop.kind == "system_error" else 1
        is_search = outcome.called == "trials"
        enough = f"--trials {outcome.ended}" if is_search else "--finalists 0"
        cost = f" ({outcome.cost})" if is_search else ""
        self.command.notify(
            f"{stop.text} after {done}{cost}; the same command goes on:\n"
            f"  {self.command.text}\nwith {enough} it ends here and is analysed"
        )
        return 130 if stop.kind == "interrupted" else 0 if told else 1

    def _end(self, status: EndStatus) -> None:
        """Closes the study in MLflow without an analysis, and describes its state there."""
        self.prepared.resources.leave()
        self._close(status)
        self._describe()

    def _close(self, status: EndStatus) -> None:
        ended = sum(not trial.is_open for trial in self.state.search())
        self.open.tracker.close(status, {names.TRIALS: str(ended)})

    def _tell(self, tell: Callable[[], None], undelivered: Sequence[int] = ()) -> bool:
        """Writes the end of the study to MLflow, if all trials have been written to it.

        If that is not possible, the session is logged as killed and the user is told which command
        completes the record.

        Args:
            tell: Writes to MLflow.
            undelivered: Numbers of the trials that are not fully written to MLflow.

        Returns:
            True if everything was written.
        """
        try:
            if not undelivered:
                tell()
                return True
        except NotRecorded:
            pass
        self.open.end("KILLED", "MLflow could not be told of all of it")
        doctor = self._own_command("studies.doctor", "--repair")
        missing = ""
        if undelivered:
            trials = ", ".join(map(str, undelivered))
            missing = f" trials {trials} are not delivered: {doctor} does it;"
        print(
            f"error: MLflow cannot be told; nothing is lost; once it can be,{missing} "
            f"the same command ends the study as it should: {self.command.text}",
            file=sys.stderr,
        )
        return False

    def _own_command(self, module: str, *options: str) -> str:
        """Returns one of the project's commands on this study, as it is to be typed."""
        runs = self.command.options.runs_dir
        where = [] if runs == Path("runs") else ["--runs-dir", str(runs)]
        return f"{own_command(module)} {shlex.join([self.command.name, *options, *where])}"

    def _analyse(self) -> None:
        command = self.command
        with not_recorded(network=False):
            study = replace(self._recorded().in_mlflow(), artifacts=self.study.artifacts)
            try:
                self._show(study)
            except InputError as error:
                command.notify(f"not made: {error}")
            if said := self._registered(study):
                command.notify(f"\n{said}")
        drawn = f"figures and tables: {command.folder.report}"
        command.notify(f"\n{drawn}" if command.study.scorecard is not None else "")
        command.notify(f"browse the trials: {self._browse(command.options.tracking_uri)}")

    def _show(self, study: RecordedStudy) -> None:
        """Writes the report: figures, tables, model cards, and the description in MLflow.

        Raises:
            InputError: If a file cannot be written.
        """
        command, folder = self.command, self.command.folder.report
        if command.study.scorecard is None:
            if study.finalists:
                command.notify(f"\n{finals.of_validation(study)}")
            command.notify(f"figures: {self._own_command('analysis.report')}")
            self._describe()
            return
        found = report.analysed(study)
        command.notify(cards.published(found.cards, study, folder))
        for reason in found.missing:
            command.notify(f"not made: {reason}")
        command.notify(report.publish(found, folder))
        self.open.tracker.describe({names.NOTE: found.description()}, {})

    def _recorded(self) -> RecordedStudy:
        command = self.command
        return recorded_study(command.folder, command.options.tracking_uri, lambda: command.study)

    def _registered(self, study: RecordedStudy) -> str:
        """Registers the champion if the study packages a model; returns a line for the user."""
        if (package := self.command.study.package) is None:
            return ""
        try:
            return register_champion(study, self.prepared.problem, package) or ""
        except InputError as error:
            return f"not registered: {error}"

    def _browse(self, uri: str) -> str:
        """Returns where the trials can be browsed: the server's address, or a command."""
        if is_server(uri):
            return shown(uri)
        is_checkout = Path.cwd() == ROOT
        if is_checkout and local_database(uri) == ROOT / "runs" / "mlflow.db":
            return "make ui"
        return shlex.join(["mlflow", "ui", "--backend-store-uri", shown(uri)])

    def _describe(self) -> None:
        """Writes a description of the results to the study's page in MLflow."""
        with not_recorded(network=False):
            study = self._recorded().in_mlflow()
            described = report.description(study, *report.scored(study))
        self.open.tracker.describe({names.NOTE: described}, {})
