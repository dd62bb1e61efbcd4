"""Bad input on the GNN study's command line: one clear line, exit code 2, nothing half-written."""

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from refused import Refused, refusing
from requests import ConnectionError as RequestsConnectionError
from torch_geometric.datasets import QM9

from datasets import downloads
from datasets.molecules import molecule_table
from engine import resources
from engine.main import main
from studies.controller_sweep import STUDY as CONTROLLERS
from studies.gnn_sweep import STUDY


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    return refusing(STUDY, tmp_path, capsys)


def write_molecules(path: Path, smiles: list[str], numbers: list[int], dipole: float = 1.0) -> str:
    """A table in which every row has these atoms, on a line 0.9 Angstrom apart."""
    positions = np.array([[0.9 * place, 0, 0] for place in range(len(numbers))])
    rows = len(smiles)
    table = molecule_table(
        smiles,
        [np.array(numbers)] * rows,
        [positions] * rows,
        {"mu": (np.arange(rows) + dipole, "D"), "other": (np.ones(rows), "eV")},
    )
    pq.write_table(table, path)
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--family", "transformer"], "--family: invalid choice: 'transformer'"),
        (["--dataset", "qm10"], "unknown --dataset qm10: expected gfn2, qm9 or the path"),
        (["--dataset", "gone.parquet"], "no file gone.parquet"),
        (["--split", "half"], "unknown --split half"),
        (["--split", "random:0.5,0.5"], "expected three positive numbers"),
        (["--split", "random:9000,10,10"], "asks for 9000, 10 and 10 of 4,096 molecules"),
        (["--split", "homework"], "takes the first 12,000 molecules, the data set has 4,096"),
        (["--target", "gap"], "no target gap: gfn2 has mu only"),
        (["--dataset", "qm9", "--target", "u0"], "no target u0: qm9 has mu, alpha, homo"),
        (["--preset", "best"], "unknown --preset best: expected homework"),
        (["--trials", "-1"], "--trials is -1: expected at least 1"),
        (["--trials", "0"], "--trials is 0"),
        (["--trials", "many"], "--trials: invalid int value: 'many'"),
        (["--molecules", "-5"], "--molecules is -5"),
        (["--epochs", "0"], "epochs is 0"),
        (["--width", "-8"], "width is -8"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--dropout", "1.5"], "dropout is 1.5"),
        (["--depth", "28", "--family", "gcn"], "depth is 28: expected 2 to 8 for gcn"),
        (["--learning-rate", "0"], "learning_rate is 0.0: expected above 0"),
        (["--time-budget", "0"], "--time-budget is 0.0"),
        (["--cpus-per-trial", "0"], "--cpus-per-trial is 0"),
        (["--cpus-per-trial", "4096"], "--cpus-per-trial 4096: expected at most "),
        (["--workers-per-trial", "-1"], "--workers-per-trial is -1"),
        (
            ["--workers-per-trial", "1", "--local"],
            "--workers-per-trial 1 and --local: expected one of them",
        ),
        (["--name", "artifacts"], "--name artifacts is taken"),
        (["--max-concurrent", "0"], "--max-concurrent is 0"),
        (["--gpus-per-trial", "-1"], "--gpus-per-trial is -1"),
        (["--name", "../escape"], "expected letters, digits"),
        (["--name=-rf"], "--name '-rf': expected letters, digits"),
        (["--name", "a/b"], "--name 'a/b': expected letters, digits"),
        (["--name", "a:b"], "--name 'a:b': expected letters, digits"),
        (["--name", "n" * 101], "at most 100"),
        (["--runs-dir", "~nobody-here/x"], "there is no home folder ~nobody-here"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
    ],
)
def test_a_bad_argument_gets_one_clear_line(
    refused: Refused, arguments: list[str], said: str
) -> None:
    assert said in refused(*arguments)


def test_a_gpu_that_is_not_there_is_refused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert "this machine has 0 GPUs" in refused("--gpus-per-trial", "1")


