"""Runs the fake study in a separate process whose driver is killed at a chosen moment."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import alembic.op
import mlflow
import pytest
import torch
from fake_scorecard import FakeScorecard
from fake_study import FAKE

from engine.driver import Driver
from engine.main import main
from engine.proposers import Search
from engine.search_memory import SearchMemory
from engine.space import Space
from record.log import FileLog
from trainables.config import TrialConfig
from trainables.parameter import Parameter


def dies() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it was killed")


def before(owner: Any, name: str, call: int = 1) -> None:
    """Makes the process kill itself at the start of a function's n-th call.

    Args:
        owner: Module or class that has the function as an attribute.
        name: Name of the function.
        call: Number n of the call, counted from 1.
    """
    _trap(owner, name, call, done_first=False)


def after(owner: Any, name: str, call: int = 1) -> None:
    """Makes the process kill itself at the end of a function's n-th call.

    Args:
        owner: Module or class that has the function as an attribute.
        name: Name of the function.
        call: Number n of the call, counted from 1.
    """
    _trap(owner, name, call, done_first=True)


def _trap(owner: Any, name: str, call: int, done_first: bool) -> None:
    real = getattr(owner, name)
    calls = 0

    def trapped(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not done_first:
            dies()
        result = real(*arguments, **more)
        if calls == call and done_first:
            dies()
        return result

    setattr(owner, name, trapped)


def half_a_checkpoint(call: int) -> None:
    """Makes the process kill itself when half of the n-th checkpoint is in its file."""
    real, calls = os.fsync, 0

    def half(file: int) -> None:
        nonlocal calls
        calls += "state.pt" in str(Path(f"/proc/self/fd/{file}").readlink())
        if calls == call:
            os.ftruncate(file, os.fstat(file).st_size // 2)
            dies()
        real(file)

    os.fsync = half


def half_a_line_in_the_log(call: int) -> None:
    """Makes the process kill itself when half of the n-th write to the log is in its file."""
    real, calls = FileLog._write, 0

    def write(self: Any, text: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            os.pwrite(self.descriptor, text[: len(text) // 2], self.end)
            dies()
        real(self, text)

    FileLog._write = write


def in_the_middle_of_the_proposal(which: int) -> None:
    """Makes the process kill itself when two parameters of the trial `which` are drawn."""
    real = Space.suggest

    def suggest(self: Space, trial: Any, index: int) -> TrialConfig:
        if index == which:
            after(Parameter, "suggest", 2)
        return real(self, trial, index)

    Space.suggest = suggest


MOMENTS: dict[str, Callable[[], None]] = {
    "before the first trial": lambda: before(Driver, "next"),
    "while MLflow's database is made": lambda: after(alembic.op, "create_table", 2),
    "before the log has a line": lambda: before(FileLog, "append"),
    "when the log has its first line": lambda: after(FileLog, "append"),
    "while a random configuration is drawn": lambda: in_the_middle_of_the_proposal(5),
    "while TPE's configuration is drawn": lambda: in_the_middle_of_the_proposal(9),
    "between ask and start": lambda: after(Search, "propose", 2),
    "in the middle of a checkpoint": lambda: half_a_checkpoint(6),
    "between an epoch and its checkpoint": lambda: before(torch, "save", 7),
    "after the last epoch": lambda: before(Driver, "heard", 6),
    "before Optuna's tell": lambda: before(SearchMemory, "tell", 2),
    "after Optuna's tell": lambda: after(SearchMemory, "tell", 2),
    "while the log is written": lambda: half_a_line_in_the_log(5),
    "while MLflow begins the study": lambda: after(mlflow.MlflowClient, "create_run", 1),
    "while MLflow begins a trial": lambda: after(mlflow.MlflowClient, "create_run", 3),
    "while MLflow is written": lambda: after(mlflow.MlflowClient, "log_batch", 6),
    "before MLflow closes a trial": lambda: before(mlflow.MlflowClient, "set_terminated", 2),
    "during the final analysis": lambda: None,
}
"""Functions that make the process kill itself at a moment, by the name of the moment."""

AT_EACH_CHANGE = (
    "while TPE's configuration is drawn",
    "in the middle of a checkpoint",
    "after the last epoch",
    "while the log is written",
    "while MLflow begins a trial",
    "while MLflow is written",
)
"""Moments to test at each change: one for each file that is written. They find most of the errors
that the other moments would find."""


def run(moment: str, arguments: Sequence[str]) -> None:
    """Runs the fake study with the given arguments in this process, which kills itself at the
    moment."""
    MOMENTS[moment]()
    is_last = moment == "during the final analysis"
    main(replace(FAKE, scorecard=FakeScorecard(lambda _: dies()) if is_last else None), arguments)


def killed(moment: str, arguments: Sequence[str]) -> bool:
    """Runs the fake study in a separate process; returns whether it was killed at the moment.

    False means that the study ended without reaching the moment.
    """
    return killed_in(run, moment, list(arguments))


def killed_in(target: Callable[..., None], *arguments: Any) -> bool:
    """Calls a function in a separate process; returns whether that process was killed."""
    clean = multiprocessing.get_context("forkserver")
    clean.set_forkserver_preload(["warm", "crashing"])
    process = clean.Process(target=target, args=arguments)
    with pytest.MonkeyPatch.context() as patch:
        # The fork server imports its preloaded modules from this path.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL
