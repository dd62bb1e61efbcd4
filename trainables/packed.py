"""Wraps models for serving: each takes one float32 tensor and returns one.

Shapes in this module: molecules M, atoms A of the largest molecule; episodes B, frames T, context
K (see `trainables.rollout.CONTEXT`), pixels on a side S.
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
"""Column of the node features that holds the atomic number."""

ATOM = NODE_FEATURES + 3
"""Number of columns of an atom without its bonds: its features, and x, y, z in Angstrom."""

PRIOR = 1 + 3
"""Number of further columns of an atom where molecules have a prior: its charge, and the dipole
moment of its molecule."""

TOGETHER = 2**18
"""Approximate number of pairs of atoms, near or far, that a GPU processes in one batch; it does
not change the predictions."""


class PackedGNN(nn.Module):
    """A graph neural network that takes molecules packed into one tensor.

    Args:
        gnn: The network.
        config: Configuration of the network.
    """

    def __init__(self, gnn: GNN, config: GNNConfig) -> None:
        super().__init__()
        self.gnn = gnn
        self.cutoff = config.pair_cutoff
        self.delta = config.delta

    def forward(self, packed: Tensor) -> Tensor:
        """Predicts the target of each molecule.

        Args:
            packed: Molecules as `pack` makes them, (M, A, 14 + A) float32; (M, A, 18 + A) with a
                prior, if the network corrects one.

        Returns:
            (M,), in the unit of the target.

        Raises:
            ValueError: If the tensor has another shape.
        """
        atom = ATOM + PRIOR * self.delta
        if packed.ndim != 3 or packed.shape[2] != atom + packed.shape[1]:
            raise ValueError(
                f"expected molecules of shape (molecules, atoms, {atom} + atoms), got "
                f"{tuple(packed.shape)}"
            )
        if packed.device.type == "cpu":  # edge lists take a tenth of the time there
            return self.gnn(listed(unpacked(packed, self.cutoff)))
        parts = packed.split(1 + TOGETHER // (1 + packed.shape[1] ** 2))
        return torch.cat([self.gnn(unpacked(part, self.cutoff)) for part in parts])


def pack(batch: GraphBatch) -> Tensor:
    """Packs molecules into one tensor.

    The row of an atom holds its 11 node features (see `datasets.graphs.NODE_FEATURES`), its
    position in Angstrom, with a prior its charge and the dipole moment of its molecule, and, for
    each atom of the molecule, 1 + the type of the bond between them (see
    `datasets.graphs.BOND_TYPES`), or 0 without a bond. Smaller molecules are padded with zeros; a
    row with atomic number 0 is padding.

    Args:
        batch: Molecules with their bonds as edges.

    Returns:
        (M, A, 14 + A) float32; (M, A, 18 + A) with a prior.
    """
    atoms = batch.graph.bincount(minlength=batch.size)
    first = atoms.cumsum(dim=0) - atoms
    place = torch.arange(len(batch.graph), device=batch.graph.device) - first[batch.graph]
    most = int(atoms.max())
    columns = [batch.node_features, batch.positions]
    if batch.prior is not None and batch.charges is not None:
        columns += [batch.charges, batch.prior[batch.graph]]
    of_atoms = torch.cat(columns, dim=1)
    width = of_atoms.shape[1]
    packed = of_atoms.new_zeros(batch.size, most, width + most)
    packed[batch.graph, place, :width] = of_atoms
    source, target = batch.edge_index
    bond = batch.graph[source], place[source], width + place[target]
    packed[bond] = batch.edge_types.float() + 1
    return packed


def unpacked(packed: Tensor, cutoff: float | None) -> DenseBatch:
    """Unpacks molecules from one tensor into a padded batch.

    Args:
        packed: Molecules as `pack` makes them, (M, A, 14 + A) or (M, A, 18 + A).
        cutoff: Longest distance between two atoms that share an edge, in Angstrom; None: the bonds
            are the edges.
    """
    more = packed.shape[2] - ATOM - packed.shape[1]
    parts = [NODE_FEATURES, 3, more, packed.shape[1]]
    features, positions, known, bonds = packed.split(parts, dim=2)
    there = features[..., ATOMIC_NUMBER] > 0
    types = torch.where(bonds > 0, bonds - 1, NO_BOND).to(torch.int8)
    return DenseBatch(
        node_features=features.flatten(end_dim=1),
        positions=positions.flatten(end_dim=1),
        there=there,
        near=bonds > 0 if cutoff is None else near_pairs(positions, there, cutoff),
        edge_types=types,
        targets=packed.new_zeros(len(packed)),
        prior=known[:, 0, 1:] if more else None,
        charges=known[..., :1].flatten(end_dim=1) if more else None,
    )


def listed(batch: DenseBatch) -> GraphBatch:
    """Converts padded graphs to lists of nodes and edges; this synchronises with a GPU."""
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
        prior=batch.prior,
        charges=None if batch.charges is None else batch.charges[there],
    )


class PackedWorldModel(nn.Module):
    """A world model that continues episodes from their first frames by its own predictions.

    Args:
        model: The world model.
        size: Pixels on a side of a frame, S.
    """

    def __init__(self, model: WorldModel, size: int) -> None:
        super().__init__()
        self.model = model
        self.size = size

    def forward(self, packed: Tensor) -> Tensor:
        """Predicts the frames after the context.

        Args:
            packed: Episodes as `pack_drives` makes them, (B, T, 3 S S + 3) with T > K. All actions
                are used, but only the frames of the context.

        Returns:
            Predicted frames, (B, T - K, 3, S, S).

        Raises:
            ValueError: If the tensor has another shape.
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
    """Packs episodes into one tensor.

    The row of a frame holds its pixels, as red, green and blue planes from 0 to 1, and the action
    that follows the frame.

    Args:
        frames: Frames, (B, T, 3, S, S).
        actions: Actions, (B, T, 3).

    Returns:
        (B, T, 3 S S + 3).
    """
    return torch.cat([frames.flatten(start_dim=2), actions], dim=2)
