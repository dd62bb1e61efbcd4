"""Runs a trial as a Ray Tune trainable."""

from typing import Any

import ray
from ray import tune

from trainables.device import give_back_memory, pick_device
from trainables.problem import Problem
from trainables.trial_map import TrialMap
from trainables.trial_spec import TrialSpec
from trainables.versions import check_versions
from trainables.worker import Worker


class TrialTrainable(tune.Trainable):
    """A Tune trainable that trains one trial after another in the same process.

    A step of Tune covers all epochs that are reported together. Tune saves no checkpoints: the
    trial writes its own before it reports, so that Tune makes one call for each report, not two.
    """

    def setup(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        config: dict[str, Any],
        problem: list[ray.ObjectRef],
        cpus: int,
        gpus: float,
        versions: dict[str, str],
    ) -> None:
        """Sets up the process and accepts its first trial.

        Args:
            config: ``{"trial": TrialSpec}``.
            problem: List with one reference to the study's problem in Ray's object store, which
                all trials of a node share.
            cpus: Number of cores of a trial.
            gpus: Share of a GPU that a trial has; 0: the CPU.
            versions: Versions of Python and packages that the driver runs with, by name.
        """
        self.problem: Problem[Any] = ray.get(problem[0])
        self.versions = versions
        self.device = pick_device(gpus, cpus)
        self.parallel = TrialMap(cpus)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Accepts another trial in the same process and releases the memory of the previous one.

        The trial is only started by its first step, because Tune records the duration and the
        errors of steps.
        """
        self.spec: TrialSpec = new_config["trial"]
        self.worker: Worker | None = None
        give_back_memory(self.device)
        return True

    def step(self) -> dict[str, Any]:
        """Trains until the next report is due.

        A learner that diverged reports its failure instead of raising an error, after which Tune
        would retry the trial with the same numbers.

        Returns:
            ``{"message": Message}``.

        Raises:
            OSError: If this node runs other versions than the driver, or the checkpoint cannot be
                written.
        """
        if self.worker is None:
            check_versions(self.versions)
            self.worker = Worker(self.spec, self.problem, self.device, self.parallel)
        return {"message": self.worker.work()}
