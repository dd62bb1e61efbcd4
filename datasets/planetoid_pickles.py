"""Reads the pickles that Planetoid published, which Python 2 wrote, without running them.

They are of three kinds: SciPy's sparse matrices, NumPy's arrays, and one dictionary of lists. The
classes that they name are never looked up; what they stand for here keeps what it is given, and is
made into a matrix, an array or edges once its parts are known to fit each other.
"""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar
from warnings import catch_warnings

import numpy as np
from scipy import sparse

from datasets.array_pickles import (
    Array,
    ArrayUnpickler,
    Kept,
    StandIn,
    called,
    check_opcodes,
    in_one_line,
)
from datasets.errors import InputError

Made = TypeVar("Made")

MOST_TUPLES = 100
"""A matrix, with three arrays in it, takes ten; a dictionary one."""

ADVICE = "remove the file and it is downloaded again"


class _Matrix(Kept):
    """State: a dictionary of shape, data, column numbers and ends of rows."""

    __slots__ = ()
    called = "a sparse matrix"

    def made(self) -> sparse.csr_matrix:
        """Returns it with float32 numbers, sorted, or raises what `array_pickles.BROKEN` has."""
        shape, rows = self.state["_shape"], _whole_numbers(self.state["indptr"])
        columns, data = _whole_numbers(self.state["indices"]), _numbers(self.state["data"])
        if not (isinstance(shape, tuple) and [type(size) for size in shape] == [int, int]):
            raise TypeError("a matrix of another shape than two whole numbers")
        _check_rows(rows, shape[0], len(columns))
        if not 0 <= shape[1] < 2**31 or not _within(columns, shape[1]):
            raise ValueError(f"expected column numbers below the {shape[1]} columns")
        if len(data) != len(columns):
            raise ValueError(f"{len(data)} numbers in {len(columns)} columns")
        parts = (data, columns.astype(np.int32), rows.astype(np.int32))
        matrix = sparse.csr_matrix(parts, shape)
        matrix.sum_duplicates()
        return matrix


class _Object(Kept):
    """The base of the matrix's class, which is named only."""

    __slots__ = ()
    called = "the class of objects"


class _Reconstructed(Kept):
    """How protocols 0 and 1 write an object: class, base and the base's state."""

    __slots__ = ()
    called = "an object"

    def __new__(cls, kind: Any, base: Any, state: Any) -> Any:
        if (kind, base, state) != (_Matrix, _Object, None):
            raise ValueError(f"an object of {called(kind)}")
        return _Matrix()


class _List(Kept):
    """The class of lists, which is named only."""

    __slots__ = ()
    called = "the class of lists"


class _Lists(StandIn, dict[Any, Any]):
    """A dictionary whose values are lists; argument: what makes a missing value."""

    called = "a dictionary of lists"

    def __init__(self, missing: Any = None) -> None:
        super().__init__()
        if missing is not _List:
            raise ValueError("a dictionary of other things than lists")

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a dictionary with a state")


FURTHER: dict[tuple[str, str], type[StandIn]] = {
    ("scipy.sparse.csr", "csr_matrix"): _Matrix,
    ("copy_reg", "_reconstructor"): _Reconstructed,
    ("__builtin__", "object"): _Object,
    ("__builtin__", "list"): _List,
    ("collections", "defaultdict"): _Lists,
}
"""What the files name besides arrays, as Python 2 calls it -> what that is here."""


def read_matrix(path: Path) -> sparse.csr_matrix:
    """Reads a sparse matrix, float32, its columns sorted in each row.

    Raises:
        InputError: If the file is no pickle of one.
    """
    return _read(path, lambda found: _of(_Matrix, found).made())


def read_labels(path: Path) -> tuple[np.ndarray, int]:
    """Reads classes that are written as rows with a single 1.

    Returns:
        The class of each row, (rows,) int64, and how many classes there are.

    Raises:
        InputError: If the file is no pickle of such an array.
    """
    return _read(path, lambda found: _labels(_of(Array, found).made()))


def read_neighbours(path: Path, nodes: int) -> np.ndarray:
    """Reads a dictionary from nodes to lists of their neighbours.

    Args:
        path: The file.
        nodes: Number of nodes; they count from 0.

    Returns:
        (2, edges) int64, as they are listed.

    Raises:
        InputError: If the file is no pickle of one.
    """
    most = path.stat().st_size if path.is_file() else 0
    return _read(path, lambda found: _edges(_of(_Lists, found), nodes, most))


def _read(path: Path, make: Callable[[Any], Made]) -> Made:
    try:
        # Python warns of escapes in texts that no such file has.
        with in_one_line(path), catch_warnings(action="ignore"):
            content = path.read_bytes()
            check_opcodes(content, MOST_TUPLES)
            return make(ArrayUnpickler(BytesIO(content), FURTHER, encoding="latin1").load())
    except InputError as error:
        raise InputError(f"{error}: {ADVICE}") from None


def _of(kind: type[Made], found: Any) -> Made:
    if not isinstance(found, kind):
        raise TypeError(f"expected {called(kind)}, got {called(found)}")
    return found


def _flat(kept: Any, kinds: str) -> np.ndarray:
    array = _of(Array, kept).made()
    if array.ndim != 1 or array.dtype.kind not in kinds:
        raise TypeError(f"a matrix with an array of type {array.dtype}, {array.ndim} dimensions")
    return array


def _whole_numbers(kept: Any) -> np.ndarray:
    return _flat(kept, "iu")


def _numbers(kept: Any) -> np.ndarray:
    """Returns them as float32, which they must fit into."""
    with np.errstate(over="ignore"):
        numbers = _flat(kept, "iuf").astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError("numbers that are not finite")
    return numbers


def _within(numbers: np.ndarray, end: int) -> bool:
    return not len(numbers) or bool(numbers.min() >= 0 and numbers.max() < end)


def _check_rows(ends: np.ndarray, rows: int, entries: int) -> None:
    """Checks where the rows of a matrix begin and end.

    Raises:
        ValueError: If that is not 0, then never less, and at last the number of entries.
    """
    if len(ends) != rows + 1 or not _within(ends, entries + 1):
        raise ValueError(f"{len(ends)} ends of {rows} rows, within {entries} entries")
    if ends[0] != 0 or ends[-1] != entries or (np.diff(ends.astype(np.int64)) < 0).any():
        raise ValueError(f"rows that do not follow each other from 0 to {entries} entries")


def _labels(rows: np.ndarray) -> tuple[np.ndarray, int]:
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(f"expected a row of classes for each node, got shape {rows.shape}")
    if not (((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all()):
        raise ValueError("expected a single 1 in each row, else 0")
    return rows.argmax(axis=1).astype(np.int64), rows.shape[1]


def _edges(neighbours: _Lists, nodes: int, most: int) -> np.ndarray:
    """Makes edges of a dictionary, of which all together are no more than `most`: a small file can
    name one long list again and again."""
    if not all(type(listed) is list for listed in neighbours.values()):
        raise TypeError("expected lists of neighbours")
    if sum(map(len, neighbours.values())) > most:
        raise ValueError(f"more neighbours than the file's {most} bytes can hold")
    pairs = [(node, other) for node, listed in neighbours.items() for other in listed]
    if not pairs or not all(
        type(end) is int and 0 <= end < nodes for pair in pairs for end in pair
    ):
        raise ValueError(
            f"expected neighbours of nodes 0 to {nodes - 1}, whole numbers from there"
        )
    return np.array(pairs, np.int64).T
