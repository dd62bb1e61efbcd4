"""Linear controllers, which drive cars by what a vision sees and a memory remembers.

Shapes in this module: cars N, numbers of a code Z, width of the memory H, features F = Z + H + 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from datasets.parallel import ParallelMap
from datasets.racing import Drive, Rules, drive
from datasets.recordings import ACTIONS
from trainables.models.mixture_memory import MixtureMemory
from trainables.visions.codes import Codes

TOGETHER = 8
"""Cars that one process drives at once."""


@dataclass(frozen=True)
class Senses:
    """What controllers drive by.

    Attributes:
        vision: Sees frames as codes.
        memory: Remembers them; None: controllers see the present frame only.
    """

    vision: Codes
    memory: MixtureMemory | None

    @property
    def features(self) -> int:
        """Number of features that a controller weighs, the constant 1 included."""
        hidden = 0 if self.memory is None else self.memory.core.hidden_size
        return len(self.vision.center) + hidden + 1

    @property
    def parameters(self) -> int:
        """Number of parameters of a controller."""
        return ACTIONS * self.features


class Controllers:
    """A `datasets.racing.Policy`: a linear controller of each car.

    Args:
        senses: What they drive by.
        weights: Their parameters, (N, 3 F).
    """

    def __init__(self, senses: Senses, weights: np.ndarray) -> None:
        self.senses = senses
        self.weights = torch.from_numpy(weights).float().view(len(weights), ACTIONS, -1)
        self.state: tuple[Tensor, Tensor] | None = None

    def begin(self, cars: int) -> None:
        """Forgets what was seen."""
        memory = self.senses.memory
        if memory is not None:
            zeros = torch.zeros(1, cars, memory.core.hidden_size)
            self.state = zeros, zeros.clone()

    @torch.no_grad()
    def act(self, frames: np.ndarray, cars: np.ndarray) -> np.ndarray:
        """Chooses the next action of some cars; see `datasets.racing.Policy`."""
        codes = self.senses.vision(torch.from_numpy(frames).float() / 255)
        places = torch.from_numpy(cars)
        known = [codes, torch.ones(len(cars), 1)]
        if self.state is not None:
            known.insert(1, self.state[0][0, places])
        actions = steered(self.weights[places], torch.cat(known, dim=1))
        if self.senses.memory is not None and self.state is not None:
            before = self.state[0][:, places], self.state[1][:, places]
            _, after = self.senses.memory(codes[None], actions[None], before)
            for whole, part in zip(self.state, after, strict=True):
                whole[:, places] = part
        return actions.numpy()


def steered(weights: Tensor, features: Tensor) -> Tensor:
    """Computes the actions of linear controllers, (N, 3): the hyperbolic tangent for steering, the
    logistic function for the throttle, and for the brake the tangent where it is positive.

    Args:
        weights: (N, 3, F).
        features: (N, F).
    """
    outputs = torch.bmm(weights, features[:, :, None]).squeeze(dim=2)
    steering, throttle, brake = outputs.unbind(dim=1)
    return torch.stack([steering.tanh(), throttle.sigmoid(), brake.tanh().clamp(min=0)], dim=1)


@dataclass(frozen=True)
class Heat:
    """Some cars that one process drives at once.

    Attributes:
        weights: Parameters of their controllers, (n, 3 F).
        seeds: Of their tracks.
    """

    weights: np.ndarray
    seeds: Sequence[int]


def driven(
    senses: Senses,
    weights: np.ndarray,
    seeds: Sequence[int],
    rules: Rules,
    parallel: ParallelMap = map,
) -> list[Drive]:
    """Drives cars, `TOGETHER` at once.

    Args:
        senses: What the controllers drive by.
        weights: Parameters of each car's controller, (N, 3 F).
        seeds: Of each car's track.
        rules: How drives are driven.
        parallel: Maps over groups of cars.
    """
    parts = [slice(first, first + TOGETHER) for first in range(0, len(seeds), TOGETHER)]
    heats = [Heat(weights[part], seeds[part]) for part in parts]
    results = parallel(partial(heat, senses, rules), heats)
    return [each for result in results for each in result]


def heat(senses: Senses, rules: Rules, cars: Heat) -> list[Drive]:
    """Drives some cars at once, in one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return drive(Controllers(senses, cars.weights), cars.seeds, rules)
    finally:
        torch.set_num_threads(threads)
