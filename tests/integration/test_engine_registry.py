"""The champion in MLflow's registry: there once, and in another process the model that it was."""

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException
from trained_studies import DRIVES, LITTLE, MOLECULES, command, known
from trained_studies import tracking as uri

from analysis import packaged_model, predictions, rollout_scores
from analysis.opening import opened
from datasets.graphs import GraphStore
from datasets.sources import MoleculeSet
from engine import registry
from engine.main import main
from engine.registry import ALIAS, register_champion
from record.recorded_study import RecordedStudy
from record.tracker import NotRecorded
from record.trial import Trial
from studies import doctor, gnn_sweep
from trainables.packed import pack, pack_drives

LOADS = """
import sys
import mlflow, numpy, torch
uri, name, given, answered = sys.argv[1:]
mlflow.set_tracking_uri(uri)
model = mlflow.pytorch.load_model(f"models:/{name}@champion")
import datasets, trainables
print(datasets.__file__, trainables.__file__)
given = torch.from_numpy(numpy.load(given))
with torch.no_grad():
    numpy.save(answered, model(given).numpy())
"""

WITHOUT_ANALYSES = replace(gnn_sweep.STUDY, scorecard=None)


def run_id(folder: Path, trial: Trial) -> str:
    return known(folder).artifacts.run_id(trial)


def registered_run(folder: Path) -> str:
    """Which run the alias leads to."""
    client = mlflow.MlflowClient(uri(folder))
    return client.get_model_version_by_alias(MOLECULES, ALIAS).run_id or ""


def versions(folder: Path) -> dict[str, str]:
    """Version -> its run."""
    found = mlflow.MlflowClient(uri(folder)).search_model_versions(f"name = '{MOLECULES}'")
    return {str(each.version): each.run_id or "" for each in found}


def answer(folder: Path, name: str, scratch: Path, given: torch.Tensor) -> np.ndarray:
    """What the champion makes of a tensor, in a fresh process that is not in this project."""
    scratch.mkdir()
    np.save(scratch / "given.npy", given.numpy())
    done = subprocess.run(
        [sys.executable, "-c", LOADS, uri(folder), name, "given.npy", "answered.npy"],
        cwd=scratch,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(folder / "artifacts")) == 2, "its code is to come with the model"
    return np.load(scratch / "answered.npy")


def facts_of(folder: Path) -> list[dict[str, Any]]:
    """What stands in the runs of the finals, by number."""
    study, client = known(folder), mlflow.MlflowClient(uri(folder))
    runs = [client.get_run(study.artifacts.run_id(final)) for final in study.finals]
    return [{**run.data.to_dictionary(), **dict(run.info)} for run in runs]


def test_the_champion_s_best_final_by_validation_has_the_alias(trained_copy: Path) -> None:
    study = known(trained_copy)
    assert study.champion is not None
    best = max(study.finalists[study.champion.number], key=study.value)
    assert registered_run(trained_copy) == run_id(trained_copy, best)


def test_loaded_in_a_fresh_process_it_reproduces_the_recorded_test_predictions(
    trained_copy: Path, molecules: MoleculeSet, tmp_path: Path
) -> None:
    study = known(trained_copy)
    best = study.champion_final
    assert best is not None
    recorded = predictions.of_trial(study, best)
    assert recorded is not None
    test = torch.from_numpy(molecules.split.test)
    packed = pack(GraphStore(molecules.graphs, torch.device("cpu")).select(test))
    answered = answer(trained_copy, MOLECULES, tmp_path / "elsewhere", packed)
    assert answered.shape == (len(test),)
    np.testing.assert_allclose(answered, recorded.prediction, rtol=1e-6)


def test_it_has_a_signature_and_an_example_that_it_takes(
    trained_copy: Path, molecules: MoleculeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient(uri(trained_copy))
    source = client.get_model_version_by_alias(MOLECULES, ALIAS).source
    assert source is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])  # loading puts the model's code in front
        loaded = mlflow.pyfunc.load_model(source)
    signature = loaded.metadata.signature
    assert signature is not None
    shapes = [spec.shape for spec in (*signature.inputs.inputs, *signature.outputs.inputs)]
    assert shapes == [(-1, -1, -1), (-1,)]
    example = loaded.input_example
    some = torch.from_numpy(molecules.split.validation[: packaged_model.MOLECULES])
    expected = pack(GraphStore(molecules.graphs, torch.device("cpu")).select(some)).numpy()
    np.testing.assert_array_equal(example, expected)
    assert loaded.predict(example).shape == (len(some),)
    facts = loaded.metadata.metadata
    assert facts is not None
    assert (facts["unit"], facts["output"]) == ("D", "mu of each molecule")


