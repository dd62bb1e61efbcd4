"""Copies the rows of selected graphs out of flat arrays, a range of consecutive rows for each."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datasets.compiled import compiled


@dataclass(frozen=True)
class Ranges:
    """The rows of selected graphs in flat arrays, and their places in a batch.

    Attributes:
        first: (graphs,) int64, the first row of each graph in the flat arrays.
        starts: (graphs + 1,) int64, the first row of each graph in the batch; the last entry is
            the number of rows of the batch.
    """

    first: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, offsets: np.ndarray, numbers: np.ndarray) -> "Ranges":
        """Finds the rows of selected graphs.

        Args:
            offsets: (graphs + 1,) int64; graph g has the rows offsets[g] up to, exclusive,
                offsets[g + 1].
            numbers: (batch,) int64, the selected graphs, in the order of the batch.
        """
        first = offsets[numbers]
        counts = offsets[numbers + 1] - first
        return cls(first, np.append(0, counts.cumsum()))

    def times(self, factor: int) -> "Ranges":
        """Ranges in arrays that have `factor` rows for each row of these."""
        return Ranges(factor * self.first, factor * self.starts)

    @property
    def size(self) -> int:
        """Number of rows of the batch."""
        return int(self.starts[-1])

    @property
    def moved(self) -> np.ndarray:
        """(graphs,) int64, by how much the number of a row of each graph grows in the batch."""
        return self.starts[:-1] - self.first

    @property
    def graph(self) -> Tensor:
        """(rows,) int64, the place in the batch of the graph that each row belongs to."""
        return torch.from_numpy(np.repeat(np.arange(len(self.first)), np.diff(self.starts)))

    def rows(self, values: np.ndarray) -> Tensor:
        """Copies rows of float32 or whole numbers, (all rows, W) -> (rows, W) float32."""
        taken = np.empty((self.size, values.shape[1]), np.float32)
        copy_rows(values, self.first, self.starts, taken)
        return torch.from_numpy(taken)

    def numbers(self, values: np.ndarray, moved: np.ndarray) -> Tensor:
        """Copies row numbers, (all rows,) -> (rows,) int64, and adds to those of graph g
        ``moved[g]``."""
        taken = np.empty(self.size, np.int64)
        copy_numbers(values, self.first, self.starts, moved, taken)
        return torch.from_numpy(taken)


@compiled()
def copy_rows(values, first, starts, taken):
    """Copies the rows of each graph: ``taken[starts[g] + k] = values[first[g] + k]``."""
    width = values.shape[1]
    flat, flat_taken = values.reshape(-1), taken.reshape(-1)
    for g in range(len(first)):
        source, place = width * first[g], width * starts[g]
        for k in range(width * (starts[g + 1] - starts[g])):
            flat_taken[place + k] = flat[source + k]


@compiled()
def copy_numbers(values, first, starts, moved, taken):
    """Copies numbers and moves them:
    ``taken[starts[g] + k] = values[first[g] + k] + moved[g]``."""
    for g in range(len(first)):
        source, place, move = first[g], starts[g], moved[g]
        for k in range(starts[g + 1] - place):
            taken[place + k] = values[source + k] + move
