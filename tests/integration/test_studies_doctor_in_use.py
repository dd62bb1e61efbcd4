"""The doctor's look at studies that were really run: whole ones, killed ones, ones in a store."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import boto3
import optuna
import pytest
import trained_studies
from asked import ask_in
from crashing import dies, killed_in
from fake_study import FAKE
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from planted import Planted

import record.appender
from record import names
from studies import doctor, export, projection
from studies.study import main
from studies.trials import Trials

ENDINGS = ("--local", "--ending", "good", "bad", "non_finite", "--epochs", "3", "--keep", "1")

OPEN = 6
"""Number of the trial that `stopped` was stopped in."""


def test_a_study_that_was_trained_is_healthy(
    trained_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in trained_studies.ASKED:
        assert doctor.main([name, "--runs-dir", str(trained_copy)]) == 0
        assert "MLflow shows what the log says" in capsys.readouterr().out


@pytest.mark.ray
def test_a_study_that_ray_ran_is_healthy(
    stopped_early: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.main(["s", "--runs-dir", str(stopped_early / "runs")]) == 0
    said = capsys.readouterr().out
    assert any(line.startswith("pruned") for line in said.splitlines())
    assert "MLflow shows what the log says" in said


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of six ended trials, good, bad and failed, and one that was stopped in between."""
    folder = tmp_path_factory.mktemp("stopped")
    real = Trials.saved

    def interrupted(self: Trials, number: int, name: str) -> None:
        real(self, number, name)
        if number == OPEN:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trials, "saved", interrupted)
        patch.setenv("ORRERY_FINALISTS", "0")
        assert ask_in(folder, *ENDINGS, "--trials", "9") == 130
    assert Planted(folder / "runs").look() == 0
    return folder


def of_status(planted: Planted, status: str) -> int:
    """The first trial that is shown so."""
    runs = planted.client.search_runs([planted.experiment])
    there = [run.data.tags for run in runs if run.data.tags.get(names.STATE) == status]
    return min(int(tags[names.NUMBER]) for tags in there)


def no_end(planted: Planted) -> None:
    planted.client.update_run(planted.run_id(OPEN), status="RUNNING")


def study_left_running(planted: Planted) -> None:
    planted.client.update_run(planted.run_id(None), status="RUNNING")


def wrong_state(planted: Planted) -> None:
    run = planted.run_id(of_status(planted, "finished"))
    planted.client.set_tag(run, names.STATE, "failed")
    planted.client.set_terminated(run, "FAILED")


def orphan(planted: Planted) -> None:
    planted.client.set_tag(planted.run_id(3), names.PARENT, "another")


def two_runs(planted: Planted) -> None:
    planted.client.create_run(planted.experiment, tags=planted.run(2).data.tags)


def no_run(planted: Planted) -> None:
    """As `mlflow gc` removes it."""
    run_id = planted.run_id(1)
    for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
        planted.execute(f"delete from {table} where run_uuid = ?", run_id)


def checkpoints_left(planted: Planted) -> None:
    planted.save(of_status(planted, "failed"), 1)


def checkpoint_cut_off(planted: Planted) -> None:
    file = planted.save(OPEN, 2)
    file.write_bytes(file.read_bytes()[:-50])


SEEN_BY_A_START = (no_end, study_left_running, wrong_state, orphan, two_runs, no_run)
SEEN_BY_A_START += (checkpoints_left, checkpoint_cut_off)


