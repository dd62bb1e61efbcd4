"""Pairs kept from one batch to the next are those that are found anew in each."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from family_contracts import with_made_up_prior
from odd_molecules import with_odd_ones

from datasets.graphs import GraphBatch, Graphs, GraphStore, KeptPairs
from trainables.models import kept_pairs
from trainables.models.kept_pairs import KeptStore, keeping_store
from trainables.models.neighbours import Neighbours
from trainables.models.pair_features import PairFeatures

CPU = torch.device("cpu")
CHOSEN = torch.tensor([119, 3, 121, 120, 0, 3])


@pytest.fixture
def graphs(molecules) -> Graphs:
    return with_odd_ones(with_made_up_prior(molecules).graphs)


def kept_of(batch: GraphBatch) -> KeptPairs:
    assert batch.kept is not None
    return batch.kept


@pytest.mark.parametrize("cutoff", [0.1, 1.3, 4.0, 99.0])
@pytest.mark.parametrize("together", [7, 64])
def test_a_batch_is_the_one_whose_pairs_are_found_anew(cutoff, together, graphs, monkeypatch):
    monkeypatch.setattr(kept_pairs, "TOGETHER", together)
    found = keeping_store(graphs, cutoff).select(CHOSEN)
    expected = GraphStore(graphs, CPU, cutoff).select(CHOSEN)
    for name in {field.name for field in fields(GraphBatch)} - {"kept"}:
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype, name
        assert torch.equal(one, other), name


@pytest.mark.parametrize("cutoff", [0.1, 1.3, 4.0, 99.0])
def test_what_is_kept_is_what_would_be_computed(cutoff, graphs):
    kept = kept_of(keeping_store(graphs, cutoff).select(CHOSEN))
    near = Neighbours.of(GraphStore(graphs, CPU, cutoff).select(CHOSEN))
    vectors = PairFeatures(cutoff)(near)
    assert torch.equal(kept.offsets, near.offsets)
    assert torch.equal(kept.pair, near.pair)
    assert torch.equal(kept.vectors, vectors)
    assert torch.equal(kept.moments, near.moments(vectors))


def test_what_is_kept_is_used_by_a_model_of_the_same_cutoff_only(graphs):
    near = Neighbours.of(keeping_store(graphs, 3.0).select(CHOSEN))
    kept = kept_of(near.batch)
    vectors = PairFeatures(3.0)(near)
    assert vectors is kept.vectors
    assert near.moments(vectors) is kept.moments
    others = PairFeatures(3.5)(near)
    assert not torch.equal(others, vectors)
    assert not torch.equal(near.moments(others), kept.moments)


def test_a_batch_in_64_bits_uses_nothing_that_was_kept_in_32(graphs):
    batch = keeping_store(graphs, 3.0).select(CHOSEN)
    near = Neighbours.of(replace(batch, positions=batch.positions.double()))
    assert near.kept is None
    vectors = PairFeatures(3.0).double()(near)
    assert vectors.dtype == near.moments(vectors).dtype == torch.float64
    torch.testing.assert_close(vectors.float(), kept_of(batch).vectors)


def test_pairs_that_take_too_much_memory_are_not_kept(graphs, monkeypatch):
    store = keeping_store(graphs, 3.0)
    assert isinstance(store, KeptStore)
    kept = ("vectors", "moments", "first_edge", "source", "target", "reverse", "pair", "types")
    taken = sum(getattr(store, name).nbytes for name in kept)
    monkeypatch.setattr(kept_pairs, "MOST_BYTES", taken)
    assert isinstance(keeping_store(graphs, 3.0), KeptStore)
    monkeypatch.setattr(kept_pairs, "MOST_BYTES", taken - 1)
    store = keeping_store(graphs, 3.0)
    assert not isinstance(store, KeptStore)
    assert store.select(CHOSEN).kept is None


def test_a_batch_shares_no_memory_with_what_is_kept(graphs):
    store = keeping_store(graphs, 3.0)
    assert isinstance(store, KeptStore)
    every = store.select(torch.arange(len(graphs)))
    for tensor in (every.positions, kept_of(every).vectors, kept_of(every).moments):
        for array in (store.graphs.positions, store.vectors, store.moments):
            assert not np.shares_memory(tensor.numpy(), array)
