"""Rebuilds trained models from kept weights, and checks them against the recorded metrics."""

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from analysis.curves import last_metrics
from datasets.errors import InputError
from record import names
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.checkpoint import WEIGHTS, load_weights

Model = TypeVar("Model", bound=nn.Module)

WITNESS = "validation/mse"
"""The metric by which most restored models are checked against the recorded ones."""

TOLERANCE = 0.01
"""Largest relative difference between the metric and its recorded value: rounding on another kind
of device stays below it, other features or another model exceed it."""


def weights(study: RecordedStudy, trial: Trial) -> dict[str, Any] | None:
    """Fetches a trial's weights: a dict with ``epoch``, ``config`` and ``model``, the state dict;
    None if they were not kept."""
    with tempfile.TemporaryDirectory() as scratch:
        artifact = f"{names.WEIGHTS}/{WEIGHTS}"
        file = study.artifacts.fetch(trial, artifact, Path(scratch))
        return load_weights(file.parent) if file else None


def restore(trial: Trial, kept: dict[str, Any], build: Callable[[dict[str, Any]], Model]) -> Model:
    """Rebuilds the trained model of a trial on the CPU, in evaluation mode.

    Args:
        trial: The trial.
        kept: Its weights, see `weights`.
        build: Builds the untrained model from the fields of its configuration.

    Raises:
        InputError: If the weights do not fit this version of the model.
    """
    try:
        model = build(kept["config"])
        model.load_state_dict(kept["model"])
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"the weights of trial {trial.number} do not fit this version of the code: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return model.eval()


def check_unchanged(trial: Trial, metrics: Mapping[str, float], witness: str = WITNESS) -> None:
    """Checks that a restored model has the validation error, or score, that the trial recorded.

    Args:
        trial: The trial.
        metrics: Metrics of the restored model, from its task's ``evaluate``.
        witness: Name of the metric to compare.

    Raises:
        InputError: If the two differ by more than `TOLERANCE`.
    """
    now, then = metrics[witness], last_metrics(trial)[witness]
    if not math.isclose(now, then, rel_tol=TOLERANCE):
        raise InputError(
            f"the weights of trial {trial.number} give a {witness} of {now:.5g}, recorded is "
            f"{then:.5g}: the data's features or the model have changed since; analyse with the "
            "version of the code that ran the study, see the tags of its parent run"
        )
