"""Models that take one tensor of float32 and give one, as whoever serves a model wants it.

Shapes below: molecules M, atoms A of the largest of them; episodes B, frames T, context K (see
`trainables.rollout.CONTEXT`), pixels on a side S.
"""

import torch
from torch import Tensor, nn

from datasets.dense_graphs import DenseBatch, near_pairs
from datasets.graphs import NO_BOND, NODE_FEATURES, GraphBatch
from datasets.recordings import ACTIONS, CHANNELS
from trainables.models.gnn import GNN, GNNConfig
from trainables.models.world_model import WorldModel
from trainables.rollout import CONTEXT, autoregressive

ATOMIC_NUMBER = 5
"""Column of the node features."""

ATOM = NODE_FEATURES + 3
"""Numbers that an atom has by itself: its features, and x, y, z in Angstrom."""

TOGETHER = 2**18
"""Pairs of atoms, near or far, that a GPU looks at together; does not change the prediction."""


class PackedGNN(nn.Module):
    """A graph neural network over molecules in one tensor.

    Args:
        gnn: The network.
        config: Its configuration.
    """

    def __init__(self, gnn: GNN, config: GNNConfig) -> None:
        super().__init__()
        self.gnn = gnn
        self.cutoff = config.pair_cutoff

    def forward(self, packed: Tensor) -> Tensor:
        """(M, A, 14 + A), see `pack` -> (M,), in the unit of the target.

        Raises:
            ValueError: If it has another shape.
        """
        if packed.ndim != 3 or packed.shape[2] != ATOM + packed.shape[1]:
            raise ValueError(
                f"expected molecules of shape (molecules, atoms, {ATOM} + atoms), got "
                f"{tuple(packed.shape)}"
            )
        if packed.device.type == "cpu":  # where lists of edges take a tenth of the time
            return self.gnn(listed(unpacked(packed, self.cutoff)))
        parts = packed.split(1 + TOGETHER // (1 + packed.shape[1] ** 2))
        return torch.cat([self.gnn(unpacked(part, self.cutoff)) for part in parts])


def pack(batch: GraphBatch) -> Tensor:
    """Molecules as one tensor.

    Of each atom the 11 node features (see `datasets.graphs.NODE_FEATURES`), its position in
    Angstrom, and for each atom of the molecule 1 + the type of the bond between them (see
    `datasets.graphs.BOND_TYPES`), or 0 where there is none. Smaller molecules are filled up with
    zeros: atoms of atomic number 0 are not there.

    Args:
        batch: With bonds as edges.

    Returns:
        (M, A, 14 + A) float32.
    """
    atoms = batch.graph.bincount(minlength=batch.size)
    first = atoms.cumsum(dim=0) - atoms
    place = torch.arange(len(batch.graph), device=batch.graph.device) - first[batch.graph]
    most = int(atoms.max())
    packed = batch.positions.new_zeros(batch.size, most, ATOM + most)
    packed[batch.graph, place, :NODE_FEATURES] = batch.node_features
    packed[batch.graph, place, NODE_FEATURES:ATOM] = batch.positions
    source, target = batch.edge_index
    bond = batch.graph[source], place[source], ATOM + place[target]
    packed[bond] = batch.edge_types.float() + 1
    return packed


def unpacked(packed: Tensor, cutoff: float | None) -> DenseBatch:
    """Takes molecules out of one tensor, with their bonds as edges or all pairs of atoms within a
    cutoff, in Angstrom: (M, A, 14 + A)."""
    features, positions, bonds = packed.split([NODE_FEATURES, 3, packed.shape[1]], dim=2)
    there = features[..., ATOMIC_NUMBER] > 0
    types = torch.where(bonds > 0, bonds - 1, NO_BOND).to(torch.int8)
    return DenseBatch(
        node_features=features.flatten(end_dim=1),
        positions=positions.flatten(end_dim=1),
        there=there,
        near=bonds > 0 if cutoff is None else near_pairs(positions, there, cutoff),
        edge_types=types,
        targets=packed.new_zeros(len(packed)),
    )


def listed(batch: DenseBatch) -> GraphBatch:
    """Lists the nodes and edges of graphs that are filled up; waits for a GPU."""
    there = batch.there.flatten()
    number = (there.cumsum(dim=0) - 1).view_as(batch.there)
    graph, source, target = batch.near.nonzero(as_tuple=True)
    return GraphBatch(
        node_features=batch.node_features[there],
        positions=batch.positions[there],
        graph=batch.there.nonzero(as_tuple=True)[0],
        edge_index=torch.stack([number[graph, source], number[graph, target]]),
        edge_types=batch.edge_types[graph, source, target].long(),
        targets=batch.targets,
    )


class PackedWorldModel(nn.Module):
    """A world model that dreams on from the first frames of episodes.

    Args:
        model: The world model.
        size: S.
    """

    def __init__(self, model: WorldModel, size: int) -> None:
        super().__init__()
        self.model = model
        self.size = size

    def forward(self, packed: Tensor) -> Tensor:
        """(B, T, 3 S S + 3), see `pack_drives` -> (B, T - K, 3, S, S), the frames after the
        context; none but those of the context are looked at.

        Raises:
            ValueError: If it has another shape.
        """
        width = CHANNELS * self.size**2
        if packed.ndim != 3 or packed.shape[2] != width + ACTIONS or packed.shape[1] <= CONTEXT:
            raise ValueError(
                f"expected episodes of shape (episodes, more than {CONTEXT} frames, "
                f"{width + ACTIONS}), got {tuple(packed.shape)}"
            )
        context = packed[:, :CONTEXT, :width].unflatten(2, (CHANNELS, self.size, self.size))
        return autoregressive(self.model, context, packed[:, :, width:], packed.shape[1] - CONTEXT)


def pack_drives(frames: Tensor, actions: Tensor) -> Tensor:
    """Episodes as one tensor: of each frame its pixels, red, green and blue planes from 0 to 1,
    and the action that follows it.

    Args:
        frames: (B, T, 3, S, S).
        actions: (B, T, 3).

    Returns:
        (B, T, 3 S S + 3).
    """
    return torch.cat([frames.flatten(start_dim=2), actions], dim=2)
