"""Test predictions of a trial: made once, kept with its run, read from there ever after.

Each trial that is compared gets `FILE` among the artifacts of its run, with the columns ``row``
(of the molecule table), ``target`` and ``prediction`` (both in the target's unit).
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from analysis import kept_weights
from datasets.errors import InputError
from datasets.sources import MoleculeOptions, MoleculeSet, open_molecules
from datasets.standardize import Standardizer
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.models.gnn import GNN, GNNConfig
from trainables.molecules import MoleculeTask, predict

FILE = "test_predictions.parquet"


@dataclass(frozen=True)
class Predictions:
    """What a trial predicts for the test split.

    Attributes:
        row: (molecules,) int64, of the molecule table.
        target: (molecules,) float64, in the target's unit.
        prediction: (molecules,) float64, in the target's unit.
    """

    row: np.ndarray
    target: np.ndarray
    prediction: np.ndarray

    def errors(self) -> np.ndarray:
        """(molecules,), squared errors."""
        return (self.prediction - self.target) ** 2

    def reference(self) -> np.ndarray:
        """(molecules,), those of predicting the targets' mean: 1 - the ratio of the sums is R²."""
        return (self.target - self.target.mean(axis=0)) ** 2


def of_trial(
    study: RecordedStudy, trial: Trial, data: Callable[[], MoleculeSet]
) -> Predictions | None:
    """What a trial predicts: as made earlier, or made now and kept with its run.

    Args:
        trial: The trial.
        data: Opens the study's data; not called if they are not needed.

    Returns:
        None if neither predictions nor weights were kept.

    Raises:
        InputError: See `make`, and what `data` raises.
    """
    made = recorded(study, trial)
    if made is None and (weights := kept_weights.weights(study, trial)) is not None:
        made = make(trial, weights, data())
        record(study, trial, made, data().unit)
    return made


def recorded(study: RecordedStudy, trial: Trial) -> Predictions | None:
    """The predictions made earlier; None if there are none."""
    with tempfile.TemporaryDirectory() as scratch:
        file = study.artifacts.fetch(trial, FILE, Path(scratch))
        if file is None:
            return None
        table = pq.read_table(file)
        return Predictions(*(table[field.name].to_numpy() for field in fields(Predictions)))


def record(study: RecordedStudy, trial: Trial, made: Predictions, unit: str) -> None:
    """Keeps predictions with the run of their trial."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / FILE
        schema = pa.schema(
            [
                pa.field("row", pa.int64()),
                pa.field("target", pa.float64(), metadata={"unit": unit}),
                pa.field("prediction", pa.float64(), metadata={"unit": unit}),
            ]
        )
        arrays = [pa.array(getattr(made, field.name)) for field in schema]
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), file)
        study.artifacts.publish(trial, [file])


def open_data(study: RecordedStudy, cache: Path, dataset: str | None) -> MoleculeSet:
    """The molecules that a study learned from.

    Args:
        study: The study.
        cache: Folder of generated tables and graphs.
        dataset: Where they are on this machine; None: where they were when the study was run.

    Raises:
        InputError: If they are not there, or are others than those of the study.
    """
    options = study.data_options(MoleculeOptions)
    if dataset is not None:
        options = replace(options, dataset=dataset)
    elif options.dataset.endswith(".parquet") and not Path(options.dataset).exists():
        raise InputError(
            f"the data set of {study.name} is not at {options.dataset}: "
            "give its path with --dataset"
        )
    data = open_molecules(options, study.params["seed"], cache, say=lambda _: None)
    if data.digest != study.params["data.digest"]:
        raise InputError(
            f"{options.dataset} is not the data set of {study.name}: its digest is {data.digest}, "
            f"recorded is {study.params['data.digest']}; give the original with --dataset"
        )
    return data


def restore(trial: Trial, weights: dict[str, Any]) -> GNN:
    """The model of a trial, see `kept_weights.restore`."""
    # Mean and standard deviation of the target come with the weights.
    fresh = Standardizer(mean=0.0, std=1.0)
    return kept_weights.restore(trial, weights, lambda config: GNN(GNNConfig(**config), fresh))


def checked(trial: Trial, weights: dict[str, Any], data: MoleculeSet) -> tuple[GNN, MoleculeTask]:
    """The model of a trial, and its task, after a look at the validation split.

    Raises:
        InputError: If the weights are those of other features or another version of the model.
    """
    model = restore(trial, weights)
    task = MoleculeTask(data, GNNConfig(**weights["config"]), torch.device("cpu"))
    kept_weights.check_unchanged(trial, task.evaluate(model))
    return model, task


def make(trial: Trial, weights: dict[str, Any], data: MoleculeSet) -> Predictions:
    """Predicts the test split.

    Raises:
        InputError: See `checked`.
    """
    model, task = checked(trial, weights, data)
    test = data.split.test
    return Predictions(
        row=np.array(data.graphs.rows[test]),
        target=np.array(data.graphs.targets[test]),
        prediction=predict(model, task.store, torch.from_numpy(test)).numpy(),
    )