@pytest.mark.parametrize("plant", SEEN_BY_A_START, ids=lambda plant: plant.__name__)
def test_a_study_repairs_what_it_finds_and_goes_on(
    plant: Callable[[Planted], None],
    stopped: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    planted = Planted(trained_studies.copied_runs(stopped / "runs", tmp_path / "runs"))
    plant(planted)
    assert planted.look() == 1
    assert ask_in(tmp_path, *ENDINGS, "--trials", "9") == 0
    assert "best of 9 trials" in capsys.readouterr().out
    assert planted.look() == 0
    assert planted.put_away() == [] or plant is two_runs


def dies_at(call: int, arguments: Sequence[str]) -> None:
    """Asks the fake study in this process, and kills it when a checkpoint is heard of for the
    so-manieth time. MLflow is told at once, and the log written as late as can be."""
    real, calls = Trials.saved, 0

    def saved(self: Trials, number: int, name: str) -> None:
        nonlocal calls
        real(self, number, name)
        calls += 1
        if calls == call:
            time.sleep(0.5)  # for MLflow to be told what it may know
            dies()

    Trials.saved = saved
    projection.PATIENCE = 0.0
    record.appender.PATIENCE = 3600.0
    main(FAKE, arguments)


def killed(folder: Path, call: int) -> bool:
    """Whether the driver was killed at that call."""
    where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]
    arguments = [*where, "--name", "s", *ENDINGS, "--trials", "4"]
    return killed_in(dies_at, call, arguments)


@pytest.mark.parametrize("call", [1, 2, 3, 5])
def test_of_a_study_that_was_killed_mlflow_knows_no_more_than_the_log(
    call: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert killed(tmp_path, call)
    planted = Planted(tmp_path / "runs")
    assert planted.look() == 1
    said = capsys.readouterr().out
    found = re.findall(r"^(?:the study|trial \d+): (.*); to repair: (.*)$", said, re.MULTILINE)
    assert found
    assert "its own run is RUNNING" in said
    for what, cure in found:
        assert "MLflow has epochs" not in what
        assert cure in ("end it there as the log says", "tell MLflow what the log says")
    assert planted.look("--repair") == 0
    assert ask_in(tmp_path, *ENDINGS, "--trials", "4") == 0
    assert planted.look() == 0


@pytest.fixture(scope="module")
def in_s3(s3_environment: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study in a bucket: its folder, and the address of the storage."""
    del s3_environment
    boto3.client("s3").create_bucket(Bucket="doctor")
    folder, storage = tmp_path_factory.mktemp("s3"), "s3://doctor/orrery"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORRERY_FINALISTS", "0")
        assert ask_in(folder, *ENDINGS, "--trials", "6", "--storage", storage) == 0
    return folder, storage


def keys() -> list[str]:
    found = boto3.client("s3").list_objects_v2(Bucket="doctor").get("Contents", [])
    return sorted(each["Key"] for each in found)


def test_a_study_in_a_bucket_is_examined_and_repaired(
    in_s3: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, storage = in_s3
    planted, before = Planted(folder / "runs"), keys()
    assert planted.look() == 0, "MLflow says where its log is"
    failed = of_status(planted, "failed")
    planted.client.set_terminated(planted.run_id(failed), "FINISHED")
    left = f"orrery/studies/s/trials/session-0001/trial-{failed:05d}/checkpoint_000001/state.pt"
    boto3.client("s3").put_object(Bucket="doctor", Key=left, Body=b"half of one")
    capsys.readouterr()
    assert planted.look("--storage", storage) == 1
    said = capsys.readouterr().out
    assert f"trial {failed}: its run is FINISHED, not FAILED" in said
    assert f"trial {failed}: 1 checkpoints are left of it, 0 is to be kept" in said
    assert planted.look("--repair") == 0
    assert keys() == before, "and the study is given back"


def test_a_study_in_a_bucket_is_exported(in_s3: tuple[Path, str], tmp_path: Path) -> None:
    folder, storage = in_s3
    file = tmp_path / "s.export"
    where = ["--runs-dir", str(folder / "runs"), "--storage", storage]
    assert export.main(["s", *where, "--optuna", str(file)]) == 0
    journal = JournalStorage(JournalFileBackend(str(file)))
    states = [
        trial.state.name for trial in optuna.load_study(study_name="s", storage=journal).trials
    ]
    assert len(states) == 6
    assert set(states) == {"COMPLETE", "FAIL"}
