"""How often a model in training sees its own prediction in place of the truth.

Bengio et al. 2015, Scheduled sampling for sequence prediction with recurrent neural networks. They
let the share of true inputs fall; here the share of the model's own predictions rises, from 0 to
the rate of the configuration (`constant`: it is there from the first step), along the same three
curves, scaled so that they run through both ends.
"""

import math
from typing import Literal

Rise = Literal["constant", "linear", "exponential", "inverse_sigmoid"]

DECAY = 5.0
"""Of the exponential curve: the remaining way shrinks to 1/e over a fifth of the training."""

STEEPNESS = 12.0
"""Of the inverse sigmoid, whose middle is that of the training."""


def sampling_rate(rise: Rise, rate: float, progress: float) -> float:
    """Probability that a step sees the model's own prediction.

    Args:
        rise: The curve.
        rate: At the end, 0 to 1.
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
