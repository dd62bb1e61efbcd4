"""What does not agree is found, said and repaired; what agrees is left alone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import mlflow
import pyarrow.parquet as pq
import pytest
from fake_study import FAKE
from mlflow.entities import Metric
from optuna.trial import TrialState
from studies.ledger import Ledger
from studies.records import FORMAT, Records
from studies.search import Journal

from engine.main import main
from studies import doctor

COMMON = ["--local", "--epochs", "3", "--name", "s", "--keep", "1"]
OPEN = 6
"""Number of the trial that a study was stopped in."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of six ended trials, good, bad and failed, and one that was stopped in between."""
    folder = tmp_path_factory.mktemp("stopped")
    epoch = Ledger.saved

    def interrupted(self: Ledger, number: int, name: str) -> None:
        epoch(self, number, name)
        if number == OPEN:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "saved", interrupted)
        endings = ["--ending", "good", "bad", "non_finite", "--trials", "9"]
        assert main(FAKE, [*COMMON, *endings, *where(folder)]) == 130
    return folder


def where(folder: Path) -> list[str]:
    return ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]


class Planted:
    """A copy of the study, to spoil.

    Args:
        folder: Of the copy.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.records = Records(self.runs / "s" / "ledger")
        self.client = mlflow.MlflowClient(f"sqlite:///{self.runs / 'mlflow.db'}")
        experiment = self.client.get_experiment_by_name("s")
        assert experiment is not None
        self.experiment = experiment.experiment_id

    @property
    def journal(self) -> Journal:
        return Journal(self.runs / "s" / "optuna.log", "s")

    def run(self, number: int | None) -> Any:
        """The run of a trial; None: of the study."""
        for run in self.client.search_runs([self.experiment]):
            if run.data.tags.get("orrery.trial") == (None if number is None else str(number)):
                return run
        return None

    def number(self, state: str) -> int:
        """The first trial of a state."""
        return next(n for n, told in self.journal.told().items() if told.state == state)

    def copy_run(self, number: int, tags: dict[str, str]) -> None:
        run = self.run(number)
        self.client.create_run(self.experiment, tags={**run.data.tags, **tags})

    def forget_in_optuna(self, number: int) -> None:
        """Takes what Optuna was told last out of its journal."""
        journal = self.runs / "s" / "optuna.log"
        lines = journal.read_text().splitlines(keepends=True)
        told = [n for n, line in enumerate(lines) if json.loads(line)["op_code"] == 6]
        states = [line for line in told if json.loads(lines[line])["trial_id"] == number]
        ended = [n for n in states if json.loads(lines[n])["state"] != TrialState.RUNNING.value]
        journal.write_text("".join(line for n, line in enumerate(lines) if n not in ended))

    def rewrite(self, number: int, **facts: Any) -> None:
        """Changes what the ledger says of a trial, not its epochs."""
        table = pq.read_table(self.records.path(number))
        known = json.loads(table.schema.metadata[FORMAT])
        changed = {FORMAT: json.dumps({**known, **facts}).encode()}
        pq.write_table(table.replace_schema_metadata(changed), self.records.path(number))

    def last_checkpoint(self) -> Path:
        return sorted((self.runs / "s" / "trials").glob(f"*/trial-{OPEN:05d}/*/state.pt"))[-1]


def no_end(planted: Planted) -> None:
    planted.client.update_run(planted.run(OPEN).info.run_id, status="RUNNING")


def study_left_running(planted: Planted) -> None:
    planted.client.update_run(planted.run(None).info.run_id, status="RUNNING")


def optuna_not_told(planted: Planted) -> None:
    planted.forget_in_optuna(planted.number("finished"))


def optuna_not_told_of_a_failure(planted: Planted) -> None:
    planted.forget_in_optuna(planted.number("failed"))


def no_run(planted: Planted) -> None:
    planted.client.delete_run(planted.run(1).info.run_id)


def two_runs(planted: Planted) -> None:
    planted.copy_run(2, {})


def run_of_nobody(planted: Planted) -> None:
    planted.copy_run(0, {"orrery.trial": "77"})


def wrong_state(planted: Planted) -> None:
    run = planted.run(planted.number("finished"))
    planted.client.set_tag(run.info.run_id, "orrery.state", "failed")
    planted.client.set_terminated(run.info.run_id, "FAILED")


def orphan(planted: Planted) -> None:
    planted.client.set_tag(planted.run(3).info.run_id, "mlflow.parentRunId", "another")


def epoch_twice(planted: Planted) -> None:
    run = planted.run(planted.number("finished"))
    again = [Metric("epoch", 2, 1, 2), Metric("validation/score", 0.1, 1, 2)]
    planted.client.log_batch(run.info.run_id, metrics=again)


def epochs_missing(planted: Planted) -> None:
    known = planted.run(0)
    planted.client.delete_run(known.info.run_id)
    run = planted.client.create_run(planted.experiment, tags=known.data.tags)
    planted.client.log_batch(run.info.run_id, metrics=[Metric("epoch", 1, 1, 1)])


def other_value_in_mlflow(planted: Planted) -> None:
    run = planted.run(planted.number("finished"))
    planted.client.log_metric(run.info.run_id, "validation/score", 0.999, step=3)


def ledger_lost(planted: Planted) -> None:
    planted.records.path(0).unlink()


def ledger_of_a_failure_lost(planted: Planted) -> None:
    planted.records.path(planted.number("failed")).unlink()


def ledger_cut_off(planted: Planted) -> None:
    path = planted.records.path(1)
    path.write_bytes(path.read_bytes()[:-40])


def ledger_changed(planted: Planted) -> None:
    """One bit of the epochs."""
    path = planted.records.path(0)
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(bytes(content))


def other_value_in_the_ledger(planted: Planted) -> None:
    planted.rewrite(0, value=0.999)


def other_state_in_the_ledger(planted: Planted) -> None:
    planted.rewrite(0, state="pruned")


def checkpoint_cut_off(planted: Planted) -> None:
    file = planted.last_checkpoint()
    file.write_bytes(file.read_bytes()[:-50])


def checkpoints_left(planted: Planted) -> None:
    folder = planted.last_checkpoint().parent
    number = planted.number("failed")
    shutil.copytree(folder, folder.parent.with_name(f"trial-{number:05d}") / "checkpoint_000009")


PLANTED: dict[Callable[[Planted], None], str] = {
    no_end: "its run is RUNNING, and nobody is running it",
    study_left_running: "the study's own run is RUNNING",
    optuna_not_told: "it is finished, Optuna was not told",
    optuna_not_told_of_a_failure: "it is failed, Optuna was not told",
    no_run: "MLflow has no run of it",
    two_runs: "MLflow has another run of it",
    run_of_nobody: "MLflow has a run of it, Optuna does not know it",
    wrong_state: "it is finished, in MLflow failed and FAILED",
    orphan: "its run does not hang under the study's",
    epoch_twice: "MLflow has epochs [2] twice",
    epochs_missing: "MLflow has 1 of its 3 epochs",
    other_value_in_mlflow: "its run has 3 epochs up to 0.999",
    ledger_lost: "the ledger does not have it",
    ledger_of_a_failure_lost: "the ledger does not have it",
    ledger_cut_off: "its file in the ledger is damaged",
    ledger_changed: "its file in the ledger is damaged",
    other_value_in_the_ledger: "it is finished 0.999 in the ledger",
    other_state_in_the_ledger: "it is pruned",
    checkpoint_cut_off: "is damaged or cut off",
    checkpoints_left: "1 checkpoints are left of it, 0 is to be kept",
}


@pytest.fixture
def planted(stopped: Path, tmp_path: Path) -> Planted:
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    return Planted(tmp_path)


def look(planted: Planted, *arguments: str) -> int:
    return doctor.main(["s", "--runs-dir", str(planted.runs), *arguments])


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "mlflow.db" not in path.name and path.name != "lock"
    }


def test_a_healthy_study_has_nothing_to_repair(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(planted.runs)
    assert look(planted) == 0
    said = capsys.readouterr().out
    assert "the three agree" in said
    assert [line.split() for line in said.splitlines() if line.startswith(("open", "all"))] == [
        ["open", "1", "1", "1"],
        ["all", "7", "7", "7"],
    ]
    assert look(planted, "--repair") == 0
    assert everything(planted.runs) == before


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_disagreement_is_found_and_repaired(
    plant: Callable[[Planted], None], planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(planted)
    before = everything(planted.runs)
    assert look(planted) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert PLANTED[plant] in said
    assert everything(planted.runs) == before, "nothing is changed unless it is asked for"
    assert look(planted, "--repair") == 0
    said = capsys.readouterr().out
    assert "1 repaired; read again:" in said
    assert said.rstrip().endswith("the three agree")
    assert look(planted) == 0


# Two take a look at every epoch, for which a start has no time.
SEEN_BY_A_START = [plant for plant in PLANTED if plant not in (epoch_twice, ledger_changed)]


@pytest.mark.parametrize("plant", SEEN_BY_A_START, ids=lambda plant: plant.__name__)
def test_a_study_repairs_what_it_finds_and_goes_on(
    plant: Callable[[Planted], None], planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(planted)
    endings = ["--ending", "good", "bad", "non_finite", "--trials", "9"]
    assert main(FAKE, [*COMMON, *endings, *where(planted.folder)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert PLANTED[plant] in said
    assert "best of 9 trials" in said
    assert look(planted) == 0
    assert {told.state for told in planted.journal.told().values()} <= {"finished", "failed"}


def test_what_cannot_be_repaired_is_said(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger_lost(planted)
    planted.client.delete_run(planted.run(0).info.run_id)
    assert look(planted, "--repair") == 1
    assert "none: MLflow does not know its epochs either" in capsys.readouterr().out


def test_with_an_older_journal_nothing_is_done(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = planted.runs / "s" / "optuna.log"
    lines = journal.read_text().splitlines(keepends=True)
    begun = [n for n, line in enumerate(lines) if json.loads(line)["op_code"] == 4]
    journal.write_text("".join(lines[: begun[5]]))
    before = everything(planted.runs)
    endings = ["--ending", "good", "bad", "non_finite"]
    assert main(FAKE, [*COMMON, *endings, *where(planted.folder)]) == 2
    assert "trial 5: the ledger has it, Optuna does not know it" in capsys.readouterr().err
    assert look(planted, "--repair") == 1
    assert everything(planted.runs) == before
    assert planted.run(OPEN) is not None


def test_a_running_study_is_left_alone(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    with filelock.FileLock(planted.runs / "s" / "lock"):
        assert look(planted) == 2
    assert capsys.readouterr().err.startswith("error: the study s is running")


def test_a_runs_folder_that_several_machines_mount_is_named(
    planted: Planted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Locks may be missing there, and SQLite's database be damaged."""
    monkeypatch.setattr(doctor, "file_system", lambda _: "nfs4")
    look(planted)
    assert f"{planted.runs / 's'} lies on nfs4, which several machines" in capsys.readouterr().out


def test_a_study_that_is_not_there_is_named(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.main(["other", "--runs-dir", str(planted.runs)]) == 2
    assert "no study other in" in capsys.readouterr().err
    assert not (planted.runs / "other").exists()
