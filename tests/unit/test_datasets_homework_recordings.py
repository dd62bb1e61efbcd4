"""The homework's pickle, read without running it."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving_stripes import stripes

from datasets import homework_recordings
from datasets.errors import InputError
from datasets.homework_recordings import read_pickle

MARK = "mark"


def pairs(frames: np.ndarray, actions: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(frames, actions, strict=True))


def homework(episodes: int = 2, length: int = 4) -> list[Any]:
    """Its sequences: bytes for the frames, and float64 for the actions, as the simulator takes."""
    drives = stripes(episodes, length)
    frames = drives.frames.reshape(episodes, length, 3, 32, 32)
    actions = drives.actions.reshape(episodes, length, 3).astype(np.float64)
    return [pairs(*each) for each in zip(frames, actions, strict=True)]


def write(path: Path, content: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_homework_s_drives_are_read(protocol: int, tmp_path: Path) -> None:
    expected = stripes(2, 4)
    found = read_pickle(write(tmp_path / "drives.pkl", homework(), protocol))
    np.testing.assert_array_equal(found.frames, expected.frames)
    np.testing.assert_array_equal(found.actions, expected.actions)
    np.testing.assert_array_equal(found.offsets, [0, 4, 8])
    assert (found.actions.dtype, found.frames.dtype) == (np.float32, np.uint8)


def test_states_from_0_to_1_become_bytes(tmp_path: Path) -> None:
    scaled = [[(state / np.float32(255), action) for state, action in one] for one in homework()]
    found = read_pickle(write(tmp_path / "drives.pkl", scaled))
    np.testing.assert_array_equal(found.frames, stripes(2, 4).frames)


def test_pickles_of_numpy_1_are_read(tmp_path: Path) -> None:
    """It kept in `numpy.core` what is now in `numpy._core`."""
    path = write(tmp_path / "drives.pkl", homework(), protocol=2)
    text = path.read_bytes()
    assert b"numpy._core.multiarray" in text
    path.write_bytes(text.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert len(read_pickle(path)) == 2


class Hostile:
    """Would make a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class HostileByEval(Hostile):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"__import__('os').mkdir({str(self.path)!r})",)


@pytest.mark.parametrize("kind", [Hostile, HostileByEval])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_hostile_pickle_is_refused_and_its_code_does_not_run(
    kind: type[Hostile], protocol: int, tmp_path: Path
) -> None:
    content = [*homework(), kind(tmp_path / MARK)]
    path = write(tmp_path / "drives.pkl", content, protocol)
    with pytest.raises(InputError, match=r"drives.pkl: refused: the pickle names .*nothing in it"):
        read_pickle(path)
    assert not (tmp_path / MARK).exists()
    pickle.loads(path.read_bytes())  # the plain unpickler would have run it
    assert (tmp_path / MARK).exists()


@pytest.mark.parametrize("name", ["numpy.ndarray.tofile", "numpy.memmap", "numpy.fromfile"])
def test_other_names_of_numpy_are_refused_too(name: str, tmp_path: Path) -> None:
    module, _, attribute = name.partition(".")
    path = tmp_path / "drives.pkl"
    # PROTO 4, two short strings, STACK_GLOBAL, STOP.
    strings = b"".join(b"\x8c" + bytes([len(s)]) + s.encode() for s in (module, attribute))
    path.write_bytes(b"\x80\x04" + strings + b"\x93.")
    with pytest.raises(InputError, match=f"refused: the pickle names {name}"):
        read_pickle(path)


@pytest.mark.parametrize("kept", [0, 1, 30, 200, -1])
def test_a_pickle_cut_off_anywhere_is_refused(kept: int, tmp_path: Path) -> None:
    path = write(tmp_path / "drives.pkl", homework())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"drives.pkl is no whole pickle of arrays"):
        read_pickle(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none.pkl: No such file"):
        read_pickle(tmp_path / "none.pkl")


STATE, ACTION = np.zeros((3, 32, 32), np.uint8), np.zeros(3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "expected a list of sequences, got dict"),
        ([], "expected a list of sequences, got list"),
        ([[]], "sequence 0: expected pairs of a state and an action"),
        ([[STATE, STATE]], "sequence 0: expected pairs"),
        ([[(STATE, ACTION)], [(STATE[0], ACTION)]], r"sequence 1: expected states of shape"),
        ([[(STATE[:, :, :5], ACTION)]], r"expected states of shape \(3, size, size\), got"),
        (
            [[(STATE, ACTION), (STATE[:, :16, :16], ACTION)]],
            r"sequence 0: expected states .*, got shapes \(3, 16, 16\) and \(3, 32, 32\)",
        ),
        (
            [[(STATE, ACTION)], [(STATE[:, :16, :16], ACTION)]],
            r"expected states of one size, got \[16, 32\] pixels on a side",
        ),
        ([[(STATE, [1, "left", 0])]], "expected actions of 3 numbers, got str"),
        (STATE, "expected a list of sequences, got an array"),
        (np.float32(1), "expected a list of sequences, got a number of NumPy's"),
        (STATE.dtype, "expected a list of sequences, got a type of numbers"),
        (np.ndarray, "expected a list of sequences, got the class of arrays"),
        ([[([STATE], ACTION)]], "or of numbers from 0 to 1, got an array"),
        ([[(STATE, [ACTION, 0, 0])]], "expected actions of 3 numbers, got an array"),
        ([[(np.uint8(3), ACTION)]], "or of numbers from 0 to 1, got a number of NumPy's"),
        ([[(STATE, ACTION.astype("c16"))]], "actions of 3 numbers, got numbers of type 'c16'"),
        ([[(STATE.view([("a", "u1")]), ACTION)]], "or of numbers from 0 to 1, got a type"),
        ([[(STATE, ACTION[:2])]], r"expected actions of 3 numbers, got shape \(2,\)"),
        ([[(STATE, ACTION * np.nan)]], "expected actions of 3 numbers"),
        ([[(STATE + 3.5, ACTION)]], "expected states of bytes, or of numbers from 0 to 1"),
        ([[(STATE - 0.5, ACTION)]], "expected states of bytes, or of numbers from 0 to 1"),
        ([[(STATE.astype(object), ACTION)]], "expected states of bytes, or of numbers"),
    ],
)
def test_another_shape_of_things_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_pickle(write(tmp_path / "drives.pkl", content))


