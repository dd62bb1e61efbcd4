"""Reads the homework's recordings, a pickle, without running what is in it.

The file (`car_racing_data_32x32_120.pkl`) is a list of sequences of (state, action) pairs: the
state an array of shape (3, 32, 32), the action one of shape (3,). It is opened by
`datasets.array_pickles`, and the drives are made of what that kept, once it is known to fit.
"""

from pathlib import Path
from typing import Any

import numpy as np

from datasets.array_pickles import Array, ArrayUnpickler, FromBuffer, Scalar, called, in_one_line
from datasets.errors import InputError
from datasets.recordings import ACTIONS, CHANNELS, Recordings

ALWAYS = 2**30
"""Bytes that the arrays of a pickle may take whatever its size."""

LARGER = 64
"""Times the size of the pickle that its arrays may take, where that is more."""


def read_pickle(path: Path) -> Recordings:
    """Reads the drives.

    Raises:
        InputError: If it is no such pickle, or one that names more than arrays.
    """
    with in_one_line(path), path.open("rb") as file:
        sequences = ArrayUnpickler(file).load()
    if not isinstance(sequences, list | tuple) or not sequences:
        raise InputError(f"{path}: expected a list of sequences, got {called(sequences)}")
    room = _Room(max(ALWAYS, LARGER * path.stat().st_size))
    try:
        episodes = [
            _episode(sequence, f"{path}, sequence {n}", room)
            for n, sequence in enumerate(sequences)
        ]
        sizes = sorted({episode.size for episode in episodes})
        if len(sizes) > 1:
            raise InputError(f"{path}: expected states of one size, got {sizes} pixels on a side")
        return Recordings.of(episodes)
    except MemoryError:
        raise InputError(f"{path}: the drives in it do not fit into memory") from None


class _Room:
    """Bytes that arrays may still take: a pickle of references to one array can ask for any number
    of copies of it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = size

    def take(self, array: np.ndarray, place: str) -> None:
        """Counts an array in.

        Raises:
            InputError: If there is no room for it.
        """
        self.left -= array.nbytes
        if self.left < 0:
            raise InputError(
                f"{place}: the arrays up to here take more than {self.size / 2**20:,.0f} MiB, of "
                "which most are references to the same ones: write the drives as a .arrow file"
            )


def _episode(sequence: Any, place: str, room: _Room) -> Recordings:
    if not isinstance(sequence, list | tuple) or not sequence or not all(map(_is_pair, sequence)):
        raise InputError(f"{place}: expected pairs of a state and an action")
    states, actions = zip(*sequence, strict=True)
    expected = f"{place}: expected states of bytes, or of numbers from 0 to 1"
    frames = _stacked(states, expected, place, room)
    moves = _stacked(actions, f"{place}: expected actions of {ACTIONS} numbers", place, room)
    shape, length = frames.shape, len(frames)
    if len(shape) != 4 or shape[1] != CHANNELS or shape[2] != shape[3]:
        raise InputError(f"{place}: expected states of shape (3, size, size), got {shape[1:]}")
    if moves.shape != (length, ACTIONS) or not np.isfinite(moves).all():
        raise InputError(
            f"{place}: expected actions of {ACTIONS} numbers, got shape {moves.shape[1:]}"
        )
    return Recordings(
        frames=_bytes(frames, place),
        actions=moves.astype(np.float32),
        rewards=np.zeros(length, np.float32),
        ends=np.zeros(length, bool),
        offsets=np.array([0, length]),
    )


def _is_pair(step: Any) -> bool:
    return isinstance(step, list | tuple) and len(step) == 2


def _stacked(parts: tuple[Any, ...], expected: str, place: str, room: _Room) -> np.ndarray:
    """Arrays, or lists of numbers, of one shape each, as one array."""
    arrays = []
    for part in parts:
        try:
            arrays.append(_numbers(part))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"{expected}, got {error}") from None
        room.take(arrays[-1], place)
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise InputError(f"{expected}, got shapes {shapes[0]} and {shapes[1]}")
    return np.stack(arrays)


def _numbers(part: Any) -> np.ndarray:
    if isinstance(part, Array | FromBuffer):
        return part.made()
    if isinstance(part, list | tuple):
        return np.array([_number(item) for item in part])
    raise TypeError(called(part))


def _number(item: Any) -> float:
    if isinstance(item, Scalar):
        return float(item.made())
    if isinstance(item, int | float):
        return float(item)
    raise TypeError(called(item))


def _bytes(frames: np.ndarray, place: str) -> np.ndarray:
    """Frames as uint8: they are, or are numbers from 0 to 1."""
    if frames.dtype == np.uint8:
        return frames
    if not ((frames >= 0) & (frames <= 1)).all():
        raise InputError(f"{place}: expected states of bytes, or of numbers from 0 to 1")
    return np.rint(frames * 255).astype(np.uint8)
