"""A trial's outcome on each unit of the test split, and its file in numpy's ``npz`` format."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datasets.errors import InputError, described
from datasets.files import write_whole

FILE = "outcomes.npz"
"""Name of the artifact of a trial's MLflow run."""

LARGEST = 2**31
"""Maximum uncompressed bytes: enough for a million units, or 10,000 frames of 64 pixels."""

DAMAGE = (
    *(ValueError, KeyError, EOFError, MemoryError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
"""Exceptions raised on reading a file that is damaged or of another kind."""

MORE = "more/"
"""Prefix of the names of study-specific arrays."""

BASELINE = "baseline/"
"""Prefix of the names of the baselines' errors."""


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of one trial on the test split.

    Attributes:
        errors: (units,) float64, non-negative: the trial's error on each unit.
        reference: (units,) float64: error of a constant reference on each unit, the same for all
            trials.
        more: Name -> array, for study-specific figures and tables.
        baselines: Name -> (units,) float64, non-negative: the error on each unit of a simple
            method that is no trial, the same for all trials; shown beside the finalists.

    Raises:
        ValueError: If the shapes differ or are not (units,), a value is not finite, or an error is
            negative.
    """

    errors: np.ndarray
    reference: np.ndarray
    more: Mapping[str, np.ndarray] = field(default_factory=dict)
    baselines: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made = (self.errors, *self.baselines.values())
        for errors in made:
            shapes = f"{errors.shape} and {self.reference.shape}"
            if errors.ndim != 1 or errors.shape != self.reference.shape:
                raise ValueError(f"expected an error and a reference a unit, got shapes {shapes}")
        if not np.isfinite([*made, self.reference]).all() or any((e < 0).any() for e in made):
            raise ValueError("expected errors from 0 on and references, got some that are none")

    @property
    def score(self) -> float:
        """Score 1 - sum(errors) / sum(reference), dimensionless.

        It is R² if the reference predicts the mean, and a skill score if it repeats a frame.
        """
        return float(1 - self.errors.sum() / self.reference.sum())

    def write(self, path: Path) -> None:
        """Writes the file atomically.

        Raises:
            OSError: If the file cannot be written.
        """
        arrays = {"errors": self.errors, "reference": self.reference}
        arrays |= {MORE + name: array for name, array in self.more.items()}
        arrays |= {BASELINE + name: array for name, array in self.baselines.items()}
        written = io.BytesIO()
        np.savez_compressed(written, allow_pickle=False, **arrays)
        write_whole(path, written.getbuffer())


def read_outcomes(path: Path, whose: str = "") -> Outcomes:
    """Reads a file written by `Outcomes.write`.

    Args:
        path: Path of the file.
        whose: Name of the trial for messages, if the path means nothing to the user.

    Raises:
        InputError: If the file is damaged or of another kind.
        OSError: If the file cannot be read.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:
            _check_size(archive)
        content.seek(0)
        with np.load(content) as file:
            arrays = {name: file[name] for name in file.files}
        more, baselines = (
            {
                name.removeprefix(prefix): array
                for name, array in arrays.items()
                if name.startswith(prefix)
            }
            for prefix in (MORE, BASELINE)
        )
        return Outcomes(arrays["errors"], arrays["reference"], more, baselines)
    except DAMAGE as error:
        file = f"{whose}: {path.name}" if whose else path.name
        raise InputError(
            f"{file} is no file of outcomes, or damaged ({described(error)}): the study's own "
            "command makes it again"
        ) from error


def _check_size(archive: zipfile.ZipFile) -> None:
    size = sum(each.file_size for each in archive.infolist())
    if size > LARGEST:
        raise ValueError(f"its arrays claim {size:,} bytes, expected at most {LARGEST:,}")
