"""This project's trial, its stages noted as spans; a module that Ray's workers import."""

from dataclasses import asdict
from typing import Any

from benchmarks.spans import span


class MeasuredTrial(Trial):
    """`Trial`, which does the same."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        spec = new_config["trial"]
        self.number = spec.number
        with span("preparing", trial=spec.number, config=asdict(spec.config)):
            return super().reset_config(new_config)

    def step(self) -> dict[str, Any]:
        with span("step", trial=self.number) as facts:
            result = super().step()
            facts["training"] = result.get("train/seconds", 0.0)
            facts["r2"] = result.get("validation/r2")
            return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        with span("checkpoint", trial=self.number):
            super().save_checkpoint(checkpoint_dir)
