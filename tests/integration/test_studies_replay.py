"""A recorded trial is trained again: the same numbers, or it is said what is not the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import fake_study
import mlflow
import pyarrow as pa
import pytest
import torch
from asked import Ask, has_epochs, log_file, runs_in_mlflow, stopping_when, trials_in_log
from fake_task import FakeTask
from happened import BEGUN
from moving_stripes import stripes
from recorded_study import Told, record
from trained_studies import known

from datasets.molecules import write_table
from datasets.recordings import write_recordings
from engine import prepare
from engine.agenda import Agenda
from engine.main import main
from engine.provenance import Code, of_this_code
from engine.study import Study
from record.events import Ended, Event, Placed, Proposed, Reported
from record.log import FileLog
from studies import doctor, gnn_sweep, replay, world_model_sweep
from trainables.models.world_model import Core

FAMILIES = ("--family", "gcn", "gat", "--width", "8", "--dropout", "0.1", "--epochs", "3")
GOOD = ("--local", "--ending", "good", "--trials", "1")


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the fake study says which study it defines."""
    monkeypatch.setattr(fake_study, "STUDY", fake_study.FAKE, raising=False)


@pytest.fixture
def molecule_file(molecule_rows: pa.Table, tmp_path: Path) -> Path:
    write_table(molecule_rows, tmp_path / "molecules.parquet")
    return tmp_path / "molecules.parquet"


class Replay:
    """Trains trials of a folder's studies again.

    Args:
        runs: Their folder.
        data: That of prepared data.
        capsys: Takes what is said.
    """

    def __init__(self, runs: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.where = ["--runs-dir", str(runs), "--data-dir", str(data)]
        self.capsys = capsys

    def __call__(self, code: int, named: str, *arguments: str) -> str:
        """What is said, once the exit code is as expected."""
        self.capsys.readouterr()
        found = replay.main([named, *self.where, *arguments])
        said = self.capsys.readouterr()
        assert found == code, said.out + said.err
        return said.out + said.err

    def refused(self, named: str, *arguments: str) -> str:
        """The one line that is said of bad input."""
        said = self(2, named, *arguments)
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        return said


@pytest.fixture
def again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Replay:
    return Replay(tmp_path / "runs", tmp_path / "data", capsys)


def run_study(study: Study, folder: Path, *arguments: str) -> None:
    where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]
    assert (
        main(replace(study, scorecard=None, package=None), ["--name", "s", *where, *arguments])
        == 0
    )


