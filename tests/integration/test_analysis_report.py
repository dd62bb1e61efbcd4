"""The report of invented studies and of real ones: what it says, and what it leaves unsaid."""

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from PIL import Image
from recorded_study import HERE, SPEC, Invented, Told, record
from trained_studies import LITTLE, MOLECULES, known, tracking

from analysis import cards, finals, loss_curves, r2_table, report
from analysis.answer import answer
from analysis.comparison import Finalists
from analysis.finals import outcome, role_of
from analysis.molecule_scorecard import MoleculeScorecard
from analysis.side_by_side import Side, compared
from engine.main import main
from record import names
from record.folder import StudyFolder
from record.reading import recorded_study
from record.tracker import StudyStatus
from studies import gnn_sweep

RISING = [
    Told("gcn", (0.5, 0.6, 0.70), baseline=True),
    Told("gin", (0.4, 0.5, 0.65), baseline=True),
    Told("sage", (0.6, 0.7, 0.80), learning_rate=0.01),
    Told("gat", (0.3, 0.4, 0.55), learning_rate=0.003),
    Told("gat", (0.2, 0.3, 0.45), learning_rate=0.004),
    Told("gat", (0.1, 0.2, 0.35), learning_rate=0.005),
    Told("gat", (0.2,), "pruned", learning_rate=0.0005),
    Told("gat", (), "failed", reason="the loss was not finite in epoch 1"),
    *(Told("gin", (0.1,), "pruned", learning_rate=0.0004 * step) for step in range(1, 7)),
]

SECTIONS = [
    "The finalists",
    "The test split, by family",
    "Loss curves",
    "The search",
    "Time and devices",
    "Do it again",
]


def analysed(invented: Invented) -> str:
    """The Markdown of the report of an invented study."""
    runs = invented.folder.runs_dir
    report.publish(report.analysed(invented.study), runs / "report")
    return (runs / "report" / "report.md").read_text(encoding="utf-8")


