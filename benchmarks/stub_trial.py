"""A trial that learns nothing. Ray's workers import this module, and a hundred of them fit on one
machine: it imports neither torch nor what the driver needs."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from optuna.distributions import CategoricalDistribution, FloatDistribution
from ray import tune

from trainables.config import FitConfig
from trainables.message import DEPTH, Message
from trainables.trial_spec import TrialSpec


@dataclass(frozen=True)
class StubConfig(FitConfig):
    """What is searched."""

    family: Annotated[Literal["a", "b", "c"], CategoricalDistribution(("a", "b", "c"))] = "a"
    """Is compared."""

    level: Annotated[float, FloatDistribution(0.0, 1.0)] = 0.5
    """What the trial reaches."""

    effect: float = 1.0
    """How much the level matters; at 0 all trials are equally good, and none is stopped early."""

    seconds: float = 2.0
    """Of each epoch."""

    @property
    def title(self) -> str:
        return f"{self.family} {self.level:.3f}"


class StubTrial(tune.Trainable):
    """Stands for `trainables.trainable.TrialTrainable`: the same messages at the same pace, with
    made-up epochs and checkpoints of a few bytes."""

    def setup(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, config: dict[str, Any], **shared: Any
    ) -> None:
        del shared
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.spec: TrialSpec = new_config["trial"]
        self.epoch = 0
        return True

    def step(self) -> dict[str, Any]:
        begun, epochs = time.monotonic(), []
        while True:
            epochs.append(self._epoch())
            if self.spec.is_time(self.epoch, time.monotonic() - begun):
                return {"message": self._message(tuple(epochs))}

    def _message(self, epochs: tuple[dict[str, Any], ...]) -> Message:
        folder = Path(self.spec.folder) / f"checkpoint_{self.epoch:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "state.pt").write_bytes(b"stub")
        where = {"device": "none", "processor": "none", "threads": "1"}
        return Message(
            self.spec.number,
            epochs,
            checkpoint="/".join(folder.parts[-DEPTH:]),
            where={"node": platform.node(), "process": os.getpid(), **where},
        )

    def _epoch(self) -> dict[str, Any]:
        config: StubConfig = self.spec.config  # pyright: ignore[reportAssignmentType]
        time.sleep(config.seconds)
        self.epoch += 1
        metrics = dict.fromkeys(("validation/loss", "validation/mse", "validation/mae"), 0.5)
        return {
            **metrics,
            "validation/r2": config.effect * config.level * (1 - 0.5**self.epoch),
            "train/loss": 0.5**self.epoch,
            "train/seconds": config.seconds,
            "memory_gib": 0.5,
            "epoch": self.epoch,
            "unix_ms": time.time_ns() // 1_000_000,
        }
