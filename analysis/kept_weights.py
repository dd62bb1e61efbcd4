"""Models of trials from the weights that were kept of them, held against what was recorded."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

from analysis.runs import TrialRun
from datasets.errors import InputError

Model = TypeVar("Model", bound=nn.Module)

WITNESS = "validation/mse"
"""The metric that tells whether a model is still the one that was recorded."""

TOLERANCE = 0.01
"""How far, as a share, it may lie from the recorded one: another kind of device rounds otherwise;
other features or another model are further off."""


def restore(
    trial: TrialRun, weights: dict[str, Any], build: Callable[[dict[str, Any]], Model]
) -> Model:
    """The model of a trial, ready to predict, on the CPU.

    Args:
        trial: The trial.
        weights: What `TrackingStore.weights` gives of it.
        build: Makes the untrained model from the fields of its configuration.

    Raises:
        InputError: If the weights are those of another version of the model.
    """
    try:
        model = build(weights["config"])
        model.load_state_dict(weights["model"])
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"the weights of trial {trial.number} do not fit this version of the code: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return model.eval()


def check_unchanged(trial: TrialRun, metrics: Mapping[str, float]) -> None:
    """Compares a restored model's validation error with that of the trial.

    Args:
        trial: The trial.
        metrics: What its task's ``evaluate`` says of the restored model.

    Raises:
        InputError: If it is not the recorded one.
    """
    now, then = metrics[WITNESS], trial.metrics[WITNESS]
    if not math.isclose(now, then, rel_tol=TOLERANCE):
        raise InputError(
            f"the weights of trial {trial.number} give a {WITNESS} of {now:.5g}, recorded is "
            f"{then:.5g}: the data's features or the model have changed since; analyse with the "
            "version of the code that ran the study, see the tags of its parent run"
        )
