"""Messages through filters, sent by PyTorch Geometric's `MessagePassing`.

The families' stock counterparts are made of these. PyG takes as long to import as torch does, so
that this module is imported where one of them is made.

Shapes below: nodes N, edges E, heads H, width W.
"""

from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import softmax


class FilteredMessages(MessagePassing):
    """Adds up, or averages, what neighbours send through the filters of their edges.

    Args:
        aggr: ``add`` or ``mean``.
    """

    def __init__(self, aggr: str) -> None:
        super().__init__(aggr=aggr)

    def forward(self, x: Tensor, edge_index: Tensor, filters: Tensor) -> Tensor:
        """(N, W), (2, E), (E, W) -> (N, W)."""
        return self.propagate(edge_index, x=x, filters=filters)

    def message(self, x_j: Tensor, filters: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x_j * filters


class AttendedMessages(MessagePassing):
    """Adds up what neighbours send through filters, weighed by attention, head by head."""

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
        """(N, H, W), (2, E), (E, W), scores of nodes (N, H) twice and of edges (E, H) ->
        (N, H, W)."""
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
