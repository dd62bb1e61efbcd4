"""What stands in MLflow after the tracker was told something."""

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import mlflow
import pytest
from happened import at, began, ended, placed, proposed, reported, story
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from tracker_contract import FACTS, Open, TrackerContract

from record import mlflow_store
from record.mlflow_tracker import LONGEST_TAG, MLflowTracker
from record.state import StudyState, fold
from record.tracker import NotRecorded, Tracker, sync
from record.tracking import connect
from record.trial import Report


def client_of(folder: Path) -> mlflow.MlflowClient:
    mlflow_store.make_database(folder / "mlflow.db")
    return connect(f"sqlite:///{folder / 'mlflow.db'}")


def tracker_in(folder: Path) -> MLflowTracker:
    client = client_of(folder)
    known = client.get_experiment_by_name("s")
    location = (folder / "artifacts").as_uri()
    experiment = known.experiment_id if known else client.create_experiment("s", location)
    return MLflowTracker(client, experiment, "s")


def begun(folder: Path) -> MLflowTracker:
    tracker = tracker_in(folder)
    tracker.begin(FACTS)
    return tracker


def run_of(folder: Path, number: int) -> Run:
    tracker = tracker_in(folder)
    return tracker.client.get_run(tracker.runs[number].run_id)


class TestMLflowTracker(TrackerContract):
    def opener(self, folder: Path) -> Open:
        return lambda: tracker_in(folder)

    def delete(self, tracker: Tracker, number: int) -> None:
        assert isinstance(tracker, MLflowTracker)
        tracker.client.delete_run(tracker.runs[number].run_id)


def test_a_run_says_what_is_known_of_its_trial(tmp_path: Path) -> None:
    state = fold(story())
    tracker = begun(tmp_path)
    sync(tracker, state)
    run = run_of(tmp_path, 2)
    assert run.info.run_name == "0002 34"
    assert run.info.status == "FAILED"
    assert run.info.start_time == int(at(2.5).timestamp() * 1000)
    assert run.info.end_time == int(at(102).timestamp() * 1000)
    assert run.data.params == {name: str(value) for name, value in proposed(2).config.items()}
    expected = {
        "mlflow.parentRunId": tracker.parent,
        "orrery.kind": "trial",
        "orrery.trial": "2",
        "orrery.identity": "x",
        "orrery.state": "failed",
        "orrery.reason": "so it goes",
        "orrery.baseline": "false",
        "orrery.data": "0123",
        "orrery.node": "node",
        "orrery.device": "cpu",
        "orrery.processor": "x86 AVX2",
        "orrery.threads": "1",
        "orrery.commit": "abc+",
        "orrery.versions": "torch==2.13.0",
    }
    assert expected.items() <= run.data.tags.items()
    assert run_of(tmp_path, 0).data.tags["orrery.baseline"] == "true"


def test_a_replicate_hangs_under_the_run_of_what_it_replicates(tmp_path: Path) -> None:
    state = fold(story())
    tracker = begun(tmp_path)
    with pytest.raises(NotRecorded, match="trial 0 has no run"):
        tracker.tell(state.trial(3))
    sync(tracker, state)
    replicate = run_of(tmp_path, 3)
    assert replicate.data.tags["mlflow.parentRunId"] == tracker.runs[0].run_id
    assert replicate.data.tags["orrery.kind"] == "final"
    assert replicate.data.tags["orrery.replicate_of"] == "0"
    assert replicate.info.run_name == "0000 35"
    tracker.client.delete_run(tracker.runs[0].run_id)
    again = begun(tmp_path)
    assert sync(again, state) == {0}
    assert run_of(tmp_path, 3).data.tags["mlflow.parentRunId"] == again.parent


def test_the_run_of_the_study_says_what_it_is(tmp_path: Path) -> None:
    tracker = begun(tmp_path)
    tracker.describe({"orrery.best_trial": "3"}, {"best/validation/r2": 0.5})
    tracker.close("FINISHED", {"orrery.trials": "4"})
    run = tracker.client.get_run(tracker.parent)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "s")
    assert run.data.params == {"seed": "0", "objective": "validation/r2"}
    assert run.data.metrics == {"best/validation/r2": 0.5}
    assert run.data.tags["orrery.command"] == "python study.py"
    assert run.data.tags["mlflow.note.content"] == "Why?"
    assert [each.path for each in tracker.client.list_artifacts(tracker.parent)] == ["space.json"]
    assert run.inputs is not None
    assert [each.dataset.digest for each in run.inputs.dataset_inputs] == ["0123"]
    again = begun(tmp_path)
    assert (again.parent, again.identity) == (tracker.parent, "x")
    assert again.client.get_run(again.parent).info.status == "RUNNING"


def test_a_run_of_a_study_that_a_crash_left_bare_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_inputs", crash)
        with pytest.raises(KeyboardInterrupt):
            begun(tmp_path)
    tracker = begun(tmp_path)
    assert tracker.client.get_run(tracker.parent).data.params["seed"] == "0"
    assert len(tracker.client.search_runs([tracker.experiment])) == 1


