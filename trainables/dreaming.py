"""Drives cars within what a memory dreams, where no simulator is asked.

A dream begins with the first frame of a recorded drive. From then on each code is drawn from what
the memory expects, given the action that the controller chose by the code before (Ha and
Schmidhuber 2018, whose controllers of VizDoom learned so).

Shapes in this module: cars N, numbers of a code Z, features F.
"""

import numpy as np
import torch

from datasets.driving import Drives
from datasets.racing import STEPS
from trainables.code_memory import coded, rewards_of
from trainables.steering import Senses, steered

CPU = torch.device("cpu")


class Dream:
    """What controllers can dream of.

    Args:
        senses: Vision and memory, trained.
        drives: Recorded drives.
        repeat: Steps that each action is kept up for.
        temperature: Of the memory's mixtures, see `Mixture.sampled`.
    """

    def __init__(self, senses: Senses, drives: Drives, repeat: int, temperature: float) -> None:
        recordings = drives.recordings
        first = recordings.offsets[drives.split.train]
        self.senses = senses
        self.beginnings = coded(senses.vision, recordings.frames[first], CPU)
        self.actions = STEPS // repeat
        self.reward = rewards_of(drives, repeat)[1]
        self.temperature = temperature

    @torch.no_grad()
    def returns(self, weights: np.ndarray, places: np.ndarray, seed: int) -> np.ndarray:
        """Lets controllers drive until the simulator would cut them off; returns what rewards the
        memory expects for it, (N,) float64.

        Args:
            weights: Parameters of the controllers, (N, 3 F).
            places: Where the dream of each begins, (N,), numbers from 0 to 1.
            seed: Of the random numbers.
        """
        memory = self.senses.memory
        assert memory is not None
        generator = torch.Generator().manual_seed(seed)
        controllers = torch.from_numpy(weights).float().view(len(weights), 3, -1)
        chosen = (torch.from_numpy(places) * len(self.beginnings)).long()
        codes, constant = self.beginnings[chosen], torch.ones(len(weights), 1)
        zeros = torch.zeros(1, len(weights), memory.core.hidden_size)
        state, total = (zeros, zeros.clone()), torch.zeros(len(weights), dtype=torch.float64)
        for _ in range(self.actions):
            actions = steered(controllers, torch.cat([codes, state[0][0], constant], dim=1))
            outputs, state = memory(codes[None], actions[None], state)
            expected = memory.mixture(outputs[0])
            codes = expected.sampled(self.temperature, generator)
            total += expected.reward
        return self.reward * total.numpy()
