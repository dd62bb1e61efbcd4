"""The R² table of a real, tiny study: who is in it, by the outcomes that are kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from recorded_study import SPEC, Invented, Told, record
from trained_studies import MOLECULES, copied_runs, known, tracking

from analysis import cards, kept_weights, predictions, r2_table, style
from analysis.curves import training_seconds
from analysis.molecule_scorecard import MoleculeScorecard
from analysis.predictions import Predictions
from analysis.units import squared
from datasets.errors import InputError
from datasets.sources import MoleculeSet
from record.definition import place_of
from record.folder import StudyFolder
from record.outcomes import FILE, Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial
from studies import gnn_sweep, world_model_sweep
from trainables.models.gnn import GNN, GNNConfig
from trainables.molecules import MoleculeTask


@dataclass(frozen=True)
class Studied:
    """A study that has been run, and where."""

    name: str
    folder: Path

    @property
    def uri(self) -> str:
        return tracking(self.folder)

    @property
    def report(self) -> Path:
        return self.folder / self.name / "report"

    @property
    def study(self) -> RecordedStudy:
        return known(self.folder, self.name)

    @property
    def table(self) -> dict[str, dict[str, Any]]:
        """The CSV file: family -> column -> value, NaN where there is none."""
        rows = pd.read_csv(self.report / "r2_table.csv").to_dict("records")
        return {
            row["family"]: {str(k): v for k, v in row.items() if k != "family"} for row in rows
        }

    def file_of(self, trial: Trial) -> Path:
        """Where MLflow keeps the outcomes of a trial."""
        artifacts = self.study.artifacts
        run = artifacts.store.client.get_run(artifacts.run_id(trial))
        return Path(str(run.info.artifact_uri).removeprefix("file://")) / FILE

    def publish(self) -> str:
        study = self.study
        return cards.published([r2_table.make(study)], study, self.report)

    def analyse(self) -> dict[str, dict[str, Any]]:
        self.publish()
        return self.table

    def go_on(self, *told: Told) -> None:
        """Has a later session tell of more trials."""
        Invented(StudyFolder(self.folder, self.name), self.uri).go_on(told)


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Studied:
    """A copy of the study, for a test that changes what is recorded."""
    return Studied(MOLECULES, copied_runs(trained, tmp_path / "runs"))


@pytest.fixture(scope="module")
def studied(trained_copy: Path) -> Studied:
    """A study that the tests only read; those of another name are recorded beside it."""
    return Studied(MOLECULES, trained_copy)


@pytest.fixture(scope="module")
def said(studied: Studied) -> str:
    """What the analysis of that study says."""
    return studied.publish()


@pytest.fixture
def analysed(studied: Studied, said: str) -> Studied:
    """That study, after its analysis."""
    assert said
    return studied


def best_of(study: RecordedStudy, family: str) -> Trial:
    best = study.best(study.groups[family])
    assert best is not None
    return best


def plant(study: RecordedStudy, trial: Trial, error: float) -> None:
    """Puts predictions that are off by so many Debye in the place of a trial's own."""
    made = predictions.of_trial(study, trial)
    target = made.target if made else np.arange(12.0)
    nothing = np.empty(0)
    planted = Predictions(np.arange(12), target, target + error, nothing, nothing)
    outcomes = Outcomes(planted.errors(), planted.reference(), vars(planted))
    study.artifacts.keep_outcomes(trial, outcomes)


def test_the_table_repeats_what_weights_and_molecules_give(
    analysed: Studied, molecules: MoleculeSet
) -> None:
    table, runs = analysed.table, analysed.study
    assert list(table) == ["gcn", "sage"]
    for family, row in table.items():
        best = best_of(runs, family)
        weights = kept_weights.weights(runs, best)
        assert weights is not None
        config = GNNConfig(**weights["config"])
        task = MoleculeTask(molecules, config, torch.device("cpu"))
        model = GNN(config, task.scale).eval()
        model.load_state_dict(weights["model"])
        test = torch.from_numpy(molecules.split.test)
        with torch.no_grad():
            prediction = model(task.store.select(test)).double().numpy()
        target = np.array(molecules.graphs.targets[molecules.split.test])
        error = prediction - target
        assert row["trial"] == best.number
        assert row["test molecules"] == len(test) == 12
        # 1e-6: the model computes in float32.
        assert row["r2"] == pytest.approx(1 - (error**2).mean() / target.var(), abs=1e-6)
        assert row["mse (D²)"] == pytest.approx((error**2).mean(), rel=1e-6)
        assert row["mae (D)"] == pytest.approx(np.abs(error).mean(), rel=1e-6)
        assert row["r2 low"] < row["r2"] < row["r2 high"]
        assert row["parameters"] == sum(p.numel() for p in model.parameters())
        assert row["training time (s)"] == training_seconds(best) > 0
        assert row["epochs"] == 2
        assert row["validation/r2"] == runs.value(best)


