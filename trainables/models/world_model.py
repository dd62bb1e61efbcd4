"""A world model, which predicts the next frame from a frame and an action.

An encoder compresses the frame, a core keeps the memory, and a decoder makes the next frame from
the core's output. The core is an LSTM, or a transformer that attends to the last frames. Fed with
its own predictions, the model continues a drive by itself. It differs from Ha and Schmidhuber 2018
in being one deterministic network, trained end to end on the frames.

Frames are float32 from 0 to 1 in three planes, red, green and blue. Action t leads from frame t to
frame t + 1. Shapes in this module: sequences B, steps T, frames N = B T, hidden H, pixels on a
side S, maps C.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn

from datasets.errors import InputError
from datasets.recordings import ACTIONS, CHANNELS
from trainables.config import FitConfig, Schedule, When, at_least, one_of
from trainables.models.frame_decoders import ConvolutionalDecoder, LinearDecoder, WarpDecoder
from trainables.models.frame_encoders import Encoder, encoder
from trainables.models.lstm import LSTM, SteppingLSTM
from trainables.models.transformer import Transformer
from trainables.scheduled_sampling import Rise

Core = Literal["builtin", "scratch", "transformer"]
Decoder = Literal["linear", "convolutional", "warp"]
Weighting = Literal["equal", "baseline"]

State = tuple[Tensor, ...]
"""What a model remembers: outputs and cells, or keys and values, of its core; and, if it sees the
changes of frames, the frame before, (1, B, 3, S, S). The second axis of each is that of the
sequences."""

CONTRAST = 4.0
"""Factor of the difference of two successive frames as an input, where most differences are
small."""

AGES = 2
"""Number of features of an age."""


@dataclass(frozen=True)
class WorldModelConfig(FitConfig):
    """Hyperparameters of a world model."""

    core: Annotated[Core, CategoricalDistribution(get_args(Core))] = "builtin"
    """Core, which keeps the memory: torch.nn.LSTM (builtin); this project's LSTM, implemented from
    its equations (scratch); or causal attention to the last frames (transformer)."""

    encoder: Encoder = "convolutional"
    """Input of the core for a frame: the flattened pixels, or convolutional feature maps."""

    decoder: Decoder = "warp"
    """Decoder of the next frame: a linear layer; transposed convolutions; or a warp, which moves
    the last frame and mixes it with a newly drawn one."""

    change_input: bool = True
    """Whether the encoder sees the frame's difference from the frame before, too."""

    age_input: bool = True
    """Whether the core sees the age of the frame it is fed with, which is the number of steps
    since the last true frame."""

    hidden: Annotated[int, IntDistribution(64, 256, log=True)] = 128
    """Width of the core's output; with a transformer, any width, shared among its 4 heads."""

    layers: Annotated[int, IntDistribution(1, 2)] = 1
    """Number of stacked layers of the LSTM, or blocks of the transformer."""

    window: Annotated[int, IntDistribution(4, 32, log=True), When("core", ("transformer",))] = 16
    """Number of last frames that each block of the transformer attends to; without dreams in
    training, no more than a training window has steps, since it would not learn what farther ones
    mean."""

    sequence_length: Annotated[int, IntDistribution(8, 20)] = 16
    """Number of steps of a training window that are fed with true frames (with scheduled sampling,
    only some of them are)."""

    context: int = 4
    """Number of steps at the beginning of a training window that warm up the core's state and are
    not scored; less than sequence_length, which includes them."""

    free_steps: int = 30
    """Number of steps of a dream in training, which are fed with the model's own predictions and
    scored, too: the multi-step loss."""

    dreams: int = 8
    """Number of dreams in one optimiser step, of free_steps each. A quarter of them begin; the
    others go on at random moments of long dreams of training episodes, dreamt with the weights at
    the beginning of the epoch."""

    weighting: Weighting = "baseline"
    """Weighting of the steps of dreams in the loss: equal; or baseline, which divides the error at
    each age by that of the better of two simple predictions for as long: keeping the last true
    frame, and the mean training frame."""

    one_step_weight: Annotated[float, FloatDistribution(2.0, 16.0, log=True)] = 6.0
    """Weight in the loss of a step that is fed with a true frame, where one of a dream has 1."""

    sampling_rate: Annotated[float, FloatDistribution(0.0, 0.5)] = 0.0
    """Scheduled sampling (Bengio et al. 2015): probability, at the end of the training, that a
    step is fed with the model's own prediction instead of the true frame."""

    sampling_schedule: Rise = "linear"
    """Curve along which the probability of scheduled sampling rises during training."""

    noise: Annotated[float, FloatDistribution(0.0, 0.05)] = 0.0
    """Standard deviation of the noise added to the true frames that the model is fed in training,
    as a share of the range of pixels."""

    learning_rate: Annotated[float, FloatDistribution(3e-4, 5e-3, log=True)] = 2e-3
    """Peak step size of AdamW."""

    schedule: Schedule = "cosine"
    """Learning-rate schedule after the warm-up: constant, or half a cosine down to 0."""

    warmup: float = 0.05
    """Share of all steps during which the learning rate first rises linearly to its peak."""

    weight_decay: float = 0.0
    """Decoupled weight decay of AdamW (Loshchilov and Hutter 2019)."""

    batch_size: Annotated[int, CategoricalDistribution((8, 16))] = 8
    """Number of windows in one optimiser step."""

    epochs: int = 5
    """Number of epochs, each of as many predictions as the train split has frames; the weights
    after the last one are the result."""

    @property
    def title(self) -> str:
        seen = f"{self.sequence_length}+{self.free_steps}"
        return f"{self.core} {self.decoder} {self.layers}x{self.hidden} {seen}"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (
            ("core", get_args(Core)),
            ("encoder", get_args(Encoder)),
            ("decoder", get_args(Decoder)),
            ("weighting", get_args(Weighting)),
            ("sampling_schedule", get_args(Rise)),
        ):
            one_of(name, getattr(self, name), choices)
        for name in ("hidden", "layers", "window", "sequence_length"):
            at_least(name, getattr(self, name), 1)
        for name in ("free_steps", "dreams", "noise", "context"):
            at_least(name, getattr(self, name), 0)
        at_least("one_step_weight", self.one_step_weight, 0, open_end=True)
        if self.context >= self.sequence_length:
            raise InputError(
                f"context is {self.context}: expected less than sequence_length, which is "
                f"{self.sequence_length}, or no step that sees a true frame is scored"
            )
        if not 0 <= self.sampling_rate <= 1:
            raise InputError(f"sampling_rate is {self.sampling_rate}: expected 0 to 1")

    @property
    def learns_dreams(self) -> bool:
        """Whether there are dreams in training."""
        return self.dreams > 0 and self.free_steps > 0

    @property
    def predictions(self) -> int:
        """Number of frames that are predicted in one optimiser step."""
        return self.batch_size * self.sequence_length + self.dreams * self.free_steps


