"""Figures and tables of docs/results-driving.md; and that the page is true."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks import driving_figures, figures
from benchmarks.driving_figures import PAGE
from benchmarks.driving_results import TABLE, Row
from benchmarks.figures import TAKEN
from datasets.errors import InputError
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


DEFAULT = WorldModelConfig(epochs=4)
ROWS = [
    *(row("presets", replace(DEFAULT, **homework(core)), 0.9) for core in ("builtin", "scratch")),
    row("best", replace(DEFAULT, noise=0.0123, seed=1), 0.4),
    row("best", replace(DEFAULT, noise=0.0123, seed=2), 0.5),
]


def test_the_table_of_models_has_a_line_for_each_and_means_over_seeds() -> None:
    lines = driving_figures.model_table(ROWS).splitlines()[2:]
    names = [line.split("|")[1].strip() for line in lines]
    assert names == [
        "homework, torch.nn.LSTM, published",
        "homework, LSTM from scratch, published",
        "homework, torch.nn.LSTM, 4 epochs",
        "homework, LSTM from scratch, 4 epochs",
        "study's champion, 4 epochs",
    ]
    champion = [cell.strip() for cell in lines[-1].split("|")[2:-1]]
    published = [cell.strip() for cell in lines[0].split("|")[2:-1]]
    assert published == ["1.11", *[""] * 10]
    assert champion == [
        "0.200 ± 0.000",
        "0.250 ± 0.000",
        *(f"{share} ± 0.00" for share in ("0.31", "0.32", "0.33", "0.34")),
        "0.45 ± 0.07",
        "0.80 ± 0.00",
        "120 ± 0",
        "0.900 ± 0.000",
        "1.5",
    ]


def test_changes_are_told() -> None:
    assert "noise 0.0123" in driving_figures.champion_table(ROWS)


def test_two_configurations_of_one_name_are_told_apart() -> None:
    rows = [row("best", DEFAULT), row("best", replace(DEFAULT, hidden=256))]
    assert [name for name, _ in driving_figures.models(rows)] == [
        "study's champion, 4 epochs: the default",
        "study's champion, 4 epochs: hidden 256",
    ]


@pytest.mark.parametrize("name", PAGE.tables)
def test_every_table_fills_its_place(name: str) -> None:
    filled = PAGE.filled(f"before\n<!-- table {name} -->\nold\n<!-- end -->\nafter\n", ROWS)
    assert "old" not in filled and filled.count("|") > 6
    assert PAGE.filled(filled, ROWS) == filled


def test_the_figures_of_a_report_are_taken_over(tmp_path: Path) -> None:
    for name in TAKEN:
        (tmp_path / f"{name}.png").write_text(name)
    figures.take(tmp_path, TAKEN[1:], "other", images=tmp_path)
    assert (tmp_path / "other_film_strip.png").read_text() == "film_strip"
    assert not (tmp_path / f"other_{TAKEN[0]}.png").exists()


def test_a_report_that_lacks_figures_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"{TAKEN[0]}.png").touch()
    with pytest.raises(
        InputError, match=r"has no two_aims\.png, error_against_horizon\.png, film_strip\.png:"
    ):
        figures.main(["--report", str(tmp_path)])


def test_asking_for_help_draws_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "PAGES", None)
    with pytest.raises(SystemExit) as end:
        figures.main(["--help"])
    assert end.value.code == 0
    assert "--report PATH" in capsys.readouterr().out


def test_the_page_says_what_the_rows_say() -> None:
    text = PAGE.file.read_text()
    assert PAGE.filled(text, TABLE.read()) == text
    for picture in re.findall(r"!\[.+?\]\((.+?)\)", text):
        assert (PAGE.file.parent / picture).is_file(), picture
