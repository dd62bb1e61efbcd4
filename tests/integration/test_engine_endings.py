"""How trials and studies end badly, and that it loses nothing: on Ray and without."""

import errno
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from asked import (
    Ask,
    epochs_in_mlflow,
    runs_in_mlflow,
    said_in_mlflow,
    score_of,
    state_in_log,
    trials_in_log,
)
from fake_scorecard import FakeScorecard, a_card
from fake_study import FAKE
from mlflow.exceptions import MlflowException

from analysis.cards import Card
from analysis.scorecard import Scorecard
from datasets.errors import InputError
from engine import driver
from engine.main import main
from record.log import FileLog
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial
from studies import doctor

ENDINGS = {
    "good": ("finished", ""),
    "non_finite": (
        "failed",
        r"loss nan in epoch 2, batch 1 of 1; last finite loss: \d\S*, the mean",
    ),
    "raises": ("failed", r"RuntimeError: planted: the trial raises$"),
    "dies": ("failed", r"its process died 2 times: Worker unexpectedly exits"),
    "no_start": ("failed", r"RuntimeError: planted: the trial does not even begin$"),
    "memory": ("infeasible", r".*can't allocate memory: you tried to allocate \d+ bytes"),
    "crowded": ("finished", ""),
    "stuck": ("failed", r"no epoch for 0.3 minutes: stopped \(--trial-timeout\)$"),
}
"""How a trial ends -> what it is told as, and why."""


@pytest.mark.ray
def test_every_ending_reaches_the_log_and_mlflow_as_what_it_is(
    ask: Ask,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "MESSAGES_A_SECOND", math.inf)
    limits = ["--max-failures", "1", "--trial-timeout", "0.3", "--trials", str(len(ENDINGS))]
    marker = ["--marker", str(tmp_path / "marker")]
    assert ask("--epochs", "4", "--ending", *ENDINGS, *limits, *marker) == 0
    said = capsys.readouterr().out
    told = trials_in_log(tmp_path)
    recorded = runs_in_mlflow(tmp_path)
    assert score_of(told[0]) == pytest.approx(0.504, abs=1e-4)
    for number, (state, reason) in enumerate(ENDINGS.values()):
        run = recorded[number]
        assert (told[number].status, run.data.tags["orrery.state"]) == (state, state)
        assert run.info.status == ("FINISHED" if state == "finished" else "FAILED")
        assert re.match(reason, told[number].reason), told[number].reason
        assert run.data.tags.get("orrery.reason", "") == told[number].reason
        assert run.data.tags["mlflow.parentRunId"] == recorded[-1].info.run_id
    assert recorded[-1].info.status == "FINISHED"
    assert "planted: last words" in recorded[3].data.tags["mlflow.note.content"]
    assert "its process died after epoch 1; it goes on from its checkpoint (1 of 1 times)" in said
    assert said.count("it will be tried again alone, with the whole device") == 2
    assert doctor.main(["s", "--runs-dir", str(tmp_path / "runs")]) == 0


@pytest.mark.parametrize(
    ("code", "place"),
    [
        (errno.ENOSPC, ["--local"]),
        (errno.EROFS, ["--local"]),
        (errno.ENOENT, ["--local"]),
        pytest.param(errno.ENOSPC, [], marks=pytest.mark.ray),
    ],
)
def test_trouble_with_the_machine_ends_the_session_and_no_trial(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int, place: list[str]
) -> None:
    """A full disk, a folder that cannot be written any more, a cache that is gone."""
    marker = tmp_path / "marker"
    marker.write_text(str(code))
    common = [*place, "--epochs", "3", "--ending", "good", "system_error", "--trials", "3"]
    assert ask(*common, "--marker", str(marker)) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match(
        f"error: {os.strerror(code)}: {marker}; [012] of 3 trials are done; once", said
    )
    assert "failed" not in {trial.status for trial in trials_in_log(tmp_path)}
    marker.unlink()
    assert ask(*common, "--marker", str(marker)) == 0
    assert {t.status for t in trials_in_log(tmp_path)} <= {"finished", "pruned"}
    run = runs_in_mlflow(tmp_path)[1]
    assert epochs_in_mlflow(tmp_path, run, "validation/score") == [1, 2, 3]


