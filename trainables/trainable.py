"""A trial as a Ray Tune trainable. The only module of this package that imports Ray."""

from typing import Any

import ray
from ray import tune

from trainables.device import give_back_memory, pick_device
from trainables.problem import Problem
from trainables.trial_spec import TrialSpec
from trainables.versions import check_versions
from trainables.worker import Worker


class TrialTrainable(tune.Trainable):
    """Trains one trial after the other in the same process.

    A step is as many epochs as are reported together. Checkpoints are not Tune's: the trial writes
    them itself before it reports, so that Tune makes one call for each report and not two.
    """

    def setup(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        config: dict[str, Any],
        problem: list[ray.ObjectRef],
        cpus: int,
        gpus: float,
        versions: dict[str, str],
    ) -> None:
        """Takes a trial.

        Args:
            config: ``{"trial": TrialSpec}``.
            problem: Holds what is learned from, in the object store that a node's trials share.
            cpus: Cores of this trial.
            gpus: Its share of a GPU.
            versions: What the driver runs with.
        """
        self.problem: Problem[Any] = ray.get(problem[0])
        self.versions = versions
        self.device = pick_device(gpus, cpus)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes another trial in the same process. It begins with its first step: of that, Tune
        hears how long it takes and why it fails. What the one before took is given back."""
        self.spec: TrialSpec = new_config["trial"]
        self.worker: Worker | None = None
        give_back_memory(self.device)
        return True

    def step(self) -> dict[str, Any]:
        """Trains until it is time to report. A learner that diverged reports its failure, and does
        not raise: Tune would try the same numbers again.

        Raises:
            OSError: If this node runs with other versions than the driver, or the checkpoint
                cannot be written.
        """
        if self.worker is None:
            check_versions(self.versions)
            self.worker = Worker(self.spec, self.problem, self.device)
        return {"message": self.worker.work()}
