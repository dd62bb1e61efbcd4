"""Models of trials from the weights that were kept of them, held against what was recorded."""

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
"""The metric that tells whether a model is still the one that was recorded."""

TOLERANCE = 0.01
"""How far, as a share, it may lie from the recorded one: another kind of device rounds otherwise;
other features or another model are further off."""


def weights(study: RecordedStudy, trial: Trial) -> dict[str, Any] | None:
    """``epoch``, ``config`` and ``model`` of a trial; None where they were not kept."""
    with tempfile.TemporaryDirectory() as scratch:
        artifact = f"{names.WEIGHTS}/{WEIGHTS}"
        file = study.artifacts.fetch(trial, artifact, Path(scratch))
        return load_weights(file.parent) if file else None


def restore(trial: Trial, kept: dict[str, Any], build: Callable[[dict[str, Any]], Model]) -> Model:
    """The model of a trial, ready to predict, on the CPU.

    Args:
        trial: The trial.
        kept: Its weights, see `weights`.
        build: Makes the untrained model from the fields of its configuration.

    Raises:
        InputError: If the weights are those of another version of the model.
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


def check_unchanged(trial: Trial, metrics: Mapping[str, float]) -> None:
    """Compares a restored model's validation error with that of the trial.

    Args:
        trial: The trial.
        metrics: What its task's ``evaluate`` says of the restored model.

    Raises:
        InputError: If it is not the recorded one.
    """
    now, then = metrics[WITNESS], last_metrics(trial)[WITNESS]
    if not math.isclose(now, then, rel_tol=TOLERANCE):
        raise InputError(
            f"the weights of trial {trial.number} give a {WITNESS} of {now:.5g}, recorded is "
            f"{then:.5g}: the data's features or the model have changed since; analyse with the "
            "version of the code that ran the study, see the tags of its parent run"
        )
