"""Dreams in training: some free-running steps from some moments of longer dreams.

A dream goes on from a predicted frame, with the true actions. Its age is the number of steps since
the last true frame. Dreams as long as those that are evaluated are dreamt once an epoch, without
gradients, and a few steps are learned from their beginning and from random moments of theirs, so
that a model learns to go on at every age at the cost of a few steps (pushforward training,
Brandstetter et al. 2022; gradients are cut, as List et al. 2024 find to be nearly as good).

Shapes in this module: dreams N, free steps F, context K, pixels on a side S.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.models.world_model import State
from trainables.rollout import CONTEXT

MOMENTS = 4
"""Number of moments of one long dream that are gone on from."""


@dataclass(frozen=True)
class Dreams:
    """N dreams, each at some age, and F steps to come.

    Attributes:
        frames: The last predictions, which are fed next, (N, 1, 3, S, S), from 0 to 1; at age 0
            the last true frame.
        state: The model's state before them.
        age: Ages of these frames, (N,) float32.
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
    """Moments of long dreams: their beginning, and random ones.

    Attributes:
        starts: Frame number of the first frame of each dream's context, (dreams,) int64.
        dream: Dream of each moment, (N,) int64.
        ages: Age of the moment, (N,) int64, not decreasing.
    """

    starts: Tensor
    dream: Tensor
    ages: Tensor

    @classmethod
    def drawn(
        cls, starts: Tensor, oldest: int, count: int, generator: torch.Generator
    ) -> "Moments":
        """Draws moments at any age from 0 on, `MOMENTS` of each of some dreams.

        One of them is the dream's beginning: there the simple predictions that a model has to beat
        are at their best, and of random moments few are as early.

        Args:
            starts: First frames of the contexts that a dream may have, (starts,) int64.
            oldest: Highest age.
            count: Number of moments N.
            generator: Source of the random numbers.
        """
        which = torch.randint(len(starts), (-(-count // MOMENTS),), generator=generator)
        ages = torch.randint(oldest + 1, (count,), generator=generator)
        ages[::MOMENTS] = 0
        ages, order = ages.sort(stable=True)
        return cls(starts[which], order // MOMENTS, ages)


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
    last = torch.zeros_like(moments.starts).scatter_reduce(0, moments.dream, moments.ages, "amax")
    last, order = last.sort(descending=True, stable=True)
    place = order.argsort()[moments.dream].to(device)  # of each moment's dream, the longest first
    begin = moments.starts[order].to(device)
    lasting = (last[:, None] >= torch.arange(int(last[0]) + 1)).sum(dim=0).tolist()
    reached = moments.ages.bincount().tolist()
    context = begin[:, None] + torch.arange(CONTEXT - 1, device=device)
    _, state = model(frames[context].float() / 255, actions[context])
    now = begin + CONTEXT - 1
    seen, kept, done = frames[now, None].float() / 255, [], 0
    for age, (dreams, here) in enumerate(zip(lasting, reached, strict=True)):
        seen, state = seen[:dreams], tuple(each[:, :dreams] for each in state)
        which = place[done : done + here]
        kept.append((seen[which], tuple(each[:, which] for each in state)))
        done += here
        if done < len(place):
            action = actions[now[:dreams] + age, None]
            seen, state = model(seen, action, state, seen.new_full((dreams, 1), age))
            seen = seen.clamp(0, 1)  # as `trainables.rollout.autoregressive` does
    ahead = (now[place] + moments.ages.to(device))[:, None]
    ahead = ahead + torch.arange(free_steps, device=device)
    states = zip(*(state for _, state in kept), strict=True)
    return Dreams(
        frames=torch.cat([seen for seen, _ in kept]),
        state=tuple(torch.cat(each, dim=1) for each in states),
        age=moments.ages.to(device).float(),
        actions=actions[ahead],
        truth=frames[ahead + 1].float() / 255,
    )
