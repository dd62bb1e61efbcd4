"""Models in one tensor: nothing is lost on the way in, and the model says what it said."""

from dataclasses import fields
from typing import get_args

import pytest
import torch
from contracts import SomeGPU
from family_contracts import KEYS, with_made_up_prior
from moving_stripes import striped_drives
from pretended_gpu import GPU

from datasets.dense_graphs import DenseStore
from datasets.graphs import GraphStore
from datasets.sources import MoleculeSet
from datasets.standardize import Standardizer
from trainables import packed as packed_module
from trainables.models.gnn import GNN, Edges, GNNConfig
from trainables.models.world_model import Core, WorldModel, WorldModelConfig
from trainables.packed import PackedGNN, PackedWorldModel, pack, pack_drives, unpacked
from trainables.rollout import CONTEXT, autoregressive

CPU = torch.device("cpu")


@pytest.mark.parametrize("with_prior", [False, True])
@pytest.mark.parametrize("cutoff", [None, 3.0])
def test_packed_molecules_are_the_batch_that_they_were(
    molecules: MoleculeSet, cutoff: float | None, with_prior: bool
) -> None:
    if with_prior:
        molecules = with_made_up_prior(molecules)
    every = torch.arange(120).flip(0)  # the largest is among them
    again = unpacked(pack(GraphStore(molecules.graphs, CPU).select(every)), cutoff)
    expected = DenseStore(molecules.graphs, CPU, cutoff).select(every)
    for field in fields(expected):
        one, other = getattr(again, field.name), getattr(expected, field.name)
        if field.name != "targets" and (with_prior or other is not None):
            assert torch.equal(one, other), field


def test_molecules_are_packed_where_they_lie(molecules: MoleculeSet, a_gpu: SomeGPU) -> None:
    some = torch.arange(5)
    expected = pack(GraphStore(molecules.graphs, CPU).select(some))
    with a_gpu() as gpu:
        found = pack(GraphStore(molecules.graphs, GPU).select(some))
        assert not gpu.mixed
        assert found.is_cuda
        assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("edges", ["bonds", "distances"])
@pytest.mark.parametrize("family", KEYS)
def test_a_packed_network_predicts_what_the_network_does(
    molecules: MoleculeSet, family: str, edges: Edges, delta: bool
) -> None:
    config = GNNConfig(family=family, edges=edges, width=8, depth=2, delta=delta)
    if delta:
        molecules = with_made_up_prior(molecules)
    network = GNN(config, Standardizer(mean=2.0, std=1.5)).eval()
    some = torch.arange(20)
    expected = network(GraphStore(molecules.graphs, CPU, config.pair_cutoff).select(some))
    packed = pack(GraphStore(molecules.graphs, CPU).select(some))
    assert torch.equal(PackedGNN(network, config)(packed), expected)
    alone = torch.cat([PackedGNN(network, config)(packed[place, None]) for place in some])
    # Alone the molecule is filled up as before, and its sums come in another order.
    torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("edges", ["bonds", "distances"])
@pytest.mark.parametrize("family", KEYS)
def test_a_packed_network_answers_on_a_gpu(
    molecules: MoleculeSet,
    family: str,
    edges: Edges,
    a_gpu: SomeGPU,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = GNNConfig(family=family, edges=edges, width=8, depth=2)
    served = PackedGNN(GNN(config, Standardizer(mean=2.0, std=1.5)).eval(), config)
    packed = pack(GraphStore(molecules.graphs, CPU).select(torch.arange(20)))
    expected = served(packed)
    with a_gpu() as gpu:
        served.to(GPU)
        whole = served(packed.to(GPU))
        monkeypatch.setattr(packed_module, "TOGETHER", 7 * packed.shape[1] ** 2)
        in_parts = served(packed.to(GPU))
        assert not gpu.mixed
        for found in (whole, in_parts):  # their sums come in another order
            torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-5)


def test_molecules_of_another_shape_are_refused() -> None:
    config = GNNConfig(width=8)
    packed = PackedGNN(GNN(config, Standardizer(0.0, 1.0)), config)
    with pytest.raises(ValueError, match=r"\(molecules, atoms, 14 \+ atoms\), got \(1, 3, 14\)"):
        packed(torch.zeros(1, 3, 14))


@pytest.mark.parametrize("core", get_args(Core))
def test_a_packed_world_model_dreams_from_the_context_alone(core: Core) -> None:
    drives = striped_drives().recordings
    config = WorldModelConfig(core=core, hidden=8, decoder="linear")
    model = WorldModel(config, drives.size).eval()
    packed = PackedWorldModel(model, drives.size)
    frames = torch.from_numpy(drives.frames.reshape(12, 40, 3, 32, 32)[:2]).float() / 255
    actions = torch.tensor(drives.actions.reshape(12, 40, 3)[:2])
    given = pack_drives(frames, actions)
    assert given.shape == (2, 40, 3 * 32 * 32 + 3)
    dreamt = packed(given)
    assert torch.equal(dreamt, autoregressive(model, frames[:, :CONTEXT], actions, 40 - CONTEXT))
    given[:, CONTEXT:, :-3] = 0.5
    assert torch.equal(packed(given), dreamt)
    given[:, CONTEXT, -3:] += 1
    assert not torch.equal(packed(given), dreamt)


def test_episodes_of_another_shape_are_refused() -> None:
    packed = PackedWorldModel(WorldModel(WorldModelConfig(hidden=8), 32), 32)
    with pytest.raises(ValueError, match=r"more than 10 frames, 3075\), got \(1, 10, 3075\)"):
        packed(torch.zeros(1, 10, 3075))
