"""Dreams in training: a few free-running steps from chosen moments of long dreams.

A dream goes on from a predicted frame, with the true actions. Its age is the number of steps since
the last true frame. Dreams as long as those that are evaluated are dreamt once an epoch, without
gradients; from their beginnings and from random moments of theirs, a few steps are learned. So a
model learns to go on at every age at the cost of a few steps (pushforward training, Brandstetter
et al. 2022; gradients are cut, as List et al. 2024 find to be nearly as good).

Shapes in this module: dreams N, free steps F, context K, pixels on a side S.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.models.world_model import State
from trainables.rollout import CONTEXT

MOMENTS = 4
"""Number of moments of one long dream from which a model learns to go on; the first of them is the
dream's beginning."""


@dataclass(frozen=True)
class Dreams:
    """N dreams, each at some age.

    Attributes:
        frames: The last predictions, which are fed next, (N, 1, 3, S, S), from 0 to 1; at age 0
            the last true frame.
        state: The model's state before them.
        age: Ages of these frames, (N,) float32.
        number: Numbers of the recorded frames that they predict, (N,) int64.
    """

    frames: Tensor
    state: State
    age: Tensor
    number: Tensor

    def __len__(self) -> int:
        return len(self.age)

    def part(self, which: slice | Tensor) -> "Dreams":
        """Returns some of the dreams."""
        return Dreams(
            frames=self.frames[which],
            state=tuple(each[:, which] for each in self.state),
            age=self.age[which],
            number=self.number[which],
        )

    def free_run(self, frames: Tensor, actions: Tensor, steps: int) -> "FreeRun":
        """Adds the next steps to the dreams.

        Args:
            frames: All recorded frames, (frames, 3, S, S) uint8.
            actions: All recorded actions, (frames, 3).
            steps: Number of steps, F.
        """
        ahead = self.number[:, None] + torch.arange(steps, device=frames.device)
        return FreeRun(self, actions[ahead], frames[ahead + 1].float() / 255)


@dataclass(frozen=True)
class FreeRun:
    """N dreams, and F steps by which they go on.

    Attributes:
        dreams: The dreams before these steps.
        actions: (N, F, 3).
        truth: The recorded frames, (N, F, 3, S, S), from 0 to 1.
    """

    dreams: Dreams
    actions: Tensor
    truth: Tensor

    def predicted(self, model: nn.Module) -> Tensor:
        """Goes on with the dreams; gradients flow back through all steps.

        Returns:
            (N, F, 3, S, S): predictions at the ages ``age + 1`` to ``age + F``.
        """
        seen, state, found = self.dreams.frames, self.dreams.state, []
        for step in range(self.actions.shape[1]):
            age = self.dreams.age[:, None] + step
            predicted, state = model(seen, self.actions[:, step : step + 1], state, age)
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
        dream = order // MOMENTS  # of the n-th age that was drawn: n // MOMENTS
        return cls(starts[which], dream, ages)


@torch.no_grad()
def dreams_at(model: nn.Module, frames: Tensor, actions: Tensor, moments: Moments) -> Dreams:
    """Dreams up to each of the moments, all dreams together, of which those that have no further
    moment are left out.

    Args:
        model: A `trainables.models.world_model.WorldModel`, or a module called like one.
        frames: All recorded frames, (frames, 3, S, S) uint8.
        actions: All recorded actions, (frames, 3).
        moments: The moments.

    Returns:
        The N dreams, in the order of the moments.
    """
    device = frames.device
    oldest = torch.zeros_like(moments.starts)
    oldest = oldest.scatter_reduce(0, moments.dream, moments.ages, "amax")
    oldest, order = oldest.sort(descending=True, stable=True)  # so that the longest come first
    row = order.argsort()[moments.dream].to(device)  # of each moment's dream
    begin = moments.starts[order].to(device)
    going_on = (oldest[:, None] >= torch.arange(int(oldest[0]) + 1)).sum(dim=0).tolist()
    reached = moments.ages.bincount().tolist()
    context = begin[:, None] + torch.arange(CONTEXT - 1, device=device)
    _, state = model(frames[context].float() / 255, actions[context])
    last_true = begin + CONTEXT - 1
    seen, kept, done = frames[last_true, None].float() / 255, [], 0
    for age, (dreams, moments_here) in enumerate(zip(going_on, reached, strict=True)):
        seen, state = seen[:dreams], tuple(each[:, :dreams] for each in state)
        which = row[done : done + moments_here]
        kept.append((seen[which], tuple(each[:, which] for each in state)))
        done += moments_here
        if done < len(row):
            action = actions[last_true[:dreams] + age, None]
            seen, state = model(seen, action, state, seen.new_full((dreams, 1), age))
            seen = seen.clamp(0, 1)  # as `trainables.rollout.autoregressive` does
    ages = moments.ages.to(device)
    states = zip(*(state for _, state in kept), strict=True)
    return Dreams(
        frames=torch.cat([seen for seen, _ in kept]),
        state=tuple(torch.cat(each, dim=1) for each in states),
        age=ages.float(),
        number=last_true[row] + ages,
    )
