"""Reads the homework's recordings, a pickle, without running what is in it.

The file (`car_racing_data_32x32_120.pkl`) is a list of sequences of (state, action) pairs: the
state an array of shape (3, 32, 32), the action one of shape (3,). A pickle is a program; this one
may build arrays and plain containers, and a name of anything else in it is refused before it is
looked up.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from datasets.errors import InputError
from datasets.recordings import ACTIONS, CHANNELS, Recordings

ADMITTED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}
"""What NumPy's own pickles name; the last is how Python 3 writes bytes for Python 2."""


BROKEN = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
"""What a pickle that is cut off, or something else, raises."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        """Looks a name up, if it is one of `ADMITTED`.

        Raises:
            InputError: If it is not.
        """
        if (module_name, global_name) not in ADMITTED:
            raise InputError(
                f"refused: the pickle names {module_name}.{global_name}, expected NumPy arrays "
                "and plain containers only; nothing in it was run"
            )
        # NumPy 1 and 2 keep these in different places.
        return super().find_class(module_name.replace("numpy.core", "numpy._core"), global_name)


def read_pickle(path: Path) -> Recordings:
    """Reads the drives.

    Raises:
        InputError: If it is no such pickle, or one that names more than arrays.
    """
    try:
        with path.open("rb") as file:
            sequences = _ArraysOnly(file).load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except BROKEN as error:
        raise InputError(f"{path} is no whole pickle of arrays: {error}") from None
    if not isinstance(sequences, list | tuple) or not sequences:
        raise InputError(f"{path}: expected a list of sequences, got {type(sequences).__name__}")
    episodes = [
        _episode(sequence, f"{path}, sequence {n}") for n, sequence in enumerate(sequences)
    ]
    return Recordings.of(episodes)


def _episode(sequence: Any, place: str) -> Recordings:
    try:
        states, actions = zip(*sequence, strict=True)
        frames, moves = np.array(states), np.array(actions, np.float32)
    except (TypeError, ValueError):
        raise InputError(f"{place}: expected pairs of a state and an action") from None
    shape = frames.shape
    if len(shape) != 4 or shape[1] != CHANNELS or shape[2] != shape[3]:
        raise InputError(f"{place}: expected states of shape (3, size, size), got {shape[1:]}")
    if moves.shape != (len(frames), ACTIONS) or not np.isfinite(moves).all():
        raise InputError(f"{place}: expected actions of 3 numbers, got shape {moves.shape[1:]}")
    length = len(frames)
    return Recordings(
        frames=_bytes(frames, place),
        actions=moves,
        rewards=np.zeros(length, np.float32),
        ends=np.zeros(length, bool),
        offsets=np.array([0, length]),
    )


def _bytes(frames: np.ndarray, place: str) -> np.ndarray:
    """Frames as uint8: they are, or are numbers from 0 to 1."""
    if frames.dtype == np.uint8:
        return frames
    if not np.issubdtype(frames.dtype, np.number) or not ((frames >= 0) & (frames <= 1)).all():
        raise InputError(f"{place}: expected states of bytes, or of numbers from 0 to 1")
    return np.rint(frames * 255).astype(np.uint8)
