"""What Tune is told, by the parts that it is given, and what the driver hears of its trials."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from played import EPOCHS, HERE, OBJECTIVE, Study, row
from ray.exceptions import RayTaskError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from engine.budgets import Stop
from engine.driver import Driver, Nothing
from engine.on_ray import tune_parts
from engine.on_ray.post_mortem import NODE_DIED
from engine.on_ray.tune_parts import Hearing, Proposals, SessionEnd, Verdicts, folder_of
from trainables.message import Message
from trainables.trial_spec import TrialSpec


class OnRay:
    """A session of a study whose trials have two places on Ray."""

    def __init__(self, folder: Path, total: int = 3) -> None:
        self.study = Study(folder)
        self.session = self.study.session()
        self.driver: Driver = self.session.search(total)
        self.roll: Any = SimpleNamespace(slots=2, poll=lambda: None, many=False)
        self.proposals = Proposals(self.driver, self.roll)
        self.hearing = Hearing(self.driver, self.roll, timeout=60.0)

    def trial(self) -> Any:
        """The next trial as Tune has it, in its place."""
        config = self.proposals.suggest("x")
        assert isinstance(config, dict)
        trial = SimpleNamespace(config=config, trial_id=f"x{config['trial'].number}")
        self.hearing.on_trial_start(0, [], trial)  # pyright: ignore[reportArgumentType]
        return trial

    def reports(self, trial: Any, *epochs: int, **more: Any) -> str:
        """What Tune's scheduler says to a message of a trial."""
        spec: TrialSpec = trial.config["trial"]
        rows = tuple(row(spec.number, spec.config, epoch) for epoch in epochs)
        message = Message(spec.number, rows, "s/t/checkpoint_000001", HERE, **more)
        return Verdicts(self.driver).on_trial_result(None, trial, {"message": message})

    def fails(self, trial: Any, monkeypatch: pytest.MonkeyPatch, error: Any, text: str) -> None:
        """A trial's process raises, or is gone."""
        monkeypatch.setattr(tune_parts, "error_of", lambda _: (error, text))
        monkeypatch.setattr(tune_parts, "last_log", lambda *_: "last words")
        self.hearing.on_trial_error(0, [], trial)

    def status(self, trial: Any) -> str:
        return self.driver.state.trial(trial.config["trial"].number).status


@pytest.fixture
def on_ray(tmp_path: Path) -> OnRay:
    return OnRay(tmp_path)


def test_tune_gets_as_many_trials_as_there_are_places(on_ray: OnRay) -> None:
    first, second = on_ray.trial(), on_ray.trial()
    assert [each.config["trial"].number for each in (first, second)] == [0, 1]
    assert first.config["trial"].report_every == 0.2, "ten messages a second, of two"
    assert on_ray.proposals.suggest("x") is None
    assert on_ray.reports(first, *range(1, EPOCHS + 1)) == TrialScheduler.STOP
    third = on_ray.trial()
    assert on_ray.driver.next() is Nothing.WAIT
    for each in (second, third):
        assert on_ray.proposals.suggest("x") is None
        on_ray.reports(each, *range(1, EPOCHS + 1))
    assert on_ray.proposals.suggest("x") == Searcher.FINISHED


def test_a_session_ends_though_its_cluster_has_lost_the_room_for_another_trial(
    on_ray: OnRay,
) -> None:
    first, second = on_ray.trial(), on_ray.trial()
    on_ray.proposals.watcher.slots = 0
    for trial in (first, second):
        assert on_ray.proposals.suggest("x") is None
        on_ray.reports(trial, *range(1, EPOCHS + 1))
    third = on_ray.trial()  # waits for a node
    assert on_ray.proposals.suggest("x") is None
    on_ray.reports(third, *range(1, EPOCHS + 1))
    assert on_ray.proposals.suggest("x") == Searcher.FINISHED


def test_the_scheduler_says_what_the_driver_says(on_ray: OnRay) -> None:
    trial = on_ray.trial()
    assert on_ray.reports(trial, 1, 2) == TrialScheduler.CONTINUE
    assert on_ray.reports(trial, 3, failure="loss nan in epoch 4") == TrialScheduler.STOP
    assert on_ray.status(trial) == "failed"
    assert on_ray.driver.state.trial(0).value(OBJECTIVE) is not None


def test_a_session_that_is_to_end_ends_when_no_trial_has_its_place(on_ray: OnRay) -> None:
    end, trial = SessionEnd(on_ray.driver), on_ray.trial()
    on_ray.proposals.suggest("x")
    on_ray.driver.agenda.halt(Stop("interrupted", "interrupted"))
    assert not end.stop_all()
    assert on_ray.proposals.suggest("x") == Searcher.FINISHED
    assert on_ray.reports(trial, 1) == TrialScheduler.STOP
    assert end.stop_all(), "the other one waits for its place"


@pytest.mark.parametrize(
    ("error", "text", "status", "reason"),
    [
        (None, "RuntimeError: planted", "failed", "RuntimeError: planted"),
        (None, "CUDA error: an illegal access", "paused", "its process died: CUDA error: an"),
        (None, f"{NODE_DIED}.", "paused", "its node is gone"),
        (None, "running low on memory", "paused", "running low on memory"),
        (OSError(28, "No space left on device"), "OSError", "paused", "the session ends"),
    ],
)
def test_what_a_trial_died_of_decides_what_becomes_of_it(
    on_ray: OnRay,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError | None,
    text: str,
    status: str,
    reason: str,
) -> None:
    trial = on_ray.trial()
    on_ray.reports(trial, 1)
    raised = None if error is None else RayTaskError("step", text, error)
    on_ray.fails(trial, monkeypatch, raised, text)
    known = on_ray.driver.state.trial(0)
    assert (known.status, known.epoch) == (status, 1)
    assert known.reason.startswith(reason)
    assert (on_ray.driver.agenda.stop is not None) == (error is not None)


def test_folders_of_tune_are_told_apart(on_ray: OnRay) -> None:
    """One trial may be begun several times."""
    trial = on_ray.trial()
    assert folder_of(trial) == "trial-00000-x0"


def test_nothing_of_the_driver_goes_into_a_snapshot_of_tunes(on_ray: OnRay) -> None:
    for part in (on_ray.proposals, on_ray.hearing, Verdicts(on_ray.driver)):
        assert part.__getstate__() == {}
