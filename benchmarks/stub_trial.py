"""A trial that learns nothing and imports no torch, so that a hundred fit on one machine; a module
that Ray's workers import."""

import os
import platform
import time
from pathlib import Path
from typing import Any

from ray import tune

from trainables.message import DEPTH, Message
from trainables.trial_spec import TrialSpec


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
        seconds: float = self.spec.config.seconds  # pyright: ignore[reportAttributeAccessIssue]
        time.sleep(seconds)
        self.epoch += 1
        level: float = self.spec.config.level  # pyright: ignore[reportAttributeAccessIssue]
        metrics = dict.fromkeys(("validation/loss", "validation/mse", "validation/mae"), 0.5)
        return {
            **metrics,
            "validation/r2": level * (1 - 0.5**self.epoch),
            "train/loss": 0.5**self.epoch,
            "train/seconds": seconds,
            "memory_gib": 0.5,
            "epoch": self.epoch,
            "unix_ms": time.time_ns() // 1_000_000,
        }
