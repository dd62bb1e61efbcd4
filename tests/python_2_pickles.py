"""Writes pickles as Python 2 wrote them, and Planetoid's eight files with these."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

Global = tuple[str, str]

MATRIX: Global = ("scipy.sparse.csr", "csr_matrix")


def number(value: int) -> bytes:
    """One opcode, as for `binary`."""
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if 0 <= value < 65_536:
        return b"M" + struct.pack("<H", value)
    if abs(value) < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def binary(value: bytes) -> bytes:
    if len(value) < 256:
        return b"U" + bytes([len(value)]) + value
    return b"T" + struct.pack("<i", len(value)) + value


class Writer:
    """Writes opcodes of protocol 2, and remembers what it wrote as cPickle did."""

    def __init__(self) -> None:
        self.places: dict[Any, int] = {}

    def kept(self, key: Any) -> bytes:
        self.places[key] = len(self.places) + 1
        return b"q" + bytes([self.places[key]])

    def name(self, module: str, name: str) -> bytes:
        if (module, name) in self.places:
            return b"h" + bytes([self.places[module, name]])
        return f"c{module}\n{name}\n".encode() + self.kept((module, name))

    def kind(self, dtype: np.dtype) -> bytes:
        code = dtype.str[1:].encode()
        made = self.name("numpy", "dtype") + binary(code) + b"K\x00K\x01\x87R"
        none = b"J\xff\xff\xff\xff"
        order = binary(dtype.str[:1].encode())
        state = b"(K\x03" + order + b"NNN" + none + none + b"K\x00tb"
        return made + self.kept(len(self.places)) + state

    def array(self, array: np.ndarray) -> bytes:
        made = self.name("numpy.core.multiarray", "_reconstruct") + self.name("numpy", "ndarray")
        made += b"K\x00\x85U\x01b\x87R" + self.kept(len(self.places))
        shape = b"".join(map(number, array.shape)) + {1: b"\x85", 2: b"\x86"}[array.ndim]
        return (
            made
            + b"(K\x01"
            + shape
            + self.kind(array.dtype)
            + b"\x89"
            + binary(array.tobytes())
            + b"tb"
        )

    def value(self, value: Any) -> bytes:
        """One of those that a matrix's state has."""
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.value, value)) + b"t"
        return binary(value.encode()) if isinstance(value, str) else number(value)

    def state(self, state: Mapping[str, Any]) -> bytes:
        items = (binary(name.encode()) + self.value(value) for name, value in state.items())
        return b"}(" + b"".join(items) + b"u"

    def matrix(self, state: Mapping[str, Any]) -> bytes:
        return self.name(*MATRIX) + b")\x81" + self.state(state) + b"b"

    def lists(self, lists: Mapping[int, list[int]]) -> bytes:
        made = self.name("collections", "defaultdict") + self.name("__builtin__", "list")
        items = (
            number(key) + b"](" + b"".join(map(number, listed)) + b"e"
            for key, listed in lists.items()
        )
        return made + b"\x85R(" + b"".join(items) + b"u"


def whole(opcodes: bytes) -> bytes:
    """A pickle of protocol 2."""
    return b"\x80\x02" + opcodes + b"."


def state_of(matrix: Any) -> dict[str, Any]:
    """What SciPy kept of a matrix, in Python 2's order."""
    return {
        "format": "csr",
        "_shape": tuple(map(int, matrix.shape)),
        "indptr": matrix.indptr.astype(np.int32),
        "indices": matrix.indices.astype(np.int32),
        "maxprint": 50,
        "data": matrix.data.astype(np.float32),
    }


@dataclass(frozen=True)
class Published:
    """A graph as it is published: `order` are the nodes that test, in the order of their rows."""

    features: sparse.csr_matrix
    labels: np.ndarray
    lists: Mapping[int, list[int]]
    order: np.ndarray
    train: int


def files(graph: Published) -> dict[str, bytes]:
    """What follows the prefix in a file's name -> what is in it."""
    rest = len(graph.labels) - len(graph.order)
    rows = {"": np.arange(graph.train), "all": np.arange(rest), "t": graph.order}
    classes = np.eye(graph.labels.max() + 1, dtype=np.int32)
    written = {"graph": whole(Writer().lists(graph.lists))}
    for prefix, nodes in rows.items():
        matrix: Any = graph.features[nodes]
        written[f"{prefix}x"] = whole(Writer().matrix(state_of(matrix)))
        written[f"{prefix}y"] = whole(Writer().array(classes[graph.labels[nodes]]))
    written["test.index"] = "".join(f"{node}\n" for node in graph.order).encode()
    return written


def write(graph: Published, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files(graph).items():
        (folder / f"ind.cora.{name}").write_bytes(content)
    return folder
