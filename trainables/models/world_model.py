"""A recurrent world model: from a frame and an action to the next frame.

An encoder looks at the frame, an LSTM remembers, a decoder makes the next frame of what the LSTM
says. Fed with its own predictions it dreams the drive (Ha and Schmidhuber 2018, from whom this
one departs: one deterministic network, trained as a whole on the frames themselves).

Frames are float32 from 0 to 1 in three planes, red, green and blue. Action t leads from frame t to
frame t + 1. Shapes below: sequences B, steps T, frames N = B T, hidden H, pixels on a side S, maps
C.
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
from trainables.config import FitConfig, Schedule, at_least, one_of
from trainables.models.lstm import LSTM, State
from trainables.models.patches import ChannelsFirst, ChannelsLast, Patches, Unpatches
from trainables.scheduled_sampling import Rise

Core = Literal["builtin", "scratch"]
Encoder = Literal["flatten", "convolutional"]
Decoder = Literal["linear", "convolutional", "warp"]
Weighting = Literal["equal", "freeze"]

FINEST, COARSEST = 4, 4
"""Pixels on a side of a patch of the frame, and patches on a side of the coarsest map."""

MAPS = 32
"""Feature maps of the convolutional layers."""

SEEN_MAPS = 16
"""Of the coarsest ones, which the LSTM sees: more cost time and show it nothing more."""

FARTHEST = 4.0
"""Bound of each number of a motion; half of it moves a pixel across the whole frame."""

BLUR = 3
"""Pixels on a side of the square over which a frame is averaged to sharpen it."""

MOVED = 2.0
"""By how much a fresh warping decoder prefers the moved frame to its two other pictures, as a
logit."""


@dataclass(frozen=True)
class WorldModelConfig(FitConfig):
    """Hyperparameters of a recurrent world model."""

    core: Annotated[Core, CategoricalDistribution(get_args(Core))] = "builtin"
    """The recurrent core: torch.nn.LSTM, or the LSTM of this project, written from its
    equations."""

    encoder: Annotated[Encoder, CategoricalDistribution(get_args(Encoder))] = "convolutional"
    """What the LSTM sees of a frame: its pixels in a row, or convolutional feature maps."""

    decoder: Annotated[Decoder, CategoricalDistribution(get_args(Decoder))] = "warp"
    """How the next frame is made: by a linear layer; by transposed convolutions; or by moving the
    last frame and mixing in a drawing."""

    hidden: Annotated[int, IntDistribution(64, 256, log=True)] = 128
    """Width of the LSTM."""

    layers: Annotated[int, IntDistribution(1, 2)] = 1
    """LSTM layers, one above the other."""

    sequence_length: Annotated[int, IntDistribution(8, 32, log=True)] = 12
    """Steps of a training window that see the true frames, or, by scheduled sampling, some of
    them."""

    context: int = 4
    """Of these, the first steps, which warm the state up and are not scored."""

    free_steps: Annotated[int, IntDistribution(0, 32)] = 20
    """Steps after them that run on the model's own predictions and are scored too: the multi-step
    loss."""

    weighting: Annotated[Weighting, CategoricalDistribution(get_args(Weighting))] = "freeze"
    """Of the steps in the loss: all equal, or each divided by the error of keeping the last true
    frame for as long, which grows with the number of free steps."""

    sampling_rate: Annotated[float, FloatDistribution(0.0, 1.0)] = 0.0
    """Scheduled sampling (Bengio et al. 2015): probability, at last, that a step sees the model's
    own prediction in place of the true frame."""

    sampling_schedule: Annotated[Rise, CategoricalDistribution(get_args(Rise))] = "linear"
    """How that probability rises over the training."""

    noise: Annotated[float, FloatDistribution(0.0, 0.1)] = 0.0
    """Standard deviation of the noise added to the true frames that the model sees in training."""

    learning_rate: Annotated[float, FloatDistribution(3e-4, 5e-3, log=True)] = 2e-3
    """Peak step size of AdamW."""

    schedule: Schedule = "cosine"
    """Learning-rate schedule after the warm-up: constant, or half a cosine down to 0."""

    warmup: float = 0.05
    """Share of all steps over which the learning rate first rises linearly to its peak."""

    weight_decay: float = 0.0
    """Decoupled weight decay of AdamW (Loshchilov and Hutter 2019)."""

    batch_size: Annotated[int, CategoricalDistribution((8, 16, 32))] = 8
    """Windows in one optimiser step."""

    epochs: int = 20
    """Passes over the train split; the last one's weights are the result."""

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
        for name in ("hidden", "layers", "sequence_length"):
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
        """Of a training window; it has one frame more."""
        return self.sequence_length + self.free_steps


def homework(core: Core) -> dict[str, object]:
    """The published homework's configuration with either core, as fields of `WorldModelConfig`.

    Pixels in a row and the action into an LSTM of width 128, a linear layer to the pixels, windows
    of 10, batches of 16, Adam at 3e-4. It trains as many epochs as any other trial; the homework's
    own number is 50. It differs from the homework in two things: the optimiser takes one step a
    window, through which gradients flow back, where the homework takes one after each time step
    and cuts them there (as `benchmarks/driving_step.py` does); and windows of 10 steps begin
    anywhere, where the homework cuts episodes into windows of 10 frames. Source: public solution
    repository liblaf/84100343-Deep-Learning, hw2.
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
    """Encoder, LSTM and decoder.

    Args:
        config: Architecture.
        size: S, 16 times a power of two.
    """

    def __init__(self, config: WorldModelConfig, size: int) -> None:
        super().__init__()
        self.encoder, seen = _encoder(config.encoder, size)
        core = LSTM if config.core == "scratch" else nn.LSTM
        self.core = core(seen + ACTIONS, config.hidden, config.layers)
        self.decoder = DECODERS[config.decoder](config.hidden, size)

    def forward(
        self, frames: Tensor, actions: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Predicts the frame after each of some.

        Args:
            frames: (B, T, 3, S, S).
            actions: (B, T, 3), each the one that follows its frame.
            state: Of the LSTM before the first of them; None: nothing was seen before.

        Returns:
            (B, T, 3, S, S), and the state after the last one.
        """
        batch, steps = frames.shape[:2]
        last = frames.transpose(0, 1).flatten(0, 1)  # (T B, 3, S, S)
        seen = self.encoder(last).view(steps, batch, -1)
        # In float32: not every processor has an LSTM in bfloat16.
        seen = torch.cat([seen.to(actions.dtype), actions.transpose(0, 1)], dim=2)
        with torch.autocast(frames.device.type, enabled=False):
            outputs, after = self.core(seen, state)
        predicted = self.decoder(outputs.flatten(0, 1), last)
        return predicted.view(steps, batch, *frames.shape[2:]).transpose(0, 1), after


