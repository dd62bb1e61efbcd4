"""The fits and figures behind docs/results-gnn.md, at toy size; and that the document is true."""

import argparse
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from family_contracts import KEYS
from recorded_study import study_of, trial

from benchmarks import fits, gnn_figures, gnn_fits
from benchmarks.document import fill
from benchmarks.fits import Fit
from benchmarks.gnn_figures import DOCUMENT, FIGURES, TABLES, changes, draw
from benchmarks.gnn_fits import best_of, planned
from benchmarks.gnn_results import Row, read_rows
from benchmarks.gnn_results import table as table_of
from trainables.fit import fit
from trainables.models.gnn import GNNConfig

CPU = torch.device("cpu")
TINY = GNNConfig(width=8, depth=2, epochs=2, batch_size=32)


@pytest.fixture
def typed(molecule_rows: pa.Table, tmp_path: Path) -> argparse.Namespace:
    pq.write_table(molecule_rows, tmp_path / "few.parquet")
    return argparse.Namespace(
        experiment="toy",
        dataset=str(tmp_path / "few.parquet"),
        data_dir=tmp_path / "data",
        jobs=1,
        threads=1,
        seeds=2,
        study=None,
        runs_dir=tmp_path,
    )


@pytest.mark.parametrize(("done", "then"), [(1, [2]), (2, [2])])
def test_an_interrupted_fit_goes_on_and_one_that_was_not_yet_scored_does_its_last_epoch_again(
    done: int, then: list[int], typed, tmp_path, monkeypatch
) -> None:
    job = Fit("toy", "random", TINY)
    whole = gnn_fits.run(job, typed.dataset, tmp_path / "whole", threads=1)

    class Killed(BaseException):
        """As Ctrl-C, which nothing between catches."""

    def killed_after_some(*args, **named):
        yield from islice(fit(*args, **named), done)
        raise Killed

    monkeypatch.setattr(fits, "fit", killed_after_some)
    with pytest.raises(Killed):
        gnn_fits.run(job, typed.dataset, tmp_path / "cut", threads=1)

    trained = []

    def noted(*args, **named):
        for epoch in fit(*args, **named):
            trained.append(epoch.number)
            yield epoch

    monkeypatch.setattr(fits, "fit", noted)
    continued = gnn_fits.run(job, typed.dataset, tmp_path / "cut", threads=1)
    assert trained == then
    assert replace(continued, seconds=whole.seconds) == whole
    assert not list((tmp_path / "cut" / "fits").iterdir())


def rows_of(experiment: str, seeds: int = 1) -> list[Row]:
    """Made-up results."""
    rows = []
    for number, family in enumerate(KEYS):
        for seed in range(seeds):
            config = GNNConfig(family=family, depth=2 + number, seed=seed)
            job = Fit(experiment, "homework", config)
            rows.append(
                Row(
                    experiment=experiment,
                    split="homework",
                    family=family,
                    seed=seed,
                    train=1_000 * (number + 1),
                    depth=config.depth,
                    epochs=15,
                    parameters=12_345,
                    validation_r2=0.9,
                    validation_mae=0.2,
                    test_r2=0.9 + 0.01 * number + 0.001 * seed,
                    test_mse=0.1,
                    test_mae=0.3 - 0.02 * number,
                    seconds=1.5,
                    device="cpu",
                    config=job.key[2],
                )
            )
    return rows


def test_rows_survive_their_file(tmp_path) -> None:
    rows = rows_of("best", seeds=2)
    table_of(tmp_path / "folder" / "table.csv").write(reversed(rows))
    assert sorted(read_rows(tmp_path / "folder" / "table.csv"), key=repr) == sorted(rows, key=repr)
    assert read_rows(tmp_path / "none.csv") == []


def test_the_best_configurations_are_read_back_as_they_were_the_best_family_first() -> None:
    gin = GNNConfig(family="gin", learning_rate=1.25e-3, standardize=False, dropout=0.1)
    gcn = GNNConfig(family="gcn", width=99)
    trials = (
        trial(0, GNNConfig(family="gcn"), 0.8),
        trial(1, gin, 0.95),
        trial(2, gcn, 0.9),
        trial(3, GNNConfig(family="gin", width=77), 0.99, "pruned"),
    )
    best = best_of(study_of(trials))
    assert list(best.items()) == [("gin", gin), ("gcn", gcn)]


