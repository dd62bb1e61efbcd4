"""Studies on GPUs that are made up: which share trials have, and a pre-flight in one process."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import mlflow
import pytest
import ray
import torch
from asked import Ask, runs_in_mlflow
from fake_task import FakeConfig, FakeTask

from engine import mps
from engine.driver import Driver
from engine.local_backend import LocalBackend
from engine.on_ray import backend, nodes, profiles
from engine.on_ray.nodes import Node
from record.names import GPU_MEMORY
from trainables.fit import SupervisedProblem
from trainables.profile import ProfileResult

GOOD = ("--ending", "good", "--epochs", "1", "--sampler", "random")


class MadeUp(backend.RayBackend):
    """Sixteen cores and a GPU of 24 GiB, of which a trial needs 1.8; trials run in this process,
    on the CPU."""

    card = 24.0
    shares: ClassVar[list[float]] = []
    asked = 0

    def profile_all(self, configs: Any, notify: Callable[[str], None]) -> list[ProfileResult]:
        assert self.gpus == 1.0 or self.options.gpus_per_trial == self.gpus
        self.card_gib = self.card
        return [ProfileResult(1.0, 1.8, 2**20, card_gib=self.card)] * len(configs)

    def _card_gib(self) -> float:
        type(self).asked += 1
        return self.card

    def run(self, driver: Driver) -> None:
        self.shares.append(self.gpus)
        LocalBackend(self.problem, self.options, 0).run(driver)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> type[MadeUp]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(nodes, "alive", lambda: [Node("this", "", "", cpus=16, gpus=1)])
    monkeypatch.setattr(nodes, "to_come", list)
    monkeypatch.setattr(backend, "start", lambda _: None)
    monkeypatch.setattr(backend, "RayBackend", MadeUp)
    monkeypatch.setattr(MadeUp, "card", 24.0)
    monkeypatch.setattr(MadeUp, "shares", [])
    monkeypatch.setattr(MadeUp, "asked", 0)
    return MadeUp


def test_a_study_decides_by_its_pre_flight_and_goes_on_with_what_that_measured(
    ask: Ask,
    tmp_path: Path,
    made_up: type[MadeUp],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ask(*GOOD, "--trials", "1") == 0
    said = capsys.readouterr().out
    line = "12 trials share a GPU: 1.8 of 24.0 GiB each at most, 16 cores for each GPU\n"
    assert said.count(line) == 1
    assert "forecast: 1 trials of 1 epochs, 12 at a time" in said
    assert "will not fit beside others" not in said
    assert runs_in_mlflow(tmp_path)[-1].data.tags[GPU_MEMORY] == "1.800"
    monkeypatch.setattr(made_up, "card", 12.0)  # it goes on on another machine
    assert ask(*GOOD, "--trials", "2") == 0
    said = capsys.readouterr().out
    assert "\n6 trials share a GPU: 1.8 of 12.0 GiB each at most, 16 cores" in said
    assert made_up.shares == [0.0833, 0.1666]
    assert runs_in_mlflow(tmp_path)[-1].data.tags[GPU_MEMORY] == "1.800", "it is still known"
    made_up.asked = 0
    assert ask(*GOOD, "--trials", "2") == 0
    assert made_up.asked == 0, "a study without trials left needs no GPU"


def test_a_study_of_which_nothing_was_measured_is_careful(
    ask: Ask, tmp_path: Path, made_up: type[MadeUp], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(*GOOD, "--trials", "1", "--local", "--gpus-per-trial", "0") == 0
    assert GPU_MEMORY not in runs_in_mlflow(tmp_path)[-1].data.tags
    capsys.readouterr()
    assert ask(*GOOD, "--trials", "2") == 0
    assert (
        "\n4 trials share a GPU: 16 cores for each GPU; 4 at most, as" in capsys.readouterr().out
    )
    assert (made_up.shares, made_up.asked) == ([0.25], 0)


def test_what_was_measured_is_read_from_the_log_whatever_mlflow_says(
    ask: Ask, tmp_path: Path, made_up: type[MadeUp]
) -> None:
    assert ask(*GOOD, "--trials", "1") == 0
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    client.set_tag(runs_in_mlflow(tmp_path)[-1].info.run_id, GPU_MEMORY, "much")
    assert ask(*GOOD, "--trials", "2") == 0
    assert made_up.shares == [0.0833, 0.0833]
    assert runs_in_mlflow(tmp_path)[-1].data.tags[GPU_MEMORY] == "1.800"


def test_a_share_that_was_asked_for_is_kept(
    ask: Ask, made_up: type[MadeUp], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(*GOOD, "--trials", "1", "--gpus-per-trial", "0.5") == 0
    assert "share a GPU" not in capsys.readouterr().out
    assert made_up.shares == [0.5]


@pytest.mark.parametrize(
    ("typed", "started"),
    [
        ([], True),
        (["--gpus-per-trial", "0.5"], True),
        (["--gpus-per-trial", "0.6"], False),
        (["--gpus-per-trial", "0", "--local"], False),
    ],
)
def test_mps_is_started_where_trials_may_share_a_gpu(
    ask: Ask,
    made_up: type[MadeUp],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: list[str],
    started: bool,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(mps, "mps", lambda notify, end: asked.append(notify) or nullcontext())
    monkeypatch.setattr(
        made_up, "profile_all", lambda _, configs, notify: [ProfileResult()] * len(configs)
    )
    assert ask(*GOOD, "--trials", "1", "--mps", *typed) == 0
    assert len(asked) == started
    of_no_use = "--mps is of no use here: no two trials share a GPU\n"
    assert (of_no_use in capsys.readouterr().out) == (not started)


def test_mps_is_of_no_use_to_trials_that_turn_out_to_need_a_gpu_each(
    ask: Ask,
    made_up: type[MadeUp],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mps, "mps", lambda *_: nullcontext())
    monkeypatch.setattr(made_up, "card", 2.0)
    assert ask(*GOOD, "--trials", "1", "--mps") == 0
    said = capsys.readouterr().out
    assert "a trial has a GPU: 1.8 of 2.0 GiB each at most" in said
    assert "\n--mps is of no use here" in said


def test_mps_on_a_cluster_is_refused_before_it_is_joined(
    ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(*GOOD, "--mps", "--address", "127.0.0.1:1") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --mps starts NVIDIA's MPS on this machine only")
    assert said.count("\n") == 1


def test_without_ray_a_trial_is_gone_before_the_next_is_made(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory would be taken twice, and be held against the next one."""
    made, there, begin = WeakSet[FakeTask](), list[int](), FakeTask.__init__

    def counted(self: FakeTask, *arguments: Any) -> None:
        there.append(len(made))
        made.add(self)
        begin(self, *arguments)

    monkeypatch.setattr(FakeTask, "__init__", counted)
    assert ask(*GOOD, "--local", "--trials", "3") == 0
    assert there == [0, 0, 0]


