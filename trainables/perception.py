"""What a controller drives by: a vision, which sees frames as codes, and a memory of them.

Both are trained once for all trials that see and remember alike, and kept in the cache.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from torch import Tensor

from datasets.cache import Cache
from datasets.driving import Drives
from datasets.errors import InputError, described
from datasets.files import write_whole
from trainables.code_memory import CodedDrives, MemoryTask
from trainables.config import FitConfig
from trainables.fit import SupervisedLearner
from trainables.models.mixture_memory import MixtureMemory
from trainables.visions import VISIONS
from trainables.visions.codes import TOGETHER, Codes
from trainables.visions.vision import Frames, History, VisionSettings

MemoryName = Literal["trained", "untrained", "none"]

VERSION = 2
"""Version of the trainings, part of the cache's names; to be raised when equal settings give other
weights."""


@dataclass(frozen=True)
class MemorySettings:
    """What a memory depends on, besides the vision and the drives.

    Attributes:
        name: Its kind.
        hidden: Width.
        mixtures: Number of Gaussians.
        repeat: Steps that each action is kept up for.
        fit: Of its training.
    """

    name: MemoryName
    hidden: int
    mixtures: int
    repeat: int
    fit: FitConfig


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        weights: By name.
        history: Metrics of each epoch of its training, by name; empty if nothing trains it.
    """

    weights: Mapping[str, Any]
    history: History


def fresh_vision(settings: VisionSettings, size: int) -> Codes:
    """Makes a vision of frames of so many pixels on a side, which is not trained."""
    with torch.random.fork_rng([]):
        torch.manual_seed(settings.fit.seed)
        return VISIONS[settings.name].make(settings.code, size).eval()


def fresh_memory(settings: MemorySettings, code: int) -> MixtureMemory | None:
    """Makes a memory of codes of so many numbers, which is not trained; None if there is to be
    none."""
    if settings.name == "none":
        return None
    with torch.random.fork_rng([]):
        torch.manual_seed(settings.fit.seed)
        return MixtureMemory(code, settings.hidden, settings.mixtures).eval()


def trained_vision(
    settings: VisionSettings, drives: Drives, cache: Cache, device: torch.device
) -> Trained:
    """Returns a vision of recorded drives, from the cache or newly trained.

    Raises:
        Diverged: If its training diverges.
    """

    def train() -> Trained:
        frames = Frames.of(drives, device)
        model = fresh_vision(settings, drives.recordings.size).to(device)
        history = VISIONS[settings.name].train(model, settings, frames)
        model.standardize(_raw(model, frames))
        return Trained(model.state_dict(), history)

    return _kept("vision", [asdict(settings)], drives, cache, train)


def trained_memory(
    settings: MemorySettings,
    seeing: VisionSettings,
    vision: Codes,
    drives: Drives,
    cache: Cache,
    device: torch.device,
) -> Trained:
    """Returns a trained memory of the codes of recorded drives, from the cache or newly trained.

    Args:
        settings: What the memory depends on.
        seeing: What the vision depends on.
        vision: The vision, trained.
        drives: The drives.
        cache: The cache.
        device: Where it is trained.

    Raises:
        InputError: If drives are shorter than a step.
        Diverged: If its training diverges.
    """

    def train() -> Trained:
        coded = CodedDrives.of(drives, vision, settings.repeat, device)
        task = MemoryTask(coded, settings.hidden, settings.mixtures, settings.fit.batch_size)
        learner = SupervisedLearner(task, settings.fit, device)
        history = [learner.advance(n) for n in range(1, settings.fit.epochs + 1)]
        return Trained(learner.snapshot().model, history)

    return _kept("memory", [asdict(settings), asdict(seeing)], drives, cache, train)


@torch.no_grad()
def _raw(model: Codes, frames: Frames) -> Tensor:
    """Computes the codes of the train frames before they are shifted and scaled."""
    parts = frames.train.split(TOGETHER)
    return torch.cat([model.raw(part.float() / 255) for part in parts])


def _kept(
    kind: str,
    settings: Sequence[dict[str, Any]],
    drives: Drives,
    cache: Cache,
    train: Callable[[], Trained],
) -> Trained:
    """Returns what was trained, from the cache or newly; other trials of this machine that need it
    wait.

    Args:
        kind: What it is.
        settings: What it depends on besides the drives.
        drives: The drives.
        cache: The cache.
        train: Trains it.

    Raises:
        InputError: If the cache's file is damaged.
    """
    parts = json.dumps([drives.digest, *settings], sort_keys=True)
    digest = hashlib.sha256(parts.encode()).hexdigest()[:16]

    def make(path: Path) -> None:
        file = io.BytesIO()
        torch.save(vars(train()), file)
        write_whole(path, file.getvalue())

    path = cache.get(f"{kind}-{digest}-v{VERSION}.pt", make)
    try:
        return Trained(**torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, TypeError, OSError, EOFError, UnpicklingError) as error:
        reason = described(error)
        raise InputError(f"{path} is damaged ({reason}): delete it; it is made again") from None
