"""What was changed in MLflow by hand, or is wrong with checkpoints, is found and repaired."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import filelock
import pytest
from happened import began, ended, ended_session, placed, proposed, reported, story
from mlflow.entities import Metric
from planted import KEPT, Planted
from upath import UPath

from engine import lease
from record import names
from record.events import Event, Proposed
from record.folder import StudyFolder
from record.log import FileLog
from record.state import fold
from record.store_log import StoreLog
from record.tracker import StudyFacts
from studies import doctor

CONFIG = {"seed": 0, "epochs": 3, "width": 32}


def with_keep(count: str) -> dict[str, str]:
    return {**began().settings, names.KEEP: count}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two sessions, with a final."""
    folder = tmp_path_factory.mktemp("recorded")
    Planted(folder).record()
    return folder


@pytest.fixture
def planted(recorded: Path, tmp_path: Path) -> Planted:
    runs = tmp_path / "runs"
    shutil.copytree(recorded, runs)
    return Planted(runs)


def tag_removed(planted: Planted) -> None:
    planted.client.delete_tag(planted.run_id(1), names.STATE)


def tag_of_the_role_removed(planted: Planted) -> None:
    planted.client.delete_tag(planted.run_id(3), names.REPLICATE_OF)


def tag_changed(planted: Planted) -> None:
    planted.client.set_tag(planted.run_id(1), names.STATE, "done")


def status_changed(planted: Planted) -> None:
    planted.client.set_terminated(planted.run_id(1), "FAILED")


def no_end(planted: Planted) -> None:
    planted.client.update_run(planted.run_id(1), status="RUNNING")


def study_left_running(planted: Planted) -> None:
    planted.client.update_run(planted.run_id(None), status="RUNNING")


def study_ended_otherwise(planted: Planted) -> None:
    planted.client.set_terminated(planted.run_id(None), "KILLED")


def orphan(planted: Planted) -> None:
    planted.client.set_tag(planted.run_id(3), names.PARENT, planted.run_id(1))


def epochs_missing(planted: Planted) -> None:
    planted.forget_epoch(0, 2)


def epoch_twice(planted: Planted) -> None:
    again = [Metric("epoch", 2, 1, 2), Metric("validation/r2", 0.5, 1, 2)]
    planted.client.log_batch(planted.run_id(0), metrics=again)


def number_twice_at_one_moment(planted: Planted) -> None:
    at_once = fold(story()).trial(0).reports[1].unix_ms
    again = [Metric("validation/r2", 0.7, at_once, 2)]
    planted.client.log_batch(planted.run_id(0), metrics=again)


def epoch_too_many(planted: Planted) -> None:
    planted.client.log_batch(planted.run_id(1), metrics=[Metric("epoch", 3, 1, 3)])


def other_value_in_mlflow(planted: Planted) -> None:
    where = "where run_uuid = ? and key = 'validation/r2' and step = 1"
    planted.execute(f"update metrics set value = 0.25 {where}", planted.run_id(1))


def number_removed(planted: Planted) -> None:
    where = "where run_uuid = ? and key = 'memory_gib' and step = 1"
    planted.execute(f"delete from metrics {where}", planted.run_id(1))


def configuration_removed(planted: Planted) -> None:
    planted.execute("delete from params where run_uuid = ?", planted.run_id(2))


def two_runs(planted: Planted) -> None:
    planted.client.create_run(planted.experiment, tags=planted.run(1).data.tags)


def run_half_put_away(planted: Planted) -> None:
    tags = {**planted.run(1).data.tags, names.REPLACED: "true"}
    planted.client.create_run(planted.experiment, tags=tags)


def run_of_nobody(planted: Planted) -> None:
    tags = {**planted.run(1).data.tags, names.NUMBER: "77"}
    planted.client.create_run(planted.experiment, tags=tags)


def checkpoint_too_many(planted: Planted) -> None:
    planted.save(0, 2)


def checkpoints_left(planted: Planted) -> None:
    planted.save(2, 1)


