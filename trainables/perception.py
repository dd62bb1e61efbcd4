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
from trainables.adversarial import AdversarialLearner
from trainables.code_memory import CodedDrives, MemoryTask
from trainables.config import FitConfig
from trainables.fit import SupervisedLearner
from trainables.frame_coding import TOGETHER, CodingTask, Frames
from trainables.learner import Learner
from trainables.models.mixture_memory import MixtureMemory
from trainables.models.visions import Codes, PrincipalComponents, VisionName, vision

MemoryName = Literal["trained", "untrained", "none"]

VERSION = 1
"""Version of the trainings, part of the cache's names; to be raised when equal settings give other
weights."""

MOST = 8192
"""Number of frames of which principal components are computed, at most."""


@dataclass(frozen=True)
class VisionSettings:
    """What a vision depends on, besides the frames.

    Attributes:
        name: Its kind.
        code: Number of numbers of a code.
        beta: Weight of the prior; 0 where there is none.
        gan_weight: Weight of the discriminator's judgement; 0 without a discriminator.
        feature_level: Layer of the discriminator whose features are compared; 0 without one.
        fit: Of its training.
    """

    name: VisionName
    code: int
    beta: float
    gan_weight: float
    feature_level: int
    fit: FitConfig

    def learner(self, frames: Frames, device: torch.device) -> Learner | None:
        """Makes what trains it; None if nothing does."""
        if self.name == "vaegan":
            level = self.feature_level
            return AdversarialLearner(
                frames, self.code, self.beta, self.gan_weight, level, self.fit
            )
        if self.name in ("vae", "autoencoder"):
            beta = self.beta if self.name == "vae" else None
            task = CodingTask(frames, self.code, beta, self.fit.batch_size)
            return SupervisedLearner(task, self.fit, device)
        return None


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
    history: list[dict[str, float]]


def fresh_vision(settings: VisionSettings, size: int) -> Codes:
    """Makes a vision of frames of so many pixels on a side, which is not trained."""
    with torch.random.fork_rng([]):
        torch.manual_seed(settings.fit.seed)
        return vision(settings.name, settings.code, size).eval()


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
        model, history = fresh_vision(settings, drives.recordings.size).to(device), []
        learner = settings.learner(frames, device)
        if learner is not None:
            history = [learner.advance(n) for n in range(1, settings.fit.epochs + 1)]
            model.load_state_dict(learner.snapshot().model)
        if isinstance(model, PrincipalComponents):
            model.fit(frames.train[:: -(-len(frames.train) // MOST)].float() / 255)
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
