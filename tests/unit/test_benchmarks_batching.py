"""The benchmark of batches, at toy size."""

import re
from pathlib import Path

import pytest
import torch

from benchmarks import batching
from benchmarks.batching import AT, check, compare, main
from benchmarks.rounds import Disagreement
from benchmarks.stock_data import Pairs, as_data
from datasets.graphs import GraphStore
from datasets.sources import MoleculeSet

CPU = torch.device("cpu")
TYPED = ["--device", "cpu", "--rounds", "1", "--sizes", "8", str(AT)]


def test_the_table_has_a_row_for_each_kind_of_edge_and_batch_size(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*TYPED, "--molecules", "120", "--data-dir", str(cache)])
    printed = capsys.readouterr().out
    for kind in ("bonds", "pairs"):
        for size in (8, AT):
            assert re.search(rf"^\| {kind} +\| {size} +\|( [\d.,]+ +\|){{3}}$", printed, re.M)
        assert f"batches of {AT} with {kind}: ratio " in printed
    assert "CPU (" in printed


def test_prepared_graphs_need_no_table_of_molecules(
    molecules: MoleculeSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    molecules.graphs.save(tmp_path / "graphs")
    main([*TYPED, "--graphs", str(tmp_path / "graphs"), "--molecules", "50"])
    assert "50 molecules of graphs, 40 to train on" in capsys.readouterr().out


def test_a_store_that_gives_another_batch_is_not_timed(
    molecules: MoleculeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "as_data", lambda graphs, places: as_data(graphs, places[::-1]))
    with pytest.raises(Disagreement, match=r"differ in the .*: nothing is timed"):
        compare(molecules.graphs, torch.arange(20), None, [4], rounds=1)


def test_the_order_of_the_edges_does_not_matter(molecules: MoleculeSet) -> None:
    places = torch.arange(10)
    data = [Pairs(3.0)(molecule) for molecule in as_data(molecules.graphs, places.tolist())]
    for molecule in data:
        molecule.edge_index = molecule.edge_index.flip(dims=(1,))
        molecule.edge_attr = molecule.edge_attr.flip(dims=(0,))
    check(GraphStore(molecules.graphs, CPU, 3.0), data, places, 10)


def test_the_cutoff_of_the_pairs_matters(molecules: MoleculeSet) -> None:
    places = torch.arange(10)
    data = [Pairs(3.0)(molecule) for molecule in as_data(molecules.graphs, places.tolist())]
    with pytest.raises(Disagreement, match="edges"):
        check(GraphStore(molecules.graphs, CPU, 4.0), data, places, 10)
