"""What stands in MLflow after the recorder was told something."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from recorded_study import invented
from studies.recording import NotRecorded, Recorder

from datasets.errors import InputError
from record.tracking import check_answers
from studies import recording
from trainables.models.gnn import GNNConfig


def recorder_in(folder: Path) -> Recorder:
    recorder = Recorder(
        f"sqlite:///{folder / 'mlflow.db'}",
        "s",
        folder / "artifacts",
        trial_tags={"orrery.data": "digest"},
    )
    recorder.open(
        "Why?",
        params={"seed": 0},
        tags={"a": "b"},
        data=("molecules", "digest"),
        identity="x",
    )
    return recorder


def client_of(folder: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def epochs(*values: float) -> list[dict[str, float]]:
    return [{"validation/r2": value} for value in values]


def history(folder: Path, run: str, metric: str) -> list[tuple[int, float]]:
    points = client_of(folder).get_metric_history(run, metric)
    return [(point.step, point.value) for point in points]


def test_a_run_follows_what_is_known_of_its_trial(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    recorder.sync(invented(0, GNNConfig(), epochs(0.5), "running"))
    run = recorder.children[0].run_id
    begun = client_of(tmp_path).get_run(run)
    assert (begun.info.status, begun.data.tags["orrery.state"]) == ("RUNNING", "running")
    assert begun.data.params["family"] == "gcn"
    assert begun.data.tags["orrery.data"] == "digest"
    recorder.sync(invented(0, GNNConfig(), epochs(0.5, 0.6), "finished"))
    ended = client_of(tmp_path).get_run(run)
    assert (ended.info.status, ended.data.tags["orrery.state"]) == ("FINISHED", "finished")
    assert history(tmp_path, run, "validation/r2") == [(1, 0.5), (2, 0.6)]


def test_what_stands_there_already_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorder_in(tmp_path)
    recorder.sync(invented(0, GNNConfig(), epochs(0.5), "finished"))

    def refuse(*arguments: object, **more: object) -> None:
        raise AssertionError("nothing is new")

    for name in ("log_batch", "create_run", "set_terminated", "update_run"):
        monkeypatch.setattr(mlflow.MlflowClient, name, refuse)
    recorder.sync(invented(0, GNNConfig(), epochs(0.5), "finished"))


def test_more_metrics_than_mlflow_takes_at_once_are_written_in_parts(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    wide = [{"validation/r2": 0.5, **{f"m/{place}": 1.0 for place in range(1400)}}] * 3
    recorder.sync(invented(0, GNNConfig(), wide))
    run = recorder.children[0].run_id
    assert history(tmp_path, run, "m/1399") == [(1, 1.0), (2, 1.0), (3, 1.0)]
    assert history(tmp_path, run, "epoch") == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_continued_trial_keeps_its_run_and_records_no_epoch_twice(tmp_path: Path) -> None:
    first = recorder_in(tmp_path)
    first.sync(invented(0, GNNConfig(), epochs(0.1, 0.2, 0.3), "stopped"))
    assert client_of(tmp_path).get_run(first.children[0].run_id).info.status == "KILLED"
    second = recorder_in(tmp_path)
    assert second.parent == first.parent
    second.sync(invented(0, GNNConfig(), epochs(0.1, 0.2, 0.3, 0.4), "finished"))
    run_id = first.children[0].run_id
    assert second.children[0].run_id == run_id
    assert [step for step, _ in history(tmp_path, run_id, "validation/r2")] == [1, 2, 3, 4]
    run = client_of(tmp_path).get_run(run_id)
    assert (run.info.status, run.data.tags["orrery.state"]) == ("FINISHED", "finished")


@pytest.mark.parametrize("call", ["create_run", "log_batch", "set_terminated", "update_run"])
@pytest.mark.parametrize("arrived", [False, True])
def test_a_lost_answer_leaves_one_run_and_each_epoch_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, arrived: bool
) -> None:
    """Whether the server had done it or not is not known to who waited for the answer."""
    recorder = recorder_in(tmp_path)
    recorder.sync(invented(1, GNNConfig(), epochs(0.1), "stopped"))
    told = [
        invented(1, GNNConfig(), epochs(0.1, 0.2), "running"),
        invented(1, GNNConfig(), epochs(0.1, 0.2, 0.3), "finished"),
        invented(0, GNNConfig(), epochs(0.1, 0.2), "finished"),
    ]
    real = getattr(mlflow.MlflowClient, call)
    calls = count()

    def every_other_fails(*arguments: Any, **more: Any) -> Any:
        if next(calls) % 2 == 0:
            if arrived:
                real(*arguments, **more)
            raise MlflowException("planted: the connection was lost")
        return real(*arguments, **more)

    monkeypatch.setattr(mlflow.MlflowClient, call, every_other_fails)
    lost = 0
    for one in told:
        for _ in range(10):
            try:
                recorder.sync(one)
                break
            except NotRecorded as error:
                lost += 1
                assert "planted" in str(error)
    assert lost
    monkeypatch.undo()
    runs = recorder_in(tmp_path).trial_runs
    assert sorted(run.data.tags["orrery.trial"] for run in runs) == ["0", "1"]
    for run in runs:
        epochs_there = [step for step, _ in history(tmp_path, run.info.run_id, "validation/r2")]
        assert epochs_there == list(range(1, len(epochs_there) + 1))
        assert run.info.status == "FINISHED"


def test_a_study_of_more_trials_than_a_page_is_found_again_whole(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    for number in range(1003):
        tags = {"orrery.kind": "trial", "orrery.trial": str(number)}
        recorder.client.create_run(recorder.experiment, tags=tags)
    assert sorted(recorder_in(tmp_path).children) == list(range(1003))


def test_a_long_reason_is_cut_to_what_mlflow_takes(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    recorder.sync(replace(invented(0, GNNConfig(), [], "failed"), reason="x" * 20_000))
    run = client_of(tmp_path).get_run(recorder.children[0].run_id)
    assert len(run.data.tags["orrery.reason"]) == recording.LONGEST_TAG


@pytest.fixture
def sick_server() -> Iterator[str]:
    """Answers every request with an internal error."""

    class Sick(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
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
    with pytest.raises(InputError, match="answers 500 Internal Server Error"):
        check_answers(sick_server)
