"""Recordings in memory and on disk."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from moving_stripes import SIZE, stripes

from datasets.errors import InputError
from datasets.recordings import Recordings, read_recordings, write_recordings


@pytest.fixture(scope="module")
def drives() -> Recordings:
    return stripes(episodes=3, length=5)


def assert_equal(found: Recordings, expected: Recordings) -> None:
    for name, array in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), array, err_msg=name)
        assert getattr(found, name).dtype == array.dtype, name


def test_what_is_written_is_read(drives: Recordings, tmp_path: Path) -> None:
    drives = replace(drives, rewards=np.arange(15, dtype=np.float32), ends=np.arange(15) == 9)
    write_recordings(drives, tmp_path / "deep" / "drives.arrow")
    found = read_recordings(tmp_path / "deep" / "drives.arrow")
    assert_equal(found, drives)
    assert (len(found), found.size, found.digest) == (3, SIZE, drives.digest)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["drives.arrow"]


def test_episodes_of_different_lengths_are_kept_apart(tmp_path: Path) -> None:
    drives = Recordings.of([stripes(1, 4), stripes(1, 7, seed=1), stripes(1, 2, seed=2)])
    assert drives.lengths.tolist() == [4, 7, 2]
    write_recordings(drives, tmp_path / "drives.arrow")
    assert_equal(read_recordings(tmp_path / "drives.arrow"), drives)


def test_the_frames_are_the_pages_of_the_file(drives: Recordings, tmp_path: Path) -> None:
    """Mapped, not copied: every trial of a machine reads the same memory."""
    write_recordings(drives, tmp_path / "drives.arrow")
    before = pa.total_allocated_bytes()
    found = read_recordings(tmp_path / "drives.arrow")
    assert pa.total_allocated_bytes() - before < found.frames.nbytes / 2
    assert not found.frames.flags.owndata and not found.frames.flags.writeable


def test_the_digest_knows_frames_actions_and_where_episodes_end(drives: Recordings) -> None:
    others = [
        replace(drives, frames=drives.frames ^ 1),
        replace(drives, actions=drives.actions + 1),
        replace(drives, offsets=np.array([0, 5, 9, 15])),
    ]
    assert len({each.digest for each in (drives, *others)}) == 4
    assert replace(drives).digest == drives.digest


def test_windows_lie_within_one_episode(drives: Recordings) -> None:
    starts = drives.window_starts(np.array([0, 2]), 4)
    assert starts.tolist() == [0, 1, 10, 11]
    assert drives.window_starts(np.array([1]), 2, stride=2).tolist() == [5, 7]
    assert drives.window_starts(np.array([1]), 6).tolist() == []


def test_a_file_cut_off_anywhere_is_refused(drives: Recordings, tmp_path: Path) -> None:
    path = tmp_path / "drives.arrow"
    write_recordings(drives, path)
    whole = path.read_bytes()
    for kept in (0, 5, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r"drives.arrow cannot be read: expected a whole Arr"):
            read_recordings(path)


def test_a_file_that_is_not_there_or_another_thing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.arrow cannot be read"):
        read_recordings(tmp_path / "none.arrow")
    (tmp_path / "text.arrow").write_text("frame,action\n")
    with pytest.raises(InputError, match=r"text.arrow cannot be read"):
        read_recordings(tmp_path / "text.arrow")


def columns() -> dict[str, pa.Array]:
    """Those of two frames of 4 pixels a side."""
    return {
        "frame": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(96, np.uint8)), 48),
        "action": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(6, np.float32)), 3),
        "reward": pa.array(np.zeros(2, np.float32)),
        "end": pa.array([False, True]),
        "episode": pa.array([0, 0], pa.int32()),
    }


def write(path: Path, changed: dict[str, pa.Array | None], size: str | None = "4") -> Path:
    kept = {name: array for name, array in (columns() | changed).items() if array is not None}
    table = pa.table(kept, metadata={"size": size} if size else None)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return path


def test_the_schema_is_what_the_docstring_says(tmp_path: Path) -> None:
    found = read_recordings(write(tmp_path / "own.arrow", {}))
    assert found.frames.shape == (2, 3, 4, 4)
    assert found.offsets.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("changed", "size", "message"),
    [
        ({"action": None}, "4", "expected a column action of .*float.*, got none"),
        ({"reward": pa.array([1, 2])}, "4", "expected a column reward of float, got int64"),
        ({"reward": pa.array([1.0, None], pa.float32())}, "4", "reward of float, .* 1 missing"),
        ({"action": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(4, np.float32)), 2)},
         "4", r"expected a column action of .*\[3\], got .*\[2\]"),
        ({}, "5", r"expected a column frame of .*\[75\], got .*\[48\]"),
        ({}, None, "expected the size of the frames in its metadata, got ''"),
        ({}, "²", "expected the size of the frames in its metadata, got '²'"),
        ({}, "99999", "expected the size of the frames in its metadata, got '99999'"),
        ({"action": pa.array([[0, 1, None]] * 2, pa.list_(pa.float32(), 3))}, "4",
         "2 numbers are missing in column action"),
        ({"action": pa.FixedSizeListArray.from_arrays(pa.array(np.full(6, np.nan, "f4")), 3)},
         "4", "expected finite actions"),
        ({"episode": pa.array([0, 2], pa.int32())}, "4", "expected episodes 0, 1, 2"),
        ({"episode": pa.array([1, 0], pa.int32())}, "4", "expected episodes 0, 1, 2"),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit_are_refused(
    changed: dict[str, pa.Array | None], size: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        read_recordings(write(tmp_path / "own.arrow", changed, size))


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    table = pa.table(columns(), metadata={"size": "4"})
    table = table.append_column("frame", table.column("frame"))
    with (
        pa.OSFile(str(tmp_path / "own.arrow"), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)
    with pytest.raises(InputError, match="expected each column once, got more of frame"):
        read_recordings(tmp_path / "own.arrow")


def test_names_that_are_no_text_are_refused(drives: Recordings, tmp_path: Path) -> None:
    for name in (b"episode", b"size"):
        path = tmp_path / "own.arrow"
        write_recordings(drives, path)
        path.write_bytes(path.read_bytes().replace(name, b"\xff" * len(name)))
        with pytest.raises(InputError, match=r"own.arrow( cannot be read)?: expected"):
            read_recordings(path)


SIZES = {"frame": 48 * 1001, "action": 12 * 1001, "reward": 4 * 1001, "end": 126}
"""Bytes of the columns of 1,001 frames; episodes have as many as rewards, and offsets of frames
may be as large."""


@pytest.mark.parametrize("name", SIZES)
def test_a_crafted_file_that_states_more_than_it_holds_is_refused(
    name: str, tmp_path: Path
) -> None:
    """Arrow believes a file, and reads what lies in memory behind it, or crashes."""
    frames, actions = np.zeros((1001, 48), np.uint8), np.zeros((1001, 3), np.float32)
    whole = {
        "frame": pa.FixedSizeListArray.from_arrays(pa.array(frames.reshape(-1)), 48),
        "action": pa.FixedSizeListArray.from_arrays(pa.array(actions.reshape(-1)), 3),
        "reward": pa.array(np.zeros(1001, np.float32)),
        "end": pa.array(np.zeros(1001, bool)),
        "episode": pa.array(np.zeros(1001, np.int32)),
    }
    path = write(tmp_path / "own.arrow", whole)
    content = path.read_bytes()
    stated = struct.pack("<q", SIZES[name])  # where the bytes of a column lie, and how many
    assert stated in content
    read_recordings(path)
    path.write_bytes(content.replace(stated, struct.pack("<q", 8)))
    with pytest.raises(InputError, match=r"own.arrow cannot be read: expected a whole Arrow fil"):
        read_recordings(path)


def test_a_file_without_frames_is_refused(tmp_path: Path) -> None:
    nothing = {name: array.slice(0, 0) for name, array in columns().items()}
    with pytest.raises(InputError, match="expected episodes 0, 1, 2"):
        read_recordings(write(tmp_path / "own.arrow", nothing))
