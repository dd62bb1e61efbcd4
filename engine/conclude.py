"""How a session ends: MLflow is told, the user is told, and a study that has its answer is
analysed, and its champion registered."""

import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from analysis.report import description
from datasets.addresses import shown
from datasets.errors import InputError
from engine.budgets import Stop
from engine.prepare import Prepared
from engine.registry import register_champion
from engine.retention import kept
from engine.run import Outcome
from record import names
from record.events import EndStatus
from record.mlflow_tracker import not_recorded
from record.tracker import NotRecorded
from record.tracking import is_server, local_database
from trainables import checkpoint


def conclude(prepared: Prepared, outcome: Outcome) -> int:
    """Ends a session.

    Returns:
        The exit code: 0; 1 without a finished trial, or where not all is recorded; 2 where
        something is wrong with the machine; 130 after Ctrl-C.
    """
    return _Conclusion(prepared).end(outcome)


class _Conclusion:
    """The end of a session of a study that is open."""

    def __init__(self, prepared: Prepared) -> None:
        self.command = prepared.command
        self.open = prepared.open
        self.state = prepared.open.state
        self.checkpoints = prepared.checkpoints

    def end(self, outcome: Outcome) -> int:
        """See `conclude`."""
        if outcome.stop is not None and not outcome.is_answer:
            return self._stopped(outcome.stop, outcome)
        if self.state.best() is None:
            return self._without_result(outcome.undelivered)
        if not self._tell(self._keep_weights, outcome.undelivered):
            return 1
        self.open.end("FINISHED", "it has its answer")
        told = self._tell(lambda: self._close("FINISHED")) and self._tell(self._analyse)
        return 0 if told else 1

    def _without_result(self, undelivered: Sequence[int]) -> int:
        reasons = "; ".join(sorted({t.reason for t in self.state.search() if t.reason}))
        self.open.end("FAILED", f"no trial finished: {reasons}")
        self._tell(lambda: self._end("FAILED"), undelivered)
        print(f"no trial of {self.command.name} finished: {reasons}", file=sys.stderr)
        return 1

    def _stopped(self, stop: Stop, outcome: Outcome) -> int:
        """The session ended before the study did."""
        if self.open.history.is_superseded:
            print(f"error: {stop.text}", file=sys.stderr)
            return 2
        self.open.end("KILLED", stop.text)
        told = self._tell(lambda: self._end("KILLED"), outcome.undelivered)
        done = f"{outcome.ended} of {outcome.total} {outcome.called}"
        if stop.kind in ("trouble", "failures"):
            print(
                f"error: {stop.text}; {done} are done; once the cause is gone, the same command "
                f"goes on: {self.command.text}",
                file=sys.stderr,
            )
            return 2 if stop.kind == "trouble" else 1
        is_search = outcome.called == "trials"
        enough = f"--trials {outcome.ended}" if is_search else "--finalists 0"
        cost = f" ({outcome.cost})" if is_search else ""
        self.command.say(
            f"{stop.text} after {done}{cost}; the same command goes on:\n"
            f"  {self.command.text}\nwith {enough} it ends here and is analysed"
        )
        return 130 if stop.kind == "interrupted" else 0 if told else 1

    def _end(self, status: EndStatus) -> None:
        """Ends a study of which there is nothing to analyse."""
        self._close(status)
        self._describe()

    def _close(self, status: EndStatus) -> None:
        ended = sum(not trial.is_open for trial in self.state.search())
        self.open.tracker.close(status, {names.TRIALS: str(ended)})

    def _tell(self, tell: Callable[[], None], undelivered: Sequence[int] = ()) -> bool:
        """Tells MLflow how the study ended, once it knows how the trials did; says what it does
        not know, and by which command it will."""
        try:
            if not undelivered:
                tell()
                return True
        except NotRecorded:
            pass
        self.open.end("KILLED", "MLflow could not be told of all of it")
        doctor = ["python", "studies/doctor.py", self.command.name, "--repair"]
        if self.command.options.runs_dir != Path("runs"):
            doctor += ["--runs-dir", str(self.command.options.runs_dir)]
        missing = ""
        if undelivered:
            trials = ", ".join(map(str, undelivered))
            missing = f" trials {trials} are not delivered: {shlex.join(doctor)} does it;"
        print(
            f"error: MLflow cannot be told; nothing is lost; once it can be,{missing} "
            f"the same command ends the study as it should: {self.command.text}",
            file=sys.stderr,
        )
        return False

    def _analyse(self) -> None:
        command = self.command
        report, uri = command.folder.report, command.options.tracking_uri
        for analyse in command.study.analyses:
            data_dir = command.options.data_dir
            command.say(self._said(partial(analyse, command.folder, uri, data_dir, report)))
        self._describe()
        if (said := self._said(self._register)) != "":
            command.say(f"\n{said}")
        command.say(f"\nfigures and tables: {report}\nbrowse the trials: {self._browse(uri)}")

    def _register(self) -> str:
        """Registers the champion, where the study has a model of it; returns what to say."""
        command, serve = self.command, self.command.study.serve
        if serve is None:
            return ""
        options = command.options
        return (
            register_champion(command.folder, options.tracking_uri, options.data_dir, serve) or ""
        )

    def _browse(self, uri: str) -> str:
        """Where the trials can be looked at: an address, or a command."""
        if is_server(uri):
            return shown(uri)
        if local_database(uri) == Path("runs").resolve() / "mlflow.db":
            return "make ui"
        return shlex.join(["mlflow", "ui", "--backend-store-uri", shown(uri)])

    def _said(self, act: Callable[[], str]) -> str:
        """What an analysis says, or why it cannot be made, which does not keep the others from
        being made.

        Raises:
            NotRecorded: If MLflow is away.
        """
        try:
            with not_recorded(network=False):
                return act()
        except NotRecorded:
            raise
        except InputError as error:
            return f"not made: {error}"

    def _describe(self) -> None:
        """Says on the study's page in MLflow what it has come to."""
        with not_recorded(network=False):
            described = description(self.command.folder, self.command.options.tracking_uri)
        self.open.tracker.describe({names.NOTE: described}, {})

    def _keep_weights(self) -> None:
        """Puts the weights that the analyses look at into MLflow: per value of `by` the best
        finished trial's and the baseline's, and those of all finals."""
        there = self.open.tracker.numbers() - self.state.discarded
        for number in sorted(kept(self.state, self.command.study.by, count=0) & there):
            folder = self.checkpoints.latest(number)
            if folder is None:
                self.command.say(f"trial {number}: its checkpoint is gone")
                continue
            with tempfile.TemporaryDirectory() as scratch:
                weights = Path(scratch) / "weights"
                checkpoint.export_weights(folder, weights)
                epochs = self.state.trial(number).config["epochs"]
                if checkpoint.load_weights(weights)["epoch"] != epochs:
                    self.command.say(f"trial {number}: the checkpoint of its last epoch is gone")
                    continue
                self.open.tracker.attach(number, weights)
