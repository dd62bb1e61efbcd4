"""Recorded drives: frames and the actions between them, for a sequence of episodes.

Conventions: action t leads from frame t to frame t + 1; an action is (steering from -1, left, to
1, right; throttle and brake from 0 to 1).

On disk they are one Arrow IPC file with one row per frame, in one record batch, so that all
processes of a machine map the same pages. Its columns are `frame` (3 x size x size uint8, red,
green and blue planes), `action` (3 float32), `reward` (float32), `end` (bool: the simulation ended
here) and `episode` (int32, ascending from 0); `size` is in the schema's metadata.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from datasets.errors import InputError
from datasets.files import written_whole

ACTIONS = 3
"""Components of an action: steering, throttle, brake."""

CHANNELS = 3
"""Colour channels of a frame: red, green, blue."""

WIDEST = 4096
"""Largest accepted side of a frame, in pixels."""


@dataclass(frozen=True)
class Recordings:
    """Recorded episodes, concatenated into flat arrays.

    Attributes:
        frames: (frames, 3, size, size) uint8.
        actions: (frames, 3) float32, the action that follows each frame.
        rewards: (frames,) float32, the reward of that action.
        ends: (frames,) bool, whether that action ended the episode.
        offsets: (episodes + 1,) int64; episode e has the frames offsets[e] up to, exclusive,
            offsets[e + 1].
    """

    frames: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    ends: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def size(self) -> int:
        """Side of a frame, in pixels."""
        return self.frames.shape[-1]

    @property
    def lengths(self) -> np.ndarray:
        """Number of frames of each episode, (episodes,) int64."""
        return np.diff(self.offsets)

    @classmethod
    def of(cls, parts: Sequence["Recordings"]) -> "Recordings":
        """Concatenates several recordings."""
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(
            frames=np.concatenate([part.frames for part in parts]),
            actions=np.concatenate([part.actions for part in parts]),
            rewards=np.concatenate([part.rewards for part in parts]),
            ends=np.concatenate([part.ends for part in parts]),
            offsets=np.concatenate([[0], lengths.cumsum()]),
        )

    def window_starts(self, episodes: np.ndarray, frames: int, stride: int = 1) -> np.ndarray:
        """Returns the first frame of each window of `frames` frames within the given episodes.

        Args:
            episodes: Episode numbers, (n,) int64.
            frames: Number of frames in a window.
            stride: Frames between the starts of two windows; the first window of an episode starts
                with the episode.

        Returns:
            (windows,) int64, frame numbers.
        """
        bounds = [(int(self.offsets[e]), int(self.offsets[e + 1])) for e in episodes]
        starts = [np.arange(begin, end - frames + 1, stride) for begin, end in bounds]
        return np.concatenate(starts)

    @cached_property
    def digest(self) -> str:
        """Fingerprint of everything that affects a fit: 16 hexadecimal digits."""
        made = hashlib.sha256()
        for array in (self.frames, self.actions, self.offsets.astype(np.int64)):
            made.update(repr(array.shape).encode())
            made.update(np.ascontiguousarray(array).data)
        return made.hexdigest()[:16]


def write_recordings(recordings: Recordings, path: Path) -> None:
    """Writes recordings to an Arrow IPC file, atomically."""
    pixels = recordings.frames.reshape(-1)
    columns = {
        "frame": _lists(pa.array(pixels), CHANNELS * recordings.size**2),
        "action": _lists(pa.array(recordings.actions.reshape(-1)), ACTIONS),
        "reward": pa.array(recordings.rewards),
        "end": pa.array(recordings.ends),
        "episode": pa.array(
            np.repeat(np.arange(len(recordings), dtype=np.int32), recordings.lengths)
        ),
    }
    batch = pa.record_batch(columns, metadata={"size": str(recordings.size)})
    with (
        written_whole(path) as beside,
        pa.OSFile(str(beside), "wb") as file,
        pa.ipc.new_file(file, batch.schema) as writer,
    ):
        writer.write_batch(batch)


def _lists(values: pa.Array, length: int) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(values, length)


def read_recordings(path: Path) -> Recordings:
    """Memory-maps a file that `write_recordings` wrote; pages are read when they are accessed.

    Raises:
        InputError: If the file is not of this format, is truncated, or its columns are
            inconsistent.
    """
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        table.validate(full=True)  # else lengths beyond the file's end would read other memory
        names = table.column_names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} cannot be read: expected a whole Arrow file of recordings ({reason})"
        ) from None
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: expected each column once, got more of {', '.join(repeated)}")
    return _checked(table, path)


def _checked(table: pa.Table, path: Path) -> Recordings:
    """Validates the columns and returns them as arrays over the mapped file.

    Raises:
        InputError: If a column is missing or of another type, or the columns are inconsistent.
    """
    size = (table.schema.metadata or {}).get(b"size", b"").decode(errors="replace")
    if not size.isdecimal() or not 0 < int(size) <= WIDEST:
        raise InputError(f"{path}: expected the size of the frames in its metadata, got {size!r}")
    pixels = CHANNELS * int(size) ** 2
    expected = {
        "frame": pa.list_(pa.uint8(), pixels),
        "action": pa.list_(pa.float32(), ACTIONS),
        "reward": pa.float32(),
        "end": pa.bool_(),
        "episode": pa.int32(),
    }
    for name, kind in expected.items():
        column = table.column(name) if name in table.column_names else None
        if column is None or not _same_layout(column.type, kind) or column.null_count:
            came = "none" if column is None else f"{column.type}, {column.null_count} missing"
            raise InputError(f"{path}: expected a column {name} of {kind}, got {came}")
    episode = table.column("episode").to_numpy()
    if len(episode) == 0 or episode[0] != 0 or not np.isin(np.diff(episode), (0, 1)).all():
        raise InputError(f"{path}: expected episodes 0, 1, 2, ... in order, each in one piece")
    actions = _flat(table, "action", path).reshape(-1, ACTIONS)
    if not np.isfinite(actions).all():
        raise InputError(f"{path}: expected finite actions")
    return Recordings(
        frames=_flat(table, "frame", path).reshape(-1, CHANNELS, int(size), int(size)),
        actions=actions,
        rewards=table.column("reward").to_numpy(),
        ends=table.column("end").to_numpy(),
        offsets=np.append(np.flatnonzero(np.diff(episode, prepend=-1)), len(episode)),
    )


def _same_layout(found: pa.DataType, expected: pa.DataType) -> bool:
    """Whether two types are equal, ignoring the name of a list's item field."""
    if pa.types.is_fixed_size_list(expected) and pa.types.is_fixed_size_list(found):
        return found.list_size == expected.list_size and found.value_type == expected.value_type
    return found == expected


def _flat(table: pa.Table, column: str, path: Path) -> np.ndarray:
    """Returns the items of a list column as a flat array, without a copy if it is one chunk.

    Raises:
        InputError: If an item is null.
    """
    chunks = table.column(column).chunks
    lists = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)
    items = lists.flatten()
    if items.null_count:
        raise InputError(f"{path}: {items.null_count} numbers are missing in column {column}")
    return items.to_numpy()
