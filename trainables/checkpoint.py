"""Saves the state of a trial to one file, on a disk or in an object store, and loads it again.

The file is torch's zip archive, which contains a CRC-32 checksum of each of its records. A file
that was truncated or changed is recognised by the checksums and treated as missing.
"""

import io
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datasets.errors import InputError
from datasets.files import AnyPath, away_is_an_oserror, write_whole
from trainables.learner import Snapshot

State = dict[str, Any]
"""Content of a checkpoint: ``epoch``; the trial's ``config``; ``history``, a row for each epoch;
``model`` and ``training``, the two parts of a `trainables.learner.Snapshot`."""

FILE = "state.pt"
WEIGHTS = "weights.pt"

KEPT = 2
"""Number of checkpoints kept of a running trial: the newest may be incomplete after a crash."""


PLAIN = (type(None), bool, int, float, complex, str, bytes, Tensor, nn.Parameter)
PLAIN_OF_TORCH = (torch.Size, torch.dtype, torch.device)
HOLDERS = (list, tuple, set)
DICTIONARIES = (dict, OrderedDict, Counter)
"""Types of what ``torch.load(weights_only=True)`` reads; it reads no other ones of theirs."""


class Damaged(ValueError):
    """Raised when a checkpoint is missing, truncated or changed."""


def state_of(
    snapshot: Snapshot, config: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> State:
    """Makes the state of a trial after the last epoch of its history.

    Raises:
        InputError: If the snapshot contains what a checkpoint cannot hold.
    """
    check_snapshot(snapshot)
    return {
        "epoch": len(history),
        "config": dict(config),
        "history": list(history),
        "model": snapshot.model,
        "training": snapshot.training,
    }


def check_snapshot(snapshot: object) -> None:
    """Checks that a snapshot can be saved and loaded again.

    Raises:
        InputError: If it holds other objects than tensors and plain values.
    """
    if not isinstance(snapshot, Snapshot):
        kind = _kind(snapshot)
        raise InputError(f"snapshot() gave a {kind}: expected a Snapshot(model, training)")
    for part in ("model", "training"):
        _check_plain(f"Snapshot.{part}", getattr(snapshot, part))


def _check_plain(name: str, value: Any) -> None:
    if type(value) in DICTIONARIES:
        for key, each in value.items():
            _check_plain(f"a key of {name}", key)
            _check_plain(f"{name}[{key!r}]", each)
    elif type(value) in HOLDERS:
        for place, each in enumerate(value):
            _check_plain(f"{name}[{place}]", each)
    elif type(value) not in PLAIN + PLAIN_OF_TORCH:
        raise InputError(
            f"{name} is a {_kind(value)}: expected tensors, numbers, texts, None, and lists and "
            "dictionaries of them"
        )


def _kind(value: object) -> str:
    """The type of a value, with its module where that is not Python's own."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def save(folder: AnyPath, state: State) -> None:
    """Writes a state to ``state.pt`` in a folder, atomically."""
    _write(folder / FILE, state)


def load(folder: AnyPath) -> State:
    """Loads a state that `save` wrote, with tensors on the CPU.

    Only tensors and plain values are unpickled.

    Raises:
        Damaged: If the file is missing, truncated or changed.
        OSError: If the file cannot be read.
    """
    state = read(folder)
    if state is None:
        raise Damaged(f"the checkpoint {folder} is damaged: it was cut off or changed")
    return state


def read(folder: AnyPath) -> State | None:
    """Loads a state that `save` wrote, with tensors on the CPU.

    Returns:
        The state; None if the file is missing or damaged.

    Raises:
        OSError: If the file cannot be read.
    """
    content = _content(folder)
    return None if content is None else torch.load(content, map_location="cpu", weights_only=True)


def is_whole(folder: AnyPath) -> bool:
    """Returns whether a folder contains a checkpoint that matches its checksums.

    Raises:
        OSError: If the file cannot be read.
    """
    return _content(folder) is not None


def _content(folder: AnyPath) -> io.BytesIO | None:
    """Reads the file of a checkpoint into memory; returns None if it is missing or damaged."""
    try:
        with away_is_an_oserror(folder):
            content = io.BytesIO((folder / FILE).read_bytes())
        with zipfile.ZipFile(content) as archive:
            claimed = sum(record.file_size for record in archive.infolist())
            # torch does not compress: a larger unpacked size means that torch did not write it.
            if claimed > content.getbuffer().nbytes or archive.testzip() is not None:
                return None
    except (FileNotFoundError, ValueError, zipfile.BadZipFile, EOFError, NotImplementedError):
        return None
    content.seek(0)
    return content


def export_weights(checkpoint: AnyPath, folder: AnyPath) -> None:
    """Writes ``weights.pt`` to a folder: ``epoch``, ``config`` and ``model`` of a checkpoint.

    Raises:
        Damaged: If the checkpoint is missing, truncated or changed.
    """
    state = load(checkpoint)
    _write(folder / WEIGHTS, {key: state[key] for key in ("epoch", "config", "model")})


def load_weights(folder: Path) -> dict[str, Any]:
    """Loads ``epoch``, ``config`` and ``model`` as `export_weights` wrote them, on the CPU."""
    return torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)


def _write(path: AnyPath, content: dict[str, Any]) -> None:
    written = io.BytesIO()  # torch's own error on a full disk does not mention the disk
    torch.save(content, written)
    write_whole(path, written.getbuffer())
