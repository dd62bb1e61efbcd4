"""Trials on the test split: the finalists, and what they are compared with, each scored once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from upath import UPath

from analysis.scorecard import Scorecard
from datasets.errors import InputError, described
from record.outcomes import Outcomes
from record.trial import Trial
from trainables import checkpoint
from trainables.device import pick_device
from trainables.problem import Problem


@dataclass(frozen=True)
class ToScore:
    """A trial that is to be scored.

    Attributes:
        trial: It has finished.
        checkpoint: Folder of the checkpoint of its last epoch.
    """

    trial: Trial
    checkpoint: str


def scored(
    asked: ToScore, scorecard: Scorecard, problem: Problem[Any], cpus: int
) -> Outcomes | str:
    """Scores a trial, on the CPU.

    Args:
        asked: The trial.
        scorecard: Of the study.
        problem: What it learned from.
        cpus: Cores of a trial.

    Returns:
        Its outcomes; or why there are none.
    """
    pick_device(0, cpus)
    try:
        return scorecard.outcomes(problem, asked.trial, _model(asked))
    except (InputError, ValueError) as error:
        return described(error)


def _model(asked: ToScore) -> Mapping[str, Any]:
    """What a trial has learned.

    Raises:
        Damaged: If its checkpoint is.
        InputError: If it is not that of the last epoch.
    """
    state = checkpoint.load(UPath(asked.checkpoint))
    if state["epoch"] != asked.trial.epoch:
        raise InputError("the checkpoint of its last epoch is gone")
    return state["model"]
