"""Names that nobody chose: made of a column's, a file's or a recording's, whatever these are."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fake_study import FAKE
from trained_studies import LITTLE

from analysis import finals, predict, report
from datasets.molecules import write_table
from engine.command import command_of
from engine.main import main
from engine.study import Study
from record.log import FileLog
from record.state import fold
from studies import doctor, gnn_sweep, replay, world_model_sweep

TARGET = "homo/lumo gap (eV)"
NAME = "gnn-a_b-homo_lumo_gap_eV_"


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]


def test_a_target_of_any_name_is_studied_analysed_registered_and_predicted(
    where: list[str],
    molecule_rows: pa.Table,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [TARGET if name == "mu" else name for name in molecule_rows.column_names]
    write_table(molecule_rows.rename_columns(names), tmp_path / "a b.parquet")
    data = ["--dataset", str(tmp_path / "a b.parquet"), "--target", TARGET]
    asked = [*LITTLE, "--family", "gcn", "--trials", "1", "--finalists", "1", "--seeds", "1"]
    assert main(gnn_sweep.STUDY, ["--local", *data, *asked, *where]) == 0
    said = capsys.readouterr()
    assert f"models:/{NAME}@champion, version 1" in said.out
    assert "error" not in said.err
    runs = where[:2]
    assert report.main([NAME, *runs]) == 0
    assert finals.main([NAME, *runs]) == 0
    assert doctor.main([NAME, *runs]) == 0
    assert replay.main([f"{NAME}/0", *where]) == 0
    assert predict.main([NAME, "--smiles", "CCO", *where]) == 0
    assert f"{NAME}: {TARGET} by the champion" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()} == {
        "artifacts",
        NAME,
    }


def named(study: Study[Any], where: list[str], *arguments: str) -> str:
    """What a study is called by default."""
    return command_of(study, ["--local", *where, *arguments]).name


def test_a_recording_may_have_any_name(where: list[str]) -> None:
    recordings = ["--recordings", "/x/it's: drive #1.arrow"]
    assert named(world_model_sweep.STUDY, where, *recordings) == "world-model-it_s_drive_1"
    assert named(world_model_sweep.STUDY, where) == "world-model-pursuit"


def test_a_long_name_keeps_its_end(where: list[str]) -> None:
    """A tiny study, or one of a preset, is not to take the name of the whole one."""
    line = ["--dataset", f"/x/{'m' * 200}.parquet", "--target", "t" * 200]
    whole, preset, tiny = (
        named(gnn_sweep.STUDY, where, *line, *more)
        for more in ([], ["--preset", "homework"], ["--preset", "homework", "--smoke"])
    )
    assert whole == f"gnn-{'m' * 96}"
    assert preset == f"gnn-{'m' * 87}-homework"
    assert tiny == f"gnn-{'m' * 81}-homework-smoke"


def test_a_folder_that_is_called_as_the_home_folder_is_written_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What libraries do with ``~`` by themselves is not asked for: neither by ``./~``, nor, in a
    folder that is really called so, twice."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    asked = ["--local", "--ending", "good", "--epochs", "1", "--name", "s"]
    for runs, found in (("~/r", tmp_path / "home" / "r"), ("./~", tmp_path / "~")):
        for trials in ("1", "2"):
            line = [*asked, "--trials", trials, f"--runs-dir={runs}", "--data-dir=~/d"]
            assert main(FAKE, line) == 0
        state = fold(FileLog(found / "s" / "log.jsonl").read())
        assert [trial.status for trial in state.trials()] == ["finished"] * 2
        assert doctor.main(["s", f"--runs-dir={runs}"]) == 0
        shutil.rmtree(found)
    assert not (tmp_path / "home" / "s").exists()
