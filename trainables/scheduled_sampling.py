"""Scheduled sampling: how often a model in training sees its own prediction instead of the truth.

Source: Bengio et al. 2015, Scheduled sampling for sequence prediction with recurrent neural
networks. In the paper the share of true inputs falls; here the share of the model's own
predictions rises from 0 to the configured rate along the same three curves, scaled to reach both
end points. With `constant` it has the configured rate from the first step on.
"""

import math
from typing import Literal

Rise = Literal["constant", "linear", "exponential", "inverse_sigmoid"]

DECAY = 5.0
"""Decay rate of the exponential curve: during each fifth of the training, the distance to its
asymptote shrinks by a factor of e."""

STEEPNESS = 12.0
"""Steepness of the inverse sigmoid, which is centred at half of the training."""


def sampling_rate(rise: Rise, rate: float, progress: float) -> float:
    """Returns the probability that a step sees the model's own prediction.

    Args:
        rise: Curve along which the probability rises.
        rate: Probability at the end of the training, 0 to 1.
        progress: Share of the training that is done, 0 to 1.
    """
    match rise:
        case "constant":
            return rate
        case "linear":
            return rate * progress
        case "exponential":
            return rate * math.expm1(-DECAY * progress) / math.expm1(-DECAY)
        case "inverse_sigmoid":
            low, high = _sigmoid(-STEEPNESS / 2), _sigmoid(STEEPNESS / 2)
            return rate * (_sigmoid(STEEPNESS * (progress - 0.5)) - low) / (high - low)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
