"""A trial in its process: what makes a message, what its checkpoints hold, and what it leaves."""

import math
import os
import platform
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_study import FakeOptions, open_fake
from fake_task import FakeConfig, FakeTask
from guessing import Guessing, GuessingProblem
from torch import nn

from trainables import checkpoint, worker
from trainables.fit import SupervisedProblem
from trainables.learner import Snapshot
from trainables.message import DEPTH, Message
from trainables.trial_spec import TrialSpec
from trainables.worker import Worker

CPU = torch.device("cpu")
CONFIG = FakeConfig(ending="good", epochs=6)


class Clock:
    """Shows how long all epochs took that were trained."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(worker, "time", made)
    return made


@pytest.fixture
def spec(tmp_path: Path) -> TrialSpec:
    return TrialSpec(4, CONFIG, folder=str(tmp_path / "session-0001" / "trial-00004"))


class Timed(FakeTask):
    """An epoch takes a second."""

    def __init__(self, config: Any, device: torch.device, clock: Clock) -> None:
        super().__init__(config, device)
        self.clock = clock

    def training_batches(
        self, model: nn.Module, generator: torch.Generator, epoch: int
    ) -> Iterator[Any]:
        self.clock.seconds += 1
        yield from super().training_batches(model, generator, epoch)


def timed(clock: Clock) -> SupervisedProblem:
    return SupervisedProblem(partial(Timed, clock=clock), "of nothing")


def begun(spec: TrialSpec) -> Worker:
    return Worker(spec, open_fake(FakeOptions()), CPU)


def messages(trial: Worker) -> Iterator[Message]:
    """All messages of a trial that nobody stops."""
    while True:
        message = trial.work()
        yield message
        last = message.epochs[-1]["epoch"] if message.epochs else 0
        if message.failure or message.out_of_memory or last == CONFIG.epochs:
            return


def epochs(trial: Worker) -> list[list[int]]:
    """The epochs of each message."""
    return [[row["epoch"] for row in message.epochs] for message in messages(trial)]


def there(spec: TrialSpec) -> list[str]:
    return sorted(path.name for path in Path(spec.folder).iterdir())


# Messages


def test_by_default_each_epoch_is_a_message(spec: TrialSpec) -> None:
    assert epochs(begun(spec)) == [[1], [2], [3], [4], [5], [6]]


def test_epochs_are_cut_at_rungs_and_at_the_end(spec: TrialSpec) -> None:
    slow = replace(spec, rungs=(1, 2, 4), report_every=math.inf)
    assert epochs(begun(slow)) == [[1], [2], [3, 4], [5, 6]]
    assert epochs(begun(replace(slow, rungs=()))) == [[1, 2, 3, 4, 5, 6]]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1.0, [[1], [2], [3], [4], [5], [6]]),
        (1.5, [[1, 2], [3], [4, 5], [6]]),
        (3, [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_epochs_are_cut_when_it_is_time(
    spec: TrialSpec, clock: Clock, seconds: float, expected: list[list[int]]
) -> None:
    """From message to message, not from rung to rung."""
    paced = replace(spec, rungs=(3,), report_every=seconds)
    assert epochs(Worker(paced, timed(clock), CPU)) == expected


def test_what_others_do_between_two_messages_is_no_time_of_the_trial(
    spec: TrialSpec, clock: Clock
) -> None:
    trial = Worker(replace(spec, report_every=2.0), timed(clock), CPU)
    found = []
    for message in messages(trial):
        found.append([row["epoch"] for row in message.epochs])
        clock.seconds += 100
    assert found == [[1, 2], [3, 4], [5, 6]]


def test_a_message_says_who_speaks_and_from_where(spec: TrialSpec) -> None:
    message = begun(spec).work()
    assert (message.number, message.failure, message.out_of_memory) == (4, "", "")
    where = {"node": platform.node(), "process": os.getpid(), "device": "cpu", "threads": "1"}
    assert where.items() <= message.where.items()
    assert message.where["processor"]
    (row,) = message.epochs
    assert {type(value) for value in row.values()} == {float, int}
    assert {"validation/score", "train/loss", "epoch", "unix_ms", "memory_gib"} <= row.keys()


# Checkpoints


@pytest.mark.parametrize("report_every", [0, math.inf])
def test_a_checkpoint_holds_what_is_reported(spec: TrialSpec, report_every: float) -> None:
    reported: list[Any] = []
    for message in messages(begun(replace(spec, rungs=(2, 4), report_every=report_every))):
        reported += message.epochs
        session = Path(spec.folder).parents[1]
        state = checkpoint.load(session / message.checkpoint)
        assert state["history"] == reported
        assert state["epoch"] == len(reported)
        assert message.checkpoint == f"session-0001/trial-00004/checkpoint_{len(reported):06d}"
        assert len(Path(message.checkpoint).parts) == DEPTH


def test_the_checkpoint_is_there_before_the_message(
    spec: TrialSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    trial = begun(spec)
    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(OSError, match="No space left"):
        trial.work()


def test_the_newest_checkpoints_of_a_process_stay_and_no_more(spec: TrialSpec) -> None:
    trial = begun(spec)
    for done in range(1, 5):
        trial.work()
        newest = range(max(1, done - checkpoint.KEPT + 1), done + 1)
        assert there(spec) == [f"checkpoint_{epoch:06d}" for epoch in newest]


def test_a_checkpoint_that_cannot_be_removed_does_not_matter(spec: TrialSpec) -> None:
    trial = begun(spec)
    trial.work()
    (Path(spec.folder) / "checkpoint_000001" / "state.pt").unlink()
    (Path(spec.folder) / "checkpoint_000001").rmdir()
    assert epochs(trial) == [[2], [3], [4], [5], [6]]


def test_the_checkpoints_of_another_process_are_left_alone(spec: TrialSpec) -> None:
    first = begun(spec)
    resume = ""
    for _ in range(2):
        resume = first.work().checkpoint
    again = replace(spec, folder=f"{spec.folder}-001", resume=str(root(spec) / resume))
    assert epochs(begun(again)) == [[3], [4], [5], [6]]
    assert there(spec) == ["checkpoint_000001", "checkpoint_000002"]


def root(spec: TrialSpec) -> Path:
    """The folder of all sessions."""
    return Path(spec.folder).parents[1]


# Failures


def test_a_failure_carries_the_epochs_since_and_no_checkpoint_is_of_them(spec: TrialSpec) -> None:
    diverges = replace(spec, config=replace(CONFIG, ending="non_finite"), report_every=math.inf)
    (message,) = messages(begun(diverges))
    assert [row["epoch"] for row in message.epochs] == [1]
    assert (message.checkpoint, message.out_of_memory) == ("", "")
    assert message.failure.startswith("loss nan in epoch 2")
    assert message.where["device"] == "cpu"
    assert not Path(spec.folder).exists()


def test_a_failure_after_a_message_says_no_epoch_twice(spec: TrialSpec) -> None:
    diverges = replace(spec, config=replace(CONFIG, ending="non_finite"))
    assert epochs(begun(diverges)) == [[1], []]


def test_a_lack_of_memory_is_said(spec: TrialSpec) -> None:
    hungry = replace(spec, config=replace(CONFIG, ending="memory"), report_every=math.inf)
    (message,) = messages(begun(hungry))
    assert "can't allocate memory" in message.out_of_memory
    assert [row["epoch"] for row in message.epochs] == [1]
    assert (message.failure, message.checkpoint) == ("", "")


def test_a_lack_of_memory_for_the_data_is_said(spec: TrialSpec) -> None:
    def no_room(config: Any, device: torch.device) -> FakeTask:
        raise MemoryError("planted")

    for each in (spec, replace(spec, resume="/nowhere/s/t/checkpoint_000001", rungs=(1,))):
        message = Worker(each, SupervisedProblem(no_room, "of nothing"), CPU).work()
        assert (message.epochs, message.checkpoint) == ((), "")
        assert message.out_of_memory


def test_a_lack_of_memory_for_what_was_learned_before_is_said(spec: TrialSpec) -> None:
    """And no epoch, for each was heard of."""

    class NoRoom(Guessing):
        def restore(self, snapshot: Snapshot) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory: planted")

    name = Worker(spec, GuessingProblem(), CPU).work().checkpoint
    again = replace(spec, resume=str(root(spec) / name), rungs=(1,))
    message = Worker(again, GuessingProblem(NoRoom), CPU).work()
    assert (message.epochs, message.checkpoint, message.failure) == ((), "", "")
    assert message.out_of_memory == "CUDA out of memory: planted"


def test_metrics_that_are_not_finite_are_a_failure(spec: TrialSpec) -> None:
    class Infinite(Guessing):
        def advance(self, epoch: int) -> dict[str, Any]:
            return super().advance(epoch) if epoch < 3 else {"validation/score": math.inf}

    trial = Worker(replace(spec, report_every=math.inf), GuessingProblem(Infinite), CPU)
    message = trial.work()
    assert [row["epoch"] for row in message.epochs] == [1, 2]
    assert message.failure == "validation/score is inf after epoch 3"
    assert (message.checkpoint, message.out_of_memory) == ("", "")


def test_what_is_no_fault_of_the_numbers_is_raised(spec: TrialSpec) -> None:
    trial = begun(replace(spec, config=replace(CONFIG, ending="raises")))
    trial.work()
    with pytest.raises(RuntimeError, match="planted: the trial raises"):
        trial.work()


# Going on


def resumed_after(spec: TrialSpec, done: int, **more: Any) -> Worker:
    """The trial in another process, after so many epochs."""
    first = begun(spec)
    name = ""
    for _ in range(done):
        name = first.work().checkpoint
    folder = str(root(spec) / "session-0002" / "trial-00004")
    return begun(replace(spec, folder=folder, resume=str(root(spec) / name), **more))


def test_a_trial_that_goes_on_reports_what_is_new(spec: TrialSpec) -> None:
    whole = [row["validation/score"] for m in messages(begun(spec)) for row in m.epochs]
    trial = resumed_after(spec, 2, report_every=math.inf)
    (message,) = messages(trial)
    assert [row["epoch"] for row in message.epochs] == [3, 4, 5, 6]
    assert [row["validation/score"] for row in message.epochs] == whole[2:]
    state = checkpoint.load(root(spec) / message.checkpoint)
    assert [row["epoch"] for row in state["history"]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("report_every", [0, math.inf])
def test_a_trial_that_had_done_all_its_epochs_names_its_last_checkpoint_and_does_not_train(
    spec: TrialSpec, monkeypatch: pytest.MonkeyPatch, report_every: float
) -> None:
    """Whoever trained the last epoch may have died before it was heard."""
    trial = resumed_after(spec, CONFIG.epochs, report_every=report_every)
    monkeypatch.setattr(trial.loop, "step", None)
    message = trial.work()
    assert (message.number, message.epochs) == (4, ())
    assert (message.failure, message.out_of_memory) == ("", "")
    assert message.checkpoint == "session-0001/trial-00004/checkpoint_000006"
    state = checkpoint.load(root(spec) / message.checkpoint)
    assert state["epoch"] == CONFIG.epochs
    assert not (root(spec) / "session-0002").exists(), "nothing is written again"


def test_a_trial_that_goes_on_from_a_rung_reports_it_before_it_trains(
    spec: TrialSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict there may not have been heard."""
    trial = resumed_after(spec, 2, rungs=(2, 4))
    monkeypatch.setattr(trial.loop, "step", None)
    message = trial.work()
    assert (message.epochs, message.checkpoint) == (
        (),
        "session-0001/trial-00004/checkpoint_000002",
    )
    monkeypatch.undo()
    assert epochs(trial) == [[3], [4], [5], [6]]


def test_a_trial_that_goes_on_from_elsewhere_trains_at_once(spec: TrialSpec) -> None:
    assert epochs(resumed_after(spec, 3, rungs=(2, 4))) == [[4], [5], [6]]


def test_a_damaged_checkpoint_is_not_gone_on_from(spec: TrialSpec) -> None:
    name = begun(spec).work().checkpoint
    (root(spec) / name / "state.pt").write_bytes(b"half")
    with pytest.raises(checkpoint.Damaged, match="checkpoint_000001 is damaged"):
        begun(replace(spec, resume=str(root(spec) / name)))