def client(folder: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")


def retell(folder: Path, change: Callable[[Event], Event]) -> None:
    """Has the log of a study tell otherwise what happened."""
    file = log_file(folder)
    events = list(FileLog(file).read())
    file.unlink()
    log = FileLog(file)
    log.append([change(event) for event in events])
    log.close()


def on(**place: Any) -> Callable[[Event], Event]:
    """Has every trial trained in another place."""
    return lambda event: (
        replace(event, placement=replace(event.placement, **place))
        if isinstance(event, Placed)
        else event
    )


def measured(epoch: int, metrics: dict[str, float]) -> Callable[[Event], Event]:
    """Has every trial report something else of an epoch."""

    def change(event: Event) -> Event:
        if not isinstance(event, Reported | Ended):
            return event
        reports = tuple(
            replace(each, metrics={**each.metrics, **metrics}) if each.epoch == epoch else each
            for each in event.reports
        )
        return replace(event, reports=reports)

    return change


def numbers(said: str) -> str:
    return said.splitlines()[-1]


def test_a_trial_and_a_final_give_their_recorded_epochs_bit_for_bit(
    trained_copy: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = Replay(trained_copy, cache, capsys)
    before = sorted((path, path.stat().st_mtime_ns) for path in trained_copy.rglob("*"))
    study = known(trained_copy)
    assert study.finals[0].config["seed"] == 1
    for trial in (*study.trials[-2:], study.finals[0]):
        said = again(0, study.artifacts.run_id(trial))
        assert again(0, f"molecules/{trial.number}").splitlines()[0] == said.splitlines()[0]
        assert said.startswith(f"molecules/{trial.number}, ")
        assert numbers(said) == "numbers: bit for bit the same, 6 metrics of 2 epochs"
        value = study.value(trial)
        assert f"| {value!r} | {value!r} |" in " ".join(said.split())
        for same in ("versions", "data", "device", "processor", "threads"):
            assert f"\n{same}: the same (" in said
    after = sorted((path, path.stat().st_mtime_ns) for path in trained_copy.rglob("*"))
    assert after == before, "nothing is written"


@pytest.mark.ray
def test_a_trial_that_ray_ran_gives_the_same_without_it(
    again: Replay, tmp_path: Path, molecule_file: Path
) -> None:
    data = ("--dataset", str(molecule_file))
    run_study(gnn_sweep.STUDY, tmp_path, *data, *FAMILIES, "--trials", "3")
    for number in range(3):
        assert "bit for bit the same, 6 metrics of" in numbers(again(0, f"s/{number}"))


@pytest.mark.parametrize("core", get_args(Core))
def test_a_world_model_gives_its_recorded_epochs_bit_for_bit(
    again: Replay, tmp_path: Path, core: Core
) -> None:
    write_recordings(stripes(20, 50), tmp_path / "drives.arrow")
    drives = ("--recordings", str(tmp_path / "drives.arrow"))
    chance = ("--noise", "0.05", "--sampling-rate", "0.5", "--free-steps", "2", "--core", core)
    little = ("--hidden", "8", "--sequence-length", "8", "--epochs", "2", "--trials", "1")
    run_study(world_model_sweep.STUDY, tmp_path, "--local", *drives, *chance, *little)
    said = again(0, "s/0")
    assert "bit for bit the same, 10 metrics of 2 epochs" in numbers(said)
    (tmp_path / "drives.arrow").rename(tmp_path / "elsewhere.arrow")
    assert "drives.arrow: give their path with --data" in again.refused("s/0")
    assert numbers(again(0, "s/0", "--data", str(tmp_path / "elsewhere.arrow"))) == numbers(said)


def test_a_stopped_trial_is_trained_again_as_far_as_it_came(
    again: Replay,
    tmp_path: Path,
    molecule_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the learning rates of all the epochs that it was to have."""

    common = ("--local", "--dataset", str(molecule_file), *FAMILIES, "--trials", "1")
    with monkeypatch.context() as patch:
        patch.setattr(Agenda, "should_stop", stopping_when(has_epochs(0, 2)))
        run_study(gnn_sweep.STUDY, tmp_path, *common)
    said = again(0, "s/0")
    assert said.splitlines()[0].endswith(": paused, 2 of 3 epochs recorded")
    assert numbers(said) == "numbers: bit for bit the same, 6 metrics of 2 epochs"
    run_study(gnn_sweep.STUDY, tmp_path, *common)
    assert numbers(again(0, "s/0")) == "numbers: bit for bit the same, 6 metrics of 3 epochs"


def test_a_failed_trial_is_trained_again_as_far_as_it_came(ask: Ask, again: Replay) -> None:
    assert ask("--local", "--ending", "good", "non_finite", "--epochs", "3", "--trials", "2") == 0
    said = again(0, "s/1")
    assert said.splitlines()[0] == "s/1, non_finite 0.500: failed, 1 of 3 epochs recorded"
    assert numbers(said) == "numbers: bit for bit the same, 3 metrics of 1 epoch"


@pytest.mark.ray
def test_a_pruned_trial_is_trained_again_as_far_as_it_came(
    stopped_early: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = Replay(stopped_early / "runs", stopped_early / "data", capsys)
    trials = trials_in_log(stopped_early)
    pruned = [trial.number for trial in trials if trial.status == "pruned"]
    assert pruned, "no trial was pruned: the search drew no bad one"
    said = again(0, f"s/{pruned[0]}")
    assert ": pruned, " in said.splitlines()[0]
    assert "bit for bit the same" in numbers(said)


def test_a_changed_data_set_is_named_and_not_trained_on(
    again: Replay,
    tmp_path: Path,
    molecule_rows: pa.Table,
    molecule_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = ("--dataset", str(molecule_file))
    run_study(gnn_sweep.STUDY, tmp_path, "--local", *data, *FAMILIES, "--trials", "1")
    digest = runs_in_mlflow(tmp_path)[-1].data.params["data.digest"]
    (tmp_path / "original.parquet").write_bytes(molecule_file.read_bytes())
    changed = molecule_rows.column("mu").to_pylist()
    changed[5] += 1e-6
    place, field = molecule_rows.schema.get_field_index("mu"), molecule_rows.schema.field("mu")
    write_table(molecule_rows.set_column(place, field, [changed]), molecule_file)
    with monkeypatch.context() as patch:
        patch.setattr(replay, "TrialLoop", None)
        said = again(1, "s/0")
    assert f"\ndata: recorded digest {digest}, now " in said
    assert numbers(said) == "numbers: not compared, since those of other data are others"
    assert "bit for bit" in again(0, "s/0", "--data", str(tmp_path / "original.parquet"))
    molecule_file.unlink()
    assert f"the data of s are not at {molecule_file}: give their path" in again.refused("s/0")


def other_code(commit: str) -> Code:
    return replace(of_this_code(gnn_sweep.__file__), commit=commit)


def test_a_changed_commit_is_named(
    ask: Ask, again: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    then, now = "1" * 40, "2" * 40
    monkeypatch.setattr(prepare, "of_this_code", lambda file: other_code(then))
    assert ask(*GOOD, "--epochs", "2") == 0
    for commit, said in {
        then: "the same (commit 1111111111)",
        now: "recorded commit 1111111111, now 2222222222",
        f"{now}+": "recorded commit 1111111111, now 2222222222+",
        "unknown": "recorded commit 1111111111, now unknown",
    }.items():
        monkeypatch.setattr(replay, "of_this_code", lambda file, commit=commit: other_code(commit))
        assert f"\ncode: {said}\n" in again(0, "s/0")


def test_changed_files_do_not_say_which(
    ask: Ask, again: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in (prepare, replay):
        monkeypatch.setattr(where, "of_this_code", lambda file: other_code("1" * 40 + "+"))
    assert ask(*GOOD, "--epochs", "1") == 0
    said = again(0, "s/0")
    assert "\ncode: 1111111111+ then and now, which does not say whether it is the same" in said


def test_all_commits_that_a_trial_was_trained_under_are_named(
    ask: Ask, again: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Agenda, "should_stop", stopping_when(has_epochs(0, 2)))
        patch.setattr(prepare, "of_this_code", lambda file: other_code("1" * 40))
        assert ask(*GOOD, "--epochs", "4") == 0
    assert runs_in_mlflow(tmp_path)[0].data.tags["orrery.commit"] == "1" * 40
    monkeypatch.setattr(prepare, "of_this_code", lambda file: other_code("2" * 40))
    assert ask(*GOOD, "--epochs", "4") == 0
    assert runs_in_mlflow(tmp_path)[0].data.tags["orrery.commit"] == f"{'1' * 40}, {'2' * 40}"
    assert "\ncode: recorded commit 1111111111, then 2222222222, now " in again(0, "s/0")


def test_a_run_that_the_doctor_recorded_anew_says_the_same(
    ask: Ask, again: Replay, tmp_path: Path
) -> None:
    assert ask(*GOOD, "--epochs", "2") == 0
    before = runs_in_mlflow(tmp_path)[0]
    said = again(0, "s/0")
    client(tmp_path).set_tag(before.info.run_id, "orrery.replaced", "true")
    client(tmp_path).delete_run(before.info.run_id)
    assert f"no trial {before.info.run_id} in s, or it was" in again.refused(before.info.run_id)
    assert doctor.main(["s", "--repair", "--runs-dir", str(tmp_path / "runs")]) == 0
    assert runs_in_mlflow(tmp_path)[0].info.run_id != before.info.run_id
    anew = again(0, "s/0")
    clock = "training: "
    assert [line for line in anew.splitlines() if clock not in line] == [
        line for line in said.splitlines() if clock not in line
    ]


def test_it_has_the_threads_that_it_had(ask: Ask, again: Replay, tmp_path: Path) -> None:
    assert ask(*GOOD, "--epochs", "1") == 0
    (trial,) = trials_in_log(tmp_path)
    later = Placed(0, replace(trial.placements[0], threads=2), at=BEGUN)
    log = FileLog(log_file(tmp_path))
    events = list(log.read())
    place = next(n for n, event in enumerate(events) if isinstance(event, Placed))
    log_file(tmp_path).unlink()
    FileLog(log_file(tmp_path)).append([*events[: place + 1], later, *events[place + 1 :]])
    assert "\nthreads: recorded 1, then 2, now 2\n" in again(0, "s/0")
    assert torch.get_num_threads() == 2


def test_a_number_that_is_not_the_same_is_found(ask: Ask, again: Replay, tmp_path: Path) -> None:
    assert ask(*GOOD, "--epochs", "3") == 0
    (trial,) = trials_in_log(tmp_path)
    value = trial.reports[1].metrics["train/loss"]
    spoilt = value * (1 + 2**-52)
    retell(tmp_path, measured(2, {"train/loss": spoilt}))
    assert numbers(again(1, "s/0")) == (
        f"numbers: they first differ in epoch 2: train/loss {spoilt!r} recorded, {value!r} now"
    )
    retell(tmp_path, measured(1, {"validation/gone": 1.0}))
    said = numbers(again(1, "s/0"))
    assert said.endswith("first differ in epoch 1: validation/gone 1.0 recorded, none now")


def test_a_trial_of_a_gpu_is_compared_with_a_tolerance_and_says_where_it_runs(
    ask: Ask, again: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(*GOOD, "--epochs", "3") == 0
    retell(tmp_path, on(device="NVIDIA A10G"))
    loss = FakeTask.loss

    def nearly(self: FakeTask, model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return loss(self, model, batch) * scale

    monkeypatch.setattr(FakeTask, "loss", nearly)
    scale = 1.0
    assert numbers(again(0, "s/0")) == "numbers: bit for bit the same, 3 metrics of 3 epochs"
    scale = 1.01
    said = again(0, "s/0")
    assert "\ndevice: recorded NVIDIA A10G, now cpu\n" in said
    assert "\na GPU trained it, the CPU trains it again" in said
    assert "numbers: the same within 20%, 3 metrics of 3 epochs: in the median" in numbers(said)
    scale = 2.0
    assert "not the same within 20%" in numbers(again(1, "s/0"))
    retell(tmp_path, on(device="cpu"))
    scale = 1.01
    said = again(1, "s/0")
    assert "they first differ in epoch 1" in numbers(said)
    assert "a GPU trained it" not in said


def test_an_epoch_that_is_there_no_more_is_named(
    ask: Ask, again: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(*GOOD, "--epochs", "3") == 0
    loss = FakeTask.loss

    def no_number(self: FakeTask, model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return loss(self, model, batch) * (torch.nan if self.epoch > 2 else 1)

    monkeypatch.setattr(FakeTask, "loss", no_number)
    said = again(1, "s/0")
    assert numbers(said).startswith("numbers: there is no epoch 3 now: loss nan in epoch 3")
    assert said.count("| none ") == 1


def test_what_is_no_trial_is_refused_in_one_line(
    ask: Ask, again: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no studies are recorded in" in again.refused("s/0")
    with monkeypatch.context() as patch:
        patch.setattr(Agenda, "should_stop", stopping_when(lambda state: bool(state.trials())))
        assert ask(*GOOD, "--epochs", "2") == 0
    assert "no trial of s has begun: there is nothing to compare" in again.refused("s/0")
    record(tmp_path / "runs", "lost", [Told("gcn", [], "failed")])
    assert "lost/0 has no recorded epoch: there is nothing to comp" in again.refused("lost/0")
    study = runs_in_mlflow(tmp_path)[-1].info.run_id
    assert "is the run of the study itself: give a trial, s/NUMBER" in again.refused(study)
    assert f"no run {'0' * 32} in sqlite" in again.refused("0" * 32)
    assert "no run s in sqlite" in again.refused("s")
    assert "no study t in " in again.refused("t/0")
    assert ask(*GOOD, "--epochs", "2") == 0
    assert "no trial 7 in s, or it was deleted: give s/NUMBER, 0 to 0" in again.refused("s/7")
    other = ("--study", gnn_sweep.__file__)
    assert "s is a study of fake, that file defines gnn" in again.refused("s/0", *other)
    monkeypatch.delattr(fake_study, "STUDY")
    assert "fake_study.py defines no STUDY: expected STUDY = " in again.refused("s/0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 does not answer" in again.refused("0" * 32)


def test_a_trial_with_other_hyperparameters_than_the_code_has_is_refused(
    ask: Ask, again: Replay, tmp_path: Path
) -> None:
    assert ask(*GOOD, "--epochs", "1") == 0
    (trial,) = trials_in_log(tmp_path)

    def with_momentum(event: Event) -> Event:
        if not isinstance(event, Proposed):
            return event
        return replace(event, config={**event.config, "momentum": 0.9})

    retell(tmp_path, with_momentum)
    said = again.refused("s/0")
    assert "momentum: not a hyperparameter both of the recorded trial and of this version" in said
    assert trial.placements[0].commit[:10] in said
