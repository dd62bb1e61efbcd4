"""The contracts that every family of graph neural networks must fulfil, one function each.

Each contract takes a family or a configuration of it, and raises an AssertionError if the family
violates the contract.
"""

from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from contracts import STATED, assert_same, here, metrics, on_a_real_gpu, tried, weights
from odd_molecules import with_odd_ones
from torch import Tensor

from datasets.dense_graphs import DenseStore
from datasets.graphs import Graphs, GraphStore
from datasets.sources import MoleculeSet
from datasets.splits import Split
from datasets.standardize import Standardizer
from datasets.stores import Batch, Store
from engine.space import parameters_of
from trainables.fit import Epoch, fit
from trainables.models.families import FAMILIES
from trainables.models.gnn import GNN, GNNConfig
from trainables.molecules import MoleculeTask

KEYS = tuple(family.key for family in FAMILIES)

CPU = torch.device("cpu")
SOME = list(range(20))

SET_ONLY: dict[str, tuple[Any, ...]] = {
    "epochs": (1, 2, 3),
    "seed": (0, 1),
    "standardize": (True, False),
    "warmup": (0.0, 0.5),
    "gradient_clip": (0.0, 0.1),
    "averaging": (0.0, 0.9),
    "precision": ("float32", "bfloat16"),
    "hybridization": (True, False),
    "raw_positions": (False, True),
    "delta": (False, True),
}
"""Fields that are never searched, with values that must lead to different fits."""


def with_made_up_prior(data: MoleculeSet) -> MoleculeSet:
    """Gives molecules dipole moments and charges that were drawn at random, as their prior."""
    graphs, generator = data.graphs, np.random.default_rng(0)
    prior = generator.normal(size=(len(graphs), 3)).astype(np.float32)
    charges = generator.normal(scale=0.2, size=len(graphs.positions)).astype(np.float32)
    return replace(data, graphs=replace(graphs, prior=prior, charges=charges))


def small(family: str, **changes: Any) -> GNNConfig:
    """Makes a family's default configuration at a size that trains in milliseconds."""
    return replace(
        GNNConfig(family=family), **{"width": 8, "batch_size": 32, "epochs": 1, **changes}
    )


def epochs_of(config: GNNConfig, data: MoleculeSet, **kwargs: Any) -> Iterator[Epoch]:
    """Trains a configuration on the device of the current test and yields its epochs."""
    return fit(MoleculeTask(data, config, here()), config, here(), **kwargs)


# --- Every field changes the fit ----------------------------------------------------------------

OUTCOMES: dict[tuple[GNNConfig, torch.device, bool], list[dict[str, float]]] = {}
"""Cache of `outcome` by configuration, device and whether the GPU is real; other tests show that
fits are deterministic."""


def outcome(config: GNNConfig, data: MoleculeSet) -> list[dict[str, float]]:
    """Trains a configuration and returns the metrics of each epoch, without measured times and
    values that follow from the configuration alone."""
    key = config, here(), on_a_real_gpu()
    if key not in OUTCOMES:
        OUTCOMES[key] = [metrics(epoch, STATED) for epoch in epochs_of(config, data)]
    return OUTCOMES[key]


def values_that_matter(family: str) -> dict[str, tuple[Any, ...]]:
    """Returns the fields that apply to a family, with values that must lead to different fits."""
    searched = {
        parameter.field: tried(parameter)
        for parameter in parameters_of(GNNConfig)
        if parameter.field != "family" and parameter.applies(asdict(small(family)))
    }
    return {**searched, **SET_ONLY}


def changes_the_fit(family: str, field: str, values: tuple[Any, ...], data: MoleculeSet) -> None:
    """Checks that any two values of a field lead to different fits."""
    outcomes = {
        value: outcome(small(family, **{field: value}), data) for value in dict.fromkeys(values)
    }
    assert len(outcomes) > 1
    for one, other in combinations(outcomes, 2):
        assert outcomes[one] != outcomes[other], f"{field}: {one} and {other} learn the same"


# --- Fits ---------------------------------------------------------------------------------------


def repeats_itself(family: str, data: MoleculeSet) -> None:
    """Checks that the same seed gives bit-identical epochs."""
    config = small(family, dropout=0.2, normalization="batch", epochs=2)
    first, again = (
        [(metrics(e), weights(e.model)) for e in epochs_of(config, data)] for _ in range(2)
    )
    assert [each for each, _ in first] == [each for each, _ in again]
    for (_, one), (_, other) in zip(first, again, strict=True):
        assert_same(one, other)


def learns_by_heart(family: str, edges: str, head: str, data: MoleculeSet) -> None:
    """Checks that a family overfits eight molecules.

    Predicting their mean has a loss of 1. Losses measured after 120 epochs: 0.00001 to 0.018.
    """
    few = Split(np.arange(8), np.arange(8), np.arange(8))
    of_training = {"learning_rate": 1e-2, "schedule": "cosine", "batch_size": 8, "epochs": 120}
    config = small(family, edges=edges, head=head, width=16, **of_training)
    losses = [epoch.metrics["train/loss"] for epoch in epochs_of(config, replace(data, split=few))]
    assert losses[-1] < 0.1 < 0.9 < losses[0]


