"""Dreams in training: free-running steps, from the ends of windows and from the middle of longer
dreams.

A dream goes on from a predicted frame, with the true actions. Its age is the number of steps since
the last true frame. Errors at high ages are learned from dreams as long as those that are
evaluated: these are dreamt once an epoch, without gradients, and a few steps are learned from
random moments of theirs (pushforward training, Brandstetter et al. 2022; gradients are cut, as
List et al. 2024 find to be nearly as good).

Shapes in this module: dreams N, free steps F, context K, pixels on a side S.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.models.world_model import State
from trainables.rollout import CONTEXT


@dataclass(frozen=True)
class Dreams:
    """N dreams, each at some age, and F steps to come.

    Attributes:
        frames: The last predictions, which are fed next, (N, 1, 3, S, S), from 0 to 1.
        state: The model's state before them.
        age: Ages of these predictions, (N,) float32, at least 1.
        actions: Actions to come, (N, F, 3).
        truth: Frames to come, (N, F, 3, S, S).
    """

    frames: Tensor
    state: State
    age: Tensor
    actions: Tensor
    truth: Tensor

    def __len__(self) -> int:
        return len(self.age)

    def part(self, which: slice | Tensor) -> "Dreams":
        """Returns some of the dreams."""
        return Dreams(
            frames=self.frames[which],
            state=tuple(each[:, which] for each in self.state),
            age=self.age[which],
            actions=self.actions[which],
            truth=self.truth[which],
        )


def joined(parts: Sequence[Dreams]) -> Dreams:
    """Returns the dreams of several parts as one."""
    states = zip(*(part.state for part in parts), strict=True)
    return Dreams(
        frames=torch.cat([part.frames for part in parts]),
        state=tuple(torch.cat(each, dim=1) for each in states),
        age=torch.cat([part.age for part in parts]),
        actions=torch.cat([part.actions for part in parts]),
        truth=torch.cat([part.truth for part in parts]),
    )


def dreamt(model: nn.Module, dreams: Dreams) -> Tensor:
    """Goes on with dreams; gradients flow back through all steps.

    Returns:
        (N, F, 3, S, S): predictions at the ages ``age + 1`` to ``age + F``.
    """
    seen, state, found = dreams.frames, dreams.state, []
    for step in range(dreams.actions.shape[1]):
        age = dreams.age[:, None] + step
        predicted, state = model(seen, dreams.actions[:, step : step + 1], state, age)
        found.append(predicted)
        seen = predicted.clamp(0, 1)  # as `trainables.rollout.autoregressive` does
    return torch.cat(found, dim=1)


@dataclass(frozen=True)
class Moments:
    """Random moments of long dreams, the oldest first.

    Attributes:
        starts: Frame number of the first frame of each dream's context, (N,) int64.
        ages: Age of the moment, (N,) int64, not increasing.
    """

    starts: Tensor
    ages: Tensor

    @classmethod
    def drawn(
        cls, starts: Tensor, oldest: int, count: int, generator: torch.Generator
    ) -> "Moments":
        """Draws moments of any of some dreams, at any age.

        Args:
            starts: First frames of the dreams' contexts, (dreams,) int64.
            oldest: Highest age.
            count: Number of moments N.
            generator: Source of the random numbers.
        """
        which = torch.randint(len(starts), (count,), generator=generator)
        ages = torch.randint(1, oldest + 1, (count,), generator=generator)
        order = ages.argsort(descending=True, stable=True)
        return cls(starts[which][order], ages[order])


@torch.no_grad()
def replayed(
    model: nn.Module, frames: Tensor, actions: Tensor, moments: Moments, free_steps: int
) -> Dreams:
    """Dreams up to each of the moments.

    Args:
        model: A `trainables.models.world_model.WorldModel`, or a module called like one.
        frames: All recorded frames, (frames, 3, S, S) uint8.
        actions: All recorded actions, (frames, 3).
        moments: The moments.
        free_steps: Number of steps to go on, F.

    Returns:
        The N dreams, in the order of the moments.
    """
    device = frames.device
    ages = moments.ages.tolist()
    first = moments.starts.to(device)[:, None]
    context = first + torch.arange(CONTEXT, device=device)
    predicted, state = model(frames[context].float() / 255, actions[context])
    seen, kept = predicted[:, -1:], []
    for age in range(1, ages[0] + 1):
        seen = seen.clamp(0, 1)
        reached = sum(each >= age for each in ages)  # of the oldest, which come first
        staying = sum(each > age for each in ages)
        kept.append((seen[staying:reached], tuple(each[:, staying:reached] for each in state)))
        if not staying:
            break
        seen, state = seen[:staying], tuple(each[:, :staying] for each in state)
        action = actions[first[:staying] + CONTEXT - 1 + age]
        seen, state = model(seen, action, state, seen.new_full((staying, 1), age))
    kept.reverse()  # the oldest first again
    ahead = (
        first
        + CONTEXT
        - 1
        + moments.ages.to(device)[:, None]
        + torch.arange(free_steps, device=device)
    )
    states = zip(*(state for _, state in kept), strict=True)
    return Dreams(
        frames=torch.cat([seen for seen, _ in kept]),
        state=tuple(torch.cat(each, dim=1) for each in states),
        age=moments.ages.to(device).float(),
        actions=actions[ahead],
        truth=frames[ahead + 1].float() / 255,
    )
