"""Message passing through filters, written with PyTorch Geometric's `MessagePassing`.

The families' stock counterparts for benchmarks and tests use these classes. Importing PyG takes as
long as importing torch, so this module is only imported where a counterpart is made.

Shapes in this module: nodes N, edges E, heads H, width W.
"""

from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import softmax


class FilteredMessages(MessagePassing):
    """Sums or averages the neighbours' features, multiplied by the filters of the edges.

    Args:
        aggr: Aggregation, ``add`` or ``mean``.
    """

    def __init__(self, aggr: str) -> None:
        super().__init__(aggr=aggr)

    def forward(self, x: Tensor, edge_index: Tensor, filters: Tensor) -> Tensor:
        """Aggregates over the neighbours of each node.

        Args:
            x: Node features, (N, W).
            edge_index: Source and target of each edge, (2, E).
            filters: Filter of each edge, (E, W).

        Returns:
            (N, W).
        """
        return self.propagate(edge_index, x=x, filters=filters)

    def message(self, x_j: Tensor, filters: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x_j * filters


class AttendedMessages(MessagePassing):
    """Sums the neighbours' features, multiplied by filters and attention weights, in each head."""

    def __init__(self) -> None:
        super().__init__(aggr="add", node_dim=0)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        filters: Tensor,
        own: Tensor,
        neighbour: Tensor,
        scores: Tensor,
    ) -> Tensor:
        """Aggregates over the neighbours of each node.

        Args:
            x: Node features, (N, H, W).
            edge_index: Source and target of each edge, (2, E).
            filters: Filter of each edge, (E, W), shared by the heads.
            own: Contribution of the target node to the scores, (N, H).
            neighbour: Contribution of the source node to the scores, (N, H).
            scores: Contribution of the edge to the scores, (E, H).

        Returns:
            (N, H, W).
        """
        return self.propagate(
            edge_index, x=x, filters=filters, own=own, neighbour=neighbour, scores=scores
        )

    def message(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        x_j: Tensor,
        neighbour_j: Tensor,
        own_i: Tensor,
        scores: Tensor,
        filters: Tensor,
        index: Tensor,
        size_i: int,
    ) -> Tensor:
        scores = nn.functional.leaky_relu(neighbour_j + own_i + scores, 0.2)
        attention = softmax(scores, index, num_nodes=size_i)  # (E, H)
        return attention[:, :, None] * filters[:, None] * x_j
