"""Pickles of arrays, read without running them."""

import os
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from python_2_pickles import Writer, whole

from datasets.array_pickles import (
    Array,
    ArrayUnpickler,
    Kept,
    called,
    check_opcodes,
    in_one_line,
)
from datasets.errors import InputError


def loaded(content: bytes, **options: Any) -> Any:
    return ArrayUnpickler(BytesIO(content), **options).load()


@pytest.mark.parametrize("kind", ["<f4", ">f8", "<i4", "|u1"])
def test_an_array_that_python_2_wrote_is_read(kind: str) -> None:
    array = np.arange(250, 262).astype(kind).reshape(3, 4)
    content = whole(Writer().array(array))
    np.testing.assert_array_equal(pickle.loads(content, encoding="latin1"), array)
    found = loaded(content, encoding="latin1")
    assert isinstance(found, Array)
    np.testing.assert_array_equal(found.made(), array, strict=True)


def test_arrays_are_kept_in_plain_containers() -> None:
    found = loaded(pickle.dumps({"a": [np.arange(3)], "b": (1, "two")}))
    np.testing.assert_array_equal(found["a"][0].made(), np.arange(3))
    assert found["b"] == (1, "two")


class Point:
    """Something of one's own."""

    def __init__(self, x: int) -> None:
        self.x = x


class PointKept(Kept):
    called = "a point"


def test_a_further_name_is_admitted_for_its_stand_in_only() -> None:
    content = pickle.dumps(Point(3))
    with pytest.raises(InputError, match=r"the pickle names .*\.Point, expected NumPy arrays"):
        loaded(content)
    found = loaded(content, further={(__name__, "Point"): PointKept})
    assert (type(found), found.arguments, found.state) == (PointKept, (), {"x": 3})
    assert called(found) == "a point"
    with pytest.raises(InputError, match="refused"):
        loaded(content)  # what was admitted once is so for that pickle


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_is_run_where_further_names_are_admitted(tmp_path: Path) -> None:
    content = pickle.dumps(Hostile(tmp_path / "mark"))
    with pytest.raises(InputError, match="nothing in it was run"):
        loaded(content, further={(__name__, "Hostile"): PointKept})
    assert not (tmp_path / "mark").exists()


def test_what_takes_the_process_down_is_refused_before_it_is_loaded() -> None:
    """Python overflows its stack where it hashes the first, and writes 16 GiB for the second."""
    deep = b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"K\x01s."
    with pytest.raises(ValueError, match="more than 100 tuples"):
        check_opcodes(deep, 100)
    for far in (b"r\xff\xff\xff\x7f", b"q\xff", b"p2147483647\n"):
        with pytest.raises(ValueError, match="it remembers something in place"):
            check_opcodes(b"\x80\x02N" + far + b".", 100)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_harmless_opcodes_are_let_through(protocol: int) -> None:
    check_opcodes(pickle.dumps([np.arange(300), (1, 2), {"a": [None] * 3}], protocol), 20)
    with pytest.raises(ValueError, match="more than 1 tuples"):
        check_opcodes(pickle.dumps([(1, 2), (3, 4)], protocol), 1)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("refused"), "a.pkl: refused"),
        (FileNotFoundError(2, "No such file"), "cannot read a.pkl: No such file"),
        (EOFError("ran out"), "a.pkl is no whole pickle of arrays: ran out"),
        (pickle.UnpicklingError("a load,\nbut"), "a.pkl is no whole pickle of arrays: a load,"),
        (MemoryError(), "a.pkl is no whole pickle of arrays: MemoryError()"),
        (RecursionError("too deep"), "a.pkl is no whole pickle of arrays: too deep"),
    ],
)
def test_every_error_is_one_line_with_the_path(error: Exception, message: str) -> None:
    with pytest.raises(InputError) as caught, in_one_line(Path("a.pkl")):
        raise error
    assert str(caught.value) == message
