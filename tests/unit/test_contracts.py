"""What every family promises; a new family or field is held to it without another line here."""

import math
from dataclasses import fields, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from contracts import (
    assert_same,
    here,
    metrics,
    on_a_real_gpu,
    save,
    waits_of_a_step,
    weights,
    where_it_was_left,
)
from family_contracts import (
    KEYS,
    SET_ONLY,
    changes_the_fit,
    epochs_of,
    learns_by_heart,
    outcome,
    repeats_itself,
    small,
    values_that_matter,
    with_made_up_prior,
)
from torch import nn

from datasets import stores
from datasets.dense_graphs import DenseBatch
from datasets.graphs import GraphBatch
from datasets.sources import MoleculeSet
from datasets.stores import DENSE_ATOMS
from engine.space import parameters_of
from trainables import checkpoint
from trainables.fit import fit
from trainables.learner import Diverged
from trainables.models.gnn import GNNConfig
from trainables.molecules import MoleculeTask, predict

pytestmark = pytest.mark.usefixtures("on_each_device")

PARAMETERS = parameters_of(GNNConfig)


@pytest.fixture(scope="module")
def molecules(molecules: MoleculeSet) -> MoleculeSet:
    """Molecules with a prior, which networks that do not correct one ignore."""
    return with_made_up_prior(molecules)


def cases() -> list[Any]:
    """Each field of each family, with the values that must lead to different fits."""
    return [
        pytest.param(family, field, values, id=f"{family}-{field}")
        for family in KEYS
        for field, values in values_that_matter(family).items()
    ]


def test_every_field_is_held_to_the_contract():
    held = {parameter.field for parameter in PARAMETERS} | set(SET_ONLY)
    assert held == {field.name for field in fields(GNNConfig)}
    applied = {case.values[1] for case in cases()} | {"family"}
    assert applied == held


@pytest.mark.parametrize(("family", "field", "values"), cases())
def test_a_field_changes_the_fit(family, field, values, molecules):
    changes_the_fit(family, field, values, molecules)


def test_the_family_changes_the_fit(molecules):
    outcomes = [outcome(small(family), molecules) for family in KEYS]
    for one, other in combinations(outcomes, 2):
        assert one != other


@pytest.mark.parametrize("family", KEYS)
def test_the_default_configuration_learns(family, molecules):
    """Ten epochs leave 5 to 10 percent of the first one's loss, and beat the mean elsewhere."""
    epochs = list(epochs_of(GNNConfig(family=family, epochs=10), molecules))
    assert epochs[-1].metrics["train/loss"] < 0.2 * epochs[0].metrics["train/loss"]
    assert epochs[-1].metrics["validation/r2"] > 0


@pytest.mark.parametrize("family", KEYS)
def test_the_same_seed_gives_bit_identical_epochs(family, molecules):
    repeats_itself(family, molecules)


@pytest.mark.parametrize("averaging", [0.0, 0.5])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("family", KEYS)
def test_a_fit_goes_on_from_its_checkpoint_bit_identically(
    family, schedule, averaging, molecules, tmp_path
):
    config = small(
        family,
        dropout=0.2,
        normalization="batch",
        schedule=schedule,
        averaging=averaging,
        epochs=2,
    )
    whole = epochs_of(config, molecules)
    save(tmp_path, next(whole), config)
    expected = next(whole)
    torch.rand(3)
    (resumed,) = epochs_of(config, molecules, **where_it_was_left(tmp_path))
    assert metrics(resumed) == metrics(expected)
    assert_same(resumed.model.state_dict(), expected.model.state_dict())


@pytest.mark.parametrize("family", KEYS)
def test_evaluating_changes_nothing_and_draws_no_random_number(family, molecules):
    config = small(family, dropout=0.2, normalization="batch", epochs=2)
    undisturbed = [metrics(epoch) for epoch in epochs_of(config, molecules)]
    task = MoleculeTask(molecules, config, here())
    found = []
    for epoch in fit(task, config, here()):
        found.append(metrics(epoch))
        state, before = torch.get_rng_state(), weights(epoch.model)
        with torch.no_grad():
            first, second = task.evaluate(epoch.model), task.evaluate(epoch.model)
        assert first == second == {name: found[-1][name] for name in first}
        assert torch.equal(torch.get_rng_state(), state)
        assert_same(epoch.model.state_dict(), before)
    assert found == undisturbed


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("family", KEYS)
def test_a_saved_model_gives_equal_predictions(family, normalization, molecules, tmp_path):
    config = small(family, dropout=0.2, normalization=normalization)
    task = MoleculeTask(molecules, config, here())
    epoch = next(fit(task, config, here()))
    expected = predict(epoch.model, task.store, torch.arange(120, device=here()))
    save(tmp_path, epoch, config)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE]
    state = torch.load(tmp_path / checkpoint.FILE, weights_only=True)
    assert GNNConfig(**state["config"]) == config
    model = task.model().to(here()).eval()
    model.load_state_dict(state["model"])
    found = predict(model, task.store, torch.arange(120, device=here()))
    # On a GPU the order of a product's sums depends on where in memory the weights begin.
    torch.testing.assert_close(found, expected, rtol=1e-3 * on_a_real_gpu(), atol=0)


