"""The shared storage: an S3 that runs in this process, folders, and what is wrong with them."""

import shutil
import time
from pathlib import Path

import boto3
import pytest
from asked import runs_in_mlflow
from fake_study import FAKE
from happened import began
from s3fs import S3FileSystem

from datasets.files import write_whole
from engine import lease
from engine import storage as storage_module
from engine.checkpoints import Checkpoints
from engine.driver import Driver, Verdict
from engine.history import History
from engine.main import main
from engine.on_ray import nodes
from engine.on_ray.shared_storage import check_nodes
from engine.storage import open_storage
from record.folder import StudyFolder
from record.log import Superseded
from record.state import StudyState, fold
from record.store_log import StoreLog
from studies import doctor
from trainables.message import Message

BUCKET = "orrery-test"

KINDS = pytest.mark.parametrize("kind", ["s3", "folder"])


@pytest.fixture(scope="module")
def s3(s3_environment: None) -> str:
    """A bucket."""
    del s3_environment
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return f"s3://{BUCKET}/orrery"


@pytest.fixture
def storage(kind: str, s3: str, tmp_path: Path) -> str:
    """The address of a storage of the test's own, of the kind that it names."""
    return f"{s3}/{tmp_path.name}" if kind == "s3" else str(tmp_path / "shared")


Capture = pytest.CaptureFixture[str]


def command(folder: Path, storage: str | None, trials: int = 4) -> list[str]:
    return [
        *("--local", "--ending", "good", "bad", "--epochs", "3", "--name", "s", "--keep", "1"),
        *("--trials", str(trials), *(("--storage", storage) if storage else ())),
        *("--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")),
    ]


def study_in(storage: str, folder: Path) -> StudyFolder:
    return StudyFolder(folder / "runs", "s", open_storage(storage))


def log_in(storage: str, folder: Path) -> StoreLog:
    at = study_in(storage, folder).store_log
    assert at is not None
    return StoreLog(at)


def state_in(storage: str, folder: Path) -> StudyState:
    return fold(log_in(storage, folder).read())


def keys(prefix: str) -> list[str]:
    found = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"orrery/{prefix}")
    return [each["Key"].removeprefix("orrery/") for each in found.get("Contents", [])]


def one_line(captured: Capture) -> str:
    """What was said on stderr."""
    (line,) = captured.readouterr().err.splitlines()
    return line


@KINDS
def test_a_study_goes_on_although_the_disk_of_its_driver_is_lost(
    storage: str, tmp_path: Path, capsys: Capture
) -> None:
    assert main(FAKE, command(tmp_path, storage, trials=4)) == 0
    assert not (tmp_path / "runs" / "s" / "log.jsonl").exists(), "the storage has the one log"
    shutil.rmtree(tmp_path / "runs" / "s")
    capsys.readouterr()
    assert main(FAKE, command(tmp_path, storage, trials=6)) == 0
    assert "study s: 4 of 6 trials done" in capsys.readouterr().out
    assert doctor.main(["s", "--runs-dir", str(tmp_path / "runs")]) == 0


@KINDS
def test_a_fresh_head_goes_on_with_a_study_and_tells_a_new_mlflow(
    storage: str, tmp_path: Path, capsys: Capture
) -> None:
    assert main(FAKE, command(tmp_path / "old", storage, trials=4)) == 0
    known = state_in(storage, tmp_path).trials()
    capsys.readouterr()
    assert main(FAKE, command(tmp_path / "new", storage, trials=5)) == 0
    assert "study s: 4 of 5 trials done" in capsys.readouterr().out
    state = state_in(storage, tmp_path)
    assert state.trials()[:4] == known
    assert [each.session for each in state.sessions] == ["session-0001", "session-0002"]
    assert sorted(runs_in_mlflow(tmp_path / "new")) == [-1, 0, 1, 2, 3, 4]
    assert doctor.main(["s", "--runs-dir", str(tmp_path / "new" / "runs")]) == 0


def test_what_is_in_the_bucket(s3: str, tmp_path: Path) -> None:
    assert main(FAKE, command(tmp_path, f"{s3}/in")) == 0
    there = keys("in/studies/s/")
    pieces = [key for key in there if "/log/" in key]
    assert pieces == [f"in/studies/s/log/{n:08d}.log.gz" for n in range(1, len(pieces) + 1)]
    # Of the best trial, of the best of each ending and of the two baselines one checkpoint each.
    checkpoints = [key for key in there if key.endswith("state.pt")]
    assert 2 <= len(checkpoints) <= 4
    assert sorted(there) == sorted([*pieces, *checkpoints]), "no probe and no driver is left"


