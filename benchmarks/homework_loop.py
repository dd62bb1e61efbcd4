"""How well does the homework's network dream when it is trained in the homework's own way?

The published homework takes a step of the optimiser after each time step of a window, and cuts the
gradients there. Its configuration is the only one, with either LSTM; all else is decided. The
objective and the test scores are those of studies/world_model_sweep.py.

    python benchmarks/homework_loop.py --core builtin --epochs 50 --finalists 1 --seeds 2
"""

import sys
import time
from copy import deepcopy
from dataclasses import asdict, replace

import torch
from torch import nn

from benchmarks.driving_step import StepLoop
from datasets.driving import Drives, DrivingOptions, open_drives
from datasets.errors import InputError
from datasets.tools import Tools
from engine.main import main
from record.trial import Role
from studies import world_model_sweep
from trainables.driving import DrivingProblem, DrivingTask
from trainables.learner import Probe, Snapshot
from trainables.models.world_model import Core, WorldModelConfig, homework
from trainables.problem import Context

FREE = ("epochs", "seed")
"""The fields that the homework leaves open."""

LSTMS: tuple[Core, ...] = ("builtin", "scratch")
"""The cores that the homework has, which share the rest of its configuration."""


class LoopLearner:
    """Trains by the homework's loop; see `trainables.learner.Learner`.

    Args:
        task: The drives and the homework's configuration.
        device: Where it trains.
    """

    def __init__(self, task: DrivingTask, device: torch.device) -> None:
        self.loop = StepLoop(task, device)

    @property
    def evaluator(self) -> nn.Module:
        """The network that predicts, which is the trained one."""
        return self.loop.model

    def advance(self, epoch: int) -> dict[str, float]:
        """Makes one pass over the train split, and evaluates."""
        del epoch
        begun = time.perf_counter()
        self.loop.model.train()
        self.loop.train_epoch()
        seconds = time.perf_counter() - begun
        with torch.no_grad():
            metrics = self.loop.task.evaluate(self.loop.model.eval())
        return {**metrics, "train/seconds": seconds}

    def snapshot(self) -> Snapshot:
        """Copies the weights, the optimiser and the order of the windows."""
        training = {
            "optimizer": deepcopy(self.loop.optimizer.state_dict()),
            "order": self.loop.order.get_state(),
        }
        return Snapshot(deepcopy(self.loop.model.state_dict()), training)

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to a snapshot."""
        self.loop.model.load_state_dict(snapshot.model)
        self.loop.model.eval()
        self.loop.optimizer.load_state_dict(deepcopy(snapshot.training["optimizer"]))
        self.loop.order.set_state(snapshot.training["order"])

    def probe(self) -> Probe:
        """Times a whole epoch, which takes seconds."""
        begun = time.perf_counter()
        self.advance(1)
        return Probe(time.perf_counter() - begun, self.snapshot())


class LoopProblem(DrivingProblem):
    """Recorded drives, learned from by the homework's loop.

    Args:
        drives: The recordings and their split.

    Raises:
        InputError: If nothing moves in them.
    """

    def __init__(self, drives: Drives) -> None:
        super().__init__(drives)
        fields = asdict(WorldModelConfig(**homework(LSTMS[0])))
        decided = {name: [value] for name, value in fields.items() if name not in FREE}
        self.decided = {**decided, "core": LSTMS}

    def check(self, config: WorldModelConfig) -> None:
        """Checks that a configuration is the homework's, and the drives are long enough for it.

        Raises:
            InputError: If it is another one, or they are not.
        """
        for name, values in self.decided.items():
            if (typed := getattr(config, name)) not in values:
                raise InputError(
                    f"{name} is {typed}: the homework's loop has {' or '.join(map(str, values))} "
                    f"and no other value, leave --{name.replace('_', '-')} out"
                )
        super().check(config)

    def learner(  # pyright: ignore[reportIncompatibleMethodOverride] - a learner, but no fit
        self, config: WorldModelConfig, role: Role, context: Context
    ) -> LoopLearner:
        """Makes the learner of one trial; every role learns from the same split."""
        del role
        self.check(config)
        return LoopLearner(DrivingTask(self.drives, config, context.device), context.device)


def open_problem(options: DrivingOptions, seed: int, tools: Tools) -> LoopProblem:
    """Opens the drives."""
    return LoopProblem(open_drives(options, seed, tools.cache, tools.parallel))


STUDY = replace(
    world_model_sweep.STUDY,
    key="homework-loop",
    question=__doc__ or "",
    file=__file__,
    open=open_problem,
    presets={},
    baseline=None,
    package=None,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
