"""A study whose trials spread rollouts, and record when and where each of them was driven."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import ray
import torch
from optuna.distributions import CategoricalDistribution

from engine.study import Study
from trainables.config import TrialConfig
from trainables.learner import Probe, Snapshot
from trainables.problem import Context, Problem

ROLLOUTS = 8
"""Rollouts of a generation."""


@dataclass(frozen=True)
class Options:
    """Data options of the study."""

    marks: str = ""
    """Folder into which trials and rollouts write their records."""


@dataclass(frozen=True)
class Config(TrialConfig):
    """A trial's configuration."""

    kind: Annotated[Literal["plain"], CategoricalDistribution(("plain",))] = "plain"
    """What is compared."""

    epochs: int = 4
    """Number of generations."""

    @property
    def title(self) -> str:
        return self.kind


def rolled_out(marks: Path, seconds: float, epoch: int, item: int) -> int:
    """Takes a while, and records its node when it begins."""
    node = ray.get_runtime_context().get_node_id()
    (marks / f"rollout_{epoch}_{item}_{node}_{time.time_ns()}").touch()
    time.sleep(seconds)
    return epoch * item


class Generations:
    """A learner whose epoch is a generation of rollouts."""

    def __init__(self, marks: Path, context: Context) -> None:
        self.marks, self.context = marks, context
        self.evaluator = torch.nn.Linear(1, 1)

    def advance(self, epoch: int) -> dict[str, float]:
        node = ray.get_runtime_context().get_node_id()
        (self.marks / f"generation_{epoch}_{node}_{time.time_ns()}").touch()
        function = partial(rolled_out, self.marks, 0.7, epoch)
        found = list(self.context.parallel(function, range(ROLLOUTS)))
        assert found == [epoch * item for item in range(ROLLOUTS)]
        return {"validation/score": float(epoch), "train/seconds": 1.0}

    def snapshot(self) -> Snapshot:
        return Snapshot(self.evaluator.state_dict(), {})

    def restore(self, snapshot: Snapshot) -> None:
        self.evaluator.load_state_dict(snapshot.model)

    def probe(self) -> Probe:
        return Probe(1.0, self.snapshot())


class Rollouts(Problem[Config]):
    """The problem of the study."""

    def __init__(self, options: Options) -> None:
        self.marks = Path(options.marks)

    @property
    def digest(self) -> str:
        return "rollouts"

    def learner(self, config: Config, role: Any, context: Context) -> Generations:
        del config, role
        return Generations(self.marks, context)


def open_rollouts(options: Options, *arguments: Any) -> Rollouts:
    del arguments
    return Rollouts(options)


ROLLOUTS_STUDY = Study(
    key="rollouts",
    file=__file__,
    question="Does a trial use its workers?",
    config=Config,
    group_by="kind",
    objective="validation/score",
    data_options=Options,
    open=open_rollouts,
    spreads=True,
)
