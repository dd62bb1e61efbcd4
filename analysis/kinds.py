"""What a study may have learned from, and how its finals are scored on the test split."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis import dreams, predictions
from datasets.errors import InputError
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.driving import STRIDE
from trainables.rollout import CONTEXT

OpenData = Callable[[], Any]
"""Opens the data that a study learned from, or raises InputError."""

Errors = tuple[np.ndarray, np.ndarray]
"""Of a final on each test unit, and of the reference: 1 - the ratio of their sums is its score."""


@dataclass(frozen=True)
class Kind:
    """One kind of data.

    Attributes:
        units: What the test split consists of.
        open_data: Opens a study's, given the folder of prepared data and where they are on this
            machine, if not where they were.
        errors: Of a final; None if nothing of it was kept.
        remark: What tells its test score from that on the validation split; empty: nothing.
    """

    units: str
    open_data: Callable[[RecordedStudy, Path, str | None], Any]
    errors: Callable[[RecordedStudy, Trial, OpenData], Errors | None]
    remark: str = ""


def _of_predictions(study: RecordedStudy, final: Trial, data: OpenData) -> Errors | None:
    made = predictions.of_trial(study, final, data)
    return None if made is None else (made.errors(), made.reference())


def _of_rollouts(study: RecordedStudy, final: Trial, data: OpenData) -> Errors | None:
    made = dreams.of_trial(study, final, data)
    return None if made is None else made.free_running(study.fact("horizon"))


KINDS: Mapping[str, Kind] = {
    "molecules": Kind("molecules", predictions.open_data, _of_predictions),
    "drives": Kind(
        "episodes",
        dreams.open_data,
        _of_rollouts,
        remark=f"A test rollout begins with the first {CONTEXT} frames of its episode; those of "
        f"the validation split begin every {STRIDE} frames, so that the two skills are not of "
        "windows alike: compare configurations within a column. Shorter episodes than a rollout "
        "are left out of both.",
    ),
}


def kind_of(study: RecordedStudy) -> Kind:
    """What a study learned from.

    Raises:
        InputError: If it is none of these.
    """
    if study.kind not in KINDS:
        raise InputError(f"{study.name} is neither of molecules nor of drives: it has no scores")
    return KINDS[study.kind]
