"""Scores trials on the test split, each once."""

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
    """A trial to score on the test split.

    Attributes:
        trial: A finished trial.
        checkpoint: Folder of the checkpoint of its last epoch.
    """

    trial: Trial
    checkpoint: str


def scored(
    asked: ToScore, scorecard: Scorecard, problem: Problem[Any], cpus: int
) -> Outcomes | str:
    """Scores a trial on the test split, on the CPU.

    Args:
        asked: The trial and its checkpoint.
        scorecard: The study's scorecard.
        problem: Data and task that the trial learned from.
        cpus: CPU cores to use.

    Returns:
        The outcomes of the trial; or a message that says why it could not be scored.

    Raises:
        OSError: If the checkpoint cannot be read.
        MemoryError: If there is not enough memory.
    """
    pick_device(0, cpus)
    try:
        outcomes = scorecard.outcomes(problem, asked.trial, _model(asked))
    except (OSError, MemoryError):
        raise
    except (InputError, ValueError) as error:
        return described(error)
    except Exception as error:  # of a user's scorecard: the other trials are scored all the same
        return f"{type(error).__name__}: {described(error)}"
    if not isinstance(outcomes, Outcomes):
        return f"its scorecard gave a {type(outcomes).__name__}: expected Outcomes"
    return outcomes


def _model(asked: ToScore) -> Mapping[str, Any]:
    """Loads the model's state from the trial's checkpoint.

    Raises:
        Damaged: If the checkpoint is damaged.
        InputError: If it is not the checkpoint of the last epoch.
    """
    state = checkpoint.load(UPath(asked.checkpoint))
    if state["epoch"] != asked.trial.epoch:
        raise InputError("the checkpoint of its last epoch is gone")
    return state["model"]