@pytest.mark.parametrize(("edges", "head"), [("distances", "dipole"), ("bonds", "mean")])
@pytest.mark.parametrize("family", KEYS)
def test_eight_molecules_are_learned_by_heart(family, edges, head, molecules):
    learns_by_heart(family, edges, head, molecules)


@pytest.mark.parametrize("family", KEYS)
def test_an_absurd_learning_rate_diverges_with_epoch_and_batch(family, molecules):
    config = small(
        family,
        learning_rate=1e6,
        schedule="constant",
        warmup=0.0,
        gradient_clip=0.0,
        normalization="none",
        head="mean",
        epochs=5,
    )
    with pytest.raises(Diverged, match=r"loss (nan|inf) in epoch \d, batch \d of 3; last finite"):
        list(epochs_of(config, molecules))


@pytest.mark.parametrize("family", KEYS)
def test_a_planted_nan_diverges_in_the_batch_that_holds_it(family, molecules):
    """The order of the first epoch is drawn from the seed, as the loop does."""
    config = small(family)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(config.seed))
    place = 70
    graphs = molecules.graphs
    victim = molecules.split.train[order[place]]
    positions = graphs.positions.copy()
    positions[graphs.node_offsets[victim]] = math.nan
    spoilt = replace(molecules, graphs=replace(graphs, positions=positions))
    message = rf"loss nan in epoch 1, batch {place // 32 + 1} of 3; last finite loss: \d"
    with pytest.raises(Diverged, match=message):
        next(epochs_of(config, spoilt))


def test_deepgcn_trains_at_its_greatest_depth(molecules):
    """Every one of the 28 blocks moves, and the loss falls: the residual stream carries."""
    config = small("deepgcn", depth=28, learning_rate=1e-3, schedule="constant", epochs=2)
    task = MoleculeTask(molecules, config, here())
    torch.manual_seed(config.seed)
    before = weights(task.model().to(here()))
    epochs = list(fit(task, config, here()))
    after = epochs[-1].model.state_dict()
    blocks = {name.split(".")[2] for name in before if name.startswith("body.blocks.")}
    assert blocks == {str(block) for block in range(28)}
    for block in blocks:
        name = f"body.blocks.{block}.conv.mlp.0.weight"
        assert not torch.equal(after[name], before[name]), name
    assert epochs[1].metrics["train/loss"] < epochs[0].metrics["train/loss"]


@pytest.mark.parametrize("family", KEYS)
def test_training_writes_nothing_into_the_molecules(family, molecules):
    """They lie in Ray's object store or in a mapped file, which every trial of a node reads."""
    graphs = molecules.graphs
    before = {name: array.copy() for name, array in vars(graphs).items()}
    list(epochs_of(small(family, raw_positions=True, edges="bonds"), molecules))
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(graphs, name), array, err_msg=name)


@pytest.mark.parametrize("most", [DENSE_ATOMS, 0], ids=["padded", "lists of edges"])
@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize(("edges", "head"), [("distances", "dipole"), ("bonds", "mean")])
@pytest.mark.parametrize("family", KEYS)
def test_a_step_never_waits_for_a_gpu(
    family, edges, head, normalization, most, molecules, monkeypatch
):
    """Neither with small molecules nor with large ones."""
    monkeypatch.setattr(stores, "DENSE_ATOMS", most)
    config = small(family, edges=edges, head=head, normalization=normalization, averaging=0.5)
    assert waits_of_a_step(partial(MoleculeTask, molecules), config, monkeypatch) == []


def test_a_batch_is_what_every_model_takes(molecules):
    task = MoleculeTask(molecules, small("gcn"), here())
    batch = next(task.training_batches(nn.Identity(), torch.Generator().manual_seed(0), 1))
    assert isinstance(batch, GraphBatch | DenseBatch)
    assert task.model().to(here())(batch).shape == (batch.size,) == (32,)
