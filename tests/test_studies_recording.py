"""What stands in MLflow after the recorder was told something."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import mlflow
import pytest

from analysis.runs import check_answers
from datasets.errors import InputError
from studies import recording
from studies.recording import Recorder
from trainables.models.gnn import GNNConfig


def recorder_in(folder: Path) -> Recorder:
    recorder = Recorder(f"sqlite:///{folder / 'mlflow.db'}", "s", folder / "artifacts")
    recorder.open(
        "Why?",
        params={"seed": 0},
        tags={"a": "b"},
        data=("molecules", "digest"),
        identity="x",
        trial_tags={"orrery.data": "digest"},
    )
    return recorder


def client_of(folder: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def test_metrics_wait_and_are_written_when_the_trial_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "PATIENCE", 1e9)
    recorder = recorder_in(tmp_path)
    recorder.started(0, "first", GNNConfig(), baseline=True)
    run = recorder.children[0].run_id
    recorder.epoch(0, 1, {"validation/r2": 0.5})
    assert client_of(tmp_path).get_run(run).data.metrics == {}
    recorder.ended(0, "FINISHED", {})
    assert client_of(tmp_path).get_run(run).data.metrics == {"validation/r2": 0.5, "epoch": 1}


def test_metrics_wait_no_longer_than_the_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "PATIENCE", 0.0)
    recorder = recorder_in(tmp_path)
    recorder.started(0, "first", GNNConfig(), baseline=True)
    recorder.epoch(0, 1, {"validation/r2": 0.5})
    run = client_of(tmp_path).get_run(recorder.children[0].run_id)
    assert run.data.metrics["validation/r2"] == 0.5


def test_more_metrics_than_mlflow_takes_at_once_are_written_in_parts(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    recorder.started(0, "first", GNNConfig(), baseline=True)
    for epoch in range(1, 4):
        recorder.epoch(0, epoch, {f"m/{place}": float(epoch) for place in range(700)})
    recorder.ended(0, "FINISHED", {})
    history = client_of(tmp_path).get_metric_history(recorder.children[0].run_id, "m/699")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_continued_trial_keeps_its_run_and_records_no_epoch_twice(tmp_path: Path) -> None:
    first = recorder_in(tmp_path)
    first.started(0, "first", GNNConfig(), baseline=False)
    for epoch in (1, 2, 3):
        first.epoch(0, epoch, {"validation/r2": epoch / 10})
    first.ended(0, "KILLED", {"orrery.state": "stopped"})
    second = recorder_in(tmp_path)
    assert second.parent == first.parent
    second.started(0, "first", GNNConfig(), baseline=False)
    for epoch in (3, 4):  # the last checkpoint was that of epoch 2
        second.epoch(0, epoch, {"validation/r2": epoch / 10})
    second.ended(0, "FINISHED", {"orrery.state": "finished"})
    run_id = first.children[0].run_id
    assert second.children[0].run_id == run_id
    history = client_of(tmp_path).get_metric_history(run_id, "validation/r2")
    assert [point.step for point in history] == [1, 2, 3, 4]
    run = client_of(tmp_path).get_run(run_id)
    assert (run.info.status, run.data.tags["orrery.state"]) == ("FINISHED", "finished")


def test_a_study_of_more_trials_than_a_page_is_found_again_whole(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    for number in range(1003):
        tags = {"orrery.kind": "trial", "orrery.trial": str(number)}
        recorder.client.create_run(recorder.experiment, tags=tags)
    assert sorted(recorder_in(tmp_path).children) == list(range(1003))


def test_a_long_reason_is_cut_to_what_mlflow_takes(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    recorder.started(0, "first", GNNConfig(), baseline=False)
    recorder.ended(0, "FAILED", {"orrery.reason": "x" * 20_000})
    run = client_of(tmp_path).get_run(recorder.children[0].run_id)
    assert len(run.data.tags["orrery.reason"]) == recording.LONGEST_TAG


@pytest.fixture
def sick_server() -> Iterator[str]:
    """Answers every request with an internal error."""

    class Sick(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(500)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Sick)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database, whatever its name says" * 100)
    with pytest.raises(InputError, match=r"cannot use the tracking store .* not a database"):
        recorder_in(tmp_path)


def test_a_server_that_is_not_well_is_refused(sick_server: str) -> None:
    with pytest.raises(InputError, match=r"does not answer \(HTTP Error 500"):
        check_answers(sick_server)
