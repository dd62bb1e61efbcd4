"""A memory that predicts the next code of a frame as a mixture of Gaussians, given the action.

It is the MDN-RNN of Ha and Schmidhuber 2018: an LSTM reads codes and actions, and for each number
of the next code its output gives a mixture of its own (Bishop 1994). One more output predicts the
reward of the step, so that a controller can learn within what the memory dreams.

Shapes in this module: steps T, sequences B, numbers of a code Z, Gaussians K, hidden H.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from datasets.recordings import ACTIONS
from trainables.models.lstm import State, SteppingLSTM

QUIETEST, LOUDEST = -5.0, 3.0
"""Bounds of the logarithm of a standard deviation."""


@dataclass(frozen=True)
class Mixture:
    """Mixtures of Gaussians, one for each number of a code; and rewards.

    Attributes:
        logits: Logits of the Gaussians' shares, (..., Z, K).
        means: (..., Z, K).
        log_deviations: Logarithms of the standard deviations, (..., Z, K).
        reward: Expected reward of the step, (...,).
    """

    logits: Tensor
    means: Tensor
    log_deviations: Tensor
    reward: Tensor

    def surprise(self, codes: Tensor) -> Tensor:
        """Computes the negative log-likelihood of codes, (..., Z), in nats, (..., Z)."""
        errors = (codes[..., None] - self.means) * (-self.log_deviations).exp()
        log_density = -0.5 * errors.square() - self.log_deviations - 0.5 * math.log(2 * math.pi)
        return -torch.logsumexp(self.logits.log_softmax(dim=-1) + log_density, dim=-1)

    def sampled(self, temperature: float, generator: torch.Generator) -> Tensor:
        """Draws codes, (..., Z).

        Args:
            temperature: Divides the logits and multiplies the variances; at 0 the likeliest
                Gaussian's mean is drawn.
            generator: Of the random numbers.
        """
        if temperature == 0:
            place = self.logits.argmax(dim=-1, keepdim=True)
            return self.means.gather(-1, place).squeeze(dim=-1)
        shares = (self.logits / temperature).softmax(dim=-1)
        drawn = torch.multinomial(shares.flatten(0, -2), 1, generator=generator)
        place = drawn.view(*shares.shape[:-1], 1)
        mean, log_deviation = (
            each.gather(-1, place).squeeze(dim=-1) for each in (self.means, self.log_deviations)
        )
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return mean + math.sqrt(temperature) * log_deviation.exp() * noise


class MixtureMemory(nn.Module):
    """An LSTM with a mixture-density output.

    Args:
        code: Number of numbers of a code, Z.
        hidden: Width of the LSTM, H.
        mixtures: Number of Gaussians, K.
    """

    def __init__(self, code: int, hidden: int, mixtures: int) -> None:
        super().__init__()
        self.shape = (3, code, mixtures)
        self.core = SteppingLSTM(code + ACTIONS, hidden)
        self.head = nn.Linear(hidden, 3 * code * mixtures + 1)

    def forward(
        self, codes: Tensor, actions: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Reads codes and the actions after them.

        Args:
            codes: (T, B, Z).
            actions: (T, B, 3).
            state: State before the first step; None: nothing was read before.

        Returns:
            Outputs, (T, B, H), and the state after the last step.
        """
        return self.core(torch.cat([codes, actions], dim=2), state)

    def mixture(self, outputs: Tensor) -> Mixture:
        """Computes what outputs, (..., H), say of the next code and the reward."""
        numbers = self.head(outputs)
        split = numbers[..., :-1].unflatten(-1, self.shape)
        logits, means, log_deviations = split.unbind(dim=-3)
        bounded = log_deviations.clamp(QUIETEST, LOUDEST)
        return Mixture(logits, means, bounded, numbers[..., -1])
