"""The task of the GNN study: which molecules, in which unit, scored how."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from datasets.errors import InputError
from datasets.graphs import GraphBatch, GraphStore
from datasets.sources import MoleculeSet
from datasets.splits import Split
from datasets.stores import Batch, Store
from record.trial import Searched
from trainables import molecules as module
from trainables.fit import fit
from trainables.metrics import mae, r2
from trainables.models.gnn import GNN, GNNConfig
from trainables.models.kept_pairs import KeptStore
from trainables.molecules import MoleculeProblem, MoleculeTask, predict
from trainables.problem import Context

CPU = torch.device("cpu")
SMALL = GNNConfig(family="gcn", width=8, depth=2, batch_size=32, epochs=2)


@pytest.fixture
def task(molecules: MoleculeSet) -> MoleculeTask:
    return MoleculeTask(molecules, SMALL, CPU)


def model_of(task: MoleculeTask) -> GNN:
    torch.manual_seed(0)
    model = task.model()
    assert isinstance(model, GNN)
    return model.eval()


def order(task: MoleculeTask, generator: torch.Generator) -> list[float]:
    """The targets in the order of the batches: molecules have no other name there."""
    return torch.cat(
        [batch.targets for batch in task.training_batches(nn.Identity(), generator, 1)]
    ).tolist()


def on_the_cpu(batch: Batch) -> GraphBatch:
    assert isinstance(batch, GraphBatch)
    return batch


def targets(molecules: MoleculeSet, part: np.ndarray) -> list[float]:
    return molecules.graphs.targets[part].astype(np.float32).tolist()


def test_training_batches_hold_each_training_molecule_once_and_no_other(task, molecules):
    batches = list(task.training_batches(nn.Identity(), torch.Generator().manual_seed(0), 1))
    assert [batch.size for batch in batches] == [32, 32, 32]
    assert task.steps_per_epoch() == 3
    seen = torch.cat([batch.targets for batch in batches]).tolist()
    assert sorted(seen) == sorted(targets(molecules, molecules.split.train))


def test_the_heaviest_batch_holds_the_largest_training_molecules(task, molecules):
    atoms = np.diff(molecules.graphs.node_offsets)[molecules.split.train]
    found = on_the_cpu(task.heaviest_batch(nn.Identity()))
    assert found.graph.bincount().tolist() == sorted(atoms, reverse=True)[:32]
    assert set(found.targets.tolist()) <= set(targets(molecules, molecules.split.train))


def test_the_heaviest_batch_of_few_molecules_holds_all(molecules):
    task = MoleculeTask(molecules, replace(SMALL, batch_size=200), CPU)
    assert task.heaviest_batch(nn.Identity()).size == 96


@pytest.mark.parametrize("size", [1, 7, 95, 96, 97])
def test_steps_per_epoch_are_the_batches_there_are(molecules, size):
    task = MoleculeTask(molecules, replace(SMALL, batch_size=size), CPU)
    batches = list(task.training_batches(nn.Identity(), torch.Generator().manual_seed(0), 1))
    assert len(batches) == task.steps_per_epoch() == math.ceil(96 / size)


def test_the_generator_decides_the_order(task):
    generator = torch.Generator().manual_seed(0)
    first, second = order(task, generator), order(task, generator)
    assert first != second
    assert order(task, torch.Generator().manual_seed(0)) == first


def test_metrics_are_of_the_validation_split_in_the_unit_of_the_target(task, molecules):
    model = model_of(task)
    found = task.evaluate(model)
    prediction = predict(model, task.store, torch.from_numpy(molecules.split.validation))
    target = torch.from_numpy(molecules.graphs.targets[molecules.split.validation])
    errors = (prediction - target).numpy()
    assert set(found) == {f"validation/{name}" for name in ("loss", "mse", "mae", "r2")}
    assert found["validation/mse"] == pytest.approx(np.mean(errors**2), rel=1e-12)
    assert found["validation/mae"] == pytest.approx(mae(prediction, target), rel=1e-12)
    assert found["validation/r2"] == pytest.approx(
        1 - np.mean(errors**2) / target.numpy().var(), rel=1e-12
    )
    assert found["validation/r2"] == r2(prediction, target)


def test_the_test_split_is_never_looked_at(molecules):
    """Not a number in every test molecule's target and positions changes nothing."""
    graphs, test = molecules.graphs, molecules.split.test
    positions, values = graphs.positions.copy(), graphs.targets.copy()
    values[test] = np.nan
    for graph in test:
        positions[slice(*graphs.node_offsets[graph : graph + 2])] = np.nan
    spoilt = replace(molecules, graphs=replace(graphs, positions=positions, targets=values))
    found, expected = (
        [
            {**epoch.metrics, "train/seconds": 0}
            for epoch in fit(MoleculeTask(data, SMALL, CPU), SMALL, CPU)
        ]
        for data in (spoilt, molecules)
    )
    assert found == expected


def test_the_scale_is_that_of_the_train_split_alone(molecules):
    values = molecules.graphs.targets[molecules.split.train]
    task = MoleculeTask(molecules, SMALL, CPU)
    assert task.scale.mean == pytest.approx(values.mean(), rel=1e-12)
    assert task.scale.std == pytest.approx(values.std(), rel=1e-12)
    assert task.scale.std != pytest.approx(molecules.graphs.targets.std(), rel=1e-3)