def written(folder: Path, told: list[Told], status: StudyStatus = "FINISHED") -> str:
    """The Markdown of the report of a study of these trials."""
    return analysed(record(folder, "s", told, status))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the report of the trials of `RISING`."""
    folder = tmp_path_factory.mktemp("rising")
    written(folder, RISING)
    return folder / "report"


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "report.md").read_text()


def test_a_report_has_its_sections_and_every_figure_that_it_names(folder: Path, text: str) -> None:
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    named = re.findall(r"!\[[^\]]*\]\((figures/\w+\.png)\)", text)
    assert {"figures/best_so_far.png", "figures/axes.png", "figures/rungs.png"} <= set(named)
    assert "figures/importance.png" in named
    for name in named:
        picture = np.asarray(Image.open(folder / name).convert("RGB"))[::5, ::5]
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20, name


def test_the_page_needs_nothing_beside_it(page: str) -> None:
    class Fetches(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "link", "iframe")
            for name, value in attrs:
                if name in ("src", "href", "xlink:href"):
                    assert str(value).startswith(("#", "data:")), (tag, value)

    Fetches().feed(page)
    assert page.count("<svg") == 5
    assert "url(http" not in page


def test_figures_have_no_colour_of_their_own_that_the_dark_would_swallow(page: str) -> None:
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "currentColor" in drawn
    # White is the inside of a rectangle that is clipped or transparent, if it is there at all.
    assert set(re.findall(r"#[0-9a-fA-F]{6}\b", drawn)) <= {"#ffffff"}


def test_what_was_counted_is_said(text: str) -> None:
    cells = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:4]]
        for line in text.splitlines()
        if line.startswith("| ")
    }
    assert cells["finished"] == ["6", "43%"]
    assert cells["pruned"] == ["7", "50%"]
    assert cells["failed"] == ["1", "7%"]
    assert "1 of them: the loss was not finite in epoch 1" in text
    # The ranks of the six that finished are the same after each epoch, but for the first.
    assert "rank correlation (Spearman) with the last score is 1.00" in text
    assert "learning_rate, 0.01, is at the highest end of 0.0003 to 0.01" in text


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "No trial has been begun, so there is no answer."),
        (
            [Told("gcn", (0.5, 0.6, 0.7), baseline=True)],
            "The best of 1 trial is trial 0, **gcn 3x64 distances dipole**, with validation/r2 "
            "**0.7000**.",
        ),
        (
            [Told("gcn", (), "failed", reason="no loss"), Told("gin", (0.1,), "failed")],
            "None of 2 trials finished (2 failed), so there is no answer. The most frequent "
            "reason, of 1: no loss.",
        ),
    ],
    ids=["none", "one", "only failed"],
)
def test_few_trials_are_told_as_what_they_are(tmp_path: Path, told: list[Told], said: str) -> None:
    text = written(tmp_path, told)
    assert said in text
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert "95 % interval of the mean" not in text


@pytest.mark.parametrize(
    ("status", "told", "said"),
    [
        ("RUNNING", RISING, "The study is running; so far the best of 14 trials is trial 2"),
        (
            "RUNNING",
            [Told("gcn", (0.1,), "running", baseline=True)],
            "None of 1 trials has finished so far (1 running), so there is no answer.",
        ),
        ("KILLED", RISING, "The study was stopped before its end; so far the best of 14 trials"),
        (
            "FAILED",
            [Told("gcn", (), "failed", reason="no loss", baseline=True)],
            "None of 1 trials finished (1 failed), so there is no answer.",
        ),
    ],
    ids=["running", "first trial", "stopped", "failed"],
)
def test_a_study_that_has_not_ended_well_says_how_it_stands(
    tmp_path: Path, status: StudyStatus, told: list[Told], said: str
) -> None:
    text = written(tmp_path, told, status)
    assert said in text
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    if status != "FAILED":
        assert f"Not there: s has not ended ({status})" in text


def test_a_search_space_that_was_not_recorded_is_missed(tmp_path: Path) -> None:
    invented = record(tmp_path, "s", RISING)
    invented.folder.log.unlink()
    (space,) = (tmp_path / "artifacts").rglob("space.json")
    space.unlink()
    text = analysed(invented)
    assert "What was searched was not recorded." in text
    assert "May early stopping be trusted?" in text


def test_a_report_of_mlflow_alone_is_that_of_the_log(tmp_path: Path) -> None:
    invented = record(tmp_path, "s", RISING)
    of_log = analysed(invented)
    invented.folder.log.unlink()
    assert analysed(invented) == of_log


def test_a_preset_is_not_called_a_default(tmp_path: Path) -> None:
    study = record(tmp_path, "s", RISING, spec={**SPEC, "preset": "homework"}).study
    assert [role_of(study, number) for number in (0, 1, 2)] == [
        "preset of GCN",
        "preset of GIN",
        "",
    ]


def test_studies_of_one_quantity_are_set_side_by_side(tmp_path: Path) -> None:
    one, other = record(tmp_path, "a", RISING), record(tmp_path, "b", RISING[:2])
    said = report.beside_each_other([one.study, other.study], tmp_path / "report")
    assert "| a " in said and "| b " in said
    assert "Without finals of two studies at least" in said
    assert (tmp_path / "report" / "beside-b" / "figures" / "searches.png").is_file()


def test_different_quantities_are_not_set_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path, "a", RISING[:2])
    other = {**SPEC, "data.target": "gap", "facts.unit": "eV"}
    record(tmp_path, "b", RISING[:2], spec=other)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert report.main(["a", "b", "--runs-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "different quantities: target mu (a), gap (b)" in error
    assert not (tmp_path / "a" / "report").exists()


def test_a_store_that_goes_away_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: object) -> None:
        raise MlflowException("planted: http://me:s3cret@host is away\nand more")

    record(tmp_path, "a", RISING)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(MlflowClient, "log_artifact", away)
    assert report.main(["a", "--runs-dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    went = "error: the tracking store went away or refused: planted: http://***@host is away\n"
    assert said == went


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    secret = "x --storage ftp://me:s3cret@host/x"
    settings = {"orrery.command": secret, "orrery.environment": secret}
    spec = {**SPEC, "data.dataset": "ftp://me:s3cret@host/x"}
    analysed(record(tmp_path, "s", RISING, settings=settings, spec=spec))
    for file in (tmp_path / "report").rglob("report.*"):
        assert "s3cret" not in file.read_text()
        assert "ftp://***@host/x" in file.read_text()


def test_the_commits_that_trained_the_trials_are_named(tmp_path: Path) -> None:
    versions = {"Python": "3.11", "torch": "2.13.0"}
    commits = (["a" * 40], ["a" * 40, f"{'b' * 40}+"], ["c" * 40])
    told = [
        replace(one, placements=[replace(HERE, commit=c, versions=versions) for c in under])
        for one, under in zip(RISING, commits, strict=False)
    ]
    settings = {"mlflow.source.git.commit": "d" * 40, "version.ray": "2.0"}
    text = analysed(record(tmp_path, "s", told, settings=settings))
    changed = f"`{'b' * 40}` (and changes that were not committed)"
    assert f"- commit: `{'a' * 40}`, then {changed}, then `{'c' * 40}`\n" in text
    assert "- versions: Python 3.11, torch 2.13.0, ray 2.0\n" in text


def test_what_others_wrote_is_shown_as_it_is(tmp_path: Path) -> None:
    """Neither as Markdown, which could end the report or lead elsewhere, nor as a formula."""
    odd = "![x](y) [text](http://example.org) <b> ``` a|b"
    places = [replace(HERE, device=odd)]
    told = [replace(one, title=odd, placements=places) for one in RISING[:3]]
    told.append(Told("gat", (), "failed", reason=f"{odd}\nsecond line"))
    unit = {**SPEC, "data.target": odd, "facts.unit": "$\\foo$ | x\ny"}
    settings = {"orrery.host": odd, "orrery.command": f"python '{odd}'"}
    invented = record(tmp_path, "s", told, settings=settings, spec=unit)
    report_folder = tmp_path / "report"
    said = report.publish(report.analysed(invented.study), report_folder)
    page = (report_folder / "report.html").read_text(encoding="utf-8")
    assert "example.org" in said
    assert 'href="http' not in page
    assert page.count("<svg") == 3, "loss curves, best so far, axes"
    shown = html.escape(odd, quote=False)
    assert f"1 of them: {shown} second line</li>" in page
    assert f"<li>machine: {shown}</li>" in page
    assert f"target {shown}, split random, prior none, unit $\\foo$ | x y</li>" in page
    assert f"<code>python '{shown}'\n</code>" in page
    assert f"<strong>{shown}</strong>" in page, "the title of a configuration"
    assert f"<td>{shown}</td>\n<td>3</td>\n<td>9</td>" in page, "the device"


def test_what_was_found_in_the_data_stands_in_place_of_the_option(tmp_path: Path) -> None:
    text = analysed(record(tmp_path, "s", RISING[:2], spec={**SPEC, "data.unit": None}))
    (line,) = [line for line in text.splitlines() if line.startswith("- data: ")]
    assert line.count("unit ") == line.count("unit D") == 1


def test_everything_is_made_once(trained_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For files, MLflow, the page and the study's description alike."""
    made: list[str] = []

    def counted(owner: ModuleType, name: str) -> None:
        make = getattr(owner, name)

        def count(*arguments: Any) -> Any:
            made.append(f"{owner.__name__}.{name}")
            return make(*arguments)

        monkeypatch.setattr(owner, name, count)

    counted(finals, "outcome")
    counted(finals, "draw")
    counted(r2_table, "_draw")
    counted(loss_curves, "_draw")
    counted(finals, "card_of")
    counted(r2_table, "make")
    counted(loss_curves, "make")
    study = known(trained_copy)
    found = report.analysed(study)
    assert [card.name for card in found.cards] == ["loss_curves", "r2_table", "finals"]
    told = cards.published(found.cards, study, trained_copy / MOLECULES / "report")
    for card in found.cards:
        assert card.text in told
    report.publish(found, trained_copy / MOLECULES / "report")
    assert found.answer in found.description()
    assert len(set(made)) == len(made) == 7


