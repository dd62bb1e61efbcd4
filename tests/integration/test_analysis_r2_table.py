"""The R² table of a real, tiny study: who is in it, and that the test split is scored once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from recorded_study import SPEC, Invented, Told, record
from trained_studies import LITTLE, MOLECULES, known, tracking

from analysis import kept_weights, predictions, r2_table, style
from analysis.curves import training_seconds
from analysis.predictions import Predictions
from datasets.errors import InputError
from datasets.sources import MoleculeSet
from engine.main import main
from record.folder import StudyFolder
from record.recorded_study import RecordedStudy
from record.trial import Trial
from studies.gnn_sweep import STUDY
from trainables.models.gnn import GNN, GNNConfig
from trainables.molecules import MoleculeTask

ARGUMENTS = (
    *("--local", "--sampler", "random", "--trials", "5", "--family", "gcn", "sage"),
    *LITTLE,
)


@dataclass(frozen=True)
class Studied:
    """A study that has been run, and where."""

    name: str
    folder: Path
    cache: Path

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

    def analyse(self, dataset: str | None = None) -> dict[str, dict[str, Any]]:
        folder = StudyFolder(self.folder, self.name)
        r2_table.analyse(folder, self.uri, self.cache, self.report, dataset)
        return self.table

    def go_on(self, *told: Told) -> None:
        """Has a later session tell of more trials."""
        Invented(StudyFolder(self.folder, self.name), self.uri).go_on(told)


Study = Callable[..., Studied]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def study(folder: Path, cache: Path, molecules: MoleculeSet) -> Study:
    """Runs a study of its own for a test that changes what is recorded; takes a second."""
    del molecules  # now the cache has them

    def run(name: str, *arguments: str) -> Studied:
        where = ["--name", name, "--runs-dir", str(folder), "--data-dir", str(cache)]
        assert main(replace(STUDY, analyses=()), [*ARGUMENTS, *where, *arguments]) == 0
        return Studied(name, folder, cache)

    return run


@pytest.fixture(scope="module")
def studied(trained_copy: Path, cache: Path) -> Studied:
    """A study that the tests only read; those of another name are recorded beside it."""
    return Studied(MOLECULES, trained_copy, cache)


@pytest.fixture(scope="module")
def said(studied: Studied) -> str:
    """What the analysis of that study says."""
    folder = StudyFolder(studied.folder, studied.name)
    return r2_table.analyse(folder, studied.uri, studied.cache, studied.report)


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
    made = predictions.recorded(study, trial)
    target = made.target if made else np.arange(12.0)
    predictions.record(study, trial, Predictions(np.arange(12), target, target + error), "D")


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
        made = predictions.recorded(study, baseline)
        assert made is not None
        assert row["baseline mae (D)"] == np.abs(made.prediction - made.target).mean()


def test_only_finalists_see_the_test_split(analysed: Studied) -> None:
    rows = analysed.table.values()
    finalists = {row[name] for row in rows for name in ("trial", "baseline trial")}
    study = analysed.study
    assert len(finalists) < len(study.trials)
    for trial in study.trials:
        there = predictions.recorded(study, trial) is not None
        assert there == (trial.number in finalists)


def test_predictions_are_kept_with_row_target_and_unit(
    analysed: Studied, molecules: MoleculeSet, molecule_rows: pa.Table, tmp_path: Path
) -> None:
    study = analysed.study
    best = best_of(study, "gcn")
    file = study.artifacts.fetch(best, "test_predictions.parquet", tmp_path)
    assert file is not None
    table = pq.read_table(file)
    assert table.column_names == ["row", "target", "prediction"]
    assert table.schema.field("prediction").metadata == {b"unit": b"D"}
    assert table["row"].to_pylist() == molecules.graphs.rows[molecules.split.test].tolist()
    targets = molecule_rows["mu"].to_numpy()[table["row"].to_numpy()]
    assert table["target"].to_pylist() == targets.tolist()


def test_the_test_split_is_scored_once(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    studied = study("once")
    studied.analyse()
    best = best_of(studied.study, "gcn")
    plant(studied.study, best, error=0.5)

    def make(*arguments: Any) -> Predictions:
        raise AssertionError(f"scored again: {arguments}")

    monkeypatch.setattr(predictions, "make", make)
    without_data = replace(studied, cache=tmp_path / "empty")
    row = without_data.analyse()["gcn"]
    assert row["trial"] == best.number
    assert row["mae (D)"] == pytest.approx(0.5, abs=1e-12)
    assert row["mse (D²)"] == pytest.approx(0.25, abs=1e-12)
    assert not (tmp_path / "empty").exists()


def test_the_best_is_chosen_on_the_validation_split_whatever_the_test_says(study: Study) -> None:
    studied = study("chosen")
    known_of = studied.study
    best = best_of(known_of, "sage")
    for trial in known_of.trials:
        plant(known_of, trial, error=3.0 if trial.number == best.number else 0.0)
    row = studied.analyse()["sage"]
    assert row["trial"] == best.number
    assert row["mae (D)"] == pytest.approx(3.0)


def test_pruned_and_failed_trials_never_stand_for_a_family(study: Study) -> None:
    studied = study("pruned")
    studied.go_on(
        Told("gcn", [0.99], "pruned"),
        Told("gat", [0.99], "pruned", baseline=True),
        Told("gat", [0.99], "failed"),
    )
    table = studied.analyse()
    assert table["gcn"]["trial"] < 5
    assert list(table) == ["gcn", "sage", "gat"]
    assert table["gat"].pop("note") == "no finished trial (1 failed, 1 pruned)"
    assert np.isnan(list(table["gat"].values())).all()
    text = (studied.report / "r2_table.md").read_text()
    assert "| GAT " in text and "no finished trial (1 failed, 1 pruned)" in text


def test_a_best_trial_without_weights_is_said_to_have_none(study: Study) -> None:
    studied = study("lost")
    runs = studied.study
    studied.go_on(Told("gcn", [0.99]))
    row = studied.analyse()["gcn"]
    assert row["note"] == "the weights of trial 5 were not kept"
    assert np.isnan(row["r2"])
    baseline = next(t for t in runs.groups["gcn"] if t.is_baseline)
    assert row["baseline trial"] == baseline.number and np.isfinite(row["baseline r2"])


def test_a_study_that_kept_no_weights_is_refused(studied: Studied) -> None:
    record(studied.folder, "weightless", [Told("gcn", [0.5], baseline=True)])
    with pytest.raises(InputError, match="weightless has kept no weights"):
        replace(studied, name="weightless").analyse()


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


def test_a_prediction_off_the_axes_is_marked_at_their_edge(study: Study) -> None:
    studied = study("off")
    best = best_of(studied.study, "gcn")
    marked = []
    for error in (0.0, 1e6):
        plant(studied.study, best, error)
        studied.analyse()
        image = imread(studied.report / "predicted_against_true.png")[..., :3]
        marked.append((np.abs(image - to_rgb(style.VERMILLION)).max(axis=2) < 0.01).any())
    assert marked == [False, True]


def changed(table: pa.Table, path: Path) -> Path:
    """A table of the same molecules with another dipole moment in one row."""
    values = table["mu"].to_numpy().copy()
    values[7] += 0.001
    place = table.column_names.index("mu")
    pq.write_table(table.set_column(place, table.schema.field("mu"), pa.array(values)), path)
    return path


def test_another_data_set_is_refused_even_if_nothing_is_left_to_score(
    analysed: Studied, molecule_rows: pa.Table, tmp_path: Path
) -> None:
    path = changed(molecule_rows, tmp_path / "other.parquet")
    digest = analysed.study.params["data.digest"]
    with pytest.raises(InputError, match=f"{path} is not the data set of molecules") as refusal:
        analysed.analyse(str(path))
    assert f"recorded is {digest}" in str(refusal.value)


def test_a_data_set_may_lie_elsewhere_but_must_be_the_same(
    study: Study, molecule_rows: pa.Table, tmp_path: Path
) -> None:
    path = tmp_path / "molecules.parquet"
    pq.write_table(molecule_rows, path)
    studied = study("moved", "--dataset", str(path))
    moved = path.rename(tmp_path / "moved.parquet")
    with pytest.raises(InputError, match=f"not at {path}: give its path with --dataset"):
        studied.analyse()
    changed(molecule_rows, path)
    with pytest.raises(InputError, match="is not the data set of moved"):
        studied.analyse()
    assert all(predictions.recorded(studied.study, t) is None for t in studied.study.trials)
    assert len(studied.analyse(str(moved))) == 2


def test_a_file_of_which_no_number_of_molecules_was_asked_is_read_whole(
    studied: Studied, molecule_rows: pa.Table, tmp_path: Path
) -> None:
    path = tmp_path / "molecules.parquet"
    pq.write_table(molecule_rows, path)
    runs = studied.study
    given = {"data.dataset": str(path), "data.molecules": None}
    data = predictions.open_data(replace(runs, params={**runs.params, **given}), tmp_path, None)
    assert len(data.graphs) == molecule_rows.num_rows == 120


def test_weights_that_do_not_give_the_recorded_validation_error_are_refused(
    study: Study, tmp_path: Path
) -> None:
    studied = study("mixed", "--normalization", "none")
    study_of = studied.study
    best = best_of(study_of, "gcn")
    file = study_of.artifacts.fetch(best, "weights/weights.pt", tmp_path)
    assert file is not None
    weights = torch.load(file, weights_only=True)
    weights["model"]["shift"] += 5.0  # D, on every prediction, whichever the head
    torch.save(weights, file)
    study_of.artifacts.publish(best, [file], "weights")
    with pytest.raises(InputError, match=rf"weights of trial {best.number} give a validation/mse"):
        studied.analyse()
    assert predictions.recorded(study_of, best) is None


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
    spec = {name: value for name, value in SPEC.items() if name != "data.target"}
    record(studied.folder, "driving", [], spec=spec)
    with pytest.raises(InputError, match="driving predicts no property of molecules"):
        replace(studied, name="driving").analyse()


@pytest.mark.parametrize(
    ("more", "code"), [([], 0), (["--dataset", "nowhere.parquet"], 2), (["--seed", "1"], 2)]
)
def test_the_command_line_exits_as_it_should(
    more: Sequence[str],
    code: int,
    studied: Studied,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    where = ["--runs-dir", str(studied.folder), "--data-dir", str(studied.cache)]
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
    assert style.squared(unit) == square


def test_a_study_without_a_recorded_unit_says_so(studied: Studied) -> None:
    study = studied.study
    params = {key: value for key, value in study.params.items() if key != "facts.unit"}
    assert replace(study, params=params).unit == "unit unknown"
