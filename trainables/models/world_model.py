"""A world model, which predicts the next frame from a frame and an action.

An encoder compresses the frame, a core keeps the memory, and a decoder makes the next frame from
the core's output. The core is an LSTM, or a transformer that attends to the last frames. Fed with
its own predictions, the model continues a drive by itself. It differs from Ha and Schmidhuber 2018
in being one deterministic network, trained end to end on the frames.

Frames are float32 from 0 to 1 in three planes, red, green and blue. Action t leads from frame t to
frame t + 1. Shapes in this module: sequences B, steps T, frames N = B T, hidden H, pixels on a
side S, maps C.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, get_args

import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn
from torch.nn import functional

from datasets.errors import InputError
from datasets.recordings import ACTIONS, CHANNELS
from trainables.config import FitConfig, Schedule, When, at_least, one_of
from trainables.models.lstm import LSTM
from trainables.models.patches import ChannelsFirst, ChannelsLast, Patches, Unpatches
from trainables.models.transformer import Transformer
from trainables.scheduled_sampling import Rise

Core = Literal["builtin", "scratch", "transformer"]
Encoder = Literal["flatten", "convolutional"]
Decoder = Literal["linear", "convolutional", "warp"]
Weighting = Literal["equal", "freeze"]

State = tuple[Tensor, Tensor]
"""What a core remembers: outputs and cells, or keys and values. In both tensors, the first axis is
that of the core's layers and the second that of the sequences; None stands for zeros."""

FINEST, COARSEST = 4, 4
"""Side of a patch of the frame, in pixels, and side of the coarsest feature map, in patches."""

MAPS = 32
"""Number of feature maps of the convolutional layers."""

SEEN_MAPS = 16
"""Number of maps at the coarsest level, the input of the core; more cost time without benefit."""

FARTHEST = 4.0
"""Bound of each number of an affine motion; half of it moves a pixel across the whole frame."""

BLUR = 3
"""Side, in pixels, of the square of the local mean used to sharpen a frame."""

MOVED = 2.0
"""Initial logit of the moved frame in the warp decoder; the other two pictures start at 0."""


@dataclass(frozen=True)
class WorldModelConfig(FitConfig):
    """Hyperparameters of a world model."""

    core: Annotated[Core, CategoricalDistribution(get_args(Core))] = "builtin"
    """Core, which keeps the memory: torch.nn.LSTM (builtin); this project's LSTM, implemented from
    its equations (scratch); or causal attention to the last frames (transformer)."""

    encoder: Annotated[Encoder, CategoricalDistribution(get_args(Encoder))] = "convolutional"
    """Input of the core for a frame: the flattened pixels, or convolutional feature maps."""

    decoder: Annotated[Decoder, CategoricalDistribution(get_args(Decoder))] = "warp"
    """Decoder of the next frame: a linear layer; transposed convolutions; or a warp, which moves
    the last frame and mixes it with a newly drawn one."""

    hidden: Annotated[int, IntDistribution(64, 256, log=True)] = 128
    """Width of the core's output; with a transformer, any width, shared among its 4 heads."""

    layers: Annotated[int, IntDistribution(1, 2)] = 1
    """Number of stacked layers of the LSTM, or blocks of the transformer."""

    window: Annotated[int, IntDistribution(4, 32, log=True), When("core", ("transformer",))] = 16
    """Number of last frames that each block of the transformer attends to; no more than a training
    window has steps, since it would not learn what farther ones mean."""

    sequence_length: Annotated[int, IntDistribution(8, 32, log=True)] = 12
    """Number of steps of a training window that are fed with true frames (with scheduled sampling,
    only some of them are)."""

    context: int = 4
    """Number of steps at the beginning of a training window that warm up the core's state and are
    not scored; less than sequence_length, which includes them."""

    free_steps: Annotated[int, IntDistribution(0, 32)] = 20
    """Number of steps at the end of a training window that are fed with the model's own
    predictions and scored, too: the multi-step loss."""

    weighting: Annotated[Weighting, CategoricalDistribution(get_args(Weighting))] = "freeze"
    """Weighting of the steps in the loss: equal, or freeze, which divides each step's error by
    that of keeping the last true frame for as long, which grows with the number of free steps."""

    sampling_rate: Annotated[float, FloatDistribution(0.0, 1.0)] = 0.0
    """Scheduled sampling (Bengio et al. 2015): probability, at the end of the training, that a
    step is fed with the model's own prediction instead of the true frame."""

    sampling_schedule: Annotated[Rise, CategoricalDistribution(get_args(Rise))] = "linear"
    """Curve along which the probability of scheduled sampling rises during training."""

    noise: Annotated[float, FloatDistribution(0.0, 0.1)] = 0.0
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

    batch_size: Annotated[int, CategoricalDistribution((8, 16, 32))] = 8
    """Number of windows in one optimiser step."""

    epochs: int = 20
    """Number of passes over the train split; the weights after the last one are the result."""

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
        at_least("free_steps", self.free_steps, 0)
        at_least("noise", self.noise, 0)
        at_least("context", self.context, 0)
        if self.context >= self.sequence_length:
            raise InputError(
                f"context is {self.context}: expected less than sequence_length, which is "
                f"{self.sequence_length}, or no step that sees a true frame is scored"
            )
        if not 0 <= self.sampling_rate <= 1:
            raise InputError(f"sampling_rate is {self.sampling_rate}: expected 0 to 1")

    @property
    def steps(self) -> int:
        """Number of steps of a training window, which has one frame more."""
        return self.sequence_length + self.free_steps