@KINDS
def test_another_study_of_the_same_name_in_the_storage_is_refused(
    storage: str, tmp_path: Path, capsys: Capture
) -> None:
    assert main(FAKE, command(tmp_path / "one", storage)) == 0
    assert main(FAKE, command(tmp_path / "two", str(tmp_path / "other"))) == 0
    capsys.readouterr()
    assert main(FAKE, command(tmp_path / "two", storage)) == 2
    assert "do not know the same study" in one_line(capsys)


def test_a_study_that_began_without_a_storage_does_not_go_on_with_one(
    tmp_path: Path, capsys: Capture
) -> None:
    storage = str(tmp_path / "shared")
    assert main(FAKE, command(tmp_path, None)) == 0
    capsys.readouterr()
    assert main(FAKE, command(tmp_path, storage)) == 2
    line = one_line(capsys)
    assert "the study s was begun without --storage, and its log is " in line
    assert f"{tmp_path}/runs/s/log.jsonl: leave --storage out, or " in line
    assert not log_in(storage, tmp_path).is_there()
    assert main(FAKE, command(tmp_path, None, trials=5)) == 0


def test_a_study_that_began_with_a_storage_does_not_go_on_without(
    tmp_path: Path, capsys: Capture
) -> None:
    storage = str(tmp_path / "shared")
    assert main(FAKE, command(tmp_path, storage)) == 0
    capsys.readouterr()
    assert main(FAKE, command(tmp_path, None)) == 2
    line = one_line(capsys)
    assert f"ran with a --storage, and keeps its trials in {storage}/studies/s/trials" in line
    assert "give that --storage" in line
    assert not (tmp_path / "runs" / "s" / "log.jsonl").exists()
    assert main(FAKE, command(tmp_path, storage, trials=5)) == 0


@KINDS
def test_a_study_from_before_there_were_logs_is_refused(
    storage: str, tmp_path: Path, capsys: Capture
) -> None:
    store = study_in(storage, tmp_path).store
    assert store is not None
    write_whole(store / "optuna" / "000000000000.log", b"{}\n")
    write_whole(store / "ledger" / "trial-00000.parquet", b"PAR1")
    assert main(FAKE, command(tmp_path, storage)) == 2
    line = one_line(capsys)
    assert "was recorded by version 0.2.0 or older, which kept no log" in line
    assert "another --name" in line
    assert not log_in(storage, tmp_path).is_there()


def test_a_log_that_lacks_a_piece_is_not_gone_on_with(tmp_path: Path, capsys: Capture) -> None:
    storage = str(tmp_path / "shared")
    assert main(FAKE, command(tmp_path, storage)) == 0
    pieces = sorted((tmp_path / "shared" / "studies" / "s" / "log").iterdir())
    pieces[0].unlink()
    capsys.readouterr()
    assert main(FAKE, command(tmp_path, storage)) == 2
    line = one_line(capsys)
    assert line.startswith(f"error: {pieces[0]} is gone: bring it back")
    assert sorted(pieces[0].parent.iterdir()) == pieces[1:]


def everything(storage: str, folder: Path) -> tuple[object, ...]:
    """What stands in MLflow, which checkpoints there are, and what the log says."""
    runs = [run.to_dictionary() for _, run in sorted(runs_in_mlflow(folder).items())]
    checkpoints = Checkpoints(open_storage(f"{storage}/studies/s/trials")).names
    return runs, checkpoints, list(log_in(storage, folder).read())


@KINDS
@pytest.mark.parametrize("in_trial", [0, 2])
def test_of_two_that_go_on_from_the_same_place_the_second_is_stopped(
    storage: str,
    in_trial: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """The lease kept them apart no longer: a driver that slept wakes, and another runs."""
    heard, close = Driver.heard, History._close
    then: list[object] = []

    def overtaken(self: Driver, message: Message) -> Verdict:
        verdict = heard(self, message)
        if message.number == in_trial and not then:
            other = log_in(storage, tmp_path)
            session = self.state.session
            list(other.read())
            other.append([began(2, **{n: getattr(session, n) for n in KNOWN})])
            then.append(None)
        return verdict

    def closed(self: History, error: BaseException, group: list[object]) -> None:
        close(self, error, group)  # pyright: ignore[reportArgumentType]
        assert isinstance(error, Superseded)
        time.sleep(0.5)  # for what MLflow is being told at this moment
        then.append(everything(storage, tmp_path))

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "heard", overtaken)
        patch.setattr(History, "_close", closed)
        assert main(FAKE, command(tmp_path, storage)) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert "another driver went on with the study in" in line
    assert line.endswith(": this one stops")
    assert "best of" not in said.out
    assert then == [None, everything(storage, tmp_path)], "nothing was written since"
    assert state_in(storage, tmp_path).session.session == "session-0002"


