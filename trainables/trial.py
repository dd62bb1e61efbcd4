"""A fit as a Ray Tune trial. The only module of this package that imports Ray."""

from pathlib import Path
from typing import Any

from ray import tune

from trainables.device import pick_device
from trainables.stepper import Stepper, TaskFactory, TrialSpec


class Trial(tune.Trainable):
    """Steps a fit one epoch at a time; one trial after another reuses its process."""

    def setup(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, config: dict[str, Any], make_task: TaskFactory, cpus: int, gpus: float
    ) -> None:
        """Takes a trial.

        Args:
            config: ``{"trial": TrialSpec}``.
            make_task: Shared by all trials through the object store.
            cpus: Cores of this trial.
            gpus: Its share of GPUs.
        """
        self.make_task = make_task
        self.device = pick_device(gpus, cpus)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes another trial in the same process. It begins with its first step: of that, Tune
        hears how long it takes and why it fails."""
        self.spec: TrialSpec = new_config["trial"]
        self.stepper: Stepper | None = None
        return True

    def step(self) -> dict[str, Any]:
        """One epoch. A diverged fit reports its failure and does not raise: Tune would try the
        same numbers again."""
        if self.stepper is None:
            self.stepper = Stepper(self.spec, self.make_task, self.device)
        return self.stepper.step()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes the state after the latest epoch."""
        if self.stepper is not None:
            self.stepper.save(Path(checkpoint_dir))
