"""A study with a prior from end to end: its table, its predictions of new molecules, and its
refusal of labels that are the prior's own."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from analysis import predict, predictions
from benchmarks import gnn_beyond
from datasets import sources, splits
from datasets.errors import InputError
from datasets.molecules import read_table, write_table
from engine.main import main
from record.folder import StudyFolder
from record.reading import recorded_study
from studies import gnn_sweep

NAME = "corrected"

ARGUMENTS = ["--local", "--prior", "gfn2", "--family", "gcn", "--width", "16", "--epochs", "3"]

HOMEWORK = (70, 15, 15)
"""Stands for the number of molecules in each part of the homework's split."""

ENDING = ["--sampler", "grid", "--finalists", "1", "--seeds", "2", "--name", NAME]


def with_other_labels(rows: pa.Table) -> pa.Table:
    """Molecules whose dipole moments are about a fifth below those of GFN2-xTB."""
    labels = 0.8 * rows.column("mu").to_numpy() + 0.05
    place = rows.schema.get_field_index("mu")
    return rows.set_column(place, rows.schema.field("mu"), pa.array(labels))


@pytest.fixture(scope="module")
def runs(molecule_rows: pa.Table, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trains a study with a prior; returns its runs folder."""
    folder = tmp_path_factory.mktemp("prior")
    write_table(with_other_labels(molecule_rows), folder / "others.parquet")
    where = ["--dataset", str(folder / "others.parquet"), "--split", "homework"]
    where += ["--data-dir", str(cache), "--runs-dir", str(folder / "runs")]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for module in (splits, sources):
            patch.setattr(module, "HOMEWORK", HOMEWORK)
        assert main(gnn_sweep.STUDY, [*ARGUMENTS, *ENDING, *where]) == 0
    return folder / "runs"


def test_the_prior_alone_and_a_fitted_line_stand_in_the_table(runs: Path) -> None:
    text = (runs / NAME / "report" / "r2_table.md").read_text()
    first = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert first[2:] == ["GCN", predictions.PRIOR, predictions.LINE]
    table = pd.read_csv(runs / NAME / "report" / "r2_table.csv")
    assert table["family"].tolist() == ["gcn", predictions.PRIOR, predictions.LINE]
    _, prior, line = table["r2"].tolist()
    assert line > 0.99 > prior
    finals = (runs / NAME / "report" / "finals.md").read_text()
    assert f"| {predictions.PRIOR} " in finals and f"| {predictions.LINE} " in finals
    study = recorded_study(StudyFolder(runs, NAME), f"sqlite:///{runs / 'mlflow.db'}")
    assert study.champion is not None
    made = predictions.of_trial(study, study.finalists[study.champion.number][0])
    assert made is not None
    np.testing.assert_allclose(made.prior, (made.target - 0.05) / 0.8, atol=0.02)
    np.testing.assert_allclose(made.line, made.target, atol=0.02)  # the labels are on a line


def test_what_it_never_saw_is_scored_beside_the_prior_alone(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gnn_beyond, "HOMEWORK", HOMEWORK)
    file = runs.parent / "others.parquet"
    given = ["--molecules", str(file), "--runs-dir", str(runs), "--file", str(tmp_path / "b.csv")]
    gnn_beyond.main([NAME, *given])
    rows = gnn_beyond.recorded(tmp_path / "b.csv")
    every = {row.model: row for row in rows if row.group == gnn_beyond.ALL and row.seed in (0, 1)}
    assert [row.molecules for row in every.values()] == [20] * 3
    assert every[predictions.LINE].mae < 0.02 < every[predictions.PRIOR].mae
    test = [row for row in rows if row.group == gnn_beyond.TEST]
    assert sorted((row.seed, row.molecules) for row in test) == [
        (0, 15),
        (0, 15),
        (1, 15),
        (2, 15),
    ]
    sizes = {row.group: row.molecules for row in rows if row.group.endswith("heavy atoms")}
    assert sum(sizes.values()) == 20
    written = (tmp_path / "b.csv").read_bytes()
    gnn_beyond.main([NAME, *given])
    assert (tmp_path / "b.csv").read_bytes() == written
    capsys.readouterr()
    with pytest.raises(InputError, match="learned from other rows than the first 100"):
        shuffled = tmp_path / "shuffled.parquet"
        write_table(read_table(file).take(np.arange(120)[::-1]), shuffled)
        gnn_beyond.main([NAME, "--molecules", str(shuffled), *given[2:]])


def test_new_molecules_are_predicted_with_their_own_prior(
    runs: Path, cache: Path, molecule_rows: pa.Table, tmp_path: Path
) -> None:
    output, smiles = tmp_path / "p.csv", molecule_rows.column("smiles").to_pylist()[:20]
    where = ["--runs-dir", str(runs), "--data-dir", str(cache)]
    assert predict.main([NAME, "--smiles", *smiles, "--output", str(output), *where]) == 0
    found, expected = pd.read_csv(output)["mu (D)"], molecule_rows.column("mu").to_numpy()[:20]
    assert np.corrcoef(found, expected)[0, 1] > 0.9  # three epochs learn little but the prior


def test_without_tblite_a_prediction_is_one_line(
    runs: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("tblite.interface", "tblite.exceptions"):
        monkeypatch.setitem(sys.modules, module, None)
    where = ["--runs-dir", str(runs), "--data-dir", str(cache)]
    assert predict.main([NAME, "--smiles", "CCO", *where]) == 2
    said = capsys.readouterr()
    assert not said.out and len(said.err.splitlines()) == 1
    assert "GFN2-xTB needs tblite" in said.err and "pip install tblite" in said.err


def test_labels_of_the_prior_itself_are_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--prior", "gfn2", "--dataset", "gfn2", "--runs-dir", str(tmp_path / "runs")]
    assert main(gnn_sweep.STUDY, [*given, "--data-dir", str(tmp_path / "data")]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "whose labels are by that method" in said
    assert not list(tmp_path.iterdir())


def test_a_file_with_the_labels_of_the_prior_is_refused(
    molecule_rows: pa.Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(molecule_rows, tmp_path / "copied.parquet")
    given = [*ARGUMENTS, "--dataset", str(tmp_path / "copied.parquet")]
    where = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
    assert main(gnn_sweep.STUDY, [*given, *where]) == 2
    assert "would tell the model what it is to predict" in capsys.readouterr().err
