"""Molecules on a GPU, small and large: the same numbers as on a CPU, and no step that waits."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from family_contracts import KEYS, doubled, is_the_same_filled_up
from pretended_gpu import GPU, PretendedGPU, pretended_gpu
from real_gpu import RealGPU
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from datasets import dense_graphs, stores
from datasets.dense_graphs import DenseStore
from datasets.graphs import Graphs, GraphStore
from datasets.sources import MoleculeSet
from datasets.standardize import Standardizer
from datasets.stores import DENSE_ATOMS
from trainables import molecules as module
from trainables.models.gnn import GNN, Edges, GNNConfig
from trainables.molecules import MoleculeTask, predict

CPU = torch.device("cpu")
VARIANTS = list(product(KEYS, ["bonds", "distances"]))
SMALL, LARGE = DENSE_ATOMS, 0
"""Atoms up to which molecules are filled up: all of them here, or none."""


def small(family: str, edges: Edges, **fields: Any) -> GNNConfig:
    return GNNConfig(
        **{"family": family, "edges": edges, "width": 8, "depth": 3, "heads": 3, **fields}
    )


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("head", ["mean", "dipole"])
@pytest.mark.parametrize(("family", "edges"), VARIANTS)
def test_filled_up_molecules_teach_and_are_predicted_as_listed_ones(
    family, edges, head, normalization, molecules
):
    config = small(family, edges, head=head, normalization=normalization, cutoff=3.0)
    is_the_same_filled_up(config, molecules)


def learned(data: MoleculeSet, config: GNNConfig, device: torch.device) -> dict[str, Tensor]:
    """The weights after two epochs of plain gradient descent in 64 bits, and what they predict."""
    task = MoleculeTask(data, config, device)
    torch.manual_seed(0)
    model = task.model().double().to(device)
    order = torch.Generator().manual_seed(0)
    for epoch in (1, 2):
        for batch in task.training_batches(nn.Identity(), order, epoch):
            task.loss(model, doubled(batch)).backward()
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.data -= 0.01 * parameter.grad
                    parameter.grad = None
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    predictions = predict(model.eval().float(), task.store, torch.arange(120))
    return {**weights, "predictions": predictions.float()}


@pytest.mark.parametrize("most", [SMALL, LARGE])
@pytest.mark.parametrize(("head", "normalization"), [("mean", "batch"), ("dipole", "layer")])
@pytest.mark.parametrize(("family", "edges"), VARIANTS)
def test_a_gpu_learns_what_a_cpu_does(
    family, edges, head, normalization, most, molecules, a_gpu, monkeypatch
):
    fields = {"head": head, "normalization": normalization, "batch_size": 40}
    config = small(family, edges, **fields)
    expected = learned(molecules, config, CPU)
    monkeypatch.setattr(stores, "DENSE_ATOMS", most)
    with a_gpu() as gpu:
        found = learned(molecules, config, GPU)
        assert not gpu.mixed
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        bound = 1e-8 if value.dtype == torch.float64 else 1e-4
        torch.testing.assert_close(found[name], value, rtol=bound, atol=bound)


def second_step(data: MoleculeSet, config: GNNConfig, gpu: PretendedGPU | RealGPU) -> None:
    """The notes are of the second step of an epoch: its order has gone over."""
    task = MoleculeTask(data, config, GPU)
    model = task.model().to(GPU)
    batches = task.training_batches(nn.Identity(), torch.Generator().manual_seed(0), 1)
    for _ in range(2):
        gpu.waits.clear()
        gpu.mixed.clear()
        half = config.precision == "bfloat16"
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            loss = task.loss(model, next(batches))
        loss.backward()


@pytest.mark.parametrize("most", [SMALL, LARGE])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("head", "normalization"), [("mean", "batch"), ("dipole", "layer")])
@pytest.mark.parametrize(("family", "edges"), VARIANTS)
def test_no_step_waits_for_a_gpu_nor_mixes_devices(
    family, edges, head, normalization, precision, most, molecules, a_gpu, monkeypatch
):
    config = small(
        family, edges, head=head, normalization=normalization, precision=precision, dropout=0.1
    )
    monkeypatch.setattr(stores, "DENSE_ATOMS", most)
    with a_gpu() as gpu:
        second_step(molecules, config, gpu)
        assert (gpu.waits, gpu.mixed) == ([], [])


ANY_ORDER = {"index_add", "scatter", "scatter_add", "scatter_reduce", "index_put", "index_reduce"}
ANY_ORDER |= {f"{name}_" for name in ANY_ORDER}
"""What adds up on a GPU in whatever order its threads come."""

ANY_ORDER_BACK = {"IndexSelectBackward0", "IndexBackward0", "GatherBackward0"}
"""Whose gradient does."""


class Called(TorchFunctionMode):
    """Takes down what is asked of torch, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.__name__)
        return func(*args, **(kwargs or {}))


