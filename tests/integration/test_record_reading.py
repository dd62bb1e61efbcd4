"""A recorded study is the same from its log and from MLflow alone, and refused alike."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from happened import SPACE, proposed, story
from mlflow import MlflowClient
from mlflow.entities import ViewType
from recorded_study import SETTINGS, SPEC, Invented, Told, now, record

from analysis import r2_table
from datasets.errors import InputError
from record import mlflow_runs, tracking, tracking_store
from record.events import Discarded, Event, Placed, SessionBegan
from record.folder import StudyFolder
from record.mlflow_tracker import LONGEST_TAG
from record.reading import from_mlflow, recorded_study
from record.recorded_study import RecordedStudy
from record.tracking_store import TrackingStore
from record.trial import Placement, Trial

TOLD = (
    Told("gcn", [0.1, 0.5], baseline=True),
    Told("gin", [0.2, 0.4], baseline=True),
    Told("gcn", [0.3, 0.7]),
    Told("gcn", [0.9], state="pruned"),
    Told("gin", [0.8], state="failed", reason="no loss"),
    Told("gin", [0.85], state="stopped"),
    Told("gat", [0.95], state="pruned"),
    Told("gat", [], state="infeasible", placements=()),
)

LOG, MLFLOW = "log", "mlflow"
"""Where a study is read from."""


def read(invented: Invented, source: str) -> RecordedStudy:
    return {
        LOG: lambda: recorded_study(invented.folder, invented.uri),
        MLFLOW: lambda: from_mlflow(invented.folder.name, invented.uri),
    }[source]()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def invented(runs: Path) -> Invented:
    return record(runs, "told", TOLD)


@pytest.fixture(params=[LOG, MLFLOW])
def source(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def study(invented: Invented, source: str) -> RecordedStudy:
    return read(invented, source)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes a connection and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def as_mlflow_knows_it(trial: Trial) -> Trial:
    """A trial without what MLflow does not tell: the last words of a process are for people
    only."""
    return replace(trial, output="")


def assert_equal(log: RecordedStudy, other: RecordedStudy) -> None:
    for ours, theirs in zip(log.every, other.every, strict=True):
        expected = as_mlflow_knows_it(ours)
        for each in fields(Trial):
            found, known = getattr(theirs, each.name), getattr(expected, each.name)
            assert found == known, (ours.number, each.name)
        assert theirs == expected
    assert other.params == log.params
    assert log.tags.items() <= other.tags.items()
    assert (other.name, other.status, other.space) == (log.name, log.status, log.space)


def tell(runs: Path, name: str, events: list[Event]) -> Invented:
    invented = Invented(StudyFolder(runs, name), f"sqlite:///{runs / 'mlflow.db'}")
    invented.add(*events)
    return invented


def told_story() -> list[Event]:
    """What happened, with all that an engine says of a study."""
    shown = {"spec": {**SPEC, "group_by": "width", "data.molecules": None}, "settings": SETTINGS}
    return [
        replace(event, **shown) if isinstance(event, SessionBegan) else event for event in story()
    ]


def test_the_log_and_mlflow_tell_the_same_at_every_moment(runs: Path) -> None:
    events = told_story()
    invented = tell(runs, "story", events[:1])
    for event in events[1:]:
        invented.add(event)
        assert_equal(read(invented, LOG), read(invented, MLFLOW))
    study = read(invented, MLFLOW)
    assert [trial.number for trial in study.trials] == [0, 1, 2]
    assert [final.replicate_of for final in study.finals] == [0]
    assert study.params["data.molecules"] is None
    assert study.space == SPACE


def test_the_log_and_mlflow_tell_the_same_of_every_status(invented: Invented) -> None:
    assert_equal(read(invented, LOG), read(invented, MLFLOW))


def test_the_log_and_mlflow_tell_the_same_of_odd_values(runs: Path) -> None:
    odd = {
        "third": 1 / 3,
        "tiny": 5e-324,
        "whole": 3.0,
        "none": None,
        "yes": True,
        "sizes": (1, (2, 3)),
        "text": 'Größe "x", http://h/a?b=1',
    }
    one = replace(proposed(0), config={**odd, "width": 32}, inactive={"depth": 1}, title="ä|b")
    invented = tell(runs, "odd", [*told_story()[:1], one])
    invented.add(*(Placed(0, replace(PLACE, process=process), now()) for process in range(3)))
    assert_equal(read(invented, LOG), read(invented, MLFLOW))
    (trial,) = read(invented, MLFLOW).trials
    assert {name: trial.config[name] for name in odd} == odd
    assert [type(trial.config[name]) for name in odd] == [type(value) for value in odd.values()]
    assert [placement.process for placement in trial.placements] == [0, 1, 2]


PLACE = Placement("node", "cpu", "x86", 2, 0, "abc", {"torch": "2.13.0", "ray": "2.60"})


def test_of_more_placements_than_a_tag_holds_mlflow_knows_the_latest(runs: Path) -> None:
    invented = tell(runs, "moved", [*told_story()[:1], proposed(0)])
    invented.add(*(Placed(0, replace(PLACE, process=n), now()) for n in range(100)))
    (trial,) = read(invented, MLFLOW).trials
    known = [placement.process for placement in trial.placements]
    assert known == [*range(100 - len(known), 100)]
    assert 30 < len(known) < 100
    tags = invented.tracker.client.get_run(invented.run_id(0)).data.tags
    assert LONGEST_TAG - 200 < len(tags["orrery.placements"]) <= LONGEST_TAG


def test_a_trial_that_has_not_begun_is_not_told_of(runs: Path, source: str) -> None:
    invented = tell(runs, f"waiting-{source}", [*told_story()[:1], proposed(0)])
    assert read(invented, source).trials == ()
    assert read(invented, source).status == "RUNNING"


def test_a_password_is_told_by_neither(runs: Path, source: str) -> None:
    secret = {**SPEC, "data.dataset": "http://me:s3cret@host/x"}
    settings = {"orrery.command": "python x.py --dataset http://me:s3cret@host/x"}
    invented = record(runs, f"secret-{source}", [], settings=settings, spec=secret)
    study = read(invented, source)
    assert study.params["data.dataset"] == "http://***@host/x"
    assert "s3cret" not in str(study.tags)


def test_a_run_that_the_user_deleted_is_left_out(runs: Path, source: str) -> None:
    invented = record(runs, f"deleted-{source}", TOLD[:3])
    invented.tracker.client.delete_run(invented.run_id(1))
    assert [t.number for t in read(invented, source).in_mlflow().trials] == [0, 2]
    invented.add(*[replace(invented.state.session, session="session-0002")])
    invented.add(Discarded(1, now()))
    assert [t.number for t in read(invented, source).trials] == [0, 2]
    invented.tracker.client.restore_run(
        next(iter(_deleted(invented)))
    )  # as the log says, it stays discarded
    assert [t.number for t in read(invented, LOG).in_mlflow().trials] == [0, 2]


def _deleted(invented: Invented) -> list[str]:
    client, experiment = invented.tracker.client, invented.tracker.experiment
    found = client.search_runs([experiment], "", ViewType.DELETED_ONLY)
    return [run.info.run_id for run in found]


def test_a_study_is_read_as_it_was_recorded(study: RecordedStudy, invented: Invented) -> None:
    assert study.artifacts.run_id(None) == invented.tracker.parent
    assert study.status == "FINISHED"
    assert (study.objective, study.group_by, study.unit) == ("validation/r2", "family", "D")
    assert study.tags["orrery.host"] == "here"
    assert [trial.number for trial in study.trials] == list(range(len(TOLD)))
    assert [trial.status for trial in study.trials] == [told.state for told in TOLD]
    assert [trial.is_baseline for trial in study.trials] == [told.baseline for told in TOLD]
    assert [trial.config["family"] for trial in study.trials] == [told.family for told in TOLD]
    last = [told.r2[-1] if told.r2 else None for told in TOLD]
    assert [trial.value("validation/r2") for trial in study.trials] == last
    assert study.trials[2].title == "gcn 3x64 distances dipole"
    assert study.trials[4].reason == "no loss"
    assert study.trials[2].config["learning_rate"] == 2e-3
    assert study.artifacts.run_id(study.trials[2]) == invented.run_id(2)


def test_a_trial_knows_when_it_ran(study: RecordedStudy) -> None:
    trial = study.trials[0]
    assert trial.started is not None
    assert trial.ended is not None
    assert timedelta(0) <= trial.ended - trial.started < timedelta(minutes=5)
    assert abs(datetime.now(UTC) - trial.started) < timedelta(hours=1)
    assert study.trials[5].ended is None, "it was stopped, and may go on"
    assert study.trials[7].started is None, "it needs more memory than there is"


def test_families_come_in_the_order_in_which_they_were_tried(study: RecordedStudy) -> None:
    numbers = {family: [t.number for t in trials] for family, trials in study.groups.items()}
    assert list(numbers.items()) == [("gcn", [0, 2, 3]), ("gin", [1, 4, 5]), ("gat", [6, 7])]


def test_the_best_trial_is_one_that_finished(study: RecordedStudy) -> None:
    best = {family: study.best(trials) for family, trials in study.groups.items()}
    assert {family: t and t.number for family, t in best.items()} == {
        "gcn": 2,
        "gin": 1,
        "gat": None,
    }


def test_of_equally_good_trials_the_latest_is_the_best(runs: Path, source: str) -> None:
    told = [Told("gcn", [0.5]), Told("gcn", [0.5]), Told("gcn", [0.1])]
    study = read(record(runs, f"tie-{source}", told), source)
    best = study.best(study.trials)
    assert best is not None and best.number == 1


def test_a_study_of_more_runs_than_a_page_is_read_whole(
    invented: Invented, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_runs, "PAGE", 2)
    assert len(read(invented, MLFLOW).trials) == len(TOLD)


def test_a_trial_that_a_later_session_goes_on_with_is_running(runs: Path, source: str) -> None:
    invented = record(runs, f"on-{source}", [Told("gcn", [0.5], state="stopped")], "KILLED")
    assert read(invented, source).trials[0].status == "stopped"
    again = replace(invented.state.session, session="session-0002")
    invented.add(again, Placed(0, PLACE, now()))
    study = read(invented, source)
    assert study.status == "RUNNING"
    assert study.trials[0].status == "running"
    assert study.trials[0].ended is None


def test_every_epoch_is_there(study: RecordedStudy) -> None:
    reports = study.trials[2].reports
    assert [report.epoch for report in reports] == [1, 2]
    assert [report.metrics["validation/r2"] for report in reports] == [0.3, 0.7]
    assert (len(reports), reports[0].epoch, reports[-1].epoch) == (2, 1, 2)
    assert [report.epoch for report in reports[1:]] == [2]
    assert study.trials[7].reports == ()


def test_the_last_epoch_is_known_without_a_request_and_the_others_take_one(
    invented: Invented, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = read(invented, MLFLOW)
    asked: set[str] = set()
    history = MlflowClient.get_metric_history

    def noted(client: MlflowClient, run_id: str, key: str) -> Any:
        asked.add(run_id)
        return history(client, run_id, key)

    monkeypatch.setattr(MlflowClient, "get_metric_history", noted)
    trial = study.trials[2]
    assert (trial.epoch, len(trial.reports), trial.value("validation/r2")) == (2, 2, 0.7)
    assert trial.reports[-1].metrics == read(invented, LOG).trials[2].reports[-1].metrics
    assert trial.reports[1].unix_ms == read(invented, LOG).trials[2].reports[1].unix_ms
    assert asked == set()
    assert trial.reports[0].metrics["validation/r2"] == 0.3
    assert [*trial.reports][1] == trial.reports[-1]
    assert asked == {invented.run_id(2)}


def test_an_epoch_written_twice_counts_once_with_its_latest_value(runs: Path) -> None:
    invented = record(runs, "twice", [Told("gcn", [0.1, 0.2, 0.3])])
    invented.tracker.client.log_metric(invented.run_id(0), "validation/r2", 0.25, step=2)
    (trial,) = read(invented, MLFLOW).trials
    assert [report.epoch for report in trial.reports] == [1, 2, 3]
    assert [report.metrics["validation/r2"] for report in trial.reports] == [0.1, 0.25, 0.3]


def test_an_epoch_that_is_not_there_is_said(runs: Path) -> None:
    invented = record(runs, "gap", [Told("gcn", [0.1])])
    invented.tracker.client.log_metric(invented.run_id(0), "epoch", 3, step=3)
    (trial,) = read(invented, MLFLOW).trials
    with pytest.raises(InputError, match="has no epoch 2, which the study wrote: `python"):
        list(trial.reports)


def test_a_log_is_read_without_asking_mlflow(invented: Invented, tmp_path: Path) -> None:
    nowhere = f"sqlite:///{tmp_path / 'nowhere.db'}"
    study = recorded_study(invented.folder, nowhere)
    assert study == read(invented, LOG)
    with pytest.raises(InputError, match="no studies are recorded in"):
        study.artifacts.run_id(None)
    assert list(tmp_path.iterdir()) == []


def test_another_study_of_the_same_name_in_mlflow_is_not_taken_for_it(
    invented: Invented, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    other = Invented(StudyFolder(tmp_path, "told"), uri)
    other.add(replace(invented.state.session, identity="another"))
    study = recorded_study(invented.folder, uri)
    with pytest.raises(InputError, match="shows another study of the name told than the one on"):
        study.in_mlflow()


def test_a_trial_that_mlflow_was_not_told_of_has_no_files_there(runs: Path) -> None:
    invented = record(runs, "behind", [Told("gcn", [0.1])])
    invented.tracker.forget(0)
    study = read(invented, LOG).in_mlflow()
    assert len(study.trials) == 1, "the user did not delete it"
    with pytest.raises(InputError, match="trial 0 of behind has no run in MLflow: `python studi"):
        study.artifacts.run_id(study.trials[0])


def test_published_files_are_fetched_as_they_were_last(
    study: RecordedStudy, tmp_path: Path
) -> None:
    file = tmp_path / "table.csv"
    for text in ("first", "second"):
        file.write_text(text)
        study.artifacts.publish(None, [file], "report")
    (tmp_path / "there").mkdir()
    fetched = study.artifacts.fetch(None, "report/table.csv", tmp_path / "there")
    assert fetched is not None and fetched.read_text() == "second"


def test_what_a_run_does_not_have_is_none(study: RecordedStudy, tmp_path: Path) -> None:
    trial = study.trials[0]
    assert study.artifacts.fetch(trial, "nothing.csv", tmp_path) is None
    assert study.artifacts.fetch(trial, "no/folder/nothing.csv", tmp_path) is None


def test_a_space_that_is_not_in_mlflow_is_unknown_there(runs: Path) -> None:
    invented = record(runs, "spaceless", TOLD[:1])
    uri = invented.tracker.client.get_run(invented.tracker.parent).info.artifact_uri or ""
    (Path(uri.removeprefix("file://")) / "space.json").unlink()
    assert read(invented, MLFLOW).space is None
    assert read(invented, LOG).space is not None


def test_an_unknown_study_is_refused_with_the_names_of_the_known_ones(
    invented: Invented, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking_store, "NAMED", 100)
    folder = replace(invented.folder, name="tolled")
    with pytest.raises(InputError, match=r"^no study tolled in sqlite:.*there: .*told") as refusal:
        recorded_study(folder, invented.uri)
    assert "\n" not in str(refusal.value)


def test_only_the_latest_of_many_studies_are_named(
    invented: Invented, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        invented.tracker.client.create_experiment(f"later {number}")
    monkeypatch.setattr(tracking_store, "NAMED", 2)
    with pytest.raises(InputError, match=r"there: later 2, later 1, and [0-9]+ more$"):
        from_mlflow("unknown", invented.uri)


def test_an_experiment_that_is_no_study_is_refused(invented: Invented) -> None:
    invented.tracker.client.create_experiment("not a study")
    with pytest.raises(InputError, match="no study not a study"):
        from_mlflow("not a study", invented.uri)


Spoil = Callable[[Invented], object]


def drop(tag: str) -> Spoil:
    """Has somebody remove a tag of a trial by hand."""
    return lambda told: told.tracker.client.delete_tag(told.run_id(0), tag)


def put(tag: str, text: str) -> Spoil:
    """Has somebody write over a tag of a trial."""
    return lambda told: told.tracker.client.set_tag(told.run_id(0), tag, text)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (drop("orrery.state"), "has no orrery.state, which the study wrote: put it back; or"),
        (drop("orrery.trial"), "has orrery.trial '': expected a trial's number"),
        (drop("orrery.proposed"), "has no orrery.proposed, which the study wrote"),
        (drop("orrery.placements"), "has no orrery.placements, which the study wrote"),
        (put("orrery.trial", "first"), "has orrery.trial 'first': expected a trial's number"),
        (put("orrery.trial", "1.5"), "has orrery.trial '1.5'"),
        (put("orrery.state", "done"), "has orrery.state 'done': expected one of waiting, run"),
        (put("orrery.proposed", "{}"), "has orrery.proposed '{}': not all that was proposed"),
        (put("orrery.proposed", "[1]"), "has orrery.proposed .*: not all that was proposed"),
        (put("orrery.proposed", '{"config":'), "has orrery.proposed"),
        (put("orrery.placements", "[3]"), r"has orrery.placements '\[3\]': no placements of a"),
    ],
)
def test_a_run_that_was_changed_by_hand_is_refused_in_one_line(
    runs: Path, tmp_path: Path, spoil: Spoil, said: str
) -> None:
    invented = record(runs, tmp_path.name, [Told("gcn", [0.5])])
    spoil(invented)
    with pytest.raises(InputError, match=said) as refused:
        read(invented, MLFLOW)
    assert "\n" not in str(refused.value)


def test_what_a_broken_server_does_not_say_is_refused_where_it_is_asked(runs: Path) -> None:
    invented = record(runs, "broken", [Told("gcn", [0.5])])
    client, parent = invented.tracker.client, invented.tracker.parent
    client.set_tag(parent, "orrery.rungs", "1, many")
    with pytest.raises(InputError, match=r"orrery\.rungs of broken is recorded as 'many'"):
        read(invented, MLFLOW).numbers("orrery.rungs")
    client.set_tag(invented.run_id(0), "orrery.state", "finished")
    client.log_metric(invented.run_id(0), "epoch", 2, step=2)
    study = read(invented, MLFLOW)
    with pytest.raises(InputError, match="trial 0 of broken has no validation/r2"):
        study.best(study.trials)
    client.set_tag(parent, "orrery.spec", "{")
    with pytest.raises(InputError, match=r"has orrery\.spec '\{'"):
        read(invented, MLFLOW)


def test_a_study_of_a_version_before_there_were_logs_is_refused_with_its_version(
    runs: Path, tmp_path: Path, source: str
) -> None:
    invented = record(
        runs, f"old-{source}", [Told("gcn", [0.5])], spec={**SPEC, "version": "0.4.1"}
    )
    if source == MLFLOW:
        invented.folder.log.unlink()
        invented.tracker.client.delete_tag(invented.tracker.parent, "orrery.spec")
    else:
        invented.folder.log.rename(tmp_path / "log.jsonl")
        entry = {"user_attr": {"spec": {"version": "0.4.1"}}}
        (invented.folder.path / "optuna.log").write_text(json.dumps(entry))
    said = f"the study old-{source} was recorded by version 0.4.1, which kept no log: look at it"
    with pytest.raises(InputError, match=said) as refused:
        recorded_study(invented.folder, invented.uri)
    assert "\n" not in str(refused.value)


def test_a_log_that_is_not_on_this_machine_is_not_missed(runs: Path) -> None:
    invented = record(runs, "elsewhere", TOLD)
    known = read(invented, LOG)
    invented.folder.log.unlink()
    assert_equal(known, recorded_study(invented.folder, invented.uri))


def test_a_missing_database_is_refused_and_not_made(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(InputError, match=f"no studies are recorded in {tmp_path}"):
        recorded_study(StudyFolder(tmp_path, "s"), uri)
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
    invented: Invented, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del invented  # it has made the database
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    command = [sys.executable, r2_table.__file__, "tolled", "--runs-dir", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: no study tolled in sqlite:")
    assert done.stderr.count("\n") == 1
