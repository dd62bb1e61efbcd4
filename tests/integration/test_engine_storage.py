"""The shared storage: an S3 that runs in this process, folders, and what is wrong with them."""

import os
import shutil
import time
from pathlib import Path

import boto3
import pytest
from fake_study import FAKE
from s3fs import S3FileSystem
from studies.records import Records, Trial
from studies.shared_copy import SharedCopy
from upath import UPath

from datasets.errors import InputError
from datasets.files import write_whole
from engine import lease
from engine.on_ray import nodes
from engine import storage as storage_module
from engine.storage import open_storage
from engine.main import main
from studies import doctor

BUCKET = "orrery-test"


@pytest.fixture(scope="module")
def s3(s3_environment: None) -> str:
    """A bucket."""
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return f"s3://{BUCKET}/orrery"


def command(folder: Path, storage: str, trials: int = 4) -> list[str]:
    return [
        *("--local", "--ending", "good", "bad", "--epochs", "3", "--name", "s", "--keep", "1"),
        *("--trials", str(trials), "--storage", storage),
        *("--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")),
    ]


def keys(prefix: str) -> list[str]:
    found = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"orrery/{prefix}")
    return [each["Key"].removeprefix("orrery/") for each in found.get("Contents", [])]


@pytest.mark.parametrize("kind", ["s3", "folder"])
def test_a_study_goes_on_although_the_disk_of_its_driver_is_lost(kind, s3, tmp_path, capsys):
    storage = f"{s3}/lost" if kind == "s3" else str(tmp_path / "shared")
    assert main(FAKE, command(tmp_path, storage, trials=4)) == 0
    for study_folder in ("ledger", "trials", "optuna.log"):
        lost = tmp_path / "runs" / "s" / study_folder
        shutil.rmtree(lost) if lost.is_dir() else lost.unlink(missing_ok=True)
    capsys.readouterr()
    assert main(FAKE, command(tmp_path, storage, trials=6)) == 0
    said = capsys.readouterr().out
    assert f"study s: taken from {storage}" in said
    assert "4 ended trials" in said
    assert "study s: 4 of 6 trials done" in said
    assert doctor.main(["s", "--runs-dir", str(tmp_path / "runs")]) == 0


def test_a_study_goes_on_although_mlflow_knows_nothing_of_it_any_more(tmp_path, capsys):
    storage = str(tmp_path / "shared")
    assert main(FAKE, command(tmp_path, storage, trials=4)) == 0
    assert main(FAKE, command(tmp_path / "new", storage, trials=5)) == 0
    assert "study s: 4 of 5 trials done" in capsys.readouterr().out
    assert doctor.main(["s", "--runs-dir", str(tmp_path / "new" / "runs")]) == 0


def test_what_is_in_the_bucket(s3, tmp_path):
    assert main(FAKE, command(tmp_path, f"{s3}/in")) == 0
    there = keys("in/studies/s/")
    assert [key for key in there if "/ledger/" in key] == [
        f"in/studies/s/ledger/trial-{number:05d}.parquet" for number in range(4)
    ]
    # Of the best trial, of the best of each ending and of the two baselines one checkpoint each.
    assert len([key for key in there if key.endswith("state.pt")]) <= 4
    assert not [key for key in there if "probe" in key]
    pieces = [key for key in there if "/optuna/" in key]
    journal = tmp_path / "runs" / "s" / "optuna.log"
    bodies = [
        boto3.client("s3").get_object(Bucket=BUCKET, Key=f"orrery/{key}")["Body"].read()
        for key in pieces
    ]
    assert b"".join(bodies) == journal.read_bytes()


