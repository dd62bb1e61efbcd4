"""A file that `studies/export.py` wrote is opened by Optuna itself."""

from pathlib import Path

import optuna
import pytest
from happened import began, proposed, story
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from upath import UPath

from engine.optuna_export import STATES
from record.folder import StudyFolder
from record.log import FileLog
from record.state import fold
from record.store_log import StoreLog
from record.trial import WITH_RESULT, Trial
from studies import export


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    FileLog(StudyFolder(tmp_path / "runs", "s").log).append(story())
    return tmp_path / "runs"


def said(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """The one line that the command says."""
    assert export.main(["s", *arguments]) == code
    told = capsys.readouterr()
    line = told.err if code else told.out
    assert line.count("\n") == 1
    return line


def check_same(known: tuple[Trial, ...], storage: BaseStorage) -> None:
    study = optuna.load_study(study_name="s", storage=storage)
    trials = study.get_trials()
    assert len(trials) == len(known)
    for trial, there in zip(known, trials, strict=True):
        assert (there.number, there.state) == (trial.number, STATES[trial.status])
        value = trial.value("validation/r2") if trial.status in WITH_RESULT else None
        assert there.value == value
        values = {each.epoch: each.metrics["validation/r2"] for each in trial.reports}
        assert there.intermediate_values == values
        assert there.datetime_start is not None
        assert there.datetime_complete is not None
        assert trial.started is not None
        assert trial.ended is not None
        assert there.datetime_start.timestamp() == trial.started.timestamp()
        assert there.datetime_complete.timestamp() == trial.ended.timestamp()


@pytest.mark.parametrize("is_database", [False, True])
def test_optuna_reads_what_was_exported(
    runs: Path, tmp_path: Path, is_database: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "s 1.export"
    address = f"sqlite:///{file}" if is_database else str(file)
    line = said(capsys, 0, "--runs-dir", str(runs), "--optuna", address)
    assert line == f"4 trials; to see them: optuna-dashboard '{address}'\n"
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    if is_database:
        storage = RDBStorage(address)
        check_same(fold(story()).trials(), storage)
        storage.remove_session()
        storage.engine.dispose()
    else:
        check_same(fold(story()).trials(), JournalStorage(JournalFileBackend(str(file))))


def test_a_study_is_exported_while_it_runs(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = runs / "s" / "log.jsonl"
    log.unlink()
    FileLog(log).append([began(), proposed(0)])
    log.write_bytes(log.read_bytes() + b"1234abcd 2 [{")
    line = said(capsys, 0, "--runs-dir", str(runs), "--optuna", str(tmp_path / "file"))
    assert line.startswith("1 trials; ")


def test_a_study_is_exported_from_a_shared_storage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = StudyFolder(tmp_path / "runs", "s", UPath(tmp_path / "store"))
    assert folder.store_log is not None
    StoreLog(folder.store_log).append(story())
    where = ["--runs-dir", str(tmp_path / "runs"), "--storage", str(tmp_path / "store")]
    assert said(capsys, 0, *where, "--optuna", str(tmp_path / "file")).startswith("4 trials; ")


@pytest.mark.parametrize("scheme", ["", "sqlite:///"])
def test_nothing_is_written_over(
    runs: Path, tmp_path: Path, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    line = said(capsys, 2, "--runs-dir", str(runs), "--optuna", f"{scheme}{file}")
    assert line == (
        f"error: --optuna {file}: it is there already; name a new file, or move it away\n"
    )
    assert file.read_text() == "mine"


def test_a_study_that_is_not_there_leaves_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = said(capsys, 2, "--runs-dir", str(tmp_path), "--optuna", str(tmp_path / "file"))
    assert line.startswith(f"error: no study s in {tmp_path}: there is no ")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file_is_said(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    line = said(capsys, 2, "--runs-dir", str(runs), "--optuna", str(tmp_path / "file" / "x"))
    assert line.startswith("error: ")


def test_another_kind_of_database_is_refused(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        export.main(["s", "--runs-dir", str(runs), "--optuna", "postgresql://db/x"])
    assert ended.value.code == 2
    assert "expected FILE or sqlite:///FILE" in capsys.readouterr().err
