"""Figures and tables of docs/results-gnn.md; and that the page is true."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from family_contracts import KEYS

from benchmarks import gnn_figures
from benchmarks.gnn_figures import PAGE, change
from benchmarks.gnn_results import TABLE, Row, champion, parameters
from datasets.errors import InputError
from trainables.models.gnn import GNNConfig


def row(experiment: str, config: GNNConfig, test_r2: float = 0.9) -> Row:
    return Row(
        experiment=experiment,
        split="homework",
        family=config.family,
        seed=config.seed,
        train=1_000,
        depth=config.depth,
        epochs=15,
        parameters=12_345,
        validation_r2=0.9,
        validation_mae=0.2,
        test_r2=test_r2,
        test_mse=0.1,
        test_mae=0.3,
        seconds=1.5,
        device="cpu",
        config=json.dumps(asdict(config), sort_keys=True),
    )


def rows_of(experiment: str, seeds: int = 1) -> list[Row]:
    """Made-up results of every family; each is better than the one before it."""
    return [
        replace(
            row(experiment, GNNConfig(family=family, depth=2 + number, seed=seed)),
            train=1_000 * (number + 1),
            test_r2=0.9 + 0.01 * number + 0.001 * seed,
            test_mae=0.3 - 0.02 * number,
        )
        for number, family in enumerate(KEYS)
        for seed in range(seeds)
    ]


EVERY = [row for experiment in TABLE.experiments for row in rows_of(experiment)]


def test_the_file_of_the_rows_is_as_it_is_written(tmp_path: Path) -> None:
    rows = TABLE.read()
    TABLE.write(rows, tmp_path / "folder" / "table.csv")
    assert (tmp_path / "folder" / "table.csv").read_bytes() == TABLE.file.read_bytes()
    assert TABLE.read(tmp_path / "folder" / "table.csv") == rows


def test_the_weights_of_a_configuration_are_counted_as_those_that_were_trained() -> None:
    assert {row.config: row.parameters for row in TABLE.read()} == {
        row.config: parameters(row.configuration) for row in TABLE.read()
    }


def test_the_champion_validates_best_over_its_seeds() -> None:
    rows = [row for row in rows_of("best", seeds=2) if row.family in ("gat", "gin")]
    validation = (0.90, 0.92, 0.94, 0.89)  # gat 0.91 on average, gin 0.915
    rows = [replace(row, validation_r2=r2) for row, r2 in zip(rows, validation, strict=True)]
    found = champion([*rows, replace(rows[0], experiment="sizes", validation_r2=0.99)])
    assert (found.family, found.seed) == ("gin", 0)
    with pytest.raises(InputError, match=r"rows\.py gnn best STUDY"):
        champion(rows_of("presets"))


def test_a_table_tells_mean_and_spread_over_seeds() -> None:
    table = gnn_figures.family_table(rows_of("best", seeds=2) + rows_of("presets"))
    gat = next(line for line in table.splitlines() if line.startswith("| GAT"))
    cells = [cell.strip() for cell in gat.strip("|").split("|")]
    assert cells == ["GAT", "0.428", "0.910", "0.9105 ± 0.0007", "0.2800 ± 0.0000", "12,345"]


def test_a_family_without_rows_has_dashes() -> None:
    table = gnn_figures.family_table([row("presets", GNNConfig(family="gcn"))])
    gat = next(line for line in table.splitlines() if line.startswith("| GAT"))
    assert [cell.strip() for cell in gat.strip("|").split("|")] == ["GAT", "0.428", *"----"]


def test_changes_are_told_with_the_best_first() -> None:
    rows = [
        row("ablations", GNNConfig(seed=1), 0.95),
        row("ablations", GNNConfig(width=128, seed=1), 0.96),
        row("ablations", GNNConfig(seed=2), 0.97),
        row("ablations", GNNConfig(head="mean", seed=1), 0.99),
    ]
    lines = gnn_figures.ablation_table(rows).splitlines()[2:]
    assert [line.split("|")[2].strip() for line in lines] == [
        *("head mean", "the default", "width 128")
    ]
    assert "0.9600 ± 0.0141" in lines[1]


def test_a_configuration_is_told_by_what_differs_from_the_default() -> None:
    config = GNNConfig(family="gat", seed=7, heads=3, learning_rate=1.2345e-3)
    assert change(row("best", config)) == "learning_rate 0.00123, heads 3"
    assert change(row("best", GNNConfig(family="gin", seed=1))) == "the default"


@pytest.mark.parametrize("name", PAGE.drawings)
def test_a_figure_is_drawn_of_rows(name: str, tmp_path: Path) -> None:
    path = PAGE.drawings[name].draw(tmp_path / "figure.png", EVERY)
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize("name", PAGE.tables)
def test_every_table_fills_its_place(name: str) -> None:
    filled = PAGE.filled(f"before\n<!-- table {name} -->\nold\n<!-- end -->\nafter\n", EVERY)
    assert "old" not in filled and filled.count("|") > 10
    assert PAGE.filled(filled, EVERY) == filled


@pytest.mark.parametrize("name", PAGE.tables)
def test_a_table_without_rows_has_none(name: str) -> None:
    filled = PAGE.filled(f"<!-- table {name} -->\n<!-- end -->\n", [])
    assert filled.startswith(f"<!-- table {name} -->\n\n| ")


def test_a_page_is_made_of_the_rows_of_its_file(tmp_path: Path) -> None:
    TABLE.write(rows_of("depths"), tmp_path / "gnn.csv")
    (tmp_path / "page.md").write_text("<!-- table depths -->\nold\n<!-- end -->\n")
    results = replace(TABLE, file=tmp_path / "gnn.csv")
    page = replace(PAGE, file=tmp_path / "page.md", results=results)
    made = [*page.make(images=tmp_path)]
    assert [path.name for path in made] == ["gnn_error_against_depth.png", "page.md"]
    assert "| GAT       | -      | 0.9100 |" in (tmp_path / "page.md").read_text()


def test_the_page_says_what_the_rows_say() -> None:
    text = PAGE.file.read_text()
    assert PAGE.filled(text, TABLE.read()) == text
    for picture in re.findall(r"!\[.+?\]\((.+?)\)", text):
        assert (PAGE.file.parent / picture).is_file(), picture