def checkpoint_half_written(planted: Planted) -> None:
    file = planted.save(0, 4)
    file.write_bytes(file.read_bytes()[:-50])


def no_run(planted: Planted) -> None:
    """As `mlflow gc` removes it."""
    run_id = planted.run_id(0)
    for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
        planted.execute(f"delete from {table} where run_uuid = ?", run_id)


PLANTED: dict[Callable[[Planted], None], str] = {
    tag_removed: "trial 1: its run lacks the tag orrery.state; to repair: tell MLflow",
    tag_of_the_role_removed: (
        "trial 3: its run lacks the tag orrery.replicate_of; to repair: tell MLflow"
    ),
    tag_changed: "trial 1: its run has orrery.state 'done', not 'pruned'; to repair: tell MLflow",
    status_changed: "trial 1: its run is FAILED, not FINISHED; to repair: tell MLflow",
    no_end: "trial 1: its run is RUNNING, not FINISHED; to repair: tell MLflow",
    study_left_running: "the study: its own run is RUNNING, and nobody is running it",
    study_ended_otherwise: "the study: its own run is KILLED, in the log FINISHED",
    orphan: "trial 3: its run hangs under another one than it should",
    epochs_missing: "trial 0: MLflow lacks epochs [2] of 3; to repair: move the run",
    epoch_twice: "trial 0: MLflow has epochs [2] twice; to repair: move the run",
    number_twice_at_one_moment: "trial 0: MLflow has epochs [2] twice; to repair: move the run",
    epoch_too_many: "trial 1: MLflow has epochs [3], the log does not; to repair: move the run",
    other_value_in_mlflow: "trial 1: validation/r2 of epoch 1 is 0.25 in MLflow, 0.5 in the log",
    number_removed: "trial 1: memory_gib of epoch 1 is 0.0 in MLflow, 0.25 in the log",
    configuration_removed: "trial 2: its run lacks its configuration; to repair: tell MLflow",
    two_runs: "trial 1: MLflow has another run of it; to repair: move the other one",
    run_half_put_away: "trial 1: MLflow has another run of it; to repair: move the other one",
    run_of_nobody: "trial 77: MLflow has a run of it, the log does not know it; to repair: move",
    checkpoint_too_many: "trial 0: 2 checkpoints are left of it, 1 is to be kept; to repair: rem",
    checkpoints_left: "trial 2: 1 checkpoints are left of it, 0 is to be kept",
    checkpoint_half_written: "trial 0: 2 checkpoints are left of it, 1 is to be kept",
    no_run: "trial 0: MLflow has no run of it; to repair: tell MLflow what the log says",
}

PUTS_AWAY = (epochs_missing, epoch_twice, number_twice_at_one_moment, epoch_too_many)
PUTS_AWAY += (other_value_in_mlflow, number_removed, two_runs, run_half_put_away, run_of_nobody)


