"""Tracking stores that are met elsewhere: a real server of MLflow's behind a login and behind a
private certificate, artifacts on a server's own disk, databases without their driver."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import mlflow
import pytest
from asked import Ask
from gate import OTHER, PASSWORD, TOKEN, USER, answering, gate, make_certificate
from happened import began, placed, proposed
from recorded_study import Told, record

from datasets.errors import InputError
from record import mlflow_store, tracking
from record.mlflow_store import open_tracker
from record.mlflow_tracker import MLflowTracker, not_recorded
from record.reading import from_mlflow
from record.state import fold
from record.tracker import NotRecorded, StudyFacts
from record.tracking import check_answers
from record.tracking_store import TrackingStore
from studies import tracking_server

TLS = ("SERVER_CERT_PATH", "CLIENT_CERT_PATH", "INSECURE_TLS")
LOGIN = ("USERNAME", "PASSWORD", "TOKEN")

ONE = ("--local", "--ending", "good", "--epochs", "1", "--trials", "1")


@pytest.fixture(autouse=True)
def _without_a_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*TLS, *LOGIN):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where MLflow looks for credentials besides


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real server, which keeps the artifacts of new experiments on its own disk; the
    experiment s has a better place."""
    folder = tmp_path_factory.mktemp("server")
    mlflow_store.make_database(folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                *("--host", "127.0.0.1", "--port", str(port)),
                *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
                *("--artifacts-destination", str(folder / "artifacts")),
                *("--default-artifact-root", "/proc/its/own/disk"),
            ],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        _wait(uri, server)
        client = mlflow.MlflowClient(uri)
        client.create_experiment("s", artifact_location="mlflow-artifacts:/s")
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


def _wait(uri: str, server: subprocess.Popen[bytes]) -> None:
    begun = time.monotonic()
    while server.poll() is None and time.monotonic() - begun < 120:
        try:
            check_answers(uri)
            return
        except InputError:
            time.sleep(0.2)
    raise TimeoutError(f"no server at {uri}")


@pytest.fixture(scope="module")
def behind_a_login(served: int) -> Iterator[str]:
    """HOST:PORT."""
    with gate(served) as address:
        yield address


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def behind_tls(served: int, certificate: tuple[Path, Path]) -> Iterator[str]:
    """HOST:PORT."""
    with gate(served, certificate[1]) as address:
        yield address


def refusal(uri: str) -> str:
    """Why a store is refused, in one line."""
    with pytest.raises(InputError) as refused:
        check_answers(uri)
    assert "\n" not in str(refused.value)
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


