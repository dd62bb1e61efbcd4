"""The shared storage: an S3 that runs in this process, folders, and what is wrong with them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from fake_study import FAKE
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from studies import doctor, nodes
from studies import storage as storage_module
from studies.study import main

BUCKET = "orrery-test"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket; the environment leads every client of S3 to it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}/orrery"
    server.stop()


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
    S3FileSystem.clear_instance_cache()
    line = refused("s3://orrery-test/else", tmp_path, capsys)
    assert "cannot be used (Unable to locate credentials" in line


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