def test_the_training_loss_is_the_squared_error_over_the_variance_of_the_train_split(
    task, molecules
):
    model = model_of(task)
    batch = next(iter(task.training_batches(nn.Identity(), torch.Generator().manual_seed(0), 1)))
    variance = molecules.graphs.targets[molecules.split.train].var()
    squared = (model(batch) - batch.targets).square().mean().detach()
    loss = task.loss(model, batch).detach()
    assert float(loss) == pytest.approx(float(squared) / variance, rel=1e-5)  # float32
    assert task.evaluate(model)["validation/loss"] == pytest.approx(
        task.evaluate(model)["validation/mse"] / variance, rel=1e-12
    )


def test_without_standardising_the_loss_is_the_squared_error_itself(molecules):
    task = MoleculeTask(molecules, replace(SMALL, standardize=False), CPU)
    model = model_of(task)
    batch = next(iter(task.training_batches(nn.Identity(), torch.Generator().manual_seed(0), 1)))
    expected = (model(batch) - batch.targets).square().mean()
    torch.testing.assert_close(task.loss(model, batch), expected)
    metrics = task.evaluate(model)
    assert metrics["validation/loss"] == metrics["validation/mse"]


def test_a_fresh_model_with_the_mean_head_predicts_about_the_mean(molecules):
    """Standardised, the network's own output of some 0.1 is a tenth of a deviation."""
    task = MoleculeTask(molecules, replace(SMALL, head="mean"), CPU)
    prediction = predict(model_of(task), task.store, task.validation.numbers)
    values = molecules.graphs.targets[molecules.split.train]
    assert abs(float(prediction.mean()) - values.mean()) < values.std()


def test_predictions_keep_the_order_that_was_asked_for(task):
    model = model_of(task)
    whole = predict(model, task.store, torch.arange(120))
    backwards = predict(model, task.store, torch.arange(119, -1, -1))
    assert whole.dtype == torch.float64 and whole.shape == (120,)
    # Sums in another order, of numbers of some Debye in 32 bits.
    torch.testing.assert_close(backwards.flip(0), whole, rtol=1e-5, atol=1e-5)
    assert whole.std() > 1e-3


@pytest.mark.parametrize("size", [1, 7, 120])
def test_the_evaluation_batch_does_not_change_the_prediction(task, size, monkeypatch):
    model = model_of(task)
    expected = predict(model, task.store, torch.arange(120))
    monkeypatch.setattr(module, "EVALUATION_BATCH", size)
    found = predict(model, task.store, torch.arange(120))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # as above


def test_predicting_keeps_no_graph_of_gradients(task):
    assert not predict(model_of(task), task.store, torch.arange(3)).requires_grad


def test_edges_are_bonds_or_all_pairs_within_the_cutoff(molecules):
    chosen = torch.arange(20)
    for config, cutoff in ((replace(SMALL, edges="bonds"), None), (SMALL, 4.0)):
        found = on_the_cpu(MoleculeTask(molecules, config, CPU).store.select(chosen))
        expected = GraphStore(molecules.graphs, CPU, cutoff).select(chosen)
        assert torch.equal(found.edge_index, expected.edge_index)
    near = on_the_cpu(
        MoleculeTask(molecules, replace(SMALL, cutoff=2.5), CPU).store.select(chosen)
    )
    assert near.edge_index.shape[1] < expected.edge_index.shape[1]


def test_a_constant_target_is_refused_before_the_fit(molecules):
    constant = replace(molecules.graphs, targets=np.full(120, 0.1))
    with pytest.raises(InputError, match="constant"):
        MoleculeTask(replace(molecules, graphs=constant), SMALL, CPU)


def test_a_task_of_part_of_the_molecules_needs_no_other(molecules):
    """The places of the split count, not the number of graphs."""
    split = Split(np.arange(40, 48), np.arange(5), np.arange(50, 52))
    task = MoleculeTask(replace(molecules, split=split), replace(SMALL, batch_size=3), CPU)
    seen = order(task, torch.Generator().manual_seed(0))
    assert sorted(seen) == sorted(targets(molecules, split.train))


def test_trials_of_one_cutoff_share_the_store_of_a_process(molecules):
    problem, context = MoleculeProblem(molecules), Context(CPU, 1)

    def store(**changes) -> Store:
        task = problem.learner(replace(SMALL, **changes), Searched(0), context).task
        assert isinstance(task, MoleculeTask)
        return task.store

    first = store()
    assert isinstance(first, KeptStore)
    assert store(width=16) is first
    other = store(cutoff=3.0)
    assert other is not first and other.cutoff == 3.0
    assert not isinstance(store(edges="bonds"), KeptStore)


def test_a_pickled_problem_leaves_the_store_behind(molecules):
    problem = MoleculeProblem(molecules)
    size = len(pickle.dumps(problem))
    problem.learner(SMALL, Searched(0), Context(CPU, 1))
    assert problem.last is not None
    assert len(pickle.dumps(problem)) == size
    assert pickle.loads(pickle.dumps(problem)).last is None


def test_a_fit_is_the_same_whether_pairs_are_kept_or_found_anew(molecules):
    """To the bit: what is kept is what would be computed."""
    anew = GraphStore(molecules.graphs, CPU, SMALL.pair_cutoff)
    kept, other = (
        [epoch.metrics["train/loss"] for epoch in fit(task, SMALL, CPU)]
        for task in (
            MoleculeTask(molecules, SMALL, CPU),
            MoleculeTask(molecules, SMALL, CPU, anew),
        )
    )
    assert kept == other
