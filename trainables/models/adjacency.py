"""What graph networks ask of a batch: sums over the neighbours of nodes and over molecules.

There are two answers. `trainables.models.neighbours` goes through lists of edges, on a CPU and,
where molecules are large, on a GPU; `trainables.models.dense_neighbours` multiplies matrices of
molecules that are filled up to one size, on a GPU. Nodes are rows in both, so that what treats
each node by itself is the same for both.

Shapes below: nodes N, pairs P, graphs G, heads H, width W. What is known of a pair of atoms, such
as their distance, comes in the order of the batch; a pair may be there once, for both directions.
"""

from typing import Protocol

from torch import Tensor


class Adjacency(Protocol):
    """Who is next to whom, and who belongs to which graph."""

    @property
    def there(self) -> Tensor | None:
        """Which rows are nodes: (N,) bool; None: all are."""
        ...

    @property
    def positions(self) -> Tensor:
        """Of the nodes: (N, 3), Angstrom."""
        ...

    @property
    def distances(self) -> Tensor:
        """Of pairs: (P,), Angstrom."""
        ...

    @property
    def edge_types(self) -> Tensor:
        """Of pairs, see `datasets.graphs.BOND_TYPES`: (P,) int64."""
        ...

    @property
    def degree(self) -> Tensor:
        """Number of neighbours of each node: (N, 1) int64."""
        ...

    @property
    def atoms(self) -> Tensor:
        """Number of nodes of each graph: (G, 1) int64."""
        ...

    def sum(self, x: Tensor, *, own: bool = False) -> Tensor:
        """``sum_j x_j`` over the neighbours j of each node i: (N, W) -> (N, W).

        `own`: over i itself, too.
        """
        ...

    def filtered_sum(self, x: Tensor, filters: Tensor, *, own: bool = False) -> Tensor:
        """``sum_j x_j * f_ij``: (N, W), f (P, W) -> (N, W).

        `own`: x_i itself is added.
        """
        ...

    def attention_aggregate(
        self,
        x: Tensor,
        filters: Tensor | None,
        to_own: Tensor,
        to_neighbour: Tensor,
        to_pair: Tensor | None,
    ) -> Tensor:
        """``a_ii x_i + sum_j a_ij x_j * f_ij``, a the softmax of scores over i and its neighbours.

        The score of j is ``leaky_relu(to_own_i + to_neighbour_j + to_pair_ij)``, that of i itself
        ``leaky_relu(to_own_i + to_neighbour_i)``; slope 0.2.

        Args:
            x: (N, H, W).
            filters: f, (P, W), shared by the heads; None: 1.
            to_own: (N, H).
            to_neighbour: (N, H).
            to_pair: (P, H); None: 0.

        Returns:
            (N, H, W).
        """
        ...

    def softmax_aggregate(self, x: Tensor, of_pairs: Tensor | None, temperature: Tensor) -> Tensor:
        """``sum_j softmax_j(t m_ij) m_ij``, ``m_ij = relu(x_j + e_ij) + 1e-7``, of each feature.

        Args:
            x: (N, W).
            of_pairs: e, (P, W); None: 0.
            temperature: t, (1,).

        Returns:
            (N, W).
        """
        ...

    def moments(self, weights: Tensor | None) -> Tensor:
        """``sum_j u_ij (x) e_ij``, an outer product, u the unit vector from i to j.

        Args:
            weights: e, (P, W); None: 1, and W is 1.

        Returns:
            (N, 3, W), without a gradient: neither positions nor distances are learned.
        """
        ...

    def graph_sums(self, x: Tensor) -> Tensor:
        """Adds up the nodes of each graph: (N, W) -> (G, W)."""
        ...

    def graph_means(self, x: Tensor) -> Tensor:
        """Averages the nodes of each graph: (N, W) -> (G, W)."""
        ...

    def to_nodes(self, of_graphs: Tensor) -> Tensor:
        """Gives each node what its graph has: (G, W) -> (N, W)."""
        ...
