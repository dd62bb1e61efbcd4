"""Reads pickles of NumPy's arrays without running what is in them.

A pickle is a program that calls what it names. Here the names that NumPy's own pickles use stand
for classes that only keep what they are given, all other names are refused before they are looked
up, and arrays are made afterwards of what was kept, once it is known to fit. Who reads pickles of
other things admits further names, each for a stand-in of the same sort.
"""

import math
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickletools import genops
from typing import Any, BinaryIO, ClassVar, Self

import numpy as np

from datasets.errors import InputError, described

BROKEN = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a pickle that is cut off, or something else, raises."""

NUMBER = re.compile("[uif][1248]")
"""Types of the numbers in an array, as NumPy writes them."""

TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}


class StandIn:
    """What a pickle gets where it names something."""

    __slots__ = ()
    called: ClassVar[str]
    """What it stands for, in messages."""


class Kept(StandIn):
    """What a pickle calls with some arguments, and may give a state afterwards."""

    __slots__ = ("arguments", "state")

    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> Self:
        kept = super().__new__(cls)
        kept.arguments, kept.state = arguments, None
        return kept

    def __setstate__(self, state: Any) -> None:
        self.state = state


class NDArray(Kept):
    """The class of arrays, which is named only."""

    __slots__ = ()
    called = "the class of arrays"


class DType(Kept):
    """Arguments: type code and two flags; state: (version, byte order, ...)."""

    __slots__ = ()
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


class Array(Kept):
    """State: (version, shape, type, Fortran order, bytes)."""

    __slots__ = ()
    called = "an array"

    def made(self) -> np.ndarray:
        """Raises ValueError or TypeError if it is no array of numbers."""
        _, shape, kind, fortran, data = self.state
        return _array(data, kind, shape, "F" if fortran else "C")


class FromBuffer(Kept):
    """Arguments: bytes, type, shape, order; how protocol 5 writes an array."""

    __slots__ = ()
    called = "an array"

    def made(self) -> np.ndarray:
        """Raises ValueError or TypeError if it is no array of numbers."""
        return _array(*self.arguments)


class Scalar(Kept):
    """Arguments: type, bytes."""

    __slots__ = ()
    called = "a number of NumPy's"

    def made(self) -> np.ndarray:
        """Raises ValueError or TypeError if it is no number."""
        kind, data = self.arguments
        return _array(data, kind, (), "C")


class Encoded(StandIn, bytes):
    """How Python 3 writes bytes for Python 2: as a text and its encoding."""

    called = "bytes"

    def __new__(cls, text: str, encoding: str) -> "Encoded":
        if encoding != "latin1":
            raise ValueError(f"bytes in {encoding!r}")
        return super().__new__(cls, text, encoding)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("bytes with a state")


def called(thing: Any) -> str:
    """Returns what something in a pickle is, in messages."""
    kind = thing if isinstance(thing, type) else type(thing)
    return kind.called if issubclass(kind, StandIn) else kind.__name__


def _array(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    if isinstance(data, str):  # the bytes of Python 2, read as latin1
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray) or not isinstance(kind, DType):
        raise TypeError("an array of other things than numbers")
    numbers = kind.made()
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"an array of shape {shape}")
    if math.prod(shape) * numbers.itemsize != len(data) or order not in ("C", "F"):
        raise ValueError(f"{len(data)} bytes in an array of shape {shape}")
    return np.frombuffer(data, numbers).reshape(shape, order=order)


ADMITTED: dict[tuple[str, str], type[StandIn]] = {
    ("numpy", "ndarray"): NDArray,
    ("numpy", "dtype"): DType,
    ("_codecs", "encode"): Encoded,
    **{
        (f"numpy.{core}.{module}", name): kind
        for core in ("core", "_core")  # of NumPy 1, of NumPy 2
        for module, name, kind in (
            ("multiarray", "_reconstruct", Array),
            ("multiarray", "scalar", Scalar),
            ("numeric", "_frombuffer", FromBuffer),
        )
    },
}
"""What NumPy's own pickles name -> what that is here."""


class ArrayUnpickler(pickle.Unpickler):
    """Loads a pickle, with stand-ins for arrays.

    Args:
        file: The pickle.
        further: What it may name besides arrays -> what that is here.
        encoding: What the texts of Python 2 are in.
    """

    def __init__(
        self,
        file: BinaryIO,
        further: Mapping[tuple[str, str], type[StandIn]] | None = None,
        encoding: str = "ASCII",
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._admitted = ADMITTED | dict(further or {})

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Looks a name up among those that are admitted.

        Raises:
            InputError: If it is not there.
        """
        found = self._admitted.get((module_name, global_name))
        if found is None:
            raise InputError(
                f"refused: the pickle names {module_name}.{global_name}, expected NumPy arrays "
                "and plain containers only; nothing in it was run"
            )
        return found


def check_opcodes(content: bytes, most_tuples: int) -> None:
    """Checks a small pickle for what takes the whole process down while it is loaded.

    Python hashes tuples within tuples without counting how deep they are, and makes a table as
    long as the number under which a pickle wants to find something again.

    Args:
        content: The pickle.
        most_tuples: How many it may make; each call that it asks for takes one.

    Raises:
        ValueError: If it makes more, names a larger place than it has bytes, or is cut off.
    """
    tuples = 0
    for opcode, argument, place in genops(content):
        tuples += opcode.name in TUPLES
        if tuples > most_tuples:
            raise ValueError(f"it makes more than {most_tuples} tuples")
        if opcode.name in MEMO and int(argument or 0) > (place or 0):
            raise ValueError(f"it remembers something in place {argument}")


@contextmanager
def in_one_line(path: Path) -> Iterator[None]:
    """Makes one line of whatever reading a pickle raises.

    Args:
        path: The file that is read in the block.

    Raises:
        InputError: In place of other errors; with the file's path.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except BROKEN as error:
        raise InputError(f"{path} is no whole pickle of arrays: {described(error)}") from None