@pytest.mark.parametrize("groups", [0, 1, 2, 4])
def test_a_full_disk_under_the_study_itself_loses_nothing(
    ask: Ask,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    groups: int,
) -> None:
    common = ("--local", "--epochs", "2", "--ending", "good", "--trials", "3")
    assert ask(*common[:-1], "1") == 0
    calls = count()
    real = FileLog._write

    def full(self: FileLog, text: bytes) -> None:
        if next(calls) < groups:
            real(self, text)
        else:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs")

    with monkeypatch.context() as patch:
        patch.setattr(FileLog, "_write", full)
        assert ask(*common) == 2
    assert "error: No space left on device: runs; " in capsys.readouterr().err
    assert ask(*common) == 0
    assert [t.status for t in trials_in_log(tmp_path)] == ["finished"] * 3
    assert doctor.main(["s", "--runs-dir", str(tmp_path / "runs")]) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB, on ``runs``."""
    folder = tmp_path / "runs"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only who may mount a file system can fill one up")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    "place", [["--local"], pytest.param([], marks=[pytest.mark.ray, pytest.mark.acceptance])]
)
def test_a_disk_that_is_really_full_loses_nothing(
    ask: Ask,
    tmp_path: Path,
    small_disk: Path,
    capsys: pytest.CaptureFixture[str],
    place: list[str],
) -> None:
    common = [*place, "--epochs", "4", "--ending", "good", "bad"]
    assert ask(*common, "--trials", "2") == 0
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 40 * 2**10))
    capsys.readouterr()
    assert ask(*common, "--trials", "6") == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "Traceback" not in said
    assert ask(*common, "--trials", "6") == 2, "it is still full"
    assert "Traceback" not in capsys.readouterr().err
    filler.unlink()
    assert ask(*common, "--trials", "6") == 0
    assert {t.status for t in trials_in_log(tmp_path)} <= {"finished", "pruned"}
    assert doctor.main(["s", "--runs-dir", str(small_disk)]) == 0


def test_a_session_whose_first_five_trials_fail_is_given_up(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask("--local", "--epochs", "2", "--ending", "non_finite", "--trials", "9") == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the first 5 trials failed: loss nan in epoch 2")
    assert len(trials_in_log(tmp_path)) == 5
    assert runs_in_mlflow(tmp_path)[-1].info.status == "KILLED"


def test_a_study_without_a_finished_trial_says_why(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask("--local", "--ending", "non_finite", "--epochs", "3", "--trials", "1") == 1
    assert "loss nan in epoch 2" in capsys.readouterr().err
    assert "The most frequent reason, of 1: loss nan in epoch 2" in said_in_mlflow(tmp_path)


LOCAL = ("--local",)


def asked_with(
    scorecard: Scorecard, folder: Path, *arguments: str, place: Sequence[str] = LOCAL
) -> int:
    """Asks a study of one trial that ends with what this scorecard shows."""
    where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]
    typed = [*place, "--ending", "good", "--epochs", "2", "--trials", "1", "--name", "s"]
    return main(replace(FAKE, scorecard=scorecard), [*typed, *arguments, *where])


FINALS = ("--finalists", "1", "--seeds", "2")


def report_of(folder: Path) -> Path:
    """Where a study's figures and tables are."""
    return folder / "runs" / "s" / "report"


def test_a_study_ends_with_all_that_its_scorecard_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked_with(FakeScorecard(), tmp_path, *FINALS) == 0
    said = capsys.readouterr().out
    assert said.count("planted: the card of the tosses") == 1
    assert "not made" not in said
    assert {path.name for path in report_of(tmp_path).iterdir()} == {
        *("figures", "report.html", "report.md", "tosses.csv", "tosses.md"),
        *("finals.csv", "finals.md", "finals.pdf", "finals.png"),
        *("loss_curves.csv", "loss_curves.pdf", "loss_curves.png"),
    }
    assert "## The tosses" in (report_of(tmp_path) / "report.md").read_text()


