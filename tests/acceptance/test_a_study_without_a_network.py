"""A study whose trials fit nothing, in this one file: random searches for the deepest point of a
valley. It runs on Ray, is killed, goes on, has finals, a report, and is replayed.

    python tests/acceptance/test_a_study_without_a_network.py --trials 8

No other file of the project knows of it.
"""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from orrery import (
    Choice,
    Context,
    Outcomes,
    Probe,
    Real,
    Role,
    Scorecard,
    Snapshot,
    Study,
    Tools,
    Trial,
    TrialConfig,
    main,
)

Draw = Literal["uniform", "normal"]


@dataclass(frozen=True)
class SearchConfig(TrialConfig):
    """How points are drawn."""

    draw: Annotated[Draw, Choice(("uniform", "normal"))] = "uniform"
    """The distribution of a step."""

    step: Annotated[float, Real(0.01, 2.0, log=True)] = 0.3
    """How far a step goes from the best point."""

    seconds: float = 0.0
    """How long an epoch lasts."""


@dataclass(frozen=True)
class ValleyOptions:
    """Which valley."""

    bottom: float = 3.0
    """Where it is deepest."""


class Walker:
    """Draws ten points around the best one in each epoch, and keeps the deepest."""

    def __init__(self, config: SearchConfig, bottom: float) -> None:
        self.config = config
        self.bottom = bottom
        self.dice = random.Random(config.seed)
        self.best = 0.0

    def depth(self, place: float) -> float:
        return -abs(place - self.bottom)

    def advance(self, epoch: int) -> dict[str, float]:
        del epoch
        time.sleep(self.config.seconds)
        for _ in range(10):
            self.best = max(self.best, self._drawn(), key=self.depth)
        return {"validation/depth": self.depth(self.best)}

    def _drawn(self) -> float:
        if self.config.draw == "uniform":
            return self.best + self.config.step * self.dice.uniform(-1, 1)
        return self.best + self.config.step * self.dice.gauss(0, 1)

    def snapshot(self) -> Snapshot:
        version, numbers, spare = self.dice.getstate()
        return Snapshot({"best": self.best}, {"dice": [version, list(numbers), spare]})

    def restore(self, snapshot: Snapshot) -> None:
        self.best = snapshot.model["best"]
        version, numbers, spare = snapshot.training["dice"]
        self.dice.setstate((version, tuple(numbers), spare))

    def probe(self) -> Probe:
        begun = time.perf_counter()
        self.advance(1)
        return Probe(time.perf_counter() - begun, self.snapshot())


class Valley:
    """A valley, whose bottom is elsewhere for who is trained again."""

    decided: Mapping[str, Sequence[Any]] = {}

    def __init__(self, bottom: float) -> None:
        self.bottom = bottom
        self.digest = f"valley {bottom}"
        self.facts = {"bottom": bottom}

    def check(self, config: SearchConfig) -> None:
        assert config.step > 0

    def learner(self, config: SearchConfig, role: Role, context: Context) -> Walker:
        assert context.cores >= 1
        del role
        return Walker(config, self.bottom)


class ValleyScorecard(Scorecard):
    """Measures how far a walker ended from the bottoms of ten valleys nearby."""

    unit = "valleys"

    def outcomes(self, problem: Valley, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        del trial
        bottoms = problem.bottom + np.linspace(-0.1, 0.1, 10)
        return Outcomes(np.abs(bottoms - model["best"]), np.abs(bottoms))


def open_valley(options: ValleyOptions, seed: int, tools: Tools) -> Valley:
    tools.notify(f"a valley at {options.bottom} for seed {seed}")
    return Valley(options.bottom)


STUDY = Study(
    key="valley",
    question="How does one find the deepest point of a valley?",
    file=__file__,
    config=SearchConfig,
    group_by="draw",
    objective="validation/depth",
    open=open_valley,
    scorecard=ValleyScorecard(),
    data_options=ValleyOptions,
)

# The tests

ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    dropped = ("ORRERY_FINALISTS", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "OMP_NUM_THREADS": "1"}


def ran(*arguments: str, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


ASKED = (__file__, "--trials", "6", "--finalists", "1", "--seeds", "2", "--epochs", "8")
SLOW = ("--seconds", "0.2")


def epochs_in_the_log(folder: Path) -> int:
    log = folder / "runs" / "valley" / "log.jsonl"
    if not log.is_file():
        return 0
    lines = log.read_text().splitlines()[1:]
    return sum('"Reported"' in line for line in lines)


def killed_on_the_way(folder: Path) -> None:
    """Kills the study, and all that it has started, once a few epochs are in the log."""
    with subprocess.Popen(
        [sys.executable, *ASKED, *SLOW],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        begun = time.monotonic()
        while epochs_in_the_log(folder) < 1:
            assert running.poll() is None, "it ended before it could be killed"
            assert time.monotonic() - begun < 120, "no epoch came"
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the study was run: killed on the way, then to its end."""
    made = tmp_path_factory.mktemp("valley")
    killed_on_the_way(made)
    said = ran(*ASKED, *SLOW, cwd=made)
    assert "study valley: " in said
    assert "4/4" in said
    assert "scoring" in said
    return made


def test_it_goes_on_and_ends_with_a_champion(folder: Path) -> None:
    table = (folder / "runs/valley/report/finals.md").read_text()
    assert "10 test valleys" in table
    events = [
        event
        for line in (folder / "runs/valley/log.jsonl").read_text().splitlines()[1:]
        for event in json.loads(line.split(" ", 2)[2])
    ]
    kinds = [event["event"] for event in events]
    assert kinds.count("SessionBegan") == 2
    assert kinds.count("Scored") == len({e["number"] for e in events if e["event"] == "Scored"})
    assert kinds.count("Scored") >= 4
    scores = [event["scores"]["test/score"] for event in events if event["event"] == "Scored"]
    assert all(-10 < score <= 1 for score in scores)
    assert len(set(scores)) > 1


def test_it_has_a_report_and_loss_curves(folder: Path) -> None:
    said = ran("-m", "analysis.report", "valley", cwd=folder)
    assert "is the champion" in said
    page = (folder / "runs/valley/report/report.html").read_text()
    assert "How does one find the deepest point of a valley?" in page
    assert (folder / "runs/valley/report/loss_curves.png").stat().st_size > 5_000


@pytest.mark.parametrize("number", ["0", "6"])
def test_it_is_replayed_bit_for_bit(folder: Path, number: str) -> None:
    assert "bit for bit the same" in ran("-m", "studies.replay", f"valley/{number}", cwd=folder)


def test_the_doctor_finds_nothing(folder: Path) -> None:
    assert "MLflow shows what the log says" in ran("-m", "studies.doctor", "valley", cwd=folder)


def test_other_valleys_are_another_study(folder: Path) -> None:
    said = ran(*ASKED, "--bottom", "4", cwd=folder, code=2)
    assert said.count("\n") < 6
    assert "error: " in said
    assert "Traceback" not in said


def test_a_walker_that_was_restored_continues_as_the_one_that_went_on() -> None:
    whole = Walker(SearchConfig(seed=3), 2.0)
    found = [whole.advance(epoch) for epoch in range(1, 5)]
    begun = Walker(SearchConfig(seed=3), 2.0)
    begun.advance(1)
    resumed = Walker(SearchConfig(seed=3), 2.0)
    resumed.restore(begun.snapshot())
    assert [resumed.advance(epoch) for epoch in range(2, 5)] == found[1:]
    assert math.isclose(whole.best, resumed.best)


if __name__ == "__main__":
    sys.exit(main(STUDY))
