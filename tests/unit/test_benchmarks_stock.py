"""The plain networks and loop that ours is measured by do the same mathematics."""

from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from benchmarks.inputs import Inputs
from benchmarks.rounds import Disagreement
from benchmarks.stock import mirrored, prepared
from benchmarks.stock_data import Pairs, as_data
from benchmarks.stock_loop import StockFit
from benchmarks.training_step import sides
from datasets.sources import MoleculeSet
from trainables.fit import fit
from trainables.models.gnn import Edges, GNNConfig, Head, homework

CPU = torch.device("cpu")


def inputs(molecules: MoleculeSet) -> Inputs:
    return Inputs(molecules.graphs, molecules.split, "molecules")


@pytest.mark.parametrize(
    "config",
    [
        GNNConfig(family=family, edges=edges, head=head, normalization=norm, width=16)
        for family, edges, head, norm in product(
            mirrored(), get_args(Edges), get_args(Head), ("batch", "layer")
        )
    ]
    + [GNNConfig(**homework(family)) for family in mirrored()],
    ids=lambda config: f"{config.title} {config.normalization}",
)
def test_equal_weights_predict_and_learn_the_same(
    config: GNNConfig, molecules: MoleculeSet
) -> None:
    sides(inputs(molecules), config, CPU)  # raises where they do not


def test_sides_that_differ_are_not_timed(
    molecules: MoleculeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.training_step.copy_weights", lambda *_: None)
    with pytest.raises(Disagreement, match=r"predictions differ by .*: nothing is timed"):
        sides(inputs(molecules), GNNConfig(width=16), CPU)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"family": "gin", "schedule": "constant", "normalization": "batch"},
        {"weight_decay": 0.0},
        homework("gin"),
    ],
    ids=("defaults", "constant rate and batch statistics", "Adam", "homework"),
)
def test_equal_weights_and_batches_train_the_same(
    changes: dict[str, Any], molecules: MoleculeSet
) -> None:
    """Two epochs of three steps. Sums in another order, over six steps of a network that has
    learned nothing yet, differ in the fourth digit at most."""
    config = replace(GNNConfig(**changes), width=16, batch_size=32, epochs=2)
    task, stock = sides(inputs(molecules), config, CPU)
    plain = StockFit(stock.model, config, task.steps_per_epoch(), stock.std, CPU)
    held_out = prepared(as_data(molecules.graphs, molecules.split.validation.tolist()), config)
    order = torch.Generator().manual_seed(config.seed)
    for epoch in fit(task, config, CPU):
        shuffled = torch.randperm(len(stock.data), generator=order).tolist()
        loss = plain.train_epoch(DataLoader([stock.data[i] for i in shuffled], batch_size=32))
        metrics = plain.evaluate(DataLoader(held_out, batch_size=256))
        assert loss == pytest.approx(epoch.metrics["train/loss"], rel=1e-3)
        for name, value in metrics.items():
            assert value == pytest.approx(epoch.metrics[name], rel=1e-3), name


def test_pairs_keep_the_type_of_their_bond(molecules: MoleculeSet) -> None:
    molecule = as_data(molecules.graphs, [0])[0]
    near = Pairs(cutoff=100.0)(molecule)
    bonds, pairs = kinds(molecule), kinds(near)
    atoms = molecule.num_nodes
    assert atoms is not None
    assert pairs.keys() == {(i, j) for i in range(atoms) for j in range(atoms) if i != j}
    assert bonds.keys() < pairs.keys()
    for pair, kind in pairs.items():
        assert kind == bonds.get(pair, [0, 0, 0, 0])


def kinds(data: Data) -> dict[tuple[int, int], list[float]]:
    """Source and target of each edge -> its one-hot type."""
    assert data.edge_index is not None and data.edge_attr is not None
    begin, end = data.edge_index.tolist()
    return dict(zip(zip(begin, end, strict=True), data.edge_attr.tolist(), strict=True))
