"""A trial that learns nothing and imports no torch, so that a hundred fit on one machine; a module
that Ray's workers import."""

import time
from pathlib import Path
from typing import Any

from ray import tune

from trainables.trial_spec import TrialSpec


class StubTrial(tune.Trainable):
    """Stands for `trainables.trainable.TrialTrainable`: the same results at the same pace, made up."""

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
        time.sleep(self.spec.config.seconds)  # pyright: ignore[reportAttributeAccessIssue]
        self.epoch += 1
        level = self.spec.config.level  # pyright: ignore[reportAttributeAccessIssue]
        metrics = dict.fromkeys(("validation/loss", "validation/mse", "validation/mae"), 0.5)
        return {
            **metrics,
            "validation/r2": level * (1 - 0.5**self.epoch),
            "train/loss": 0.5**self.epoch,
            "train/seconds": self.spec.config.seconds,  # pyright: ignore
            "memory_gib": 0.5,
            "epoch": self.epoch,
            "unix_ms": time.time_ns() // 1_000_000,
            "device": "none",
            "processor": "none",
            "threads": "0",
            "done": self.epoch == self.spec.config.epochs,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "state.pt").write_bytes(b"stub")