def test_an_analysis_that_cannot_be_made_does_not_keep_the_others_from_being_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cannot(study: RecordedStudy) -> Iterable[Card]:
        yield from a_card(study)
        raise InputError("planted: no weights")

    assert asked_with(FakeScorecard(cannot), tmp_path, *FINALS) == 0
    said = capsys.readouterr().out
    assert said.count("not made: planted: no weights") == 1
    for made in ("finals.md", "finals.png", "loss_curves.csv", "loss_curves.png", "report.html"):
        assert (report_of(tmp_path) / made).stat().st_size > 0
        assert str(report_of(tmp_path) / made) in said
    text = (report_of(tmp_path) / "report.md").read_text()
    assert "## The tosses\n\nNot there: planted: no weights." in text
    assert not (report_of(tmp_path) / "tosses.csv").exists()
    assert runs_in_mlflow(tmp_path)[-1].info.status == "FINISHED"
    assert "is the champion" in said_in_mlflow(tmp_path)


def test_a_study_whose_analyses_are_interrupted_has_ended_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(study: RecordedStudy) -> Iterable[Card]:
        del study
        raise KeyboardInterrupt

    assert asked_with(FakeScorecard(interrupted), tmp_path) == 130
    assert runs_in_mlflow(tmp_path)[-1].info.status == "FINISHED"
    capsys.readouterr()
    assert asked_with(FakeScorecard(), tmp_path) == 0
    assert "planted: the card of the tosses" in capsys.readouterr().out
    assert len(trials_in_log(tmp_path)) == 1


def test_an_mlflow_that_goes_away_while_a_study_is_analysed_is_said_and_made_up_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(study: RecordedStudy) -> Iterable[Card]:
        del study
        raise MlflowException("planted: it is away")

    assert asked_with(FakeScorecard(away), tmp_path, *FINALS) == 1
    said = capsys.readouterr()
    assert "error: MLflow cannot be told; nothing is lost; once it can be, the same" in said.err
    assert "Traceback" not in said.err
    assert "not made" not in said.out
    assert asked_with(FakeScorecard(), tmp_path, *FINALS) == 0
    said = capsys.readouterr()
    assert (said.err, said.out.count("planted: the card of the tosses")) == ("", 1)
    assert runs_in_mlflow(tmp_path)[-1].info.status == "FINISHED"
    assert len(trials_in_log(tmp_path)) == 3


def test_a_trial_that_cannot_be_scored_keeps_the_others_from_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing(FakeScorecard):
        def outcomes(self, problem: Any, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
            if trial.config["seed"] == 1:
                raise InputError("planted: another model")
            return super().outcomes(problem, trial, model)

    assert asked_with(Refusing(), tmp_path, *FINALS, "--seeds", "3") == 0
    said = capsys.readouterr().out
    assert "trial 1 was not scored: planted: another model" in said
    assert set(state_in_log(tmp_path).scores) == {0, 2, 3}
    assert (report_of(tmp_path) / "finals.csv").read_text().count("\n") == 1 + 2


def test_each_trial_is_scored_once_whoever_asks_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked_with(FakeScorecard(), tmp_path, *FINALS) == 0
    assert "scoring 3 trials on the test split" in capsys.readouterr().out
    assert set(state_in_log(tmp_path).scores) == {0, 1, 2}
    assert asked_with(FakeScorecard(), tmp_path, *FINALS) == 0
    assert "scoring" not in capsys.readouterr().out
    assert asked_with(FakeScorecard(), tmp_path, *FINALS, "--seeds", "3") == 0
    assert "scoring 1 trial on the test split" in capsys.readouterr().out


@pytest.mark.ray
def test_trials_are_scored_on_ray_as_they_are_in_this_process(tmp_path: Path) -> None:
    here, ray = tmp_path / "here", tmp_path / "ray"
    assert asked_with(FakeScorecard(), here, *FINALS) == 0
    assert asked_with(FakeScorecard(), ray, *FINALS, place=()) == 0
    scored, expected = state_in_log(ray).scores, state_in_log(here).scores
    assert scored.keys() == {0, 1, 2}
    assert {n: each.scores for n, each in scored.items()} == {
        n: each.scores for n, each in expected.items()
    }


def test_an_error_that_nobody_foresaw_leaves_no_run_open(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="planted"):
        ask("--local", "--ending", "raises", "--epochs", "3", "--trials", "1")
    statuses = {number: run.info.status for number, run in runs_in_mlflow(tmp_path).items()}
    assert statuses == {-1: "KILLED", 0: "KILLED"}
