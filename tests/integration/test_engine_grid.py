"""Whole studies of listed configurations: a grid, and a file of them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_study
import numpy as np
import pandas as pd
import pytest
from asked import Ask, log_file, runs_in_mlflow, searched_in_log
from fake_scorecard import TOSSES, FakeScorecard
from fake_study import FAKE
from refused import refusing

from analysis import report, unit_scores
from engine.main import main
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Baseline, Trial
from studies import doctor, export, replay

GRID = ("--local", "--sampler", "grid", "--ending", "good", "--epochs", "2")
VALUES = ("--level", "0.2", "0.4", "--gradient-clip", "0.5", "1")


def tried(folder: Path) -> list[tuple[float, float]]:
    """Level and clipping of each trial, in the order of their proposal."""
    configs = [trial.config for trial in searched_in_log(folder)]
    return [(config["level"], config["gradient_clip"]) for config in configs]


def test_a_grid_is_run_to_its_end_and_no_further(ask: Ask, tmp_path: Path) -> None:
    assert ask(*GRID, *VALUES, "--trials", "3") == 0
    first = [(0.2, 1.0), (0.2, 0.5), (0.4, 0.5)]
    assert tried(tmp_path) == first, "the default is not among the levels: the first of them is"
    assert ask(*GRID, *VALUES) == 0
    assert tried(tmp_path) == [*first, (0.4, 1.0)]
    assert ask(*GRID, *VALUES, "--trials", "9") == 0
    trials = searched_in_log(tmp_path)
    assert [trial.status for trial in trials] == ["finished"] * 4
    assert [isinstance(trial.role, Baseline) for trial in trials] == [True, False, False, False]
    assert runs_in_mlflow(tmp_path)[3].data.params["level"] == "0.4"
    assert doctor.main(["s", "--runs-dir", str(tmp_path / "runs")]) == 0


def test_another_grid_under_the_same_name_is_refused_with_the_difference_named(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(*GRID, *VALUES, "--trials", "1") == 0
    known = log_file(tmp_path).read_bytes()
    assert ask(*GRID, *VALUES[:2], "0.3", *VALUES[3:]) == 2
    said = capsys.readouterr().err
    assert "--level was 0.2, 0.4, now 0.2, 0.3" in said
    assert "of the listed configurations 2 are new, such as gradient_clip 0.5, level 0.3" in said
    assert ask("--local", "--ending", "good", "--epochs", "2", *VALUES) == 2
    said = capsys.readouterr().err
    assert "sampler was grid, now tpe" in said
    assert "4 are gone" in said
    assert log_file(tmp_path).read_bytes() == known


def test_a_grid_has_finals_a_report_and_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = replace(FAKE, scorecard=FakeScorecard())
    monkeypatch.setattr(fake_study, "STUDY", study, raising=False)
    where = ["--runs-dir", str(tmp_path / "runs")]
    data = ["--data-dir", str(tmp_path / "data")]
    finals = ("--finalists", "1", "--seeds", "2")
    assert main(study, [*GRID, *VALUES, *finals, *where, *data, "--name", "s"]) == 0
    assert "all 4 trials are done" in capsys.readouterr().out
    assert replay.main(["s/3", *where, *data]) == 0
    assert export.main(["s", *where, "--optuna", str(tmp_path / "optuna.log")]) == 0
    assert report.main(["s", *where]) == 0
    text = (tmp_path / "runs" / "s" / "report" / "report.md").read_text()
    assert "good 0.400" in text


NAMED = replace(FAKE, grids={"named": {"ending": ("good",), "gradient_clip": (0.5, 2.0)}})
"""The fake study, whose preset is a grid of two values."""


def test_a_preset_may_be_a_grid(tmp_path: Path) -> None:
    where = ("--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data"))
    arguments = ["--local", "--epochs", "2", "--preset", "named", *where, "--name", "s"]
    assert main(NAMED, [*arguments, "--sampler", "grid"]) == 0
    assert tried(tmp_path) == [(0.25, 0.5), (0.25, 2.0)]


def test_such_a_preset_without_the_grid_is_one_configuration(tmp_path: Path) -> None:
    where = ("--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data"))
    fast = ("--local", "--epochs", "2", "--ending", "good")
    assert main(NAMED, [*fast, "--preset", "named", *where, "--name", "s"]) == 0
    assert tried(tmp_path) == [(0.25, 1.0)]


def test_a_value_that_is_typed_replaces_those_of_the_preset(tmp_path: Path) -> None:
    where = ("--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data"))
    common = ["--local", "--epochs", "2", "--preset", "named", "--sampler", "grid", *where]
    assert main(NAMED, [*common, "--gradient-clip", "3", "--name", "s"]) == 0
    assert tried(tmp_path) == [(0.25, 3.0)]


class Tossed(FakeScorecard):
    """A scorecard whose scores are shares of 500 points, with one method that is no trial."""

    quantity = "points"

    def __init__(self) -> None:
        super().__init__(lambda study: [unit_scores.make(study)])

    def factor(self, study: RecordedStudy) -> float:
        del study
        return 500.0

    def outcomes(self, problem: Any, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        made = super().outcomes(problem, trial, model)
        coin = np.tile([0.5, 1.0], len(made.errors) // 2)
        return replace(made, baselines={"a fair coin": coin})


def test_scores_are_printed_in_the_scorecards_unit_beside_its_baselines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = replace(FAKE, scorecard=Tossed())
    monkeypatch.setattr(fake_study, "STUDY", study, raising=False)
    where = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
    finals = ("--finalists", "1", "--seeds", "2")
    assert main(study, [*GRID, *VALUES, *finals, *where, "--name", "s"]) == 0
    text = (tmp_path / "runs" / "s" / "report" / "report.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| a fair coin"))
    cells = [cell.strip() for cell in row.split("|")[2:-1]]
    assert cells[:3] == ["—", "—", "—"]
    assert cells[3].startswith("125.0 (")
    table = pd.read_csv(tmp_path / "runs" / "s" / "report" / "finals.csv")
    mean = float(np.mean(table.loc[table["champion"], "test points"]))
    assert 100 < mean < 500
    assert f"its mean test points is **{mean:.1f}**" in text
    by_unit = pd.read_csv(tmp_path / "runs" / "s" / "report" / "by_unit.csv")
    assert len(by_unit) == TOSSES
    assert by_unit["a fair coin"].tolist() == [0.5, 0.0] * (TOSSES // 2)
    assert 500 * by_unit.iloc[:, 0].mean() == pytest.approx(mean)
    assert "tosses on which it is better than the champion" in text


def test_configurations_of_a_file_are_run_after_the_defaults(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    listed = [{"level": 0.25}, {"level": 0.75, "gradient_clip": 2}]
    file.write_text(json.dumps(listed))
    common = ("--local", "--epochs", "2", "--configurations", str(file))
    assert ask(*common) == 0
    assert tried(tmp_path) == [(0.5, 1.0), (0.25, 1.0), (0.75, 2.0)]
    assert runs_in_mlflow(tmp_path)[-1].data.params["sampler"] == "listed"
    file.write_text(json.dumps(listed[:1]))
    assert ask(*common) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*GRID, "--level", "0.1", "0.2", "--gradient-clip", "1", "-1"], "gradient_clip is -1.0"),
        ([*GRID, "--configurations", "c.json"], "--configurations and --sampler grid"),
        (["--configurations", "gone.json"], "gone.json: cannot be read (No such file"),
        (["--preset", "named", "--level", "0.1", "0.2"], "--preset and several values of --level"),
        (["--level", "0.1", "0.2", "--gradient-clip", "1", "nan"], "gradient_clip is nan"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in refusing(FAKE, tmp_path, capsys)(*arguments)


def test_a_tiny_study_of_a_grid_tries_the_default_alone(ask: Ask, tmp_path: Path) -> None:
    assert ask(*GRID, *VALUES, "--smoke") == 0
    assert tried(tmp_path) == [(0.2, 1.0)]
