"""How a session ends: MLflow is told, the user is told, and a study that has ended is analysed,
and its champion registered."""

import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.report import description
from datasets.addresses import shown
from datasets.errors import InputError
from record import names
from record.events import EndStatus
from record.mlflow_tracker import not_recorded
from record.tracker import NotRecorded
from record.tracking import is_server, local_database
from studies.budgets import Stop
from studies.checkpoints import Checkpoints
from studies.opening import OpenStudy
from studies.options import Options
from studies.registry import register_champion
from studies.replicates import Replicates
from studies.retention import kept
from studies.study import Study
from studies.trials import Trials
from trainables import checkpoint


class Conclusion:
    """The end of a session.

    Args:
        study: What was asked.
        options: How.
        opened: The study's log, and MLflow, which is used here alone.
        checkpoints: Of the study.
        command: As it was typed.
        console: Where results are shown.
    """

    def __init__(
        self,
        study: Study[Any],
        options: Options,
        opened: OpenStudy,
        checkpoints: Checkpoints,
        command: str,
        console: Console,
    ) -> None:
        self.study = study
        self.options = options
        self.open = opened
        self.state = opened.state
        self.folder = opened.folder
        self.checkpoints = checkpoints
        self.command = command
        self.console = console
        self.is_over = False

    def searched(self, trials: Trials, undelivered: Sequence[int], cost: str) -> int | None:
        """Says what the search found, or why nothing was.

        Args:
            trials: Of the search, in this session.
            undelivered: Those of which MLflow does not know everything.
            cost: What keeping the records took.

        Returns:
            The exit code, where the session ends here: 0; 1 without a finished trial, or where not
            all is recorded; 2 where something is wrong with the machine; 130 after Ctrl-C.
        """
        stop, ended = trials.agenda.stop, trials.agenda.ended
        answered = ended >= trials.agenda.total or (stop is not None and stop.is_answer)
        if stop is not None and (stop.kind == "trouble" or not answered):
            return self._stopped(stop, trials, undelivered, f" ({cost})")
        best = self.state.best()
        if best is None:
            return self._without_result(undelivered)
        value = self.state.value(best)
        assert value is not None
        score = f"{self.study.objective} {value:.4f}"
        summary = f"best of {ended} trials: trial {best.number}, {best.title}, {score}"
        ended_by = stop.text if stop and stop.is_answer else f"all {ended} trials are done"
        self._say(f"\n{summary}\nended because {ended_by} ({cost})\n")
        outcome = {names.BEST_TRIAL: str(best.number), names.ENDED_BY: ended_by}
        values = {names.BEST + self.study.objective: value}
        told = self._tell(undelivered, lambda: self.open.tracker.describe(outcome, values))
        return None if told else 1

    def begin(self, finals: Replicates) -> None:
        """Says in MLflow which trials are trained again; where it is away, nothing is lost but
        the names of those that it never comes to."""
        numbers = ", ".join(str(trial.number) for trial in finals.finalists)
        with suppress(NotRecorded):
            self.open.tracker.describe({names.FINALISTS: numbers}, {})

    def cut_off(self) -> None:
        """Closes a study that an error or the user has ended, unless only its analyses were."""
        if self.is_over or self.open.history.is_superseded:
            return
        with suppress(NotRecorded, OSError):
            self.open.end("KILLED", "it was cut off")
            self._close("KILLED")

    def trained_again(self, trials: Trials, undelivered: Sequence[int]) -> int | None:
        """Says whether the finals have come to their end; see `searched`."""
        agenda = trials.agenda
        if agenda.stop is not None and agenda.ended < agenda.total:
            return self._stopped(agenda.stop, trials, undelivered)
        return None if self._tell(undelivered, lambda: None) else 1

    def finish(self) -> int:
        """Ends the study, analyses it and registers its champion; returns the exit code."""
        if not self._tell((), self._keep_weights):
            return 1
        self.open.end("FINISHED", "all trials are done")
        self.is_over = True
        if not self._tell((), lambda: self._close("FINISHED")):
            return 1
        return 0 if self._tell((), self._analyse) else 1

    def _without_result(self, undelivered: Sequence[int]) -> int:
        reasons = "; ".join(sorted({t.reason for t in self.state.search() if t.reason}))
        self.open.end("FAILED", f"no trial finished: {reasons}")
        self._tell(undelivered, lambda: self._end("FAILED"))
        print(f"no trial of {self._name} finished: {reasons}", file=sys.stderr)
        return 1

    def _stopped(
        self, stop: Stop, trials: Trials, undelivered: Sequence[int], cost: str = ""
    ) -> int:
        """The session ended before the study did."""
        if self.open.history.is_superseded:
            print(f"error: {stop.text}", file=sys.stderr)
            return 2
        called = trials.agenda.proposer.called
        ended, total = trials.agenda.ended, trials.agenda.total
        self.open.end("KILLED", stop.text)
        told = self._tell(undelivered, lambda: self._end("KILLED"))
        if stop.kind in ("trouble", "failures"):
            print(
                f"error: {stop.text}; {ended} of {total} {called} are done; once the cause is "
                f"gone, the same command goes on: {self.command}",
                file=sys.stderr,
            )
            return 2 if stop.kind == "trouble" else 1
        enough = f"--trials {ended}" if called == "trials" else "--finalists 0"
        self._say(
            f"{stop.text} after {ended} of {total} {called}{cost}; the same command goes on:\n"
            f"  {self.command}\nwith {enough} it ends here and is analysed"
        )
        return 130 if stop.kind == "interrupted" else 0 if told else 1

    def _end(self, status: EndStatus) -> None:
        """Ends a study of which there is nothing to analyse."""
        self._close(status)
        self._describe()

    def _close(self, status: EndStatus) -> None:
        ended = sum(not trial.is_open for trial in self.state.search())
        self.open.tracker.close(status, {names.TRIALS: str(ended)})

    def _tell(self, undelivered: Sequence[int], tell: Callable[[], None]) -> bool:
        """Tells MLflow how the study ended, once it knows how the trials did; says what it does
        not know, and by which command it will."""
        try:
            if not undelivered:
                tell()
                return True
        except NotRecorded:
            pass
        self.open.end("KILLED", "MLflow could not be told of all of it")
        doctor = ["python", "studies/doctor.py", self._name, "--repair"]
        if self._elsewhere:
            doctor += ["--runs-dir", str(self.options.runs_dir)]
        missing = ""
        if undelivered:
            trials = ", ".join(map(str, undelivered))
            missing = f" trials {trials} are not delivered: {shlex.join(doctor)} does it;"
        print(
            f"error: MLflow cannot be told; nothing is lost; once it can be,{missing} "
            f"the same command ends the study as it should: {self.command}",
            file=sys.stderr,
        )
        return False

    @property
    def _name(self) -> str:
        return self.folder.name

    @property
    def _elsewhere(self) -> bool:
        return self.options.runs_dir != Path("runs")

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False)

    def _analyse(self) -> None:
        report = self.folder.report
        uri = self.options.tracking_uri
        for analyse in self.study.analyses:
            act = partial(analyse, self.folder, uri, self.options.data_dir, report)
            self._say(self._said(act))
        self._describe()
        if self.study.serve is not None:
            data_dir, serve = self.options.data_dir, self.study.serve
            said = self._said(lambda: register_champion(self.folder, uri, data_dir, serve) or "")
            if said:
                self._say(f"\n{said}")
        self._say(f"\nfigures and tables: {report}\nbrowse the trials: {self._browse(uri)}")

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
            described = description(self.folder, self.options.tracking_uri)
        self.open.tracker.describe({names.NOTE: described}, {})

    def _keep_weights(self) -> None:
        """Puts the weights that the analyses look at into MLflow: per value of `by` the best
        finished trial's and the baseline's, and those of all finals."""
        there = self.open.tracker.numbers() - self.state.discarded
        for number in sorted(kept(self.state, self.study.by, count=0) & there):
            folder = self.checkpoints.latest(number)
            if folder is None:
                self._say(f"trial {number}: its checkpoint is gone")
                continue
            with tempfile.TemporaryDirectory() as scratch:
                weights = Path(scratch) / "weights"
                checkpoint.export_weights(folder, weights)
                epochs = self.state.trial(number).config["epochs"]
                if checkpoint.load_weights(weights)["epoch"] != epochs:
                    self._say(f"trial {number}: the checkpoint of its last epoch is gone")
                    continue
                self.open.tracker.attach(number, weights)
