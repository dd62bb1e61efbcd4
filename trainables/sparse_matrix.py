"""A constant sparse matrix on a device, with which networks multiply; E entries."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from trainables.dropout import dropped


class _Product(torch.autograd.Function):
    """A constant sparse matrix times a dense one; the gradient is such a product, too."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, x: Tensor) -> Tensor:
        ctx.transposed = transposed
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, ctx.transposed @ gradients[0].contiguous()


@dataclass(frozen=True)
class SparseMatrix:
    """A constant sparse matrix in compressed rows, and its transpose.

    Attributes:
        rows: Row pointers, (rows + 1,), and column indices, (E,), both int64.
        transposed: The same of the transpose.
        order: (E,) int64, the entries in the order of the transpose.
        values: (E,) float32.
        shape: Number of rows and columns.
    """

    rows: tuple[Tensor, Tensor]
    transposed: tuple[Tensor, Tensor]
    order: Tensor
    values: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, device: torch.device) -> "SparseMatrix":
        """Copies a SciPy matrix to a device."""
        matrix = matrix.sorted_indices()
        places = np.arange(matrix.nnz)
        numbered = sparse.csr_matrix((places, matrix.indices, matrix.indptr), matrix.shape)
        other = numbered.T.tocsr().sorted_indices()

        def moved(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array.astype(np.int64)).to(device)

        return cls(
            (moved(matrix.indptr), moved(matrix.indices)),
            (moved(other.indptr), moved(other.indices)),
            moved(other.data),
            torch.from_numpy(matrix.data.astype(np.float32)).to(device),
            (len(matrix.indptr) - 1, len(other.indptr) - 1),
        )

    def product(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        """Multiplies with x.

        Args:
            x: (columns, ...).
            dropout: Share of the entries that are left out; the others are scaled up.

        Returns:
            (rows, ...).
        """
        values = dropped(self.values, dropout)
        rows, columns = self.shape
        flat: Any = _Product.apply(
            _csr(self.rows, values, (rows, columns)),
            _csr(self.transposed, values[self.order], (columns, rows)),
            x.reshape(columns, -1),
        )
        return flat.view(rows, *x.shape[1:])


def _quiet_csr() -> None:
    """Makes a first tensor in compressed rows, for which PyTorch warns once a process that they
    are in beta; the warning is suppressed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _csr((torch.tensor([0, 0]), torch.tensor([], dtype=torch.int64)), torch.zeros(0), (1, 1))


def _csr(places: tuple[Tensor, Tensor], values: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_csr_tensor(*places, values, shape, check_invariants=False)


_quiet_csr()