def test_a_trial_gets_no_more_cores_than_this_process_may_use(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the machine has: ``taskset`` and batch systems give a share of it."""
    monkeypatch.setattr(resources, "cores", lambda: 3)
    assert "--cpus-per-trial 4: expected at most 3, the cores" in refused("--cpus-per-trial", "4")


def test_workers_are_refused_where_trials_have_no_use_for_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Before anything is prepared, and Ray is started."""
    folders = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
    assert main(STUDY, ["--workers-per-trial", "1", *folders]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: --workers-per-trial 1: expected none, as a trial of this")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_workers_are_refused_where_there_are_no_cores_for_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "cores", lambda: 3)
    folders = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
    asked = ["--cpus-per-trial", "2", "--workers-per-trial", "2"]
    assert main(CONTROLLERS, [*asked, *folders]) == 2
    said = capsys.readouterr()
    assert "error: --workers-per-trial 2: expected at most 1, the cores" in said.err


def test_frames_with_a_dashboard_are_refused_where_controllers_see_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = refusing(CONTROLLERS, tmp_path, capsys)
    assert "--drawing gymnasium shows the dashboard" in refused("--drawing", "gymnasium")


def test_a_truncated_parquet_is_refused(refused: Refused, tmp_path: Path) -> None:
    path = Path(write_molecules(tmp_path / "molecules.parquet", ["O"] * 9, [8, 1, 1]))
    path.write_bytes(path.read_bytes()[:-100])
    assert "cannot be read as Parquet" in refused("--dataset", str(path))


def test_a_file_that_is_no_parquet_is_refused(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "molecules.parquet"
    path.write_text("smiles,mu\nO,1.8\n")
    assert "cannot be read as Parquet" in refused("--dataset", str(path))


def test_a_missing_column_is_named(refused: Refused, tmp_path: Path) -> None:
    path = Path(write_molecules(tmp_path / "molecules.parquet", ["O"] * 9, [8, 1, 1]))
    pq.write_table(pq.read_table(path).drop_columns(["positions"]), path)
    assert "lacks the column(s) positions" in refused("--dataset", str(path))


def test_an_unknown_target_is_refused_with_those_there_are(
    refused: Refused, tmp_path: Path
) -> None:
    path = write_molecules(tmp_path / "molecules.parquet", ["O"] * 9, [8, 1, 1])
    said = refused("--dataset", path, "--target", "gap")
    assert "no target gap: this table has mu, other" in said


def test_a_constant_target_is_refused(refused: Refused, tmp_path: Path) -> None:
    # Water 40 times, each in its own words, so that a split by molecule has something to split.
    smiles = [f"[{16 + n}OH2]" for n in range(40)]
    path = write_molecules(tmp_path / "molecules.parquet", smiles, [8, 1, 1])
    said = refused("--dataset", path, "--target", "other")
    assert "target other takes a single value on the 32 molecules of the train split" in said


def test_a_smiles_that_rdkit_rejects_is_named(refused: Refused, tmp_path: Path) -> None:
    smiles = [f"{'C' * n}O" for n in range(1, 30)]
    smiles[7] = "C1CC"
    path = write_molecules(tmp_path / "molecules.parquet", smiles, [8, 1, 1])
    assert "row 7: RDKit rejects the SMILES 'C1CC'" in refused("--dataset", path)


def test_the_homework_split_needs_its_rows(refused: Refused, tmp_path: Path) -> None:
    path = write_molecules(tmp_path / "molecules.parquet", ["O"] * 9, [8, 1, 1])
    said = refused("--dataset", path, "--split", "homework")
    assert "takes the first 12,000 molecules, the data set has 9" in said


def test_an_unreachable_tracking_server_is_refused_at_once(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "the tracking server http://127.0.0.1:9 does not answer" in refused()


def test_a_tracking_uri_of_an_unknown_kind_is_refused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://somewhere")
    assert "cannot use the tracking store ftp://somewhere" in refused()


def test_a_temporary_folder_that_is_too_long_for_ray_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", f"/tmp/{'x' * 60}")
    where = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
    assert main(STUDY, where) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: the temporary folder /tmp/xxx")
    assert "set RAY_TMPDIR, or TMPDIR, to a shorter one" in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("flag", ["--runs-dir", "--data-dir"])
def test_a_folder_that_cannot_be_written_is_refused(refused: Refused, flag: str) -> None:
    # Read-only even for root, as which tests run in containers.
    assert "cannot write into /proc/orrery" in refused(flag, "/proc/orrery")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into read-only folders")
def test_a_read_only_folder_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "cannot write into" in refused("--runs-dir", str(tmp_path / "locked"))


def test_without_a_network_one_line_says_which_files_go_where(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def unreachable(download: downloads.Download, path: Path) -> None:
        asked.append(download.url)
        raise RequestsConnectionError(OSError("Name or service not known"))

    monkeypatch.setattr(downloads, "_fetch", unreachable)
    said = refused("--dataset", "qm9")
    assert asked == [QM9.raw_url]
    folder = tmp_path / "data" / "qm9" / "raw"
    assert said == (
        f"error: cannot download {QM9.raw_url} (Name or service not known): save {QM9.raw_url} as "
        f"qm9.zip (or gdb9.sdf and gdb9.sdf.csv out of it) and {QM9.raw_url2} as "
        f"uncharacterized.txt into {folder} and give the same command; or use another --dataset, "
        "such as FILE.parquet\n"
    )
    assert list(folder.iterdir()) == []