def homework(core: Core) -> dict[str, Any]:
    """Returns the published homework's configuration with one of the cores, as `WorldModelConfig`
    fields.

    The flattened pixels and the action enter an LSTM of width 128, and a linear layer computes the
    pixels; windows have 10 steps, batches 16 windows, and Adam a learning rate of 3e-4. The number
    of epochs is that of any other trial; the homework uses 50. Two things differ from the
    homework. The optimiser takes one step for each window, through which gradients flow back; the
    homework takes one after each time step and stops gradients there (as
    `benchmarks/driving_step.py` does). And windows of 10 steps begin anywhere; the homework cuts
    episodes into windows of 10 frames. Source: public solution repository
    liblaf/84100343-Deep-Learning, hw2.

    The homework has no transformer; its configuration is the homework's with one block in place of
    the LSTM, which attends to the 10 steps of a training window.
    """
    return {
        "core": core,
        "encoder": "flatten",
        "decoder": "linear",
        "change_input": False,
        "age_input": False,
        "hidden": 128,
        "layers": 1,
        "sequence_length": 10,
        "context": 0,
        "free_steps": 0,
        "one_step_weight": 4.0,  # of no effect: there are no other steps
        "sampling_rate": 0.0,
        "noise": 0.0,
        "learning_rate": 3e-4,
        "schedule": "constant",
        "warmup": 0.0,
        "weight_decay": 0.0,
        "gradient_clip": 0.0,
        "averaging": 0.0,
        "batch_size": 16,
    }


