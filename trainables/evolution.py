"""CMA-ES (Hansen 2016, arXiv 1604.00772) whose state is saved as plain values.

The package cmaes leaves the random state out of its pickles; a search that goes on from this state
proposes bit by bit what it would have proposed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from cmaes import CMA
from threadpoolctl import threadpool_limits

ARRAYS = ("_mean", "_C", "_p_sigma", "_pc", "_funhist_values")
"""What a generation changes of a `CMA`, besides its step size, its count and its random state."""


class Evolution:
    """Maximises a function by CMA-ES, a generation at a time.

    Args:
        dimensions: Number of parameters; the search begins at zero.
        sigma: Initial step size.
        population: Candidates of a generation.
        seed: Of the candidates.
    """

    def __init__(self, dimensions: int, sigma: float, population: int, seed: int) -> None:
        self.search = CMA(np.zeros(dimensions), sigma, population_size=population, seed=seed)
        self.search._funhist_values[:] = 0  # else equal searches differ in what was never written
        self.asked: list[np.ndarray] = []

    @property
    def mean(self) -> np.ndarray:
        """Mean of the candidates, (dimensions,)."""
        return self.search.mean

    @property
    def step_size(self) -> float:
        """Step size, by which the standard deviations of the candidates are multiplied."""
        return float(self.search._sigma)

    def ask(self) -> np.ndarray:
        """Proposes the candidates of the next generation, (population, dimensions)."""
        with threadpool_limits(1):  # the last bits of eigenvectors depend on the number of threads
            self.asked = [self.search.ask() for _ in range(self.search.population_size)]
        return np.stack(self.asked)

    def tell(self, values: np.ndarray) -> None:
        """Learns from the values of the candidates, (population,); the higher, the better."""
        told = [(x, -float(value)) for x, value in zip(self.asked, values, strict=True)]
        with threadpool_limits(1):
            self.search.tell(told)

    def state(self) -> dict[str, Any]:
        """Returns the state after a generation, as tensors and numbers."""
        random: Any = self.search._rng.get_state(legacy=True)
        _, keys, place, has_gauss, gauss = random
        return {
            **{name: torch.from_numpy(getattr(self.search, name).copy()) for name in ARRAYS},
            "_sigma": float(self.search._sigma),
            "_g": int(self.search._g),
            "random": [keys.tolist(), int(place), int(has_gauss), float(gauss)],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores the state of a search of the same dimensions and population."""
        for name in ARRAYS:
            setattr(self.search, name, state[name].numpy().copy())
        self.search._sigma, self.search._g = state["_sigma"], state["_g"]
        self.search._B = self.search._D = None
        keys, place, has_gauss, gauss = state["random"]
        legacy = ("MT19937", np.array(keys, np.uint32), place, has_gauss, gauss)
        self.search._rng.set_state(legacy)