def test_actions_may_be_plain_lists_of_numbers(tmp_path: Path) -> None:
    content = [[(STATE, [0.5, 1, np.float32(0.25)])] * 2]
    found = read_pickle(write(tmp_path / "drives.pkl", content))
    np.testing.assert_array_equal(found.actions, [[0.5, 1, 0.25]] * 2)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f4", ">f8"])
@pytest.mark.parametrize("protocol", [0, 4, 5])
def test_every_layout_of_an_array_is_read(
    kind: str, order: Any, protocol: int, tmp_path: Path
) -> None:
    state = np.linspace(0, 1, 3072).reshape(3, 32, 32)
    content = [[(np.asarray(state, kind, order=order), ACTION)]]
    found = read_pickle(write(tmp_path / "drives.pkl", content, protocol))
    np.testing.assert_array_equal(found.frames[0], np.rint(state * 255))


def string(text: str) -> bytes:
    """As an opcode of protocol 4."""
    return b"\x8c" + bytes([len(text)]) + text.encode()


def test_a_state_given_to_a_function_changes_nothing(tmp_path: Path) -> None:
    """The unpickler sets attributes of whatever object a state is given to."""
    from numpy._core import numeric

    function: Any = numeric._frombuffer  # pyright: ignore[reportAttributeAccessIssue]
    before = function.__defaults__
    # The function, (None, {"__defaults__": (7,)}) as its state, STOP.
    name = string("numpy._core.numeric") + string("_frombuffer") + b"\x93"
    state = b"N}" + string("__defaults__") + b"K\x07\x85s\x86b"
    path = tmp_path / "drives.pkl"
    path.write_bytes(b"\x80\x04" + name + state + b".")
    with pytest.raises(InputError, match=r"drives.pkl"):
        read_pickle(path)
    assert function.__defaults__ == before


def test_a_list_within_itself_is_refused(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append((endless, endless))
    with pytest.raises(InputError, match="sequence 0: expected states of bytes"):
        read_pickle(write(tmp_path / "drives.pkl", [endless]))


@pytest.mark.parametrize("shape", [(3, 32, 33), (3, -32, -32), (3, 1 << 60, 32)])
def test_a_shape_that_its_bytes_do_not_fill_is_refused(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    class Claimed:
        def __reduce__(self) -> tuple[Any, ...]:
            made = np.zeros(1, np.uint8).__reduce__()
            state = (1, shape, np.dtype("u1"), False, bytes(3072))
            return made[0], made[1], state

    path = tmp_path / "drives.pkl"
    path.write_bytes(pickle.dumps([[(Claimed(), ACTION)]]))
    with pytest.raises(InputError, match=r"got (3072 bytes in )?an array of shape"):
        read_pickle(path)


@pytest.mark.parametrize("protocol", [2, 5])
def test_references_to_one_state_do_not_ask_for_more_memory_than_there_is(
    protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kilobytes that ask for megabytes, or a few megabytes for all that there is: one state,
    named again and again."""
    monkeypatch.setattr(homework_recordings, "ALWAYS", 2**20)
    path = write(tmp_path / "drives.pkl", [[(STATE, ACTION)] * 2_000], protocol)
    assert path.stat().st_size < 2**14
    said = r"sequence 0: the arrays up to here take more than 1 MiB, .* write the drives as"
    with pytest.raises(InputError, match=said):
        read_pickle(path)


def test_references_to_one_sequence_are_counted_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homework_recordings, "ALWAYS", 10 * STATE.nbytes)
    monkeypatch.setattr(homework_recordings, "LARGER", 1)
    sequence = [(STATE, ACTION)] * 2
    assert len(read_pickle(write(tmp_path / "drives.pkl", [sequence] * 4))) == 4
    with pytest.raises(InputError, match="sequence 4: the arrays up to here take more than"):
        read_pickle(write(tmp_path / "drives.pkl", [sequence] * 6))


def test_drives_that_do_not_fit_into_memory_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(arrays: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(np, "stack", full)
    with pytest.raises(InputError, match=r"drives.pkl: the drives in it do not fit into memory"):
        read_pickle(write(tmp_path / "drives.pkl", homework()))