def test_the_same_command_registers_nothing_anew_and_leaves_the_runs_as_they_are(
    trained_copy: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = facts_of(trained_copy)
    assert main(WITHOUT_ANALYSES, command(MOLECULES, trained_copy, cache)) == 0
    assert "models:/molecules@champion, version 1" in capsys.readouterr().out
    assert [*versions(trained_copy)] == ["1"]
    assert facts_of(trained_copy) == before
    assert doctor.main([MOLECULES, "--runs-dir", str(trained_copy)]) == 0


def register(trained_copy: Path, cache: Path) -> str | None:
    study = known(trained_copy)
    return register_champion(study, opened(study, cache, None), packaged_model.regressor)


def test_another_champion_is_a_new_version_and_the_first_one_again_its_own(
    trained_copy: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = registered_run(trained_copy)
    finals = known(trained_copy).finals
    other = next(final for final in finals if run_id(trained_copy, final) != first)
    warned: list[logging.LogRecord] = []
    monkeypatch.setattr(logging.getLogger("mlflow.pytorch"), "handle", warned.append)
    with monkeypatch.context() as patch:
        patch.setattr(RecordedStudy, "champion_final", other)
        assert "version 2" in str(register(trained_copy, cache))
        assert "can execute arbitrary code" in " ".join(each.getMessage() for each in warned)
        client = mlflow.MlflowClient(uri(trained_copy))
        version = client.get_model_version_by_alias(MOLECULES, ALIAS)
        assert "load it only where you trust all who may write" in str(version.description)
        assert registered_run(trained_copy) == run_id(trained_copy, other)
        assert "version 2" in str(register(trained_copy, cache))
    assert "version 1" in str(register(trained_copy, cache))
    assert registered_run(trained_copy) == first
    assert {*versions(trained_copy)} == {"1", "2"}


def test_a_store_that_went_away_in_between_is_told_the_rest_later(
    trained_copy: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*arguments: Any, **more: Any) -> None:
        raise MlflowException("planted: it is away")

    before = versions(trained_copy)
    runs = {run_id(trained_copy, final): final for final in known(trained_copy).finals}
    run = next(run for run in runs if run not in before.values())
    other = runs[run]
    monkeypatch.setattr(RecordedStudy, "champion_final", other)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "create_model_version", away)
        with pytest.raises(NotRecorded, match="it is away"):
            register(trained_copy, cache)
    assert register(trained_copy, cache) is not None
    client = mlflow.MlflowClient(uri(trained_copy))
    experiment = client.get_run(run).info.experiment_id
    logged = client.search_logged_models([experiment], f"source_run_id = '{run}'")
    assert len(logged) == 1
    outputs = client.get_run(run).outputs
    assert outputs is not None
    assert len(outputs.model_outputs) == 1
    assert len(versions(trained_copy)) == len(before) + 1


def test_without_finals_nothing_is_registered(tmp_path: Path, cache: Path) -> None:
    little = ["--local", *LITTLE, "--trials", "1", "--finalists", "0"]
    where = ["--runs-dir", str(tmp_path), "--data-dir", str(cache)]
    assert main(WITHOUT_ANALYSES, [*little, *where]) == 0
    assert mlflow.MlflowClient(uri(tmp_path)).search_registered_models() == []


def test_weights_that_are_gone_are_said_to_be(
    trained_copy: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = known(trained_copy).trials[0]
    monkeypatch.setattr(RecordedStudy, "champion_final", final)
    monkeypatch.setattr(registry, "weights", lambda *_: None)
    assert (
        register(trained_copy, cache)
        == "the weights of trial 0, the champion's best, were not kept"
    )


def test_a_world_model_dreams_as_recorded_in_a_fresh_process(
    trained_copy: Path, cache: Path, tmp_path: Path
) -> None:
    study = known(trained_copy, DRIVES)
    best = study.champion_final
    assert best is not None
    recorded = rollout_scores.of_trial(study, best)
    assert recorded is not None
    data = opened(study, cache, None).drives
    begin, end = data.recordings.offsets[data.split.test[0] :][:2]
    frames = torch.tensor(data.recordings.frames[begin:end]).float() / 255
    packed = pack_drives(frames[None], torch.tensor(data.recordings.actions[begin:end])[None])
    answered = answer(trained_copy, DRIVES, tmp_path / "elsewhere", packed)
    assert answered.shape == (1, 35, 3, 32, 32)
    # A pixel value that lies between two bytes may be rounded to either.
    apart = (
        rollout_scores.as_bytes(torch.from_numpy(answered[0])).astype(int)
        - recorded.autoregressive
    )
    assert np.abs(apart).max() <= 1
    assert (apart != 0).mean() < 1e-3
    truth = frames[10:].numpy()
    error = np.square(answered[0] - truth).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(error, recorded.error("autoregressive")[0], rtol=1e-5)
