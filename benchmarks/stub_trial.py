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
    """Hyperparameters that change nothing."""

    family: Annotated[Literal["a", "b", "c"], CategoricalDistribution(("a", "b", "c"))] = "a"
    """Field by which trials are compared."""

    level: Annotated[float, FloatDistribution(0.0, 1.0)] = 0.5
    """A number for the sampler to draw."""

    seconds: float = 2.0
    """Seconds that each epoch takes."""

    @property
    def title(self) -> str:
        """The configuration at a glance."""
        return f"{self.family} {self.level:.3f}"


class StubTrial(tune.Trainable):
    """Stands for `trainables.trainable.TrialTrainable`: sends its messages at its pace, with
    made-up epochs and checkpoints of a few bytes. All trials are equally good, so that none is
    stopped early."""

    def setup(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, config: dict[str, Any], **shared: Any
    ) -> None:
        """Takes a trial, ``{"trial": TrialSpec}``, and nothing of what the others share."""
        del shared
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes another trial in the same process."""
        self.spec: TrialSpec = new_config["trial"]
        self.epoch = 0
        return True

    def step(self) -> dict[str, Any]:
        """Sleeps until it is time to report."""
        begun, epochs = time.monotonic(), []
        while True:
            epochs.append(self._epoch())
            if self.spec.is_time(self.epoch, time.monotonic() - begun):
                return {"message": self._message(tuple(epochs))}

    def _message(self, epochs: tuple[dict[str, Any], ...]) -> Message:
        """Reports some epochs, once a checkpoint stands for them."""
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
        """Sleeps for an epoch; returns what a trial says of one."""
        config: StubConfig = self.spec.config  # pyright: ignore[reportAssignmentType]
        time.sleep(config.seconds)
        self.epoch += 1
        metrics = dict.fromkeys(("validation/loss", "validation/mse", "validation/mae"), 0.5)
        return {
            **metrics,
            "validation/r2": 0.5,
            "train/loss": 0.5**self.epoch,
            "train/seconds": config.seconds,
            "memory_gib": 0.5,
            "epoch": self.epoch,
            "unix_ms": time.time_ns() // 1_000_000,
        }
