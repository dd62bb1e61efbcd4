"""The champion in MLflow's registry: there once, and in another process the model that it was."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException
from moving_stripes import stripes

from analysis import dreams, finals, predictions, served
from analysis.runs import StudyRuns, TrackingStore, TrialRun
from datasets.graphs import GraphStore
from datasets.recordings import write_recordings
from datasets.sources import MoleculeSet
from studies import doctor, gnn_sweep, world_model_sweep
from studies.recording import NotRecorded
from studies.registry import ALIAS, register_champion
from studies.study import Study, main
from trainables.packed import pack, pack_drives

MOLECULES = (
    *("--molecules", "120", "--family", "gcn", "sage", "--width", "16", "--epochs", "2"),
    *("--trials", "3", "--finalists", "1", "--seeds", "2"),
)
DRIVES = (
    *("--epochs", "1", "--hidden", "8", "--sequence-length", "10"),
    *("--trials", "2", "--finalists", "1", "--seeds", "2"),
)

LOADS = """
import sys
import mlflow, numpy, torch
uri, given, answered = sys.argv[1:]
mlflow.set_tracking_uri(uri)
model = mlflow.pytorch.load_model("models:/s@champion")
import datasets, trainables
print(datasets.__file__, trainables.__file__)
given = torch.from_numpy(numpy.load(given))
with torch.no_grad():
    numpy.save(answered, model(given).numpy())
"""

Asked = Callable[[], int]


def asking(study: Study[Any], folder: Path, cache: Path, *arguments: str) -> Asked:
    """Asks a study, without its analyses, in a folder."""
    where = ["--runs-dir", str(folder), "--data-dir", str(cache), "--name", "s"]
    command = ["--local", "--sampler", "random", *arguments, *where]
    return lambda: main(replace(study, analyses=()), command)


def uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def studied(folder: Path) -> StudyRuns:
    return TrackingStore(uri(folder)).study("s")


def registered_run(folder: Path) -> str:
    """Which run the alias leads to."""
    return mlflow.MlflowClient(uri(folder)).get_model_version_by_alias("s", ALIAS).run_id or ""


def versions(folder: Path) -> list[str]:
    found = mlflow.MlflowClient(uri(folder)).search_model_versions("name = 's'")
    return sorted(str(each.version) for each in found)


def answer(folder: Path, scratch: Path, given: torch.Tensor) -> np.ndarray:
    """What the champion makes of a tensor, in a fresh process that is not in this project."""
    scratch.mkdir()
    np.save(scratch / "given.npy", given.numpy())
    done = subprocess.run(
        [sys.executable, "-c", LOADS, uri(folder), "given.npy", "answered.npy"],
        cwd=scratch,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(folder / "artifacts")) == 2, "its code is to come with the model"
    return np.load(scratch / "answered.npy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Where a study of molecules was run, with finals."""
    folder = tmp_path_factory.mktemp("runs")
    assert asking(gnn_sweep.STUDY, folder, cache, *MOLECULES)() == 0
    return folder


def facts_of(final: TrialRun) -> tuple[Any, ...]:
    return final.state, final.started, final.ended, dict(final.metrics), dict(final.params)


def test_the_champion_s_best_final_by_validation_has_the_alias(folder: Path) -> None:
    runs = studied(folder)
    assert runs.champion is not None
    finals = runs.finalists[runs.champion.number]
    best = max(finals, key=lambda final: final.metrics["validation/r2"])
    assert registered_run(folder) == best.run_id


@pytest.mark.slow
def test_loaded_in_a_fresh_process_it_reproduces_the_recorded_test_predictions(
    folder: Path, cache: Path, molecules: MoleculeSet, tmp_path: Path
) -> None:
    finals.analyse("s", uri(folder), cache, tmp_path / "report")
    best = studied(folder).champion_final
    assert best is not None
    recorded = predictions.recorded(TrackingStore(uri(folder)), best)
    assert recorded is not None
    test = torch.from_numpy(molecules.split.test)
    packed = pack(GraphStore(molecules.graphs, torch.device("cpu")).select(test))
    answered = answer(folder, tmp_path / "elsewhere", packed)
    assert answered.shape == (len(test),)
    np.testing.assert_allclose(answered, recorded.prediction, rtol=1e-6)


def test_it_has_a_signature_and_an_example_that_it_takes(
    folder: Path, molecules: MoleculeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient(uri(folder))
    source = client.get_model_version_by_alias("s", ALIAS).source
    assert source is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])  # loading puts the model's code in front
        loaded = mlflow.pyfunc.load_model(source)
    signature = loaded.metadata.signature
    assert signature is not None
    shapes = [spec.shape for spec in (*signature.inputs.inputs, *signature.outputs.inputs)]
    assert shapes == [(-1, -1, -1), (-1,)]
    example = loaded.input_example
    some = torch.from_numpy(molecules.split.validation[: served.MOLECULES])
    expected = pack(GraphStore(molecules.graphs, torch.device("cpu")).select(some)).numpy()
    np.testing.assert_array_equal(example, expected)
    assert loaded.predict(example).shape == (len(some),)
    facts = loaded.metadata.metadata
    assert facts is not None
    assert (facts["unit"], facts["output"]) == ("D", "mu of each molecule")