def written(folder: Path) -> bytes:
    """All that stands in the files of a folder."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_a_study_behind_a_login_is_recorded_without_the_password(
    ask: Ask,
    behind_a_login: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = f"http://{USER}:{PASSWORD}@{behind_a_login}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("ORRERY_API_KEY", PASSWORD)
    monkeypatch.setenv("ORRERY_DATASET", f"http://{USER}:{PASSWORD}@elsewhere")
    monkeypatch.setenv("ORRERY_LOCAL", "yes")
    assert ask(*ONE, "--dataset", f"ftp://{USER}:{PASSWORD}@somewhere") == 0
    said = capsys.readouterr()
    assert f"browse the trials: http://***@{behind_a_login}\n" in said.out
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "FINISHED"]
    (parent,) = (run for run in runs if run.data.tags["orrery.kind"] == "study")
    assert parent.data.params["data.dataset"] == "ftp://***@somewhere"
    assert parent.data.tags["orrery.command"].endswith(" --dataset 'ftp://***@somewhere'")
    assert parent.data.tags["orrery.environment"].split(" ", 1) == [
        "'ORRERY_DATASET=http://***@elsewhere'",
        "ORRERY_FINALISTS=0",
    ]
    recorded = str([run.to_dictionary() for run in runs])
    assert PASSWORD not in said.out + said.err + recorded
    assert client.list_artifacts(parent.info.run_id), "artifacts go through the login as well"
    assert uri.encode() not in written(tmp_path / "runs")


@pytest.mark.parametrize(
    "given", [{"USERNAME": USER, "PASSWORD": PASSWORD}, {"TOKEN": TOKEN}], ids=["user", "token"]
)
def test_mlflows_own_variables_are_a_login(
    behind_a_login: str, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    TrackingStore(f"http://{behind_a_login}")


@pytest.mark.parametrize(
    ("given", "user", "said"),
    [
        ({}, "", "(401 Unauthorized): a login is missing: set MLFLOW_TRACKING_USERNAME and"),
        ({"USERNAME": USER}, "", "MLFLOW_TRACKING_PASSWORD is missing"),
        ({"USERNAME": "x", "PASSWORD": "y"}, "", "the user x of MLFLOW_TRACKING_USERNAME is not"),
        ({"TOKEN": "old"}, "", "MLFLOW_TRACKING_TOKEN is not known there"),
        ({}, f"x:{PASSWORD}@", "the user of the address is not known there"),
        ({}, f"{OTHER}:{PASSWORD}@", "(403 Forbidden): the user of the address may not read"),
        ({"USERNAME": OTHER, "PASSWORD": PASSWORD}, "", "the user other of MLFLOW_TRACKING_US"),
    ],
)
def test_a_server_that_refuses_a_login_says_what_is_missing(
    behind_a_login: str,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, str],
    user: str,
    said: str,
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    assert said in refusal(f"http://{user}{behind_a_login}")


def test_a_private_certificate_has_to_be_named(
    behind_tls: str,
    certificate: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = f"https://{USER}:{PASSWORD}@{behind_tls}"
    assert "certificate that is not trusted here (self-signed certificate)" in refusal(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "gone.pem"))
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH is " in refusal(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate[0]))
    TrackingStore(uri)
    assert "a login is missing" in refusal(f"https://{behind_tls}")
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    assert "cannot be asked (When 'ignore_tls_verification' is true" in refusal(uri)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_any_certificate_will_do_where_the_user_says_so(
    behind_tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    TrackingStore(f"https://{USER}:{PASSWORD}@{behind_tls}")
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "perhaps")
    assert "cannot be asked (MLFLOW_TRACKING_INSECURE_TLS" in refusal(f"https://{behind_tls}")


def test_artifacts_on_the_disk_of_a_server_are_refused_before_a_trial(
    ask: Ask,
    served: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = f"http://127.0.0.1:{served}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for _ in range(2):  # the name is free again
        assert ask(*ONE, "--name", "t") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: the tracking server {uri} keeps artifacts on its own disk")
        assert "/proc/its/own/disk" in line
        assert "--serve-artifacts --artifacts-destination FOLDER` and without" in line
        assert "--name" not in line
    client = mlflow.MlflowClient(uri)
    assert client.get_experiment_by_name("t") is None
    client.create_experiment("u", artifact_location="/srv/mlruns")
    assert ask(*ONE, "--name", "u") == 2
    assert "in /srv/mlruns, where" in (line := capsys.readouterr().err)
    assert "choose another --name" in line


def test_a_server_does_not_say_where_an_analysis_writes(served: int, tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{served}"
    client = mlflow.MlflowClient(uri)
    made = client.create_experiment("v", artifact_location=(tmp_path / "there").as_uri())
    run = client.create_run(made).info.run_id
    file = tmp_path / "table.csv"
    file.write_text("1")
    store = TrackingStore(uri)
    with pytest.raises(InputError, match="keeps artifacts on its own disk"):
        store.publish(run, [file])
    with pytest.raises(InputError, match="keeps artifacts on its own disk"):
        store.fetch(run, "table.csv", tmp_path)
    assert not (tmp_path / "there").exists()


def test_nothing_of_a_study_is_written_into_a_folder_that_a_server_chose(
    served: int, tmp_path: Path
) -> None:
    """Neither what is searched, when a study begins, nor weights: its experiment may be of a time
    when the server had another place for artifacts."""
    uri = f"http://127.0.0.1:{served}"
    client = mlflow.MlflowClient(uri)
    made = client.create_experiment("w", artifact_location=(tmp_path / "there").as_uri())
    facts = StudyFacts("x", "Why?", {}, {}, {}, ("d", "d"))
    tracker = MLflowTracker(client, made, "w")
    with pytest.raises(InputError, match="keeps artifacts on its own disk"):
        tracker.begin(facts)
    tracker.tell(fold([began(), proposed(0), placed(0)]).trial(0))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "weights.pt").write_text("1")
    with pytest.raises(InputError, match="keeps artifacts on its own disk"):
        tracker.attach(0, tmp_path / "weights")
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module", name="google.cloud"), "install google-cloud-storage"),
        (PermissionError(13, "Permission denied", "/mnt"), r"from here \(Permission denied: /mnt"),
    ],
)
def test_artifacts_that_cannot_be_put_where_a_server_wants_them(
    served: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    uri = f"http://127.0.0.1:{served}"
    name = type(error).__name__
    mlflow.MlflowClient(uri).create_experiment(name, artifact_location="gs://bucket/there")

    def refuse(*_: object) -> None:
        raise error

    tracker = open_tracker(uri, name, tmp_path)
    monkeypatch.setattr(mlflow.MlflowClient, "log_text", refuse)
    with pytest.raises(InputError, match=rf"wants artifacts in gs://bucket.*{said}") as refused:
        tracker.begin(StudyFacts("x", "Why?", {}, {}, {}, ("d", "d")))
    assert not isinstance(refused.value, NotRecorded)


@contextmanager
def stub(status: int, content: str = "", **headers: str) -> Iterator[str]:
    """A server that has one answer to everything; yields its address."""

    class Stub(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name.replace("_", "-"), text)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content.encode())

        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Says nothing."""

    with answering(Stub) as address:
        yield f"http://{address}"