def test_what_stands_there_already_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = fold(story())
    sync(begun(tmp_path), state)
    trackers = [tracker_in(tmp_path)]

    def refuse(*arguments: object, **more: object) -> None:
        raise AssertionError("nothing is new")

    for name in ("log_batch", "create_run", "set_terminated", "update_run", "set_tag"):
        monkeypatch.setattr(mlflow.MlflowClient, name, refuse)
    for tracker in trackers:
        sync(tracker, state)


def test_more_metrics_than_mlflow_takes_at_once_are_written_in_parts(tmp_path: Path) -> None:
    wide = {"validation/r2": 0.5, **{f"m/{place}": 1.0 for place in range(1400)}}
    reports = tuple(Report(epoch, 1000 * epoch, 0.25, wide) for epoch in (1, 2, 3))
    state = fold([began(), proposed(0), placed(0), replace(reported(0, 1), reports=reports)])
    tracker = begun(tmp_path)
    tracker.tell(state.trial(0))
    run = tracker.runs[0].run_id
    for metric in ("m/1399", "epoch"):
        points = tracker.client.get_metric_history(run, metric)
        assert [point.step for point in points] == [1, 2, 3]


@pytest.mark.parametrize("call", ["create_run", "log_batch", "set_terminated", "update_run"])
@pytest.mark.parametrize("arrived", [False, True])
def test_a_lost_answer_leaves_one_run_and_each_epoch_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, arrived: bool
) -> None:
    """Whether the server had done it or not is not known to who waited for the answer."""
    tracker = begun(tmp_path)
    real = getattr(mlflow.MlflowClient, call)
    calls = count()

    def every_other_fails(*arguments: Any, **more: Any) -> Any:
        if next(calls) % 2 == 0:
            if arrived:
                real(*arguments, **more)
            raise MlflowException("planted: the connection was lost")
        return real(*arguments, **more)

    monkeypatch.setattr(mlflow.MlflowClient, call, every_other_fails)
    lost, state = 0, StudyState()
    for event in story():
        state.apply(event)
        for _ in range(20):
            try:
                sync(tracker, state)
                break
            except NotRecorded as error:
                lost += 1
                assert "planted" in str(error)
    assert lost
    monkeypatch.undo()
    again = tracker_in(tmp_path)
    runs = again.client.search_runs([again.experiment], "tags.`orrery.kind` != 'study'")
    assert sorted(run.data.tags["orrery.trial"] for run in runs) == ["0", "1", "2", "3"]
    for trial in state.trials():
        seen = again.shown(trial.number)
        assert seen is not None
        assert (seen.status, seen.reports) == (trial.status, tuple(trial.reports))


def test_of_two_runs_of_a_trial_the_one_with_more_epochs_stays(tmp_path: Path) -> None:
    state = fold([began(), proposed(0), placed(0), reported(0, 1, 2)])
    tracker = begun(tmp_path)
    tracker.tell(state.trial(0))
    kept = tracker.runs[0].run_id
    tags = {"orrery.kind": "trial", "orrery.trial": "0", "orrery.state": "running"}
    tracker.client.create_run(tracker.experiment, tags=tags)
    again = begun(tmp_path)
    assert again.runs[0].run_id == kept
    assert again.deleted() == set(), "the user deleted nothing"


def test_a_long_reason_is_cut_to_what_mlflow_takes(tmp_path: Path) -> None:
    event = replace(ended(0, "failed"), reason="x" * 20_000, output="last words\n# no heading")
    state = fold([began(), proposed(0), placed(0), event])
    begun(tmp_path).tell(state.trial(0))
    tags = run_of(tmp_path, 0).data.tags
    assert len(tags["orrery.reason"]) == LONGEST_TAG
    state = fold([began(), proposed(0), placed(0), replace(event, reason="why")])
    begun(tmp_path).tell(state.trial(0))
    tags = run_of(tmp_path, 0).data.tags
    assert tags["mlflow.note.content"] == "    why\n    \n    last words\n    # no heading"


def test_a_password_is_not_recorded(tmp_path: Path) -> None:
    tracker = tracker_in(tmp_path)
    tracker.begin(replace(FACTS, tags={"orrery.command": "--dataset http://me:s3cret@host/x"}))
    told = str(tracker.client.get_run(tracker.parent).data.tags)
    assert "s3cret" not in told
    assert "http://***@host/x" in told


def test_a_study_of_more_trials_than_a_page_is_found_again_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("record.mlflow_runs.PAGE", 10)
    tracker = begun(tmp_path)
    for number in range(23):
        tags = {"orrery.kind": "trial", "orrery.trial": str(number)}
        tracker.client.create_run(tracker.experiment, tags=tags)
    assert sorted(tracker_in(tmp_path).runs) == list(range(23))