# --- Predictions --------------------------------------------------------------------------------


def close(found: Tensor, expected: Tensor) -> None:
    """Checks that two float64 tensors are equal up to rounding.

    Measured differences are below 1e-13. The tolerance of 1e-9 is far above rounding and far below
    the effect of any missing term.
    """
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def doubled(batch: Batch) -> Batch:
    """Converts a batch to float64, in which sums in different orders agree to 1e-9."""
    of = [field.name for field in fields(batch) if _is_real(getattr(batch, field.name))]
    return replace(batch, **{name: getattr(batch, name).double() for name in of})


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def predicted(config: GNNConfig, graphs: Graphs, chosen: list[int] = SOME) -> Tensor:
    """Predicts the chosen graphs in float64 with an untrained network.

    Pairs within the cutoff are computed from the positions of the given graphs.
    """
    torch.manual_seed(0)
    model = GNN(config, Standardizer(mean=0.0, std=1.0)).eval().double()
    store = GraphStore(graphs, CPU, config.pair_cutoff)
    return model(doubled(store.select(torch.tensor(chosen))))


def rotation(seed: int = 0) -> np.ndarray:
    """Draws a random rotation matrix without reflection, (3, 3)."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def moved(graphs: Graphs, matrix: np.ndarray, shift=(0.0, 0.0, 0.0)) -> Graphs:
    """Transforms all positions by a matrix and a shift in Angstrom, in float64, and turns the
    prior with them."""
    positions = graphs.positions.astype(np.float64) @ matrix + shift
    prior = None if graphs.prior is None else graphs.prior.astype(np.float64) @ matrix
    return replace(graphs, positions=positions, prior=prior)


def reordered(graphs: Graphs, seed: int = 0) -> Graphs:
    """Permutes the atoms of each molecule at random, and sorts its edges again."""
    generator = np.random.default_rng(seed)
    nodes, edges = np.arange(len(graphs.positions)), np.arange(len(graphs.edge_types))
    edge_index = graphs.edge_index.copy()
    for graph in range(len(graphs)):
        first, last = graphs.node_offsets[graph : graph + 2]
        order = generator.permutation(last - first)
        nodes[first:last] = first + order
        begin, end = graphs.edge_offsets[graph : graph + 2]
        edge_index[:, begin:end] = np.argsort(order)[edge_index[:, begin:end]]
        source, target = edge_index[:, begin:end]
        edges[begin:end] = begin + np.lexsort((target, source))
    return replace(
        graphs,
        node_features=graphs.node_features[nodes],
        positions=graphs.positions[nodes],
        edge_index=edge_index[:, edges],
        edge_types=graphs.edge_types[edges],
        charges=None if graphs.charges is None else graphs.charges[nodes],
    )


MOVES = {
    "rotation": lambda graphs: moved(graphs, rotation()),
    "reflection": lambda graphs: moved(graphs, rotation(1) @ np.diag([1, 1, -1])),
    "translation": lambda graphs: moved(graphs, np.eye(3), (3.0, -40.0, 5.0)),
    "atom order": lambda graphs: reordered(moved(graphs, np.eye(3))),
}


def is_invariant(config: GNNConfig, move: str, data: MoleculeSet) -> None:
    """Checks that predictions do not change if all molecules are moved by one of `MOVES`."""
    expected = predicted(config, data.graphs)
    close(predicted(config, MOVES[move](data.graphs)), expected)
    assert expected.std() > 1e-3  # constant predictions would be invariant, too


def predicts_one_by_one(config: GNNConfig, data: MoleculeSet) -> None:
    """Checks that a batch is predicted like its molecules one by one, up to rounding."""
    chosen = [3, 119, 0, 3]
    alone = [predicted(config, data.graphs, [one]) for one in chosen]
    close(predicted(config, data.graphs, chosen), torch.cat(alone))


def passed(config: GNNConfig, store: Store, chosen: Tensor) -> dict[str, Tensor | None]:
    """Runs a training pass and an evaluation pass of an untrained network in float64.

    Returns:
        Predictions of both passes, gradients, parameters and running statistics, by name.
    """
    torch.manual_seed(0)
    model = GNN(config, Standardizer(mean=3.0, std=0.5)).double()
    batch = doubled(store.select(chosen))
    trained = model(batch)
    (trained - batch.targets).square().mean().backward()
    gradients = {f"gradient of {name}": p.grad for name, p in model.named_parameters()}
    evaluated = model.eval()(batch).detach()
    return {"trained": trained.detach(), "evaluated": evaluated, **gradients, **model.state_dict()}


def is_the_same_filled_up(config: GNNConfig, data: MoleculeSet) -> None:
    """Checks that padded batches give the same predictions and gradients as edge lists.

    The molecules have several sizes; among them are a single atom and an atom without neighbours.
    """
    graphs, chosen = with_odd_ones(data.graphs), torch.tensor([3, 120, 119, 0, 121, 3, 50])
    found = passed(config, DenseStore(graphs, CPU, config.pair_cutoff), chosen)
    expected = passed(config, GraphStore(graphs, CPU, config.pair_cutoff), chosen)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        other = found[name]
        assert (other is None) == (value is None), name
        if value is not None and other is not None:
            close(other, value)