def _encoder(name: Encoder, size: int) -> tuple[nn.Module, int]:
    """An encoder, (N, 3, S, S) -> (N, features), and the number of features."""
    if name == "flatten":
        return nn.Flatten(), CHANNELS * size**2
    sides = _sides(size)
    widths = (CHANNELS, *(MAPS,) * (len(sides) - 1), SEEN_MAPS)
    layers: list[nn.Module] = [ChannelsLast()]
    for side, (before, after) in zip(sides, pairwise(widths), strict=True):
        layers += [Patches(before, after, side), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten()), SEEN_MAPS * COARSEST**2


def _sides(size: int) -> tuple[int, ...]:
    """Sides of the patches, from the frame down to the coarsest map."""
    halvings = (size // (FINEST * COARSEST)).bit_length() - 1
    return (FINEST, *(2,) * halvings)


class LinearDecoder(nn.Module):
    """One linear layer to the pixels, as in the homework: nothing keeps them within 0 to 1."""

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        self.draw = nn.Linear(hidden, CHANNELS * size**2)

    def forward(self, hidden: Tensor, last: Tensor) -> Tensor:
        """(N, H) and the last frames, (N, 3, S, S) -> the next frames."""
        return self.draw(hidden).view_as(last)


class ConvolutionalDecoder(nn.Module):
    """Transposed convolutions to the pixels."""

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        self.draw = Drawing(hidden, size, CHANNELS)

    def forward(self, hidden: Tensor, last: Tensor) -> Tensor:
        """As `LinearDecoder`."""
        del last
        return self.draw(hidden).sigmoid()


class WarpDecoder(nn.Module):
    """Mixes three pictures, pixel by pixel: the last frame moved, the last frame as it is, and a
    drawing; and adds a residual.

    The camera drives with the car, so that all of the ground moves as one, by an affine map (as
    in the spatial transformer of Jaderberg et al. 2015, and, with several maps, in Finn et al.
    2016); car and dashboard stay where they are; and what comes into view has to be drawn. What
    moves by a part of a pixel is interpolated and so blurred: it is sharpened by unsharp masking,
    which adds a share of what its local mean leaves, drawn for each pixel.
    """

    still: Tensor
    mean: Tensor

    PLANES = (3, CHANNELS, CHANNELS, 1)
    """Of the drawing: a logit for each of the three pictures, colours, residual, sharpness."""

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
        """As `LinearDecoder`."""
        logits, colours, residual, sharpness = self.draw(hidden).split(self.PLANES, dim=1)
        moved = self._moved(hidden, last)
        moved = moved + sharpness * (moved - self.mean @ moved @ self.mean.T)
        shares = logits.softmax(dim=1)[:, :, None]  # (N, 3 pictures, 1, S, S)
        mixed = shares[:, 0] * moved + shares[:, 1] * last + shares[:, 2] * colours.sigmoid()
        return mixed + residual

    def _moved(self, hidden: Tensor, last: Tensor) -> Tensor:
        # grid_sample takes the process down where a model that diverged moves pixels to infinity.
        motion = self.motion(hidden).nan_to_num().clamp(-FARTHEST, FARTHEST)
        affine = self.still + motion.to(self.still.dtype).view(-1, 2, 3)
        # In bfloat16 the places of pixels would be rounded to eight bits.
        with torch.autocast(last.device.type, enabled=False):
            grid = functional.affine_grid(affine, list(last.shape), align_corners=False)
            last = last.to(self.still.dtype)
            return functional.grid_sample(last, grid, padding_mode="border", align_corners=False)


def _local_mean(size: int) -> Tensor:
    """(S, S): ``M`` for which ``M F M^T`` is F averaged over the square around each pixel, as far
    as it lies in the frame. Several times as fast on a CPU as pooling."""
    place = torch.arange(size)
    near = ((place[:, None] - place).abs() <= BLUR // 2).float()
    return near / near.sum(dim=1, keepdim=True)


class Drawing(nn.Module):
    """Planes of pixels from a vector: transposed convolutions, plus a picture of its own.

    The picture is what is drawn whatever the vector says: where the dashboard is, for one, need
    not be learned through the convolutions.

    Args:
        hidden: H.
        size: S.
        planes: P.
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
            nn.init.zeros_(parameter)  # a fresh drawing is the picture alone
        self.layers = nn.Sequential(*layers, ChannelsFirst())
        self.always = nn.Parameter(torch.zeros(planes, size, size))

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, H) -> (N, P, S, S), any numbers."""
        return self.layers(hidden) + self.always


DECODERS: dict[Decoder, Callable[[int, int], nn.Module]] = {
    "linear": LinearDecoder,
    "convolutional": ConvolutionalDecoder,
    "warp": WarpDecoder,
}