def test_a_healthy_study_has_nothing_to_repair(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    before = planted.files()
    runs = planted.client.search_runs([planted.experiment])
    assert planted.look() == 0
    said = capsys.readouterr().out
    assert said.rstrip().endswith("MLflow shows what the log says")
    assert [line.split() for line in said.splitlines()[:5]] == [
        ["trials", "log", "MLflow"],
        ["finished", "2", "2"],
        ["pruned", "1", "1"],
        ["failed", "1", "1"],
        ["all", "4", "4"],
    ]
    assert planted.look("--repair") == 0
    assert planted.files() == before
    again = planted.client.search_runs([planted.experiment])
    assert [run.to_dictionary() for run in again] == [run.to_dictionary() for run in runs]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_disagreement_is_found_and_repaired(
    plant: Callable[[Planted], None], planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(planted)
    before = planted.files()
    assert planted.look() == 1
    said = capsys.readouterr().out
    assert PLANTED[plant] in said
    assert said.rstrip().endswith("--repair does it")
    assert planted.files() == before, "nothing is changed unless it is asked for"
    assert planted.look("--repair") == 0
    said = capsys.readouterr().out
    assert "repaired; read again:" in said
    assert said.rstrip().endswith("MLflow shows what the log says")
    assert planted.look() == 0
    assert len(planted.put_away()) == (plant in PUTS_AWAY), "nothing is destroyed"


def test_a_run_that_is_recorded_anew_is_called_as_before(planted: Planted) -> None:
    before = planted.run(1)
    epoch_too_many(planted)
    assert planted.look("--repair") == 0
    again = planted.run(1)
    assert again.info.run_id != before.info.run_id
    assert again.info.run_name == before.info.run_name
    told = {key: text for key, text in again.data.tags.items() if not key.startswith("mlflow.")}
    known = before.data.tags.items()
    assert told == {key: text for key, text in known if not key.startswith("mlflow.")}
    assert "orrery.data" in told


def test_a_final_goes_with_the_run_that_its_trial_is_recorded_in_anew(planted: Planted) -> None:
    epoch_twice(planted)
    assert planted.look("--repair") == 0
    assert planted.run(3).data.tags[names.PARENT] == planted.run_id(0)


def test_a_run_that_was_deleted_by_hand_stays_deleted(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.client.delete_run(planted.run_id(0))
    assert planted.look() == 1
    said = capsys.readouterr().out
    assert "trial 0:" not in said
    assert ["deleted", "by", "hand", "0", "1"] in [line.split() for line in said.splitlines()]
    assert "trial 3: its run hangs under another one than it should" in said
    assert planted.look("--repair") == 0
    assert planted.put_away() == []
    with pytest.raises(StopIteration):
        planted.run(0)


def test_a_study_that_was_killed_is_closed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = Planted(tmp_path)
    events = [began(), proposed(0), placed(0), reported(0, 1), proposed(1)]
    FileLog(planted.study.log).append(events)
    planted.show(events)
    assert planted.look() == 1
    said = capsys.readouterr().out
    assert "the study: its own run is RUNNING, and nobody is running it" in said
    assert "trial 0: its run has orrery.state 'running', not 'stopped'" in said
    assert planted.look("--repair") == 0
    assert planted.run(0).info.status == planted.run(None).info.status == "KILLED"


def gone(planted: Planted, file: Path) -> str:
    shutil.rmtree(file.parent)
    return "the checkpoint that is kept of it is gone or damaged; to repair: there is no other"


def damaged(planted: Planted, file: Path) -> str:
    file.write_bytes(file.read_bytes()[:-50])
    return "the checkpoint that is kept of it is gone or damaged; to repair: there is no other"


def older(planted: Planted, file: Path) -> str:
    shutil.rmtree(file.parent)
    planted.save(0, 2)
    return "its checkpoint is of epoch 2, and it did 3; to repair: there is no other"


@pytest.mark.parametrize("spoil", [gone, damaged, older])
def test_what_cannot_be_repaired_is_said(
    spoil: Callable[[Planted, Path], str], planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    said = spoil(planted, planted.save(0, 3))
    assert planted.look("--repair") == 1
    told = capsys.readouterr().out
    assert f"trial 0: {said}" in told
    assert "--repair does it" not in told
    assert "repaired" not in told


def test_an_older_session_that_kept_fewer_checkpoints_is_no_fault(tmp_path: Path) -> None:
    """That of trial 1 is gone since the second one, which kept none but the best."""
    planted = Planted(tmp_path)
    ends: list[Event] = []
    for n in range(3):
        ends += [proposed(n), placed(n), reported(n, 1, 2), ended(n, r2=n / 10)]
    sessions = [began(n, settings=with_keep(keep)) for n, keep in ((1, "2"), (2, "0"), (3, "2"))]
    events = [sessions[0], *ends, ended_session(1), *sessions[1:], ended_session(3)]
    same_width = [replace(e, config=CONFIG) if isinstance(e, Proposed) else e for e in events]
    FileLog(planted.study.log).append(same_width)
    planted.show(same_width)
    planted.save(2, 3)
    assert planted.look() == 0
    planted.save(1, 3)
    assert planted.look() == 0, "it may be there"
    planted.save(0, 3)
    assert planted.look() == 1


def test_an_open_trial_may_have_any_checkpoints_that_are_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = Planted(tmp_path)
    events = [began(), proposed(0), placed(0), reported(0, 1), ended_session(1, "KILLED")]
    FileLog(planted.study.log).append(events)
    planted.show(events)
    assert planted.look() == 0
    for epochs in (1, 2):
        file = planted.save(0, epochs)
    assert planted.look() == 0
    file.write_bytes(file.read_bytes()[:-50])
    capsys.readouterr()
    assert planted.look() == 1
    name = "session-0002/trial-00000/checkpoint_000002"
    assert f"trial 0: its checkpoint {name} is damaged" in capsys.readouterr().out
    assert planted.look("--repair") == 0
    assert [each.name for each in file.parents[1].iterdir()] == ["checkpoint_000001"]


def test_a_study_in_a_shared_storage_is_found_by_what_mlflow_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.1)
    monkeypatch.setattr(lease, "WATCHED", 0.3)
    planted = Planted(tmp_path / "runs")
    planted.study = shared = StudyFolder(tmp_path / "runs", "s", UPath(tmp_path / "store"))
    assert shared.store_log is not None
    StoreLog(shared.store_log).append(story())
    for number, epochs in KEPT.items():
        planted.save(number, epochs)
    planted.show(
        story(), StudyFacts("x", "Why?", {}, {names.STORAGE: str(shared.sessions)}, {}, ("", ""))
    )
    tag_removed(planted)
    assert planted.look("--repair") == 0
    assert "1 repaired" in capsys.readouterr().out
    store = tmp_path / "store" / "studies" / "s"
    there = sorted(each.name for each in store.iterdir())
    assert there == ["log", "trials"], "the study was given back"
    elsewhere = StudyFolder(tmp_path / "elsewhere", "s", UPath(tmp_path / "store"))
    with lease.lease(elsewhere, print):
        assert planted.look() == 2
    assert "is run by" in capsys.readouterr().err


def refused(planted: Planted, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert planted.look(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


def test_a_running_study_is_left_alone(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    with filelock.FileLock(planted.study.lock):
        assert "the study s is running" in refused(planted, capsys)


def test_a_study_that_is_not_there_is_named(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.main(["other", "--runs-dir", str(planted.study.runs_dir)]) == 2
    assert "no study other in" in capsys.readouterr().err
    assert not (planted.study.runs_dir / "other").exists()


def test_a_study_of_an_older_version_is_named(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.study.log.rename(planted.study.path / "optuna.log")
    assert "was recorded by version 0.2.0 or older, which kept no log" in refused(planted, capsys)


def test_a_study_that_mlflow_lost_is_left_to_its_own_command(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.client.delete_run(planted.run_id(None))
    assert planted.look("--repair") == 1
    assert "the study: MLflow has no run of it" in capsys.readouterr().out
    planted.database.unlink()
    assert "its own command records it anew" in refused(planted, capsys)
    assert not planted.database.exists()


def test_another_study_of_the_same_name_is_not_repaired(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.study.log.unlink()
    FileLog(planted.study.log).append([began(identity="another"), proposed(0), placed(0)])
    assert "do not know the same study s" in refused(planted, capsys, "--repair")


def test_a_tracking_server_that_is_away_is_named(
    planted: Planted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "the tracking server http://127.0.0.1:9 does not answer" in refused(planted, capsys)


def test_a_damaged_log_is_named(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    content = planted.study.log.read_bytes()
    planted.study.log.write_bytes(content.replace(b"0123", b"0124") + content)
    assert "is damaged" in refused(planted, capsys)


def test_a_runs_folder_that_several_machines_mount_is_named(
    planted: Planted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Locks may be missing there, and SQLite's database be damaged."""
    monkeypatch.setattr(doctor, "file_system", lambda _: "nfs4")
    planted.look()
    assert f"{planted.study.path} lies on nfs4, which several" in capsys.readouterr().out
