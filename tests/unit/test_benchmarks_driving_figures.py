"""Figures and tables of docs/results-driving.md; and that the document is true."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks import document, driving_figures
from benchmarks.document import fill
from benchmarks.driving_figures import DOCUMENT, TABLES, TAKEN, ablations, figure_of_ablations
from benchmarks.driving_results import Row, read_rows
from trainables.models.world_model import WorldModelConfig, homework


def row(experiment: str, config: WorldModelConfig, free_mean: float = 0.5) -> Row:
    return Row(
        experiment=experiment,
        split="random",
        data="digest",
        core=config.core,
        decoder=config.decoder,
        seed=config.seed,
        epochs=config.epochs,
        parameters=1000,
        validation_skill=0.5,
        validation_one_step=0.3,
        one_step=0.25,
        one_step_mse=2e-4,
        free_1=0.4,
        free_10=0.31,
        free_30=0.32,
        free_50=0.33,
        free_100=0.34,
        free_149=0.35,
        free_mean=free_mean,
        free_mean_of_climatology=0.8,
        below_both=120,
        ssim=0.9,
        seconds=90.0,
        device="cpu",
        config=json.dumps(asdict(config), sort_keys=True),
    )


DEFAULT = WorldModelConfig()
ROWS = [
    *(row("presets", WorldModelConfig(**homework(core)), 0.9) for core in ("builtin", "scratch")),  # pyright: ignore[reportArgumentType]
    row("best", replace(DEFAULT, noise=0.0123, seed=1), 0.4),
    row("best", replace(DEFAULT, noise=0.0123, seed=2), 0.5),
    row("both", replace(DEFAULT, seed=1, epochs=100), 0.3),
    row("one-step", replace(DEFAULT, free_steps=0), 1.5),
    row("ablations", replace(DEFAULT, seed=1), 0.6),
    row("ablations", replace(DEFAULT, seed=2), 0.4),
    row("ablations", replace(DEFAULT, decoder="linear", seed=1), 0.7),
    row("ablations", replace(DEFAULT, hidden=256, seed=1), 0.45),
]


def test_the_table_of_models_has_a_line_for_each_and_means_over_seeds() -> None:
    lines = driving_figures.model_table(ROWS).splitlines()[2:]
    names = [line.split("|")[1].strip() for line in lines]
    assert names == [
        "homework, torch.nn.LSTM, 20 epochs",
        "homework, LSTM from scratch, 20 epochs",
        "one-step configuration, 20 epochs",
        "the default, 100 epochs",
        "study's champion, 20 epochs",
    ]
    champion = [cell.strip() for cell in lines[-1].split("|")[2:-1]]
    assert champion == [
        "0.250 ± 0.000",
        *(f"{share} ± 0.00" for share in ("0.31", "0.32", "0.33", "0.34")),
        "0.45 ± 0.07",
        "0.80 ± 0.00",
        "120 ± 0",
        "0.900 ± 0.000",
        "1.5",
    ]


def test_changes_are_told_and_ordered_by_what_they_reach() -> None:
    assert [name for name, _ in ablations(ROWS)] == ["hidden 256", "the default", "decoder linear"]
    assert "noise 0.0123" in driving_figures.champion_table(ROWS)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_fills_its_place(name: str) -> None:
    filled = fill(f"before\n<!-- table {name} -->\nold\n<!-- end -->\nafter\n", TABLES, ROWS)
    assert "old" not in filled and filled.count("|") > 6
    assert fill(filled, TABLES, ROWS) == filled


def test_the_figure_of_changes_is_drawn(tmp_path: Path) -> None:
    path = document.draw(
        tmp_path / "changes.png", (6.6, 4.2), lambda figure: figure_of_ablations(ROWS, figure)
    )
    assert path.stat().st_size > 10_000


def test_a_report_that_lacks_figures_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / TAKEN[0]).touch()
    assert driving_figures.main(["--report", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "error_against_horizon.png" in said and TAKEN[0] not in said


def test_the_document_says_what_the_rows_say() -> None:
    text = DOCUMENT.read_text()
    assert fill(text, TABLES, read_rows()) == text
    for picture in re.findall(r"!\[.+?\]\((.+?)\)", text):
        assert (DOCUMENT.parent / picture).is_file(), picture
