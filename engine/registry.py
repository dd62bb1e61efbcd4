"""Registers a study's champion in MLflow's model registry, under the study's name and an alias.

``mlflow.pytorch.load_model("models:/NAME@champion")`` loads it, even without this project
installed, because its packages are stored with the model. The model is pickled, because compiled
loops over the neighbours of atoms cannot be exported as a graph: load it only from a registry that
you trust.
"""

import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion

from analysis.kept_weights import weights
from analysis.packaged_model import PackagedModel
from record.mlflow_tracker import not_recorded
from record.recorded_study import RecordedStudy
from record.tracking import check_artifacts
from record.trial import Trial
from trainables.problem import Problem

ALIAS = "champion"

WARNING = (
    "Its file is a pickle: whoever loads it runs what is in it, so load it only where you trust "
    "all who may write to this registry."
)
"""Warning in the description of each registered version."""

CODE = ("datasets", "trainables")
"""Packages of this project that are stored with a model."""

REQUIREMENTS = (
    "cloudpickle",
    "numba",
    "numpy",
    "optuna",
    "pyarrow",
    "torch",
    "torch-geometric",
    "torchmetrics",
)
"""Packages that a model needs to predict.

They are listed because MLflow would infer them by loading the model in another process, which
takes longer than everything else.
"""

Package = Callable[[RecordedStudy, Trial, dict[str, Any], Any], PackagedModel]
"""Function that packages a model from the study, the trial, its weights and the problem."""


def register_champion(study: RecordedStudy, problem: Problem[Any], package: Package) -> str | None:
    """Sets the ``champion`` alias to the model of the champion's final with the best objective.

    The model is logged and registered first, unless it was before. End times and statuses of the
    MLflow runs do not change.

    Args:
        study: The recorded study; the registered model gets its name.
        problem: Data and task that the study learned from.
        package: Packages the model.

    Returns:
        A line for the user; None if the study has no finals.

    Raises:
        InputError: If `package` raises it.
        NotRecorded: If the tracking store does not answer or cannot be written.
    """
    name = study.name
    with not_recorded():
        final = study.champion_final
        if final is None:
            return None
        client, run_id = study.artifacts.store.client, study.artifacts.run_id(final)
        known = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
        kept = None if known else weights(study, final)
    if known:
        registered = known[0]
    elif kept is None:
        return f"the weights of trial {final.number}, the champion's best, were not kept"
    else:
        registered = _register(study, final, package(study, final, kept, problem))
    with not_recorded():
        client.set_registered_model_alias(name, ALIAS, registered.version)
    return (
        f"champion: trial {final.replicate_of}, of its finals trial {final.number} (seed "
        f"{final.config['seed']}): models:/{name}@{ALIAS}, version {registered.version}"
    )


def _register(study: RecordedStudy, final: Trial, packaged_model: PackagedModel) -> ModelVersion:
    """Logs a final's model and registers it as the newest version of the study's model."""
    client, run_id = study.artifacts.store.client, study.artifacts.run_id(final)
    with not_recorded():
        logged = _logged(client, study, final)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        _save(folder, logged, study, final, packaged_model)
        with not_recorded():
            check_artifacts(client, logged.artifact_location)
            client.log_model_artifacts(logged.model_id, str(folder))
            client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
            if not client.search_registered_models(f"name = '{study.name}'"):
                client.create_registered_model(study.name)
            return client.create_model_version(
                study.name,
                logged.artifact_location,  # MLflow would look up a model id in another store
                run_id,
                description=f"{final.replicate_of:04d} {final.title}\n\n{WARNING}",
                model_id=logged.model_id,
            )


def _logged(client: MlflowClient, study: RecordedStudy, final: Trial) -> LoggedModel:
    """Returns MLflow's logged-model entry for a final: an existing one, or a new one."""
    run_id = study.artifacts.run_id(final)
    experiment = client.get_run(run_id).info.experiment_id
    begun = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    if begun:
        return begun[0]
    params = {name: str(value) for name, value in final.config.items()}
    made = client.create_logged_model(
        experiment, study.name, run_id, params=params, model_type="champion"
    )
    client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
    return made


def _save(
    folder: Path,
    logged: LoggedModel,
    study: RecordedStudy,
    final: Trial,
    packaged_model: PackagedModel,
) -> None:
    """Writes a model to a folder in MLflow's format."""
    from mlflow import pytorch  # slow import (seconds), which most sessions do not need
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    number = np.dtype(np.float32)
    given, returned = (Schema([TensorSpec(number, sizes)]) for sizes in packaged_model.sizes)
    root = Path(__file__).resolve().parent.parent
    pytorch.save_model(
        packaged_model.module,
        folder,
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            run_id=study.artifacts.run_id(final),
            model_uuid=logged.model_id,
            model_id=logged.model_id,
        ),
        signature=ModelSignature(given, returned),
        input_example=packaged_model.example.numpy(),
        code_paths=[str(root / package) for package in CODE],
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
        metadata={**packaged_model.facts, "study": study.name, "trial": final.number},
        serialization_format="pickle",
    )