class WorldModel(nn.Module):
    """A world model: encoder, core and decoder.

    Args:
        config: Architecture.
        size: Pixels on a side of a frame, S: 16 times a power of two.
    """

    def __init__(self, config: WorldModelConfig, size: int) -> None:
        super().__init__()
        self.sees_change = config.change_input
        planes = 2 * CHANNELS if config.change_input else CHANNELS
        self.encoder, seen = encoder(config.encoder, planes, size)
        self.knows_age = config.age_input
        self.core = _core(config, seen + ACTIONS + AGES * self.knows_age)
        self.decoder = _decoder(config, size)

    def forward(
        self,
        frames: Tensor,
        actions: Tensor,
        state: State | None = None,
        age: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Predicts the frame that follows each of the given frames.

        Args:
            frames: Frames, (B, T, 3, S, S).
            actions: Actions, (B, T, 3); action t leads from frame t to frame t + 1.
            state: State before the first frame, as an earlier call returned it; None: nothing was
                seen before.
            age: Number of steps since the last true frame, (B, T): 0 for true frames, k for the
                k-th prediction in a row. None: all frames are true.

        Returns:
            Predicted frames, (B, T, 3, S, S), and the state after the last frame.
        """
        batch, steps = frames.shape[:2]
        last = frames.transpose(0, 1).flatten(0, 1)  # (T B, 3, S, S)
        pictures, before = self._pictures(frames, state)
        seen = self.encoder(pictures).view(steps, batch, -1)
        # The core runs in float32: not every processor supports an LSTM in bfloat16.
        inputs = [seen.to(actions.dtype), actions.transpose(0, 1)]
        if self.knows_age:
            inputs.append(_age_features(age, actions))
        with torch.autocast(frames.device.type, enabled=False):
            known = None if state is None else state[:2]
            outputs, after = self.core(torch.cat(inputs, dim=2), known)
        predicted = self.decoder(outputs.flatten(0, 1), last)
        return predicted.view(steps, batch, *frames.shape[2:]).transpose(0, 1), (*after, *before)

    def _pictures(self, frames: Tensor, state: State | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Returns what the encoder sees, (T B, planes, S, S), and what it needs of the frames at
        the next call."""
        last = frames.transpose(0, 1)  # (T, B, 3, S, S)
        if not self.sees_change:
            return last.flatten(0, 1), ()
        first = last[:1] if state is None else state[2]
        before = torch.cat([first, last[:-1]])
        return torch.cat([last, CONTRAST * (last - before)], dim=2).flatten(0, 1), (last[-1:],)


def _age_features(age: Tensor | None, actions: Tensor) -> Tensor:
    """Returns features of ages, (T, B, AGES): ``log(1 + age) / 5``, about 1 after 150 steps, and
    whether the frame is a true one."""
    if age is None:
        age = actions.new_zeros(actions.shape[:2])
    age = age.transpose(0, 1).to(actions.dtype)
    return torch.stack([torch.log1p(age) / 5, (age == 0).to(actions.dtype)], dim=2)


def _decoder(config: WorldModelConfig, size: int) -> nn.Module:
    """Makes a decoder: (N, H) and the last frames, (N, 3, S, S) -> the next frames."""
    if config.decoder == "linear":
        return LinearDecoder(config.hidden, size)
    if config.decoder == "convolutional":
        return ConvolutionalDecoder(config.hidden, size)
    return WarpDecoder(config.hidden, size)


def _core(config: WorldModelConfig, features: int) -> nn.Module:
    """Makes a core: (T, B, features) and a `State` or None -> (T, B, H) and the state after the
    last step, from which the next call goes on."""
    sizes = features, config.hidden, config.layers
    if config.core == "transformer":
        known = config.window if config.learns_dreams else config.sequence_length
        return Transformer(*sizes, min(config.window, known))
    return LSTM(*sizes) if config.core == "scratch" else SteppingLSTM(*sizes)
