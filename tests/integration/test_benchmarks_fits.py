"""Fits in processes of their own, as the tables of docs/ are made."""

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks import fits, gnn_fits
from benchmarks.fits import Fit
from benchmarks.gnn_results import read_rows, table
from datasets.sources import MoleculeOptions, open_molecules
from trainables.fit import fit
from trainables.metrics import mae, r2
from trainables.models.gnn import GNNConfig
from trainables.molecules import MoleculeTask, predict

CPU = torch.device("cpu")
TINY = GNNConfig(width=8, depth=2, epochs=2, batch_size=32)


def test_a_fit_becomes_one_row_with_the_scores_of_its_last_epoch(
    molecule_rows: pa.Table, tmp_path: Path
) -> None:
    molecules, data_dir, file = tmp_path / "few.parquet", tmp_path / "data", tmp_path / "table.csv"
    pq.write_table(molecule_rows, molecules)
    score = partial(gnn_fits.run, dataset=str(molecules), cache_folder=data_dir, threads=1)

    def make() -> None:
        fits.run_all([Fit("toy", "random", TINY)], score, 1, table(file))

    make()
    (row,) = read_rows(file)
    options = MoleculeOptions(dataset=str(molecules), split="random")
    data = open_molecules(options, gnn_fits.SPLIT_SEED, data_dir)
    task = MoleculeTask(data, TINY, CPU)
    model = list(fit(task, TINY, CPU))[-1].model
    test = torch.from_numpy(data.split.test)
    prediction, target = predict(model, task.store, test), task.store.targets[test]
    assert row.test_r2 == pytest.approx(r2(prediction, target), abs=1e-5)
    assert row.test_mae == pytest.approx(mae(prediction, target), abs=1e-5)
    assert (row.experiment, row.family, row.train, row.device) == ("toy", "gcn", 96, "cpu")
    assert row.configuration == TINY

    make()
    assert read_rows(file) == [row]  # the seconds too: it was not made again