def test_a_study_whose_file_is_not_to_be_had_has_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = {names.FILE: "/elsewhere/mine.py", names.FILE_DIGEST: "0" * 64}
    record(tmp_path, "a", RISING[:2], settings=elsewhere)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert report.main(["a", "--runs-dir", str(tmp_path)]) == 2
    said = "a is defined in /elsewhere/mine.py, which is not there: give it with --study mine.py"
    assert capsys.readouterr().err == f"error: {said}\n"
    assert not (tmp_path / "a" / "report").exists()
    named = ["--study", str(gnn_sweep.__file__)]
    assert report.main(["a", "--runs-dir", str(tmp_path), *named]) == 0
    assert (tmp_path / "a" / "report" / "report.html").is_file()


def test_an_unknown_study_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path, "a", RISING[:2])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert report.main(["a", "c", "--runs-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: no study c in .*; there: a\n", error)
    assert not (tmp_path / "a" / "report").exists()


@pytest.fixture(scope="module")
def two_studies(trained_copy: Path, cache: Path) -> Path:
    """Where a second study on the same molecules has been run."""
    typed = ["--local", *LITTLE, "--family", "gin", "--trials", "2", "--finalists", "1"]
    where = ["--runs-dir", str(trained_copy), "--data-dir", str(cache), "--name", "gin"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert main(gnn_sweep.STUDY, [*typed, "--seeds", "3", *where]) == 0
    return trained_copy


def test_the_answer_is_that_of_the_finals_and_heads_report_and_run(trained_copy: Path) -> None:
    study = known(trained_copy)
    found = outcome(study)
    assert found is not None
    said = answer(study, found)
    test = found.champion.test
    assert f"**{test.value:.4f}** (95 % interval {test.low:.4f} to {test.high:.4f})" in said
    text = (trained_copy / MOLECULES / "report" / "report.md").read_text()
    assert f"> {said}" in text
    client, run_id = study.artifacts.store.client, study.artifacts.run_id(None)
    described = client.get_run(run_id).data.tags["mlflow.note.content"]
    assert said in described
    assert "Which graph neural network" in described
    assert f"| **{found.champion.title}**" in described
    there = {file.path for file in client.list_artifacts(run_id, "report")}
    assert {"report/report.html", "report/report.md", "report/figures"} <= there


def test_one_training_each_tells_no_finalists_apart(trained_copy: Path) -> None:
    study = known(trained_copy)
    first = tuple(final for final in study.finals if final.config["seed"] == 1)
    once = replace(study, finals=first)
    found = outcome(once)
    assert found is not None
    said = answer(once, found)
    assert "which leaves the luck of the training out) over 1 fresh seed, on" in said
    assert "One training each cannot tell finalists apart" in said


def test_finals_that_are_not_scored_are_not_denied(trained_copy: Path) -> None:
    said = answer(replace(known(trained_copy), status="KILLED"), None, "not yet")
    assert said.startswith("The study was stopped before its end; so far the best of 4 trials is")
    assert "How much of that is luck its finals tell, which are not scored (not yet)." in said
    assert "has not been trained again" not in said


def test_a_report_is_made_from_the_tracking_server_alone(
    trained_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MoleculeScorecard, "outcomes", None)
    monkeypatch.setattr(gnn_sweep, "open_molecules", None)
    nowhere = StudyFolder(tmp_path / "runs", MOLECULES)
    study = recorded_study(nowhere, tracking(trained_copy))
    assert study.finals, "without a log"
    report.publish(report.analysed(study), tmp_path)
    for name in ("report.md", "report.html"):
        assert (tmp_path / name).read_bytes() == (
            trained_copy / MOLECULES / "report" / name
        ).read_bytes()


def test_studies_on_another_split_stand_apart_and_the_others_are_compared(
    two_studies: Path,
) -> None:
    sides = []
    for name in (MOLECULES, "gin"):
        study = known(two_studies, name)
        found = outcome(study)
        assert found is not None
        # Other machines sum up in another order.
        nearly = replace(found, reference=found.reference * (1 + 1e-7 * (name == "gin")))
        sides.append(Side(study, nearly, "", 1.0))
        other = replace(found, reference=found.reference + 1)
    sides.append(Side(replace(study, name="other"), other, "", 1.0))
    text = compared(sides).text
    assert len([line for line in text.splitlines() if line.startswith("- ")]) == 1
    assert "different test splits (molecules and gin; other)" in text


def test_champions_on_the_same_test_molecules_are_compared(
    two_studies: Path, tmp_path: Path
) -> None:
    studies = [known(two_studies, name) for name in (MOLECULES, "gin")]
    said = report.beside_each_other(studies, tmp_path)
    (verdict,) = [line for line in said.splitlines() if line.startswith("- ")]
    champions = {}
    for name in (MOLECULES, "gin"):
        study = known(two_studies, name)
        found = outcome(study)
        assert found is not None
        champions[name], reference = found.champion.errors, found.reference
    (pair,) = Finalists(champions, reference).compare()
    assert ("is better than" in verdict) == pair.is_distinguishable
    assert ("cannot be told apart" in verdict) != pair.is_distinguishable
    assert verdict.index(pair.better) < verdict.index(pair.worse)
    assert f"{pair.difference.value:.4f} ({pair.difference.low:.4f} to" in verdict
    assert "--family gin" in said, "in what they differ: the command"
    assert (tmp_path / "beside-gin" / "figures" / "champions.png").stat().st_size > 5000
