"""The state of a fit <-> one file, whole or absent."""

import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from trainables.fit import State

FILE = "state.pt"
WEIGHTS = "weights.pt"

KEPT = 2
"""Checkpoints of a trial: the newest may be half-written when the machine dies."""


def save(folder: Path, state: State) -> None:
    """Writes ``state.pt`` into a folder: beside, flushed to the disk, then renamed."""
    _write(folder / FILE, state)


def load(folder: Path, device: torch.device) -> State:
    """Reads what `save` wrote; nothing but tensors and plain values is unpickled.

    Random states stay on the CPU, where torch wants them.
    """
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


def trial_folder(number: int) -> str:
    """Name of a trial's folder; sorts by number."""
    return f"trial-{number:05d}"


def latest(sessions: Path, number: int) -> Path | None:
    """The newest whole checkpoint of a trial, ``SESSION/trial-NUMBER/checkpoint_N``.

    Sessions and checkpoints are named so that they sort by age. A file that was cut off while Ray
    copied it has no zip directory, which torch writes last: the one before it is taken.
    """
    pattern = f"*/{trial_folder(number)}/checkpoint_*/{FILE}"
    newest_first = sorted(sessions.glob(pattern), reverse=True)
    return next((file.parent for file in newest_first if zipfile.is_zipfile(file)), None)


def _write(path: Path, content: dict[str, Any]) -> None:
    beside = path.with_name(f"{path.name}.partial")
    with beside.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
