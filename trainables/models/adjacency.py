"""The interface through which graph networks sum over neighbours of nodes and nodes of graphs.

It has two implementations. `trainables.models.neighbours` uses edge lists, on a CPU and, for large
molecules, on a GPU; `trainables.models.dense_neighbours` uses matrices of molecules padded to one
size, on a GPU. Nodes are rows of a matrix in both, so that layers that process each node by itself
work with either.

Shapes in this module: nodes N, pairs P, graphs G, heads H, width W. Properties of pairs of atoms,
such as their distance, are in the order of the batch; depending on the implementation, a pair is
listed once for both directions or once for each.
"""

from typing import Protocol

from torch import Tensor

from datasets.graphs import KeptPairs


class Adjacency(Protocol):
    """Neighbours of each node and nodes of each graph in a batch, with the sums over them."""

    @property
    def there(self) -> Tensor | None:
        """Mask of the rows that are nodes rather than padding, (N,) bool; None: all rows are."""
        ...

    @property
    def kept(self) -> KeptPairs | None:
        """What depends on the geometry alone, computed earlier; None: it is to be computed."""
        ...

    @property
    def positions(self) -> Tensor:
        """Positions of the nodes, (N, 3), in Angstrom."""
        ...

    @property
    def distances(self) -> Tensor:
        """Distance of each pair, (P,), in Angstrom."""
        ...

    @property
    def edge_types(self) -> Tensor:
        """Bond type of each pair, (P,) int64, see `datasets.graphs.BOND_TYPES`."""
        ...

    @property
    def degree(self) -> Tensor:
        """Number of neighbours of each node, (N, 1) int64."""
        ...

    @property
    def atoms(self) -> Tensor:
        """Number of nodes of each graph, (G, 1) int64."""
        ...

    def sum(self, x: Tensor, *, own: bool = False) -> Tensor:
        """Sums over the neighbours j of each node i: ``sum_j x_j``.

        Args:
            x: Node features, (N, W).
            own: Whether to add x_i.

        Returns:
            (N, W).
        """
        ...

    def filtered_sum(self, x: Tensor, filters: Tensor, *, own: bool = False) -> Tensor:
        """Sums over the neighbours j of each node i through filters: ``sum_j x_j * f_ij``.

        Args:
            x: Node features, (N, W).
            filters: f, (P, W).
            own: Whether to add x_i, unfiltered.

        Returns:
            (N, W).
        """
        ...

    def attention_aggregate(
        self,
        x: Tensor,
        filters: Tensor | None,
        own: Tensor,
        neighbour: Tensor,
        to_pair: Tensor | None,
    ) -> Tensor:
        """Aggregates by attention: ``a_ii x_i + sum_j a_ij x_j * f_ij``.

        The attention a is the softmax of scores over i and its neighbours j. The score of j is
        ``leaky_relu(own . x_i + neighbour . x_j + to_pair_ij)``, that of i itself
        ``leaky_relu(own . x_i + neighbour . x_i)``; the slope is 0.2.

        Args:
            x: Node features, (N, H, W).
            filters: f, (P, W), shared by the heads; None: 1.
            own: Weights of a node's own features in its scores, (H, W).
            neighbour: Weights of a neighbour's features in the scores of a node, (H, W).
            to_pair: Contribution of the pair to its scores, (P, H); None: 0.

        Returns:
            (N, H, W).
        """
        ...

    def softmax_aggregate(self, x: Tensor, of_pairs: Tensor | None, temperature: Tensor) -> Tensor:
        """Aggregates messages by softmax: ``sum_j softmax_j(t m_ij) m_ij`` in each feature.

        The messages are ``m_ij = relu(x_j + e_ij) + 1e-7``, as in GENConv.

        Args:
            x: Node features, (N, W).
            of_pairs: e, (P, W); None: 0.
            temperature: t, (1,).

        Returns:
            (N, W).
        """
        ...

    def directed_sum(
        self, x: Tensor, filters: Tensor, vectors: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Sums scalar and vector messages over the neighbours j of each node i.

        The messages are made of m_ij = x_j * f_ij, split into three parts a, b and c of width W,
        and of the unit vector u_ij from i to j: ``sum_j a_ij`` and
        ``sum_j u_ij (x) b_ij + v_j * c_ij``. Without vectors v there is no c.

        Args:
            x: Node features, (N, 3 W), or (N, 2 W) without vectors.
            filters: f, (P, 3 W), or (P, 2 W) without vectors.
            vectors: v, (N, 3, W); None: 0.

        Returns:
            (N, W), which a rotation of the molecule leaves as they are, and (N, 3, W), which turn
            with it.
        """
        ...

    def moments(self, weights: Tensor | None) -> Tensor:
        """Sums outer products over neighbours: ``sum_j u_ij (x) e_ij``.

        Here u_ij is the unit vector from node i to its neighbour j.

        Args:
            weights: e, (P, W); None: 1, with W = 1.

        Returns:
            (N, 3, W), without a gradient, because neither positions nor distances are learned.
        """
        ...

    def graph_sums(self, x: Tensor) -> Tensor:
        """Sums the features of the nodes of each graph, (N, W) -> (G, W)."""
        ...

    def graph_means(self, x: Tensor) -> Tensor:
        """Averages the features of the nodes of each graph, (N, W) -> (G, W)."""
        ...

    def to_nodes(self, of_graphs: Tensor) -> Tensor:
        """Copies the values of each graph to its nodes, (G, W) -> (N, W)."""
        ...
