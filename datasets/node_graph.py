"""An undirected graph whose nodes are to be classified."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from datasets.splits import Split


@dataclass(frozen=True)
class NodeGraph:
    """An undirected graph with labelled nodes.

    Attributes:
        features: (N, F) float32, sparse.
        edges: (2, E) int64: each undirected edge in both directions, no loops.
        labels: (N,) int64, from 0.
        public: The split that comes with the data; None if there is none.

    Raises:
        ValueError: If the parts do not fit each other.
    """

    features: sparse.csr_matrix
    edges: np.ndarray
    labels: np.ndarray
    public: Split | None = None

    def __post_init__(self) -> None:
        if self.labels.ndim != 1 or self.edges.ndim != 2 or len(self.edges) != 2:
            shapes = f"{self.labels.shape} and {self.edges.shape}"
            raise ValueError(f"expected labels (nodes,) and edges (2, edges), got {shapes}")
        nodes, rows = len(self.labels), self.features.indptr.size - 1
        if self.words < 1:
            raise ValueError("expected at least one word")
        if rows != nodes:
            raise ValueError(f"features of {rows} nodes, labels of {nodes}")
        if self.edges.size == 0 or self.edges.min() < 0 or self.edges.max() >= nodes:
            raise ValueError(f"expected edges between nodes 0 to {nodes - 1}")
        if self.labels.min() < 0 or len(np.unique(self.labels)) != self.classes:
            raise ValueError("expected labels that count from 0, each of which some node has")

    def __len__(self) -> int:
        """Returns the number of nodes."""
        return len(self.labels)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.labels.max()) + 1

    @property
    def words(self) -> int:
        """Number of features of a node."""
        return int(self.features.get_shape()[1])

    def digest_with(self, splits: Sequence[Split]) -> str:
        """Returns the SHA-256 fingerprint of features, edges, labels and some splits."""
        found = hashlib.sha256()
        parts = [self.features.indptr, self.features.indices, self.features.data, self.edges]
        parts += [self.labels, *(part for split in splits for part in vars(split).values())]
        for part in parts:
            found.update(f"{part.dtype} {part.shape}".encode())
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()
