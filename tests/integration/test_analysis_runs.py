"""What the analyses read of a study that the project's own recorder wrote."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from recorded_study import Told, invented, metrics, record
from studies.recording import Recorder

from analysis import runs, tracking
from analysis.runs import StudyRuns, TrackingStore
from datasets.errors import InputError
from trainables.models.gnn import GNNConfig

TOLD = (
    Told("gcn", [0.1, 0.5], baseline=True),
    Told("gin", [0.2, 0.4], baseline=True),
    Told("gcn", [0.3, 0.7]),
    Told("gcn", [0.9], state="pruned"),
    Told("gin", [0.8], state="failed"),
    Told("gin", [0.85], state="stopped"),
    Told("gat", [0.95], state="pruned"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture(scope="module")
def recorder(uri: str, folder: Path) -> Recorder:
    return record(uri, folder, "told", TOLD)


@pytest.fixture(scope="module")
def store(uri: str, recorder: Recorder) -> TrackingStore:
    del recorder  # it makes the database
    return TrackingStore(uri)


@pytest.fixture
def study(store: TrackingStore) -> StudyRuns:
    return store.study("told")


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes a connection and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_study_is_read_as_it_was_recorded(study: StudyRuns, recorder: Recorder) -> None:
    assert study.run_id == recorder.parent
    assert study.status == "FINISHED"
    assert (study.objective, study.by, study.unit) == ("validation/r2", "family", "D")
    assert study.tags["orrery.host"] == "here"
    assert [trial.number for trial in study.trials] == list(range(len(TOLD)))
    assert [trial.state for trial in study.trials] == [told.state for told in TOLD]
    assert [trial.baseline for trial in study.trials] == [told.baseline for told in TOLD]
    assert [trial.params["family"] for trial in study.trials] == [told.family for told in TOLD]
    assert [trial.metrics["validation/r2"] for trial in study.trials] == [t.r2[-1] for t in TOLD]
    assert study.trials[2].name == "0002 gcn 3x64 distances dipole"


def test_a_trial_knows_when_it_ran(study: StudyRuns) -> None:
    trial = study.trials[0]
    assert trial.ended is not None
    assert timedelta(0) <= trial.ended - trial.started < timedelta(minutes=5)
    assert abs(datetime.now(UTC) - trial.started) < timedelta(hours=1)


def test_families_come_in_the_order_in_which_they_were_tried(study: StudyRuns) -> None:
    numbers = {family: [t.number for t in trials] for family, trials in study.groups.items()}
    assert list(numbers.items()) == [("gcn", [0, 2, 3]), ("gin", [1, 4, 5]), ("gat", [6])]


def test_the_best_trial_is_one_that_finished(study: StudyRuns) -> None:
    best = {family: study.best(trials) for family, trials in study.groups.items()}
    assert {family: t and t.number for family, t in best.items()} == {
        "gcn": 2,
        "gin": 1,
        "gat": None,
    }


def test_of_equally_good_trials_the_latest_is_the_best(
    store: TrackingStore, uri: str, folder: Path
) -> None:
    record(uri, folder, "tie", [Told("gcn", [0.5]), Told("gcn", [0.5]), Told("gcn", [0.1])])
    study = store.study("tie")
    best = study.best(study.trials)
    assert best is not None and best.number == 1


def test_a_study_of_more_runs_than_a_page_is_read_whole(
    store: TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PAGE", 2)
    assert len(store.study("told").trials) == len(TOLD)


def test_a_trial_that_a_later_session_goes_on_with_is_running(
    store: TrackingStore, uri: str, folder: Path
) -> None:
    record(uri, folder, "continued", [Told("gcn", [0.5], state="stopped")])
    again = Recorder(uri, "continued", folder)
    again.open("Which?", {}, {}, ("gfn2-mu", "0123"), identity="x")
    again.sync(invented(0, GNNConfig(), [metrics(0.5, standardize=True)], "running"))
    study = store.study("continued")
    assert study.status == "RUNNING"
    assert study.trials[0].state == "running"
    assert study.trials[0].ended is None


def test_a_history_has_the_value_of_each_epoch(store: TrackingStore, study: StudyRuns) -> None:
    history = store.history(study.trials[2], "validation/r2")
    assert history.epochs.tolist() == [1, 2]
    assert history.values.tolist() == [0.3, 0.7]


def test_an_epoch_written_twice_counts_once_with_its_latest_value(
    store: TrackingStore, uri: str, folder: Path
) -> None:
    record(uri, folder, "twice", [Told("gcn", [0.1, 0.2, 0.3])])
    trial = store.study("twice").trials[0]
    store.client.log_metric(trial.run_id, "validation/r2", 0.25, step=2)
    history = store.history(trial, "validation/r2")
    assert history.epochs.tolist() == [1, 2, 3]
    assert history.values.tolist() == [0.1, 0.25, 0.3]


def test_a_metric_that_was_not_recorded_has_an_empty_history(
    store: TrackingStore, study: StudyRuns
) -> None:
    assert len(store.history(study.trials[0], "validation/nothing").epochs) == 0


def test_published_files_are_fetched_as_they_were_last(
    store: TrackingStore, study: StudyRuns, tmp_path: Path
) -> None:
    file = tmp_path / "table.csv"
    for text in ("first", "second"):
        file.write_text(text)
        store.publish(study.run_id, [file], "report")
    (tmp_path / "there").mkdir()
    fetched = store.fetch(study.run_id, "report/table.csv", tmp_path / "there")
    assert fetched is not None and fetched.read_text() == "second"


def test_what_a_run_does_not_have_is_none(
    store: TrackingStore, study: StudyRuns, tmp_path: Path
) -> None:
    assert store.fetch(study.trials[0].run_id, "nothing.csv", tmp_path) is None
    assert store.fetch(study.trials[0].run_id, "no/folder/nothing.csv", tmp_path) is None
    assert store.weights(study.trials[0]) is None


def test_weights_come_back(
    store: TrackingStore, study: StudyRuns, recorder: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "weights").mkdir()
    content = {"epoch": 2, "config": {"width": 8}, "model": {"w": torch.arange(3.0)}}
    torch.save(content, tmp_path / "weights" / "weights.pt")
    recorder.attach(1, tmp_path / "weights")
    weights = store.weights(study.trials[1])
    assert weights is not None
    assert weights["config"] == {"width": 8}
    assert weights["model"]["w"].tolist() == [0, 1, 2]


def test_an_unknown_study_is_refused_with_the_names_of_the_known_ones(
    store: TrackingStore,
) -> None:
    with pytest.raises(InputError, match=r"^no study tolled in sqlite:.*there: .*told") as refusal:
        store.study("tolled")
    assert "\n" not in str(refusal.value)


def test_only_the_latest_of_many_studies_are_named(
    store: TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        store.client.create_experiment(f"later {number}")
    monkeypatch.setattr(runs, "NAMED", 2)
    with pytest.raises(InputError, match=r"there: later 2, later 1, and [0-9]+ more$"):
        store.study("unknown")


def test_an_experiment_that_is_no_study_is_refused(store: TrackingStore) -> None:
    store.client.create_experiment("not a study")
    with pytest.raises(InputError, match="no study not a study"):
        store.study("not a study")


def drop(tag: str) -> Callable[[Recorder], object]:
    """Has somebody remove a tag of a trial by hand."""
    return lambda told: told.client.delete_tag(told.children[0].run_id, tag)


def put(tag: str, text: str) -> Callable[[Recorder], object]:
    """Has somebody write over a tag of a trial."""
    return lambda told: told.client.set_tag(told.children[0].run_id, tag, text)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (drop("orrery.state"), "has no orrery.state, which the study wrote: put it back; or"),
        (drop("orrery.trial"), "has no orrery.trial"),
        (put("orrery.trial", "first"), "orrery.trial is recorded as 'first': expected a number"),
        (put("orrery.trial", "1.5"), "orrery.trial is recorded as '1.5'"),
        (put("orrery.state", "done"), "has orrery.state 'done': expected one of running, fin"),
    ],
)
def test_a_run_that_was_changed_by_hand_is_refused_in_one_line(
    uri: str, folder: Path, tmp_path: Path, spoil: Callable[[Recorder], object], said: str
) -> None:
    recorder = record(uri, folder, str(tmp_path.name), [Told("gcn", [0.5])])
    spoil(recorder)
    for read in (TrackingStore(uri).study, lambda name: Recorder(uri, name, folder)):
        with pytest.raises(InputError, match=said) as refused:
            read(recorder.study)
        assert "\n" not in str(refused.value)


def test_what_a_broken_server_does_not_say_is_refused_where_it_is_asked(
    uri: str, folder: Path
) -> None:
    store = TrackingStore(uri)
    recorder = record(uri, folder, "broken", [Told("gcn", [0.5])])
    run = recorder.children[0].run_id
    recorder.client.delete_tag(run, "orrery.baseline")
    with pytest.raises(InputError, match=rf"run {run} in MLflow has no orrery.baseline"):
        store.study("broken")
    recorder.client.set_tag(run, "orrery.baseline", "true")
    recorder.client.set_tag(recorder.parent, "orrery.finalists", "0, many")
    with pytest.raises(InputError, match=r"orrery\.finalists is recorded as 'many'"):
        _ = store.study("broken").without_finals
    recorder.sync(replace(invented(1, GNNConfig(), []), epoch=0))
    known = store.study("broken")
    with pytest.raises(InputError, match="has no validation/r2"):
        known.best(known.trials)
    record(uri, folder, "seedless", [], seed="many")
    with pytest.raises(InputError, match="seed is recorded as 'many'"):
        store.study("seedless")
    Recorder(uri, "begun", folder).open("Why?", {}, {}, ("d", "d"), identity="x")
    with pytest.raises(InputError, match="has no objective, which the study wrote"):
        _ = store.study("begun").objective


def test_a_missing_database_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no studies are recorded in {tmp_path}"):
        TrackingStore(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_mlflow_refuses_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot use the tracking store") as refusal:
        TrackingStore(str(tmp_path / "mlruns"))
    assert "\n" not in str(refusal.value)


def test_a_server_that_is_not_there_is_refused_at_once() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
    begun = time.monotonic()
    with pytest.raises(InputError, match=f"^the tracking server {uri} does not answer"):
        TrackingStore(uri)
    assert time.monotonic() - begun < 5  # seconds; MLflow's own client takes minutes


def test_a_server_that_does_not_answer_is_refused_soon(
    silent_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "PATIENCE", 0.1)
    with pytest.raises(InputError, match="does not answer"):
        TrackingStore(silent_server)


def test_the_scripts_refuse_an_unknown_study_in_one_line(
    store: TrackingStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del store  # it has made the database
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = Path(runs.__file__).with_name("r2_table.py")
    command = [sys.executable, str(path), "tolled", "--runs-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: no study tolled in sqlite:")
    assert done.stderr.count("\n") == 1