def homework(core: Core) -> dict[str, object]:
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
        "hidden": 128,
        "layers": 1,
        "sequence_length": 10,
        "context": 0,
        "free_steps": 0,
        "weighting": "equal",
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
        self.encoder, seen = _encoder(config.encoder, size)
        self.core = _core(config, seen + ACTIONS)
        self.decoder = DECODERS[config.decoder](config.hidden, size)

    def forward(
        self, frames: Tensor, actions: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Predicts the frame that follows each of the given frames.

        Args:
            frames: Frames, (B, T, 3, S, S).
            actions: Actions, (B, T, 3); action t leads from frame t to frame t + 1.
            state: State of the core before the first frame; None: zeros.

        Returns:
            Predicted frames, (B, T, 3, S, S), and the core's state after the last frame.
        """
        batch, steps = frames.shape[:2]
        last = frames.transpose(0, 1).flatten(0, 1)  # (T B, 3, S, S)
        seen = self.encoder(last).view(steps, batch, -1)
        # The core runs in float32: not every processor supports an LSTM in bfloat16.
        seen = torch.cat([seen.to(actions.dtype), actions.transpose(0, 1)], dim=2)
        with torch.autocast(frames.device.type, enabled=False):
            outputs, after = self.core(seen, state)
        predicted = self.decoder(outputs.flatten(0, 1), last)
        return predicted.view(steps, batch, *frames.shape[2:]).transpose(0, 1), after


def _core(config: WorldModelConfig, features: int) -> nn.Module:
    """Makes a core: (T, B, features) and a `State` or None -> (T, B, H) and the state after the
    last step, from which the next call goes on."""
    sizes = features, config.hidden, config.layers
    if config.core == "transformer":
        return Transformer(*sizes, min(config.window, config.steps))
    return LSTM(*sizes) if config.core == "scratch" else nn.LSTM(*sizes)


def _encoder(name: Encoder, size: int) -> tuple[nn.Module, int]:
    """Makes an encoder, (N, 3, S, S) -> (N, features); returns it and the number of features."""
    if name == "flatten":
        return nn.Flatten(), CHANNELS * size**2
    sides = _sides(size)
    widths = (CHANNELS, *(MAPS,) * (len(sides) - 1), SEEN_MAPS)
    layers: list[nn.Module] = [ChannelsLast()]
    for side, (before, after) in zip(sides, pairwise(widths), strict=True):
        layers += [Patches(before, after, side), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten()), SEEN_MAPS * COARSEST**2


def _sides(size: int) -> tuple[int, ...]:
    """Returns the sides of the patches of all layers, from the frame to the coarsest map."""
    halvings = (size // (FINEST * COARSEST)).bit_length() - 1
    return (FINEST, *(2,) * halvings)


class LinearDecoder(nn.Module):
    """A decoder of one linear layer, as in the homework; its pixels are not limited to 0 to 1."""

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        self.draw = nn.Linear(hidden, CHANNELS * size**2)

    def forward(self, hidden: Tensor, last: Tensor) -> Tensor:
        """Computes the next frames.

        Args:
            hidden: Output of the core, (N, H).
            last: Last frames, (N, 3, S, S), used for their shape only.

        Returns:
            (N, 3, S, S).
        """
        return self.draw(hidden).view_as(last)


class ConvolutionalDecoder(nn.Module):
    """A decoder of transposed convolutions and a sigmoid."""

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        self.draw = Drawing(hidden, size, CHANNELS)

    def forward(self, hidden: Tensor, last: Tensor) -> Tensor:
        """Computes the next frames, (N, 3, S, S), from the core's output (N, H); the last frames
        are not used."""
        del last
        return self.draw(hidden).sigmoid()


class WarpDecoder(nn.Module):
    """A decoder that mixes the moved last frame, the unmoved last frame and a newly drawn frame.

    The shares of the three pictures are predicted for each pixel, and a residual is added. The
    camera follows the car, so that the whole ground moves by one affine map (as in the spatial
    transformer of Jaderberg et al. 2015, and, with several maps, in Finn et al. 2016). The car and
    the dashboard do not move, and ground that comes into view has to be drawn. Moving by a
    fraction of a pixel interpolates and so blurs the frame, which is therefore sharpened by
    unsharp masking: the difference from its local mean is added with a predicted factor for each
    pixel.
    """

    still: Tensor
    mean: Tensor

    PLANES = (3, CHANNELS, CHANNELS, 1)
    """Planes predicted for each pixel: logits of the three pictures, colours, residual, factor of
    the sharpening."""

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        self.motion = nn.Linear(hidden, 6)
        nn.init.zeros_(self.motion.weight)
        nn.init.zeros_(self.motion.bias)
        self.draw = Drawing(hidden, size, sum(self.PLANES))
        self.register_buffer("still", torch.eye(2, 3), persistent=False)
        self.register_buffer("mean", _local_mean(size), persistent=False)
        with torch.no_grad():
            self.draw.always[0] = MOVED

    def forward(self, hidden: Tensor, last: Tensor) -> Tensor:
        """Computes the next frames.

        Args:
            hidden: Output of the core, (N, H).
            last: Last frames, (N, 3, S, S).

        Returns:
            (N, 3, S, S), not limited to 0 to 1.
        """
        logits, colours, residual, sharpness = self.draw(hidden).split(self.PLANES, dim=1)
        moved = self._moved(hidden, last)
        moved = moved + sharpness * (moved - self.mean @ moved @ self.mean.T)
        shares = logits.softmax(dim=1)[:, :, None]  # (N, 3 pictures, 1, S, S)
        mixed = shares[:, 0] * moved + shares[:, 1] * last + shares[:, 2] * colours.sigmoid()
        return mixed + residual

    def _moved(self, hidden: Tensor, last: Tensor) -> Tensor:
        # grid_sample crashes the process if a diverged model moves pixels to infinity.
        motion = self.motion(hidden).nan_to_num().clamp(-FARTHEST, FARTHEST)
        affine = self.still + motion.to(self.still.dtype).view(-1, 2, 3)
        # bfloat16 would round the coordinates of pixels to eight bits.
        with torch.autocast(last.device.type, enabled=False):
            grid = functional.affine_grid(affine, list(last.shape), align_corners=False)
            last = last.to(self.still.dtype)
            return functional.grid_sample(last, grid, padding_mode="border", align_corners=False)


def _local_mean(size: int) -> Tensor:
    """Returns the matrix M, (S, S), for which ``M F M^T`` is the local mean of a frame F.

    The mean is over the square of side `BLUR` around each pixel, as far as it lies in the frame.
    On a CPU, these products are several times as fast as pooling.
    """
    place = torch.arange(size)
    near = ((place[:, None] - place).abs() <= BLUR // 2).float()
    return near / near.sum(dim=1, keepdim=True)


class Drawing(nn.Module):
    """Draws planes of pixels from a vector, by transposed convolutions plus a learned constant.

    The constant picture does not depend on the vector, so that, for example, the place of the
    dashboard need not be learned by the convolutions.

    Args:
        hidden: Width of the vector, H.
        size: Pixels on a side of a plane, S.
        planes: Number of planes, P.
    """

    def __init__(self, hidden: int, size: int, planes: int) -> None:
        super().__init__()
        sides = _sides(size)[::-1]
        widths = (2 * MAPS, *(MAPS,) * (len(sides) - 1), planes)
        layers: list[nn.Module] = [
            nn.Linear(hidden, widths[0] * COARSEST**2),
            nn.Unflatten(1, (COARSEST, COARSEST, widths[0])),
        ]
        for side, (before, after) in zip(sides, pairwise(widths), strict=True):
            layers += [nn.ReLU(), Unpatches(before, after, side)]
        for parameter in layers[-1].parameters():
            nn.init.zeros_(parameter)  # at first, only the constant picture is drawn
        self.layers = nn.Sequential(*layers, ChannelsFirst())
        self.always = nn.Parameter(torch.zeros(planes, size, size))

    def forward(self, hidden: Tensor) -> Tensor:
        """Draws the planes of each vector, (N, H) -> (N, P, S, S), of unbounded values."""
        return self.layers(hidden) + self.always


DECODERS: dict[Decoder, Callable[[int, int], nn.Module]] = {
    "linear": LinearDecoder,
    "convolutional": ConvolutionalDecoder,
    "warp": WarpDecoder,
}