def nodes_behind(tensor: Tensor) -> set[str]:
    """What its gradient will pass through, by name."""
    seen, left = set(), [tensor.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left += [before for before, _ in node.next_functions]
    return {node.name() for node in seen}


@pytest.mark.parametrize("most", [SMALL, LARGE])
@pytest.mark.parametrize("head", ["mean", "dipole"])
@pytest.mark.parametrize(("family", "edges"), VARIANTS)
def test_sums_on_a_gpu_come_out_the_same_every_time(
    family, edges, head, most, molecules, a_gpu, monkeypatch
):
    monkeypatch.setattr(stores, "DENSE_ATOMS", most)
    with a_gpu():
        task = MoleculeTask(molecules, small(family, edges, head=head), GPU)
        model = task.model().to(GPU)
        batch = next(task.training_batches(nn.Identity(), torch.Generator().manual_seed(0), 1))
        with Called() as called:
            loss = task.loss(model, batch)
            nodes = nodes_behind(loss)
            loss.backward()
    assert "linear" in called.names and "AddmmBackward0" in nodes
    assert not called.names & ANY_ORDER
    assert not nodes & ANY_ORDER_BACK


@pytest.mark.parametrize("most", [SMALL, LARGE])
def test_an_evaluation_waits_once(most, molecules, a_gpu, monkeypatch):
    config = small("gcn", "distances")
    task = MoleculeTask(molecules, config, CPU)
    torch.manual_seed(0)
    expected = task.evaluate(task.model().eval())
    monkeypatch.setattr(module, "EVALUATION_BATCH", 5)
    monkeypatch.setattr(stores, "DENSE_ATOMS", most)
    with a_gpu() as gpu:
        task = MoleculeTask(molecules, config, GPU)
        torch.manual_seed(0)
        model = task.model().eval().to(GPU)
        gpu.waits.clear()
        found = task.evaluate(model)
        assert len(gpu.waits) == 1
        assert not gpu.mixed
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("most", [SMALL, LARGE])
def test_the_heaviest_batch_lies_on_the_gpu(most, molecules, a_gpu, monkeypatch):
    config = small("gcn", "distances", batch_size=5)
    expected = MoleculeTask(molecules, config, CPU).heaviest_batch(nn.Identity())
    monkeypatch.setattr(stores, "DENSE_ATOMS", most)
    with a_gpu() as gpu:
        found = MoleculeTask(molecules, config, GPU).heaviest_batch(nn.Identity())
        assert found.positions.is_cuda
        assert torch.equal(found.targets.cpu(), expected.targets)
        assert not gpu.mixed


def plant(fault: Callable[[Tensor], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = dense_graphs.near_pairs
    monkeypatch.setattr(dense_graphs, "near_pairs", lambda *args: fault(pairs(*args)))


def test_a_planted_mixture_of_devices_is_found(molecules, monkeypatch):
    plant(lambda near: near & (torch.arange(near.shape[1]) >= 0), monkeypatch)
    with pretended_gpu(monkeypatch) as gpu:
        second_step(molecules, small("gcn", "distances"), gpu)
        (mixed,) = gpu.mixed
        assert "dense_graphs.py" in mixed


def test_a_planted_wait_is_found(molecules, a_gpu, monkeypatch):
    plant(lambda near: near & bool(near.any().item()), monkeypatch)
    with a_gpu() as gpu:
        second_step(molecules, small("gcn", "distances"), gpu)
        (wait,) = gpu.waits
        assert "dense_graphs.py" in wait


# --- Half precision --------------------------------------------------------------------------


def moved(graphs: Graphs) -> Graphs:
    return replace(graphs, positions=graphs.positions + np.array([30, -40, 5], np.float32))


@pytest.mark.parametrize("store", [GraphStore, DenseStore])
def test_in_half_precision_a_dipole_does_not_depend_on_where_the_molecule_lies(store, molecules):
    """Charges of 8 bits would not sum to zero, and at 50 Angstrom that shows in the first digit.
    In 32 bits 50 Angstrom leave 4e-6 of a position."""
    torch.manual_seed(0)
    model = GNN(small("gcn", "bonds", head="dipole"), Standardizer(mean=0.0, std=1.0))
    here, there = (
        store(graphs, CPU).select(torch.arange(20))
        for graphs in (molecules.graphs, moved(molecules.graphs))
    )
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(there), model(here), rtol=1e-3, atol=1e-4)
    exact = model(here)
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(model(here), exact)  # the convolutions are in half precision
    assert exact.std() > 1e-3
