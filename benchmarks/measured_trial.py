"""This project's trial, its stages noted as spans; a module that Ray's workers import."""

from dataclasses import asdict
from typing import Any

from benchmarks.spans import span, timed
from trainables.message import Message
from trainables.trainable import TrialTrainable
from trainables.worker import Worker


class MeasuredTrial(TrialTrainable):
    """`TrialTrainable`, which does the same."""

    def setup(self, *given: Any, **more: Any) -> None:
        timed(Worker, "_save", "checkpoint")
        super().setup(*given, **more)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        spec = new_config["trial"]
        self.number = spec.number
        with span("preparing", trial=spec.number, config=asdict(spec.config)):
            return super().reset_config(new_config)

    def step(self) -> dict[str, Any]:
        with span("step", trial=self.number) as facts:
            result = super().step()
            message: Message = result["message"]
            facts["training"] = sum(each["train/seconds"] for each in message.epochs)
            facts["r2"] = message.epochs[-1]["validation/r2"] if message.epochs else None
            return result
