"""Reads the homework's recordings, a pickle, without running what is in it.

The file (`car_racing_data_32x32_120.pkl`) is a list of sequences of (state, action) pairs: the
state an array of shape (3, 32, 32), the action one of shape (3,). A pickle is a program that calls
what it names. Here the names that NumPy's own pickles use stand for classes that only keep what
they are given, all other names are refused before they are looked up, and arrays are made
afterwards of what was kept, once it is known to fit.
"""

import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from datasets.errors import InputError
from datasets.recordings import ACTIONS, CHANNELS, Recordings

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

NUMBER = re.compile("[uif][1248]")
"""Types of the numbers in an array, as NumPy writes them."""


ALWAYS = 2**30
"""Bytes that the arrays of a pickle may take whatever its size."""

LARGER = 64
"""Times the size of the pickle that its arrays may take, where that is more."""


class _Kept:
    """What a pickle calls with some arguments, and may give a state afterwards."""

    __slots__ = ("arguments", "state")
    called: ClassVar[str]
    """What it stands for, in messages."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _NDArray(_Kept):
    """The class of arrays, which is named only."""

    called = "the class of arrays"


class _DType(_Kept):
    """Arguments: type code and two flags; state: (version, byte order, ...)."""

    called = "a type of numbers"

    def made(self) -> np.dtype:
        """Raises ValueError if it is no plain number's."""
        code, order = self.arguments[0], "="
        if self.state is not None:
            order, *structure = self.state[1:5]
            if structure != [None, None, None]:
                raise ValueError("a type with fields")
        if not NUMBER.fullmatch(code) or order not in ("<", ">", "=", "|"):
            raise ValueError(f"numbers of type {code!r}")
        return np.dtype(order + code)


class _Array(_Kept):
    """State: (version, shape, type, Fortran order, bytes)."""

    called = "an array"

    def made(self) -> np.ndarray:
        """Raises ValueError or TypeError if it is no array of numbers."""
        _, shape, kind, fortran, data = self.state
        return _array(data, kind, shape, "F" if fortran else "C")


class _FromBuffer(_Kept):
    """Arguments: bytes, type, shape, order; how protocol 5 writes an array."""

    called = "an array"

    def made(self) -> np.ndarray:
        """As `_Array.made`."""
        return _array(*self.arguments)


class _Scalar(_Kept):
    """Arguments: type, bytes."""

    called = "a number of NumPy's"

    def made(self) -> np.ndarray:
        """As `_Array.made`."""
        kind, data = self.arguments
        return _array(data, kind, (), "C")


class _Encoded(bytes):
    """How Python 3 writes bytes for Python 2: as a text and its encoding."""

    called = "bytes"

    def __new__(cls, text: str, encoding: str) -> "_Encoded":
        if encoding != "latin1":
            raise ValueError(f"bytes in {encoding!r}")
        return super().__new__(cls, text, encoding)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("bytes with a state")


def _called(thing: Any) -> str:
    """What something in a pickle is, in messages."""
    kind = thing if isinstance(thing, type) else type(thing)
    return kind.called if issubclass(kind, _Kept | _Encoded) else kind.__name__


def _array(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(data, bytes | bytearray) or not isinstance(kind, _DType):
        raise TypeError("an array of other things than numbers")
    numbers = kind.made()
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"an array of shape {shape}")
    if math.prod(shape) * numbers.itemsize != len(data) or order not in ("C", "F"):
        raise ValueError(f"{len(data)} bytes in an array of shape {shape}")
    return np.frombuffer(data, numbers).reshape(shape, order=order)


ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _NDArray,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Encoded,
    **{
        (f"numpy.{core}.{module}", name): kind
        for core in ("core", "_core")  # of NumPy 1, of NumPy 2
        for module, name, kind in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _Scalar),
            ("numeric", "_frombuffer", _FromBuffer),
        )
    },
}
"""What NumPy's own pickles name -> what that is here."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        """Looks a name up in `ADMITTED`.

        Raises:
            InputError: If it is not there.
        """
        found = ADMITTED.get((module_name, global_name))
        if found is None:
            raise InputError(
                f"refused: the pickle names {module_name}.{global_name}, expected NumPy arrays "
                "and plain containers only; nothing in it was run"
            )
        return found


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
        raise InputError(f"{path}: expected a list of sequences, got {_called(sequences)}")
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
    if isinstance(part, _Array | _FromBuffer):
        return part.made()
    if isinstance(part, list | tuple):
        return np.array([_number(item) for item in part])
    raise TypeError(_called(part))


def _number(item: Any) -> float:
    if isinstance(item, _Scalar):
        return float(item.made())
    if isinstance(item, int | float):
        return float(item)
    raise TypeError(_called(item))


def _bytes(frames: np.ndarray, place: str) -> np.ndarray:
    """Frames as uint8: they are, or are numbers from 0 to 1."""
    if frames.dtype == np.uint8:
        return frames
    if not ((frames >= 0) & (frames <= 1)).all():
        raise InputError(f"{place}: expected states of bytes, or of numbers from 0 to 1")
    return np.rint(frames * 255).astype(np.uint8)