def test_the_baseline_stands_beside_the_best(analysed: Studied) -> None:
    study = analysed.study
    for row in analysed.table.values():
        baseline = study.trial(row["baseline trial"])
        assert baseline.is_baseline
        made = predictions.of_trial(study, baseline)
        assert made is not None
        assert row["baseline mae (D)"] == np.abs(made.prediction - made.target).mean()


def test_only_finalists_see_the_test_split(analysed: Studied) -> None:
    rows = analysed.table.values()
    finalists = {row[name] for row in rows for name in ("trial", "baseline trial")}
    study = analysed.study
    assert len(finalists) < len(study.trials)
    for trial in study.trials:
        there = study.artifacts.outcomes(trial) is not None
        assert there == (trial.number in finalists)


def test_predictions_are_kept_with_row_and_target(
    analysed: Studied, molecules: MoleculeSet, molecule_rows: pa.Table
) -> None:
    study = analysed.study
    outcomes = study.artifacts.outcomes(best_of(study, "gcn"))
    assert outcomes is not None
    assert {name: array.dtype for name, array in outcomes.more.items()} == {
        "row": np.int64,
        "target": np.float64,
        "prediction": np.float64,
        "prior": np.float64,
        "line": np.float64,
    }
    kept = outcomes.more
    assert kept["row"].tolist() == molecules.graphs.rows[molecules.split.test].tolist()
    targets = molecule_rows["mu"].to_numpy()[kept["row"]]
    assert kept["target"].tolist() == targets.tolist()
    assert outcomes.errors.tolist() == ((kept["prediction"] - targets) ** 2).tolist()
    assert outcomes.reference.tolist() == ((targets - targets.mean()) ** 2).tolist()


