"""Which small network reads handwritten digits best?

Networks of one hidden layer on scikit-learn's 1,797 digits of 8 by 8 pixels. Every line that a
study of one's own needs is here; docs/your-own-study.md goes through them.
"""

import sys
from dataclasses import dataclass
from typing import Annotated, Literal

from sklearn.datasets import load_digits
from torch import Tensor, nn

from orrery import Choice, FitConfig, Study, TensorProblem, TensorScorecard, Tools, Whole, main

Activation = Literal["relu", "tanh"]
LAYERS = {"relu": nn.ReLU, "tanh": nn.Tanh}


@dataclass(frozen=True)
class DigitsConfig(FitConfig):
    """Hyperparameters of a network of one hidden layer."""

    activation: Annotated[Activation, Choice(("relu", "tanh"))] = "relu"
    """The function behind the hidden layer."""

    width: Annotated[int, Whole(8, 256, log=True)] = 32
    """Hidden units."""

    @property
    def title(self) -> str:
        return f"{self.activation} {self.width}"


def network(config: DigitsConfig) -> nn.Module:
    """Pixels (B, 64) -> a score for each digit (B, 10)."""
    hidden = nn.Linear(64, config.width)
    return nn.Sequential(hidden, LAYERS[config.activation](), nn.Linear(config.width, 10))


def wrong(scores: Tensor, digits: Tensor) -> Tensor:
    """1 for each digit that was misread: 1 - their share is the accuracy."""
    return (scores.argmax(dim=1) != digits).float()


def open_digits(options: object, seed: int, tools: Tools) -> TensorProblem:
    """Opens the digits, which come with scikit-learn."""
    del options, tools
    pixels, digits = load_digits(return_X_y=True)
    inputs = (pixels / 16).astype("float32")
    loss = nn.functional.cross_entropy
    return TensorProblem(inputs, digits, seed, network=network, loss=loss, error=wrong)


STUDY = Study(
    key="digits",
    question=__doc__ or "",
    file=__file__,
    config=DigitsConfig,
    group_by="activation",
    objective="validation/score",
    open=open_digits,
    scorecard=TensorScorecard(DigitsConfig, "digits"),
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
