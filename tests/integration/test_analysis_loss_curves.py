"""Loss curves of invented studies: which trials are drawn, and in which unit."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from recorded_study import VALIDATION_VARIANCE, Told, record

from analysis import cards, loss_curves
from analysis.scorecard import Scorecard
from datasets.errors import InputError
from record.folder import StudyFolder
from record.outcomes import Outcomes
from record.reading import recorded_study
from record.trial import Trial
from studies.gnn_sweep import STUDY

R2 = [-0.5, 0.2, 0.6]
"""``validation/r2`` of a trial that is drawn."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def uri(folder: Path) -> str:
    """A store with a study of four families."""
    told = [
        Told("gcn", [-1.0, 0.0, 0.1], baseline=True),
        Told("gat", R2, baseline=True),
        Told("sage", [0.0], state="failed", baseline=True),
        Told("gin", [-2.0, -1.0, -0.5], baseline=True, standardize=False),
        Told("gcn", R2),
        Told("gcn", [0.9], state="pruned"),
        Told("gin", R2, standardize=False),
    ]
    return record(folder, "four", told).uri


def published(folder: StudyFolder, uri: str, report: Path) -> str:
    study = recorded_study(folder, uri)
    return cards.published([loss_curves.make(study)], study, report)


def analyse(study: StudyFolder, uri: str, report: Path) -> pd.DataFrame:
    published(study, uri, report)
    return pd.read_csv(report / "loss_curves.csv")


@pytest.fixture(scope="module")
def four(folder: Path) -> StudyFolder:
    """Of that study."""
    return StudyFolder(folder, "four")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("four") / "report"


@pytest.fixture(scope="module")
def said(four: StudyFolder, uri: str, report: Path) -> str:
    """What the analysis of that study says."""
    return published(four, uri, report)


@pytest.fixture
def table(said: str, report: Path) -> pd.DataFrame:
    assert said
    return pd.read_csv(report / "loss_curves.csv")


def test_best_and_baseline_of_each_family_are_drawn(table: pd.DataFrame) -> None:
    drawn = table.groupby(["family", "role"])["trial"].unique().map(list).to_dict()
    assert drawn == {
        ("gcn", "best"): [4],
        ("gcn", "baseline"): [0],
        ("gat", "best"): [1],
        ("gat", "baseline"): [1],
        ("gin", "best"): [6],
        ("gin", "baseline"): [3],
    }


def test_curves_are_in_the_unit_of_the_target_whatever_the_loss_was(table: pd.DataFrame) -> None:
    expected = (1 - np.array(R2)) * VALIDATION_VARIANCE
    for family in ("gcn", "gin"):  # with and without standardization
        best = table[(table["family"] == family) & (table["role"] == "best")]
        assert best["epoch"].tolist() == [1, 2, 3]
        np.testing.assert_allclose(best["validation mse (D²)"], expected, rtol=1e-12)
        np.testing.assert_allclose(best["train mse (D²)"], expected / 2, rtol=1e-12)


def test_predicting_the_mean_errs_by_the_variance_of_the_validation_split(
    table: pd.DataFrame,
) -> None:
    column = table["predicting the mean mse (D²)"]
    np.testing.assert_allclose(column, VALIDATION_VARIANCE, rtol=1e-12)


def test_the_figure_shows_something_and_is_the_same_again(
    said: str, four: StudyFolder, uri: str, report: Path, tmp_path: Path
) -> None:
    assert said
    image = imread(report / "loss_curves.png")
    assert image.shape[0] > 500 and image.shape[1] > 500
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 50
    analyse(four, uri, tmp_path)
    for name in ("loss_curves.png", "loss_curves.pdf"):
        assert (tmp_path / name).read_bytes() == (report / name).read_bytes()


@pytest.mark.parametrize("epochs", [1, 400])
def test_one_family_of_any_number_of_epochs_can_be_drawn(
    epochs: int, uri: str, folder: Path, tmp_path: Path
) -> None:
    told = [Told("deepgcn", np.linspace(-1, 0.9, epochs).tolist(), baseline=True)]
    one = record(folder, f"one of {epochs}", told).folder
    assert len(analyse(one, uri, tmp_path)) == 2 * epochs


def test_the_files_are_published_with_the_parent_run(
    said: str, four: StudyFolder, uri: str, report: Path, tmp_path: Path
) -> None:
    artifacts = recorded_study(four, uri).artifacts
    for name in ("loss_curves.png", "loss_curves.pdf", "loss_curves.csv"):
        assert str(report / name) in said
        fetched = artifacts.fetch(None, f"report/{name}", tmp_path)
        assert fetched is not None
        assert fetched.read_bytes() == (report / name).read_bytes()


def test_a_study_without_a_finished_trial_is_refused(
    uri: str, folder: Path, tmp_path: Path
) -> None:
    hopeless = record(folder, "hopeless", [Told("gcn", [0.5], state="failed")]).folder
    with pytest.raises(InputError, match="no trial of hopeless finished"):
        analyse(hopeless, uri, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_report_folder_that_cannot_be_made_is_refused(
    four: StudyFolder, uri: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write into .*choose another --runs-dir"):
        analyse(four, uri, tmp_path / "file" / "report")


def test_the_command_line_draws_into_the_runs_folder(
    uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert uri.endswith(str(folder / "mlflow.db"))
    assert loss_curves.main(["four", "--runs-dir", str(folder)]) == 0
    assert (folder / "four" / "report" / "loss_curves.png").is_file()
    assert "loss_curves.png" in capsys.readouterr().out


def test_the_command_line_asks_the_server_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    assert loss_curves.main(["four"]) == 2
    assert "there is no elsewhere.db" in capsys.readouterr().err


class Plain(Scorecard):
    """Says nothing of how trials learned."""

    unit = "units"

    def outcomes(self, problem: Any, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        raise NotImplementedError


def test_a_study_that_says_nothing_of_it_shows_its_objective(
    four: StudyFolder, uri: str, tmp_path: Path
) -> None:
    plain = replace(STUDY, scorecard=Plain())
    study = replace(recorded_study(four, uri), define=lambda: plain)
    card = loss_curves.make(study)
    assert card.table is not None
    assert list(card.table) == ["family", "role", "trial", "epoch", "validation r2"]
    best = card.table[(card.table["family"] == "gcn") & (card.table["role"] == "best")]
    assert best["validation r2"].tolist() == R2
    assert card.captions["loss_curves"].startswith("validation/r2 over the epochs")
    figure = card.figures["loss_curves"]
    assert isinstance(figure, Figure)
    assert {axis.get_yscale() for axis in figure.axes} == {"linear"}, "it may be negative"
    cards.write(card, tmp_path)
    assert len(np.unique(imread(tmp_path / "loss_curves.png").reshape(-1, 4), axis=0)) > 50
