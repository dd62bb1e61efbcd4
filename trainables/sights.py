"""What a vision makes of frames and a memory of a drive, as pictures.

Shapes in this module: frames of a drive T, frames shown N, pixels on a side S, numbers of a code
Z.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from datasets.driving import Drives
from datasets.racing import Policy, Rules, drive
from trainables.code_memory import coded
from trainables.models.mixture_memory import MixtureMemory
from trainables.steering import Senses
from trainables.visions.codes import TOGETHER, Codes

SHOWN = 8
"""Number of frames in a row of pictures."""

DREAMED = 25
"""Actions after which a dream begins anew from what is seen."""

CPU = torch.device("cpu")


class Watched:
    """A `datasets.racing.Policy` that keeps what one car sees and does.

    Args:
        policy: The policy that drives.

    Attributes:
        frames: What the car has seen, (3, S, S) uint8 each.
        actions: Its actions, (3,) float32 each.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.frames: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []

    def begin(self, cars: int) -> None:
        """Forgets what was seen; see `datasets.racing.Policy`."""
        self.frames, self.actions = [], []
        self.policy.begin(cars)

    def act(self, frames: np.ndarray, cars: np.ndarray) -> np.ndarray:
        """Chooses the next action; see `datasets.racing.Policy`."""
        actions = self.policy.act(frames, cars)
        self.frames.append(frames[0])
        self.actions.append(actions[0])
        return actions


def of_a_drive(
    policy: Policy, senses: Senses, seed: int, rules: Rules, dreams: bool
) -> dict[str, np.ndarray]:
    """Drives one car and returns what it saw, and what its vision and memory make of that.

    Args:
        policy: Drives the car.
        senses: Vision and memory.
        seed: Of the track.
        rules: How it drives.
        dreams: Whether the memory has learned to predict.

    Returns:
        ``seen``, ``reconstructed`` if the vision draws, and ``dreamed`` if the memory predicts,
        too: (T, 3, S, S) uint8 each.
    """
    watched = Watched(policy)
    drive(watched, [seed], rules)
    seen = np.stack(watched.frames)
    codes = coded(senses.vision, seen, CPU)
    found = {"seen": seen, "reconstructed": pictures(senses.vision, codes)}
    if dreams and senses.memory is not None:
        actions = torch.from_numpy(np.stack(watched.actions))
        found["dreamed"] = pictures(senses.vision, dreamed(senses.memory, codes, actions))
    return {name: frames for name, frames in found.items() if frames is not None}


@torch.no_grad()
def dreamed(memory: MixtureMemory, codes: Tensor, actions: Tensor) -> Tensor:
    """Predicts the codes of a drive: the memory knows the actions, but sees a code every `DREAMED`
    actions only, and goes on from its own likeliest predictions in between.

    Args:
        memory: The memory.
        codes: Codes of the frames of the drive, (T, Z).
        actions: Actions after them, (T, 3).

    Returns:
        (T, Z); the codes that were seen are as they were.
    """
    generator = torch.Generator()
    state, code, made = None, codes[0], []
    for step, action in enumerate(actions):
        if step % DREAMED == 0:
            code = codes[step]
        made.append(code)
        outputs, state = memory(code[None, None], action[None, None], state)
        code = memory.mixture(outputs).sampled(0.0, generator)[0, 0]
    return torch.stack(made)


def of_frames(vision: Codes, drives: Drives, has_prior: bool) -> Mapping[str, np.ndarray]:
    """Returns what a vision makes of frames of the test episodes.

    Args:
        vision: The vision.
        drives: The drives.
        has_prior: Whether its codes have a prior, the standard Gaussian.

    Returns:
        ``true``: the frames; ``nearest``: the train frames whose codes are nearest to theirs; and
        if the vision draws, ``again``: their reconstructions, ``sampled``: drawn from random
        codes, of the prior, or without one of the Gaussian that has the mean and the deviations
        of the codes of train frames, ``between``: from codes between those of the first and the
        last of them; (N, 3, S, S) uint8 each.
    """
    true = _spread(drives, drives.split.test, SHOWN)
    known = _spread(drives, drives.split.train, TOGETHER)
    codes = coded(vision, true, CPU)
    nearest = torch.cdist(codes, coded(vision, known, CPU)).argmin(dim=1).numpy()
    steps = torch.linspace(0, 1, SHOWN)[:, None]
    noise = torch.randn(codes.shape, generator=torch.Generator().manual_seed(0))
    if has_prior:
        noise = (noise - vision.center) / vision.spread
    found = {
        "true": true,
        "again": pictures(vision, codes),
        "nearest": known[nearest],
        "sampled": pictures(vision, noise),
        "between": pictures(vision, codes[:1] + steps * (codes[-1:] - codes[:1])),
    }
    return {name: frames for name, frames in found.items() if frames is not None}


@torch.no_grad()
def pictures(vision: Codes, codes: Tensor) -> np.ndarray | None:
    """Draws frames of codes, (N, Z) -> (N, 3, S, S) uint8; None if the vision draws nothing."""
    drawn = vision.reconstructed(codes)
    return None if drawn is None else (255 * drawn).round().byte().numpy()


def _spread(drives: Drives, episodes: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """Returns frames of some episodes, evenly spread, (at most count, 3, S, S) uint8."""
    offsets = drives.recordings.offsets
    rows = np.concatenate([np.arange(*offsets[e : e + 2]) for e in episodes])
    places = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
    return drives.recordings.frames[rows[places]]