def test_another_study_of_the_same_name_in_the_storage_is_refused(tmp_path, capsys):
    storage = str(tmp_path / "shared")
    assert main(FAKE, command(tmp_path / "one", storage)) == 0
    assert main(FAKE, command(tmp_path / "two", str(tmp_path / "other"))) == 0
    shutil.rmtree(tmp_path / "other")
    shutil.copytree(tmp_path / "shared", tmp_path / "other")
    capsys.readouterr()
    assert main(FAKE, command(tmp_path / "two", str(tmp_path / "other"))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "do not know the same study" in line


def refused(storage: str, tmp_path: Path, capsys) -> str:
    assert main(FAKE, command(tmp_path, storage)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


def test_a_bucket_that_does_not_exist_is_refused(s3, tmp_path, capsys):
    line = refused("s3://no-such-bucket/orrery", tmp_path, capsys)
    assert line.startswith("error: --storage s3://no-such-bucket/orrery: there is no such bucket")


def test_missing_credentials_are_called_so(s3, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    S3FileSystem.clear_instance_cache()  # what it remembers has credentials, or has none
    line = refused("s3://orrery-test/else", tmp_path, capsys)
    S3FileSystem.clear_instance_cache()
    assert "cannot be used (Unable to locate credentials" in line


def test_a_password_in_the_address_is_refused_and_not_repeated(tmp_path, capsys):
    line = refused("ftp://me:s3cret@somewhere/orrery", tmp_path, capsys)
    assert line.startswith("error: --storage ftp://***@somewhere/orrery: expected no user or pass")
    assert "s3cret" not in line


def test_an_unknown_kind_of_storage_is_refused(tmp_path, capsys):
    line = refused("ftps://somewhere/orrery", tmp_path, capsys)
    assert line.startswith("error: --storage ftps://somewhere/orrery: cannot be used")


def test_a_server_of_mlflow_that_is_not_there_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    line = refused(str(tmp_path / "shared"), tmp_path, capsys)
    assert "the tracking server http://127.0.0.1:1 does not answer" in line


def test_a_folder_on_a_disk_of_the_head_is_refused_before_nodes_come(tmp_path, monkeypatch):
    head = nodes.Node("head", "10.0.0.1", "k", 0, 0)
    kind = nodes.Node("gpu_spot", "", "", 4, 1)
    monkeypatch.setattr(nodes, "alive", lambda: [head])
    monkeypatch.setattr(nodes, "to_come", lambda: [kind])
    with pytest.raises(ValueError, match="lies on a disk of this node"):
        storage_module.check_nodes(storage_module.open_storage(str(tmp_path / "shared")))


@pytest.fixture
def soon(monkeypatch) -> None:
    """A driver that is dead is found dead in no time."""
    monkeypatch.setattr(lease, "BEAT", 0.1)
    monkeypatch.setattr(lease, "WATCHED", 3.0)


@pytest.mark.parametrize("kind", ["s3", "folder"])
def test_a_study_that_another_machine_runs_is_left_to_it(kind, s3, soon, tmp_path, capsys):
    storage = f"{s3}/held" if kind == "s3" else str(tmp_path / "shared")
    with lease.lease(open_storage(storage) / "studies" / "s", tmp_path / "elsewhere", print):
        assert main(FAKE, command(tmp_path, storage)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {storage}/studies/s is run by ")
    assert f"{tmp_path}/elsewhere now: wait for it or interrupt it" in line
    assert main(FAKE, command(tmp_path, storage)) == 0


def test_a_driver_that_died_is_waited_for_elsewhere_but_not_where_it_ran(soon, tmp_path, capsys):
    storage = str(tmp_path / "shared")
    here, file = tmp_path / "runs" / "s", tmp_path / "shared" / "studies" / "s" / lease.FILE
    for died, waits in ((tmp_path / "elsewhere", True), (here, False)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{lease._here(died)}\na sign of life\n")
        assert main(FAKE, command(tmp_path, storage)) == 0
        assert ("did not take its leave" in capsys.readouterr().out) == waits
        assert not file.exists()


@pytest.mark.parametrize("kind", ["s3", "folder"])
def test_of_two_that_go_on_from_the_same_place_the_second_is_stopped(kind, s3, tmp_path):
    storage = UPath(f"{s3}/two") if kind == "s3" else UPath(tmp_path / "shared")
    copies = []
    for name in ("first", "second"):
        journal = tmp_path / name / "optuna.log"
        journal.parent.mkdir()
        journal.write_bytes(b"the same\n")
        copies.append(SharedCopy(storage, journal, Records(tmp_path / name / "ledger")))
    first, second = copies
    first.journal()
    second.journal()  # asked again after an answer that was lost, it finds its own
    first.journal_file.write_bytes(b"the same\nfirst's\n")
    second.journal_file.write_bytes(b"the same\nsecond's\n")
    first.journal()
    with pytest.raises(OSError, match="another run of this study went on"):
        second.journal()
    with pytest.raises(InputError, match="do not know the same study"):
        second.take()
    assert first.take() is None


def test_a_journal_that_lacks_a_piece_is_not_gone_on_with(tmp_path):
    journal = tmp_path / "optuna.log"
    copy = SharedCopy(UPath(tmp_path / "shared"), journal, Records(tmp_path / "ledger"))
    for size in (1, 2, 3):
        journal.write_bytes(b"a line\n" * size)
        copy.journal()
    (tmp_path / "shared" / "optuna" / f"{len('a line') + 1:012d}.log").unlink()
    journal.unlink()
    with pytest.raises(InputError, match=r"lacks what was before 000000000014\.log"):
        copy.take()
    assert not journal.exists()


@pytest.mark.parametrize("kind", ["s3", "folder"])
def test_a_trial_that_was_corrected_is_copied_again_and_no_other(kind, s3, tmp_path):
    storage = UPath(f"{s3}/corrected") if kind == "s3" else UPath(tmp_path / "shared")
    records, copy = copied(tmp_path, storage)
    there = [storage / "ledger" / records.path(number).name for number in range(2)]
    other = there[1].read_bytes().replace(b"right", b"other")
    there[1].write_bytes(other)  # newer than what is here
    records.write(trial(0, "fixed"))  # as long as before
    later = time.time() + 60
    os.utime(records.path(0), (later, later))
    copy.bring_up()
    assert there[0].read_bytes() == records.path(0).read_bytes()
    assert there[1].read_bytes() == other


def trial(number: int, reason: str) -> Trial:
    return Trial("x", number, f"{number:04d}", {}, False, state="failed", reason=reason)


def copied(folder: Path, storage: UPath) -> tuple[Records, SharedCopy]:
    """Two ended trials here and in the storage."""
    records, journal = Records(folder / "ledger"), folder / "optuna.log"
    journal.write_bytes(b"a line\n")
    for number in range(2):
        records.write(trial(number, "right"))
    copy = SharedCopy(storage, journal, records)
    copy.bring_up()
    return records, copy


@pytest.mark.parametrize("kind", ["s3", "folder"])
def test_a_file_that_is_damaged_or_gone_comes_back_and_is_not_copied(kind, s3, tmp_path):
    storage = UPath(f"{s3}/damaged") if kind == "s3" else UPath(tmp_path / "shared")
    records, copy = copied(tmp_path, storage)
    whole = records.path(0).read_bytes()
    for damage in (lambda file: file.write_bytes(whole[:-20]), Path.unlink):
        damage(records.path(0))
        copy.bring_up()
        assert (storage / "ledger" / records.path(0).name).read_bytes() == whole
        said = copy.take()
        assert said is not None
        assert said.endswith("1 ended trials")
        assert records.path(0).read_bytes() == whole
    assert copy.take() is None


@pytest.mark.parametrize("kind", ["s3", "folder"])
def test_what_was_taken_is_not_copied_back(kind, s3, tmp_path, monkeypatch):
    storage = UPath(f"{s3}/taken") if kind == "s3" else UPath(tmp_path / "shared")
    copied(tmp_path, storage)
    elsewhere = tmp_path / "elsewhere"
    copy = SharedCopy(storage, elsewhere / "optuna.log", Records(elsewhere / "ledger"))
    assert copy.take() == f"taken from {storage}: 2 ended trials"
    monkeypatch.setattr(SharedCopy, "trial", None)
    copy.bring_up()


def test_a_driver_that_was_taken_for_dead_writes_over_nothing(soon, tmp_path):
    store = UPath(tmp_path / "shared")
    with lease.lease(store, tmp_path / "first", print) as held:
        records, copy = copied(tmp_path, store)
        copy.lease = held
        held.check()
        there = store / "ledger" / records.path(0).name
        (store / lease.FILE).write_text(f"{lease._here(tmp_path / 'second')}\na sign\n")
        there.write_bytes(b"the second's")
        with pytest.raises(OSError, match=r"the study was taken by .*/second"):
            copy.trial(records.path(0))
        time.sleep(1)
        assert there.read_bytes() == b"the second's"
    assert "/second " in (store / lease.FILE).read_text()


def test_machines_of_the_same_name_are_told_apart(soon, tmp_path, monkeypatch):
    """As are containers, which also have the same folders."""
    store, folder = UPath(tmp_path / "shared"), tmp_path / "same"
    with lease.lease(store, folder, print):
        (folder / lease.KEY).unlink()
        with pytest.raises(InputError, match="is run by"), lease.lease(store, folder, print):
            pass


def test_doctor_leaves_a_study_that_another_machine_runs_alone(soon, tmp_path, capsys):
    storage = str(tmp_path / "shared")
    assert main(FAKE, command(tmp_path, storage)) == 0
    repair = ["s", "--repair", "--runs-dir", str(tmp_path / "runs")]
    with lease.lease(open_storage(storage) / "studies" / "s", tmp_path / "elsewhere", print):
        assert doctor.main(repair) == 2
    assert "elsewhere now: wait for it" in capsys.readouterr().err
    assert doctor.main(repair) == 0


def test_a_storage_in_which_a_driver_could_write_over_another_is_refused(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(storage_module, "write_new", write_whole)
    line = refused(str(tmp_path / "shared"), tmp_path, capsys)
    assert "could be written over by another driver" in line


def test_a_driver_that_comes_between_the_look_and_the_lease_keeps_it(tmp_path, monkeypatch):
    store = UPath(tmp_path / "shared")
    look = lease.check_free

    def overtaken(*arguments) -> None:
        look(*arguments)
        (tmp_path / "shared").mkdir()
        (store / lease.FILE).write_text(f"{lease._here(tmp_path / 'second')}\na sign\n")

    monkeypatch.setattr(lease, "check_free", overtaken)
    with pytest.raises(InputError, match="/second now"), lease.lease(store, tmp_path / "a", print):
        pass
    assert "/second " in (store / lease.FILE).read_text()
