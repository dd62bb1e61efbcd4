"""A fit as a Ray Tune trial. The only module of this package that imports Ray."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray import tune

from trainables import checkpoint
from trainables.device import give_back_memory, pick_device
from trainables.stepper import Stepper, TaskFactory
from trainables.trial_spec import TrialSpec
from trainables.versions import check_versions


class Trial(tune.Trainable):
    """Steps a fit one epoch at a time; one trial after another reuses its process."""

    def setup(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        config: dict[str, Any],
        make_task: list[ray.ObjectRef],
        cpus: int,
        gpus: float,
        versions: dict[str, str],
    ) -> None:
        """Takes a trial.

        Args:
            config: ``{"trial": TrialSpec}``.
            make_task: Holds a `TaskFactory`, in the object store that the trials of a node share.
            cpus: Cores of this trial.
            gpus: Its share of a GPU.
            versions: What the driver runs with.
        """
        self.make_task: TaskFactory = ray.get(make_task[0])
        self.versions = versions
        self.device = pick_device(gpus, cpus)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes another trial in the same process. It begins with its first step: of that, Tune
        hears how long it takes and why it fails. What the one before took is given back."""
        self.spec: TrialSpec = new_config["trial"]
        self.stepper: Stepper | None = None
        give_back_memory(self.device)
        self.saves = 0
        return True

    def step(self) -> dict[str, Any]:
        """One epoch. A diverged fit reports its failure and does not raise: Tune would try the
        same numbers again.

        Raises:
            OSError: If this node runs with other versions than the driver.
        """
        if self.stepper is None:
            check_versions(self.versions)
            self.stepper = Stepper(self.spec, self.make_task, self.device)
        return self.stepper.step()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes the state after the latest epoch, and removes one that is too old to be needed:
        here, as the driver would have to do so for all trials."""
        if self.stepper is not None:
            self.stepper.save(Path(checkpoint_dir))
            self._remove(self.saves - checkpoint.KEPT - 1)
            self.saves += 1

    def _remove(self, save: int) -> None:
        storage = self._storage
        if save >= 0 and storage is not None:
            old = f"{storage.trial_fs_path}/checkpoint_{save:06d}"
            with suppress(OSError):  # the next session of the study finds and removes it
                storage.storage_filesystem.delete_dir(old)