def test_the_table_is_of_what_is_kept_and_scores_nothing(
    copied: Studied, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = best_of(copied.study, "gcn")
    plant(copied.study, best, error=0.5)
    monkeypatch.setattr(MoleculeScorecard, "outcomes", None)
    monkeypatch.setattr(gnn_sweep, "open_molecules", None)
    row = copied.analyse()["gcn"]
    assert row["trial"] == best.number
    assert row["mae (D)"] == pytest.approx(0.5, abs=1e-12)
    assert row["mse (D²)"] == pytest.approx(0.25, abs=1e-12)


def test_the_best_is_chosen_on_the_validation_split_whatever_the_test_says(
    copied: Studied,
) -> None:
    study = copied.study
    best = best_of(study, "sage")
    for trial in study.trials:
        plant(study, trial, error=3.0 if trial.number == best.number else 0.0)
    row = copied.analyse()["sage"]
    assert row["trial"] == best.number
    assert row["mae (D)"] == pytest.approx(3.0)


def test_pruned_and_failed_trials_never_stand_for_a_family(copied: Studied) -> None:
    best = best_of(copied.study, "gcn")
    copied.go_on(
        Told("gcn", [0.99], "pruned"),
        Told("gat", [0.99], "pruned", baseline=True),
        Told("gat", [0.99], "failed"),
    )
    table = copied.analyse()
    assert table["gcn"]["trial"] == best.number
    assert list(table) == ["gcn", "sage", "gat"]
    assert table["gat"].pop("note") == "no finished trial (1 failed, 1 pruned)"
    assert np.isnan(list(table["gat"].values())).all()
    text = (copied.report / "r2_table.md").read_text()
    assert "| GAT " in text and "no finished trial (1 failed, 1 pruned)" in text


def test_a_best_trial_that_was_not_scored_is_said_not_to_be(copied: Studied) -> None:
    runs = copied.study
    copied.go_on(Told("gcn", [0.99]))
    best = best_of(copied.study, "gcn")
    assert best not in runs.trials
    row = copied.analyse()["gcn"]
    assert row["note"] == f"trial {best.number} was not scored"
    assert np.isnan(row["r2"])
    baseline = next(t for t in runs.groups["gcn"] if t.is_baseline)
    assert row["baseline trial"] == baseline.number and np.isfinite(row["baseline r2"])


def test_a_study_of_which_nothing_was_scored_is_refused(studied: Studied) -> None:
    record(studied.folder, "unscored", [Told("gcn", [0.5], baseline=True)])
    with pytest.raises(InputError, match="no trial of unscored was scored on the test split: the"):
        replace(studied, name="unscored").analyse()


@pytest.mark.parametrize("how", ["cut off", "another version's"])
def test_a_file_of_outcomes_that_cannot_be_used_is_named(copied: Studied, how: str) -> None:
    study = copied.study
    best = best_of(study, "gcn")
    made = study.artifacts.outcomes(best)
    assert made is not None
    if how == "cut off":
        file = copied.file_of(best)
        file.write_bytes(file.read_bytes()[:-100])
        said = f"trial {best.number} of molecules: outcomes.npz is no file of outcomes, or damaged"
    else:
        study.artifacts.keep_outcomes(best, Outcomes(made.errors, made.reference))
        said = (
            "row, target, prediction, prior, line: expected with what was recorded, but an older"
        )
    with pytest.raises(InputError, match=said):
        copied.analyse()


def test_the_markdown_is_aligned_and_has_units(studied: Studied, said: str) -> None:
    text = (studied.report / "r2_table.md").read_text()
    assert said.startswith(text)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    for header in ("MSE (D²)", "MAE (D)", "training time (s)", "baseline R²"):
        assert header in lines[0]
    best = best_of(studied.study, "sage")
    assert lines[3].startswith(f"| GraphSAGE | {best.number} ")


def test_the_figure_shows_something_and_is_the_same_again(analysed: Studied) -> None:
    files = [analysed.report / f"predicted_against_true.{kind}" for kind in ("png", "pdf")]
    image = imread(files[0])
    assert image.shape[0] > 400 and image.shape[1] > 1000
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 50
    before = [file.read_bytes() for file in files]
    analysed.analyse()
    assert [file.read_bytes() for file in files] == before


def test_the_files_are_published_with_the_parent_run(
    studied: Studied, said: str, tmp_path: Path
) -> None:
    for name in (
        "r2_table.md",
        "r2_table.csv",
        "predicted_against_true.png",
        "predicted_against_true.pdf",
    ):
        assert str(studied.report / name) in said
        fetched = studied.study.artifacts.fetch(None, f"report/{name}", tmp_path)
        assert fetched is not None
        assert fetched.read_bytes() == (studied.report / name).read_bytes()


def test_a_prediction_off_the_axes_is_marked_at_their_edge(copied: Studied) -> None:
    study = copied.study
    best = best_of(study, "gcn")
    plant(study, best_of(study, "sage"), error=0.0)
    marked = []
    for error in (0.0, 1e6):
        plant(study, best, error)
        copied.analyse()
        image = imread(copied.report / "predicted_against_true.png")[..., :3]
        marked.append((np.abs(image - to_rgb(style.VERMILLION)).max(axis=2) < 0.01).any())
    assert marked == [False, True]


@pytest.mark.parametrize(
    ("part", "key"), [("config", "retired"), ("model", "retired.weight")], ids=["field", "layer"]
)
def test_weights_of_another_version_of_the_model_are_refused(
    part: str, key: str, studied: Studied
) -> None:
    best = best_of(studied.study, "gcn")
    weights = kept_weights.weights(studied.study, best)
    assert weights is not None
    weights[part][key] = torch.zeros(1)
    with pytest.raises(InputError, match=rf"weights of trial {best.number} do not fit"):
        predictions.restore(best, weights)


@pytest.mark.parametrize("status", ["RUNNING", "KILLED"])
def test_a_study_that_has_not_ended_is_not_scored(studied: Studied, status: Any) -> None:
    name = status.lower()
    record(studied.folder, name, [Told("gcn", [0.5], baseline=True)], status)
    open_study = replace(studied, name=name)
    with pytest.raises(InputError, match=rf"{name} has not ended \({status}\)"):
        open_study.analyse()
    assert not open_study.report.exists()


def test_a_study_without_a_finished_trial_is_refused(studied: Studied) -> None:
    record(studied.folder, "hopeless", [Told("gcn", [], "failed", baseline=True)], "FAILED")
    with pytest.raises(InputError, match="no trial of hopeless finished"):
        replace(studied, name="hopeless").analyse()


def test_a_study_of_something_else_is_refused(studied: Studied) -> None:
    drives = place_of(str(world_model_sweep.__file__))
    spec = {**SPEC, "study": "world-model"}
    record(studied.folder, "driving", [], spec=spec, settings=drives)
    with pytest.raises(InputError, match="driving predicts no property of molecules"):
        replace(studied, name="driving").analyse()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ([], 0),
        (["--study", str(gnn_sweep.__file__)], 0),
        (["--study", str(world_model_sweep.__file__)], 2),
        (["--study", "nowhere.py"], 2),
        (["--data", "nowhere.parquet"], 2),
        (["--seed", "1"], 2),
    ],
)
def test_the_command_line_exits_as_it_should(
    more: Sequence[str],
    code: int,
    studied: Studied,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    where = ["--runs-dir", str(studied.folder)]
    try:
        got = r2_table.main([studied.name, *where, *more])
    except SystemExit as exit_of_argparse:
        got = exit_of_argparse.code
    assert got == code
    printed = capsys.readouterr()
    assert ("| GraphSAGE |" in printed.out) == (code == 0)
    assert ("error: " in printed.err) == (code == 2)


@pytest.mark.parametrize(
    ("unit", "square"),
    [("D", "D²"), ("Bohr^3", "(Bohr^3)²"), ("unit unknown", "unit unknown")],
)
def test_a_squared_unit_can_be_read(unit: str, square: str) -> None:
    assert squared(unit) == square


def test_a_study_without_a_recorded_unit_says_so(studied: Studied) -> None:
    study = studied.study
    params = {key: value for key, value in study.params.items() if key != "facts.unit"}
    assert replace(study, params=params).unit == "unit unknown"