def saying_where(folder: Path) -> SupervisedProblem:
    """Its tasks say in which process they are made, which dies with one of them."""

    def make_task(config: Any, device: torch.device) -> FakeTask:
        (folder / f"{config.level}").write_text(str(os.getpid()))
        if config.level == 0.2:
            os._exit(1)
        return FakeTask(config, device)

    return SupervisedProblem(make_task, "of nothing")


@pytest.mark.ray
def test_one_process_profiles_until_one_fails_and_no_result_is_lost(tmp_path: Path) -> None:
    good = FakeConfig(epochs=1)
    configs = [replace(good, level=level) for level in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)]
    configs[3] = replace(configs[3], ending="no_start")
    said: list[str] = []
    data = ray.put(saying_where(tmp_path))
    done = profiles.one_by_one(configs, data, cpus=1, gpus=0, workers=0, notify=said.append)
    problems = [each.problem for each in done]
    assert [bool(problem) for problem in problems] == [False, True, False, True, False, False]
    assert "exit" in problems[1]
    assert "planted" in problems[3]
    assert all(each.memory_gib > 0 for each in done if not each.problem)
    a, b, c, d, e, f = [(tmp_path / f"{config.level}").read_text() for config in configs]
    assert (a, c, e) == (b, d, f)
    assert len({a, c, e}) == 3
    assert said[1:4:2] == [
        "pre-flight 2 of 6: an epoch of good 0.200: fails",
        "pre-flight 4 of 6: an epoch of no_start 0.400: fails",
    ]
    assert said[0].startswith("pre-flight 1 of 6: an epoch of good 0.100: ")
