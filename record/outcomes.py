"""What a trial came to on each unit of the test split, as a file that numpy reads."""

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
"""Name among the artifacts of a trial's run in MLflow."""

LARGEST = 2**31
"""Bytes of a file, unpacked: ample for a million units, or 10,000 frames of 64 pixels."""

DAMAGE = (
    *(ValueError, KeyError, EOFError, MemoryError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading a file raises that is none, or was changed."""

MORE = "more/"
"""Begins the names of the arrays that only the study itself understands."""


@dataclass(frozen=True)
class Outcomes:
    """One trial on the test split.

    Attributes:
        errors: (units,) float64, not negative: the error on each unit.
        reference: (units,) float64: that of a constant reference, the same for every trial.
        more: Name -> array that a figure or table of the study shows.

    Raises:
        ValueError: If errors and reference are something else.
    """

    errors: np.ndarray
    reference: np.ndarray
    more: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = f"{self.errors.shape} and {self.reference.shape}"
        if self.errors.ndim != 1 or self.errors.shape != self.reference.shape:
            raise ValueError(f"expected an error and a reference a unit, got shapes {shapes}")
        if not (np.isfinite([self.errors, self.reference]).all() and (self.errors >= 0).all()):
            raise ValueError("expected errors from 0 on and references, got some that are none")

    @property
    def score(self) -> float:
        """1 - the sum of the errors as a share of that of the reference: R² where the reference
        predicts the mean, a skill where it keeps a frame."""
        return float(1 - self.errors.sum() / self.reference.sum())

    def write(self, path: Path) -> None:
        """Writes the file, whole or not at all.

        Raises:
            OSError: If it cannot be written.
        """
        arrays = {"errors": self.errors, "reference": self.reference}
        arrays |= {MORE + name: array for name, array in self.more.items()}
        written = io.BytesIO()
        np.savez_compressed(written, allow_pickle=False, **arrays)
        write_whole(path, written.getbuffer())


def read_outcomes(path: Path, whose: str = "") -> Outcomes:
    """Reads what `Outcomes.write` wrote.

    Args:
        path: The file.
        whose: For messages, where the path means nothing to the user; empty: the path does.

    Raises:
        InputError: If it is something else.
        OSError: If it cannot be read.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:
            _check_size(archive)
        content.seek(0)
        with np.load(content) as file:
            arrays = {name: file[name] for name in file.files}
        more = {
            name.removeprefix(MORE): array
            for name, array in arrays.items()
            if name.startswith(MORE)
        }
        return Outcomes(arrays["errors"], arrays["reference"], more)
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
