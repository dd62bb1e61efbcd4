"""The state of a fit <-> one file, whole or absent.

The file is torch's zip archive, which holds a CRC-32 of each of its records: one that was cut off
or changed since is told by it, and counts as absent.
"""

import errno
import io
import os
import shutil
import zipfile
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from trainables.fit import State

FILE = "state.pt"
WEIGHTS = "weights.pt"

KEPT = 2
"""Checkpoints of a running trial: the newest may be half-written when the machine dies."""


class Damaged(ValueError):
    """A checkpoint is not what was written."""


def save(folder: Path, state: State) -> None:
    """Writes ``state.pt`` into a folder: beside, flushed to the disk, then renamed."""
    _write(folder / FILE, state)


def load(folder: Path, device: torch.device) -> State:
    """Reads what `save` wrote; nothing but tensors and plain values is unpickled.

    Random states stay on the CPU, where torch wants them.

    Raises:
        Damaged: If the file was cut off or changed since.
    """
    if not is_whole(folder):
        raise Damaged(f"the checkpoint {folder} is damaged: it was cut off or changed")
    state = torch.load(folder / FILE, map_location="cpu", weights_only=True)
    state["model"] = {name: tensor.to(device) for name, tensor in state["model"].items()}
    return state


def export_weights(checkpoint: Path, folder: Path) -> None:
    """Writes ``weights.pt``, a checkpoint without what only training needs."""
    state = load(checkpoint, torch.device("cpu"))
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / WEIGHTS, {key: state[key] for key in ("epoch", "config", "model")})


def load_weights(folder: Path) -> dict[str, Any]:
    """Reads what `export_weights` wrote: ``epoch``, ``config`` and ``model``, on the CPU."""
    return torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)


def trial_folder(number: int, attempt: int = 0) -> str:
    """Name of a trial's folder; sorts by number and attempt."""
    return f"trial-{number:05d}" + (f"-{attempt:03d}" if attempt else "")


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a checkpoint as it was written, by the checksums in it.

    Raises:
        OSError: If it cannot be read.
    """
    try:
        with zipfile.ZipFile(folder / FILE) as archive:
            return archive.testzip() is None
    except (FileNotFoundError, ValueError, zipfile.BadZipFile, EOFError, NotImplementedError):
        return False
    except OSError as error:
        if error.errno != errno.EINVAL:  # it cannot be read now; that does not make it damaged
            raise
        return False


def of_trial(sessions: Path, number: int) -> list[Path]:
    """The checkpoint folders of a trial, ``SESSION/trial-NUMBER[-ATTEMPT]/checkpoint_N``, whole
    or not, the newest first.

    Sessions, attempts and checkpoints are named so that they sort by age.
    """
    trial = trial_folder(number)
    names = (trial, f"{trial}-*")
    found = (sessions.glob(f"*/{name}/checkpoint_*/{FILE}*") for name in names)
    return sorted({file.parent for file in chain.from_iterable(found)}, reverse=True)


def latest(sessions: Path, number: int) -> Path | None:
    """The newest whole checkpoint of a trial; None if there is none."""
    return next((folder for folder in of_trial(sessions, number) if is_whole(folder)), None)


def keep(sessions: Path, number: int, count: int) -> None:
    """Removes all but the newest whole checkpoints of a trial, where there are more than these."""
    folders = of_trial(sessions, number)
    if len(folders) <= count:
        return  # without reading them
    for folder in folders:
        if count and is_whole(folder):
            count -= 1
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, content: dict[str, Any]) -> None:
    written = io.BytesIO()  # on a full disk torch would raise something that does not say so
    torch.save(content, written)
    beside = path.with_name(f"{path.name}.partial")
    with beside.open("wb") as file:
        file.write(written.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