KNOWN = ("identity", "objective", "direction", "spec", "space", "settings")


def refused(storage: str, tmp_path: Path, capsys: Capture) -> str:
    assert main(FAKE, command(tmp_path, storage)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


def test_a_bucket_that_does_not_exist_is_refused(s3: str, tmp_path: Path, capsys: Capture) -> None:
    line = refused("s3://no-such-bucket/orrery", tmp_path, capsys)
    assert line.startswith("error: --storage s3://no-such-bucket/orrery: there is no such bucket")


def test_missing_credentials_are_called_so(
    s3: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    S3FileSystem.clear_instance_cache()  # what it remembers has credentials, or has none
    line = refused("s3://orrery-test/else", tmp_path, capsys)
    S3FileSystem.clear_instance_cache()
    assert "cannot be used (Unable to locate credentials" in line


def test_a_password_in_the_address_is_refused_and_not_repeated(
    tmp_path: Path, capsys: Capture
) -> None:
    line = refused("ftp://me:s3cret@somewhere/orrery", tmp_path, capsys)
    assert line.startswith("error: --storage ftp://***@somewhere/orrery: expected no user or pass")
    assert "s3cret" not in line


def test_an_unknown_kind_of_storage_is_refused(tmp_path: Path, capsys: Capture) -> None:
    line = refused("ftps://somewhere/orrery", tmp_path, capsys)
    assert line.startswith("error: --storage ftps://somewhere/orrery: cannot be used")


def test_a_server_of_mlflow_that_is_not_there_is_refused(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    line = refused(str(tmp_path / "shared"), tmp_path, capsys)
    assert "the tracking server http://127.0.0.1:1 does not answer" in line


def test_a_folder_on_a_disk_of_the_head_is_refused_before_nodes_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = nodes.Node("head", "10.0.0.1", "k", 0, 0)
    kind = nodes.Node("gpu_spot", "", "", 4, 1)
    monkeypatch.setattr(nodes, "alive", lambda: [head])
    monkeypatch.setattr(nodes, "to_come", lambda: [kind])
    with pytest.raises(ValueError, match="lies on a disk of this node"):
        check_nodes(storage_module.open_storage(str(tmp_path / "shared")))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that is dead is found dead in no time."""
    monkeypatch.setattr(lease, "BEAT", 0.1)
    monkeypatch.setattr(lease, "WATCHED", 3.0)


@KINDS
@pytest.mark.usefixtures("soon")
def test_a_study_that_another_machine_runs_is_left_to_it(
    storage: str, tmp_path: Path, capsys: Capture
) -> None:
    with lease.lease(study_in(storage, tmp_path / "elsewhere"), print):
        assert main(FAKE, command(tmp_path, storage)) == 2
    line = one_line(capsys)
    assert line.startswith(f"error: {storage}/studies/s is run by ")
    assert f"{tmp_path}/elsewhere/runs/s now: wait for it or interrupt it" in line
    assert not log_in(storage, tmp_path).is_there()
    assert main(FAKE, command(tmp_path, storage)) == 0


@pytest.mark.usefixtures("soon")
def test_a_driver_that_died_is_waited_for_elsewhere_but_not_where_it_ran(
    tmp_path: Path, capsys: Capture
) -> None:
    storage = str(tmp_path / "shared")
    for died, waits in ((tmp_path / "elsewhere", True), (tmp_path, False)):
        there = study_in(storage, died)
        write_whole(there.lease, lease._sign(lease._here(there)))  # pyright: ignore
        assert main(FAKE, command(tmp_path, storage)) == 0
        assert ("did not take its leave" in capsys.readouterr().out) == waits
        assert there.lease is not None
        assert not there.lease.exists()


def test_a_storage_in_which_a_driver_could_write_over_another_is_refused(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "write_new", write_whole)
    line = refused(str(tmp_path / "shared"), tmp_path, capsys)
    assert "could be written over by another driver" in line
