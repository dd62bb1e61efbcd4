"""Hyperparameters of a controller of a car, and of what it drives by."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Real
from optuna.distributions import IntDistribution as Whole

from datasets.errors import InputError
from trainables.config import FitConfig, TrialConfig, When, at_least, one_of
from trainables.perception import MemoryName, MemorySettings
from trainables.visions import VISIONS, VisionName
from trainables.visions.vision import VisionSettings

LearnIn = Literal["world", "dream"]

WITH_PRIOR = tuple(name for name, kind in VISIONS.items() if kind.has_prior)
"""Visions that frames can be drawn from at random."""

JUDGED = tuple(name for name, kind in VISIONS.items() if kind.has_discriminator)
"""Visions against which a discriminator is trained."""

LEVELS = 2
"""Convolutions of the discriminator of frames of 32 pixels, which are the smallest."""


@dataclass(frozen=True)
class ControllerConfig(TrialConfig):
    """Hyperparameters of a controller, and of what it drives by."""

    vision: Annotated[VisionName, Choice(get_args(VisionName))] = "vae"
    """Vision: a variational autoencoder (vae), one with a discriminator (vaegan), an autoencoder,
    principal components (pca), or an encoder that is not trained (random)."""

    memory: Annotated[MemoryName, Choice(get_args(MemoryName))] = "trained"
    """Memory: an LSTM that was trained to predict the next code, one that was not, or none."""

    code: Annotated[int, Whole(8, 64, log=True)] = 16
    """Number of numbers that a frame is seen as."""

    beta: Annotated[float, Real(0.1, 4.0, log=True), When("vision", WITH_PRIOR)] = 1.0
    """Weight of the divergence of codes from the standard Gaussian; the squared error beside it is
    summed over 64 x 64 pixels, whatever the size of a frame."""

    gan_weight: Annotated[float, Real(1e-3, 1.0, log=True), When("vision", JUDGED)] = 0.03
    """Weight of the discriminator's judgement in the decoder's loss."""

    feature_level: Annotated[int, Whole(1, LEVELS), When("vision", JUDGED)] = 1
    """Layer of the discriminator whose features are compared, from 1."""

    hidden: Annotated[int, Whole(32, 128, log=True), When("memory", ("trained", "untrained"))] = 64
    """Width of the memory."""

    mixtures: Annotated[int, Whole(1, 8), When("memory", ("trained",))] = 5
    """Number of Gaussians that the memory mixes to predict a number of the next code."""

    action_repeat: Annotated[int, Whole(1, 4)] = 4
    """Steps of the simulator, 20 ms each, that each action is kept up for."""

    population: Annotated[int, Whole(16, 64, log=True)] = 64
    """Candidates of a generation."""

    rollouts: Annotated[int, Whole(1, 8, log=True)] = 1
    """Tracks on which each candidate drives, the same for all candidates of a generation."""

    learn_in: LearnIn = "world"
    """Where candidates drive: in the simulator (world), or, if the memory is trained, in what it
    dreams (dream), which takes a second a generation. Without a trained memory they drive in the
    simulator all the same; validation and test drives always do."""

    temperature: Annotated[float, Real(0.5, 1.5), When("learn_in", ("dream",))] = 1.0
    """Temperature of a dream: above 1 it is more uncertain than what the memory has learned.
    Without a trained memory it changes nothing."""

    sigma: Annotated[float, Real(0.003, 0.3, log=True)] = 0.01
    """Initial step size of CMA-ES, in units of the parameters, which begin at zero."""

    learning_rate: float = 2e-3
    """Step size of AdamW, which trains vision and memory: the peak of its schedule, and constant
    against a discriminator."""

    batch_size: int = 64
    """Number of frames, or of windows of a drive, in one of its steps."""

    vision_epochs: int = 4
    """Epochs of a trial in which its vision is trained; one that is not lets them pass idle."""

    memory_epochs: int = 6
    """Epochs after these in which its memory is trained; without one, or with an untrained one,
    they pass idle."""

    epochs: int = 34
    """Epochs of a trial in all: those of vision and memory, and one for each generation."""

    @property
    def generations(self) -> int:
        """Number of generations."""
        return self.epochs - self.vision_epochs - self.memory_epochs

    @property
    def title(self) -> str:
        remembers = "no memory" if self.memory == "none" else f"{self.memory} {self.hidden}"
        return f"{self.vision} {self.code}, {remembers}, {self.population}x{self.rollouts}"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("vision", self.vision, get_args(VisionName))
        one_of("memory", self.memory, get_args(MemoryName))
        one_of("learn_in", self.learn_in, get_args(LearnIn))
        at_least("temperature", self.temperature, 0)
        for name in ("code", "feature_level", "hidden", "mixtures", "action_repeat", "rollouts"):
            at_least(name, getattr(self, name), 1)
        for name in ("batch_size", "vision_epochs", "memory_epochs"):
            at_least(name, getattr(self, name), 1)
        if self.feature_level > LEVELS:
            raise InputError(f"feature_level is {self.feature_level}: expected 1 to {LEVELS}")
        at_least("population", self.population, 4)
        for name in ("beta", "gan_weight"):
            at_least(name, getattr(self, name), 0)
        for name in ("sigma", "learning_rate"):
            at_least(name, getattr(self, name), 0, open_end=True)
        if self.generations < 1:
            raise InputError(
                f"epochs is {self.epochs}, with vision_epochs {self.vision_epochs} and "
                f"memory_epochs {self.memory_epochs}: expected more than both, for generations"
            )

    def _fit(self, epochs: int) -> FitConfig:
        return FitConfig(
            seed=self.seed,
            epochs=epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
        )

    @property
    def seeing(self) -> VisionSettings:
        """What the vision depends on."""
        kind = VISIONS[self.vision]
        return VisionSettings(
            name=self.vision,
            code=self.code,
            beta=self.beta if kind.has_prior else 0.0,
            gan_weight=self.gan_weight if kind.has_discriminator else 0.0,
            feature_level=self.feature_level if kind.has_discriminator else 0,
            fit=self._fit(self.vision_epochs),
        )

    @property
    def remembering(self) -> MemorySettings:
        """What the memory depends on."""
        return MemorySettings(
            name=self.memory,
            hidden=self.hidden,
            mixtures=self.mixtures if self.memory == "trained" else 1,
            repeat=self.action_repeat,
            fit=self._fit(self.memory_epochs),
        )
