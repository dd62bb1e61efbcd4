"""MLflow is told in the background, so that no trial waits for it.

What is to be told is never queued: the study knows how each trial stands, in memory while it runs
and in its ledger file afterwards (studies/records.py); kept here are only the numbers of the
trials of which MLflow does not know everything yet. While the tracking server is away these pile
up and nothing else does.
"""

import threading
import time
from collections.abc import Callable

from studies.recording import NotRecorded, Recorder
from studies.records import Trial

PATIENCE = 15.0
"""Seconds that epochs are kept back, so that several are written together."""

AGAIN = 5.0
"""Seconds between two attempts while the server is away."""


class Delivery:
    """A thread that brings MLflow up to date.

    Args:
        recorder: Writes to MLflow; nobody else uses it while this one is at work.
        trial: How the trial of a number stands now; None if it cannot be told at the moment.
        say: Told when the server goes away and when it is back.
    """

    def __init__(
        self,
        recorder: Recorder,
        trial: Callable[[int], Trial | None],
        say: Callable[[str], None],
    ) -> None:
        self.recorder = recorder
        self.trial = trial
        self.say = say
        self.seconds = 0.0
        self.problem = ""
        self.waiting: dict[int, None] = {}
        self.error: BaseException | None = None
        self.wake = threading.Condition()
        self.soon = self.busy = False
        self.deadline: float | None = None
        self.thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self.thread.start()

    def tell(self, number: int, soon: bool = False) -> None:
        """Something is new of a trial; `soon`: do not wait for more."""
        with self.wake:
            self.waiting[number] = None
            self.soon |= soon
            self.wake.notify()

    def finish(self, patience: float) -> list[int]:
        """Delivers the rest, and ends.

        Args:
            patience: Seconds to wait for a server that is away.

        Returns:
            The trials of which MLflow does not know everything.
        """
        with self.wake:
            self.deadline = time.monotonic() + patience
            self.wake.notify()
        self.thread.join()
        if self.error is not None:
            raise self.error
        return sorted(self.waiting)

    def _work(self) -> None:
        try:
            while self.deadline is None or self.waiting:
                with self.wake:
                    ready = lambda: self.soon or self.deadline is not None  # noqa: E731
                    self.wake.wait_for(ready, AGAIN if self.problem else PATIENCE)
                    self.soon = False
                self._deliver()
                if self.problem and self.deadline is not None:
                    if time.monotonic() > self.deadline:
                        return
                    time.sleep(1)
        except BaseException as error:  # a mistake in this program: `finish` raises it
            self.error = error

    def _deliver(self) -> None:
        begun = time.perf_counter()
        self.busy = True
        for number in list(self.waiting):
            with self.wake:
                self.waiting.pop(number, None)  # before it is read: what comes later counts anew
            try:
                trial = self.trial(number)
                if trial is None:
                    raise NotRecorded(f"the ledger file of trial {number} cannot be read")
                self.recorder.sync(trial)
            except NotRecorded as error:
                with self.wake:
                    self.waiting[number] = None
                if not self.problem:
                    self.say(
                        f"MLflow cannot be told ({error}); the study goes on, and "
                        "what it has to record waits in its ledger"
                    )
                self.problem = str(error)
                break
            if self.problem:
                self.problem = ""
                self.say("MLflow can be told again; what waited is being delivered")
        self.busy = False
        self.seconds += time.perf_counter() - begun