def test_the_same_command_registers_nothing_anew_and_leaves_the_runs_as_they_are(
    folder: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [facts_of(final) for final in studied(folder).finals]
    assert asking(gnn_sweep.STUDY, folder, cache, *MOLECULES)() == 0
    assert "models:/s@champion, version 1" in capsys.readouterr().out
    assert versions(folder) == ["1"]
    assert [facts_of(final) for final in studied(folder).finals] == before
    assert doctor.main(["s", "--runs-dir", str(folder)]) == 0


def register(folder: Path, cache: Path) -> str | None:
    return register_champion(uri(folder), "s", cache, served.regressor)


def test_another_champion_is_a_new_version_and_the_first_one_again_its_own(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = registered_run(folder)
    other = next(final for final in studied(folder).finals if final.run_id != first)
    with monkeypatch.context() as patch:
        patch.setattr(StudyRuns, "champion_final", other)
        assert "version 2" in str(register(folder, cache))
        assert registered_run(folder) == other.run_id
        assert "version 2" in str(register(folder, cache))
    assert "version 1" in str(register(folder, cache))
    assert registered_run(folder) == first
    assert versions(folder) == ["1", "2"]


def test_a_store_that_went_away_in_between_is_told_the_rest_later(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*arguments: Any, **more: Any) -> None:
        raise MlflowException("planted: it is away")

    known = studied(folder)
    best = known.champion_final
    assert best is not None
    other = next(f for f in known.finals if f.run_id != best.run_id and f.of == best.of)
    monkeypatch.setattr(StudyRuns, "champion_final", other)
    before = versions(folder)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "create_model_version", away)
        with pytest.raises(NotRecorded, match="it is away"):
            register(folder, cache)
    assert register(folder, cache) is not None
    client = mlflow.MlflowClient(uri(folder))
    experiment = client.get_run(other.run_id).info.experiment_id
    logged = client.search_logged_models([experiment], f"source_run_id = '{other.run_id}'")
    assert len(logged) == 1
    outputs = client.get_run(other.run_id).outputs
    assert outputs is not None
    assert len(outputs.model_outputs) == 1
    assert len(versions(folder)) == len(before) + 1


def test_without_finals_nothing_is_registered(tmp_path: Path, cache: Path) -> None:
    arguments = [*MOLECULES, "--finalists", "0"]
    assert asking(gnn_sweep.STUDY, tmp_path, cache, *arguments)() == 0
    assert mlflow.MlflowClient(uri(tmp_path)).search_registered_models() == []


def test_weights_that_are_gone_are_said_to_be(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = studied(folder).trials[0]
    monkeypatch.setattr(StudyRuns, "champion_final", replace(final, run_id="0" * 32))
    monkeypatch.setattr(TrackingStore, "weights", lambda *_: None)
    assert register(folder, cache) == "the weights of trial 0, the champion's best, were not kept"


@pytest.mark.slow
def test_a_world_model_dreams_as_recorded_in_a_fresh_process(tmp_path: Path) -> None:
    write_recordings(stripes(20, 45), tmp_path / "drives.arrow")
    drives = ["--recordings", str(tmp_path / "drives.arrow")]
    folder, cache = tmp_path / "runs", tmp_path / "data"
    ask = asking(world_model_sweep.STUDY, folder, cache, *DRIVES, *drives)
    assert ask() == 0
    finals.analyse("s", uri(folder), cache, tmp_path / "report")
    runs = studied(folder)
    best = runs.champion_final
    assert best is not None
    recorded = dreams.recorded(TrackingStore(uri(folder)), best)
    assert recorded is not None
    data = dreams.open_data(runs, cache, None)
    begin, end = data.recordings.offsets[data.split.test[0] :][:2]
    frames = torch.tensor(data.recordings.frames[begin:end]).float() / 255
    packed = pack_drives(frames[None], torch.tensor(data.recordings.actions[begin:end])[None])
    answered = answer(folder, tmp_path / "elsewhere", packed)
    assert answered.shape == (1, 35, 3, 32, 32)
    # A pixel value that lies between two bytes may be rounded to either.
    apart = dreams.as_bytes(torch.from_numpy(answered[0])).astype(int) - recorded.autoregressive
    assert np.abs(apart).max() <= 1
    assert (apart != 0).mean() < 1e-3
    truth = frames[10:].numpy()
    error = np.square(answered[0] - truth).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(error, recorded.error("autoregressive")[0], rtol=1e-5)
