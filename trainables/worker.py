"""Runs a trial in its process, with or without Ray: trains epochs, saves a checkpoint, reports."""

import os
import platform
import time
from contextlib import suppress
from typing import Any

import torch
from upath import UPath

from datasets.files import away_is_an_oserror
from datasets.parallel import ParallelMap
from trainables import checkpoint
from trainables.device import circumstances
from trainables.message import DEPTH, Message
from trainables.problem import Problem
from trainables.trial_loop import Failed, OutOfMemory, TrialLoop
from trainables.trial_spec import TrialSpec


class Worker:
    """Trains one trial and reports its epochs.

    An epoch is reported only after a checkpoint that contains it was saved, so reported epochs are
    never lost. A trial that resumes from the checkpoint of a rung, or of the last epoch, first
    reports that checkpoint: the process that saved it may have crashed before the scheduler's
    decision arrived.

    Args:
        spec: The trial to train.
        problem: The study's problem, from which the trial's learner is made.
        device: Device to train on.
        parallel: Map that the learner may use; see `trainables.problem.Context`.

    Raises:
        Damaged: If the checkpoint to resume from is damaged.
    """

    def __init__(
        self,
        spec: TrialSpec,
        problem: Problem[Any],
        device: torch.device,
        parallel: ParallelMap = map,
    ) -> None:
        self.spec = spec
        self.device = device
        self.loop = TrialLoop(spec, problem, device, parallel)
        self.saved: list[UPath] = []
        self.sent = self.loop.epoch
        is_due = spec.is_rung(self.sent)
        self.unheard = UPath(spec.resume) if spec.resume and is_due else None

    def work(self) -> Message:
        """Trains until the trial's next report is due, see `TrialSpec.is_time`, and returns it.

        Raises:
            OSError: If the checkpoint cannot be written.
        """
        if self.unheard is not None:
            resumed, self.unheard = self.unheard, None
            return self._message(checkpoint=_name(resumed))
        begun = time.monotonic()
        while True:
            match self.loop.step():
                case Failed(reason):
                    return self._message(failure=reason)
                case OutOfMemory(reason):
                    return self._message(out_of_memory=reason)
            epoch = self.loop.epoch
            if self.spec.is_time(epoch, time.monotonic() - begun):
                return self._message(checkpoint=self._save(epoch))

    def _message(self, **more: str) -> Message:
        """Makes a message with the epochs that were not yet reported."""
        epochs = tuple(self.loop.history[self.sent :])
        self.sent += len(epochs)
        where = {"node": platform.node(), "process": os.getpid(), **circumstances(self.device)}
        return Message(self.spec.number, epochs, where=where, **more)

    def _save(self, epoch: int) -> str:
        """Writes a checkpoint and removes the oldest if there are more than `checkpoint.KEPT`.

        Returns:
            The name of the new checkpoint.
        """
        folder = UPath(self.spec.folder) / f"checkpoint_{epoch:06d}"
        self.loop.save(folder)
        self.saved.append(folder)
        if len(self.saved) > checkpoint.KEPT:
            _remove(self.saved.pop(0))
        return _name(folder)


def _name(folder: UPath) -> str:
    return "/".join(folder.parts[-DEPTH:])


def _remove(folder: UPath) -> None:
    """Removes a checkpoint; one that cannot be removed is left for the next session to find."""
    with suppress(OSError), away_is_an_oserror(folder):
        folder.fs.rm(folder.path, recursive=True)