def test_fits_use_seeds_that_the_search_did_not(typed) -> None:
    typed.experiment = "presets"
    jobs = planned(typed)
    assert {(job.config.family, job.config.seed) for job in jobs} == {
        (family, seed) for family in KEYS for seed in (1, 2)
    }
    assert all(job.config.raw_positions for job in jobs)


def test_the_best_of_no_study_are_asked_for_in_one_line(capsys) -> None:
    assert gnn_fits.main(["best", "--dataset", "none.parquet"]) == 2
    assert (
        capsys.readouterr().err == "error: best needs --study NAME: whose best configurations?\n"
    )


def test_what_builds_on_the_best_takes_the_one_that_validates_best_over_its_seeds(
    typed, tmp_path
) -> None:
    rows = [
        replace(row, validation_r2=r2)
        for row, r2 in zip(
            [row for row in rows_of("best", seeds=2) if row.family in ("gin", "gat")],
            [0.90, 0.92, 0.94, 0.89],  # gat 0.91 on average, gin 0.915
            strict=True,
        )
    ]
    typed.results = tmp_path / "gnn.csv"
    table_of(typed.results).write(rows)
    found = {}
    for typed.experiment in ("long", "sizes", "full"):
        found[typed.experiment] = planned(typed)
        assert {job.config.family for job in found[typed.experiment]} == {"gin"}
    assert [(job.split, job.config.seed, job.config.epochs) for job in found["long"]] == [
        ("homework", 1, 60),
        ("homework", 2, 60),
    ]
    assert [(job.split, job.config.seed, job.config.epochs) for job in found["full"]] == [
        ("random:100000,10000,10000", 1, 60)
    ]
    steps = {job.split: job.config.epochs for job in found["sizes"]}
    assert steps["random:100000,10000,10000"] == 15
    assert steps["random:2000,10000,10000"] == 8_000 * 64 / 2_000


@pytest.mark.parametrize("experiment", ["long", "sizes", "full"])
def test_what_builds_on_the_best_says_so_where_there_is_none(experiment, capsys, tmp_path) -> None:
    typed = [experiment, "--dataset", "none.parquet", "--results", str(tmp_path / "gnn.csv")]
    assert gnn_fits.main(typed) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "run gnn_fits.py best first" in line


def test_a_table_tells_mean_and_spread_over_seeds() -> None:
    table = gnn_figures.family_table(rows_of("best", seeds=2) + rows_of("presets"))
    gat = next(line for line in table.splitlines() if line.startswith("| GAT"))
    cells = [cell.strip() for cell in gat.strip("|").split("|")]
    assert cells == ["GAT", "0.428", "0.910", "0.9105 ± 0.0007", "0.2800 ± 0.0000", "12,345"]


def test_a_configuration_is_told_by_what_differs_from_the_default() -> None:
    config = GNNConfig(family="gat", seed=7, heads=3, learning_rate=1.2345e-3)
    assert changes(config) == "learning_rate 0.00123, heads 3"
    assert changes(replace(GNNConfig(family="gin"), seed=1)) == "the default"


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_where_there_are_rows(name, tmp_path) -> None:
    experiment, _ = FIGURES[name]
    rows = rows_of(experiment, seeds=2) + rows_of("best") + rows_of("full")
    path = draw(name, rows, tmp_path)
    assert path is not None and path.stat().st_size > 10_000
    assert draw(name, [row for row in rows if row.experiment == "toy"], tmp_path) is None


@pytest.mark.parametrize("name", TABLES)
def test_every_table_fills_its_place(name) -> None:
    rows = [
        row
        for each in ("best", "presets", "ablations", "sizes", "full", "depths", "long")
        for row in rows_of(each)
    ]
    text = f"before\n<!-- table {name} -->\nold\n<!-- end -->\nafter\n"
    filled = fill(text, TABLES, rows)
    assert "old" not in filled and filled.count("|") > 10
    assert fill(filled, TABLES, rows) == filled


def test_the_document_says_what_the_rows_say() -> None:
    text = DOCUMENT.read_text()
    assert fill(text, TABLES, read_rows()) == text
    for picture in re.findall(r"!\[.+?\]\((.+?)\)", text):
        assert (DOCUMENT.parent / picture).is_file(), picture