@pytest.mark.parametrize(
    ("status", "content", "headers", "said"),
    [
        (404, "", {}, "answers 404 Not Found: expected MLflow"),
        (500, "", {}, "answers 500 Internal Server Error"),
        (503, "", {"Retry_After": "60"}, "answers 503 Service Unavailable"),
        (403, "", {}, "refuses (403 Forbidden): a login is missing"),
        (200, "<html>log in</html>", {"Content_Type": "text/html"}, "is not MLflow's"),
        (302, "", {"Location": "/login"}, "/login: give that address"),
    ],
)
def test_a_server_that_is_not_mlflow_is_told_from_one_that_is_away(
    status: int, content: str, headers: dict[str, str], said: str
) -> None:
    with stub(status, content, **headers) as uri:
        begun = time.monotonic()
        assert said in refusal(uri)
        assert time.monotonic() - begun < 5  # seconds; once, whatever it says of trying again


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:s3/cret@127.0.0.1:9",
        "http://me:s3#cret@127.0.0.1:9",
        "http://me:s3 cret@127.0.0.1:9",
        "http://127.0.0.1:9\n",
        "http://127.0.0.1:many",
        "http://[::1",
        "https:/127.0.0.1:9",
    ],
)
def test_an_address_that_is_none_is_not_repeated(uri: str) -> None:
    assert refusal(uri).startswith("MLFLOW_TRACKING_URI is no address of a server: expected")


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        ("postgresql+psycopg2", "psycopg2-binary"),
        ("postgresql+psycopg", "'psycopg[binary]'"),
        ("mysql", "mysqlclient"),
        ("mysql+pymysql", "pymysql"),
        ("mssql+pyodbc", "pyodbc"),
    ],
)
def test_the_package_of_a_databases_driver_is_named(kind: str, package: str) -> None:
    said = refusal(f"{kind}://{USER}:{PASSWORD}@127.0.0.1:9/mlflow")
    where = f"the tracking store {kind}://***@127.0.0.1:9/mlflow"
    assert said == f"{where} needs a package that is not installed: pip install {package}"


def test_a_database_that_is_away_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow would try for a minute and a half; of the drivers, only this one is here."""
    monkeypatch.setattr(tracking, "DATABASES", ("sqlite",))
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"cannot use the tracking store .*unable to open"):
        tracking.connect(f"sqlite:///{tmp_path / 'no' / 'folder' / 'mlflow.db'}")
    assert time.monotonic() - begun < 5


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database, whatever its name says" * 100)
    with pytest.raises(InputError, match=r"cannot use the tracking store .* not a database"):
        open_tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", "s", tmp_path)


def test_what_mlflow_says_of_an_address_is_said_without_the_password() -> None:
    with pytest.raises(NotRecorded) as said, not_recorded():
        raise mlflow.MlflowException(f"Invalid url: http://{USER}:{PASSWORD}@x")
    assert str(said.value) == "Invalid url: http://***@x"
    assert "cannot use the tracking store ftp://***@x" in refusal(f"ftp://{USER}:{PASSWORD}@x")


@pytest.mark.parametrize("name", ["what?", "what?timeout=9", "50%25", "a%2Fb"])
def test_a_folder_whose_name_would_be_misread_is_refused(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert ask(*ONE, "--runs-dir", str(tmp_path / name)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "MLflow's database cannot lie in a folder with a '?'" in line
    assert "choose another --runs-dir" in line
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    with pytest.raises(InputError, match="cannot lie in a folder"):
        TrackingStore(f"sqlite:///{tmp_path / name / 'mlflow.db'}")
    where = ["--storage", str(tmp_path / "shared"), "--runs-dir", str(tmp_path / name)]
    assert tracking_server.main([*where, "--foreground"]) == 2
    assert "cannot lie in a folder" in capsys.readouterr().err


def test_the_command_to_browse_the_trials_can_be_pasted(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "it's my #1 at 100%"
    assert ask(*ONE, "--runs-dir", str(tmp_path / name)) == 0
    *_, line = capsys.readouterr().out.splitlines()
    database = tmp_path / name / "mlflow.db"
    command = ["mlflow", "ui", "--backend-store-uri", f"sqlite:///{database}"]
    assert shlex.split(line.removeprefix("browse the trials: ")) == command
    assert database.is_file()
    assert sorted(tmp_path.glob("*/mlflow.db")) == [database]


def test_a_query_in_the_address_of_a_local_database_is_kept(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}?timeout=30"
    record(tmp_path, "a", [Told("gcn", [0.5])], uri=uri)
    assert from_mlflow("a", uri).trials
    assert sorted(path.name for path in tmp_path.glob("mlflow*")) == ["mlflow.db"]


def test_an_experiment_that_was_deleted_is_restored_by_the_command_that_is_named(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(*ONE) == 0
    uri = f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    capsys.readouterr()
    assert ask(*ONE) == 2
    restore = (
        f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id "
        f"{experiment.experiment_id}"
    )
    said = f"the experiment s was deleted in MLflow: `{restore}` brings it back"
    assert f"error: {said}" in capsys.readouterr().err
    with pytest.raises(InputError, match="mlflow experiments restore --experiment-id"):
        from_mlflow("s", uri)
    client.restore_experiment(experiment.experiment_id)
    run = from_mlflow("s", uri).artifacts.run_id(None)
    assert ask(*ONE) == 0
    client.delete_run(run)
    with pytest.raises(InputError, match=f"mlflow runs restore --run-id {run}` brings it back"):
        from_mlflow("s", uri)
