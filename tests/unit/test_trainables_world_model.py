"""The parts of the world model: patches, decoders, and what a configuration admits."""

from typing import Any, get_args

import pytest
import torch
from torch import nn
from torch.nn import functional

from datasets.errors import InputError
from trainables.models.frame_decoders import WarpDecoder
from trainables.models.patches import Patches, Unpatches
from trainables.models.world_model import (
    Core,
    Decoder,
    Encoder,
    WorldModel,
    WorldModelConfig,
    homework,
)

SIZES = (32, 64)


def test_patches_are_the_convolution_whose_stride_is_its_kernel() -> None:
    torch.manual_seed(0)
    patches, conv = Patches(3, 5, 4).double(), nn.Conv2d(3, 5, 4, stride=4).double()
    with torch.no_grad():
        # (D, C, K, K) -> (D, K K C): the linear layer has the maps last.
        conv.weight.copy_(patches.linear.weight.view(5, 4, 4, 3).permute(0, 3, 1, 2))
        conv.bias.copy_(patches.linear.bias)  # pyright: ignore[reportOptionalMemberAccess]
    maps = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    found = patches(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, conv(maps), rtol=1e-12, atol=1e-12)


def test_unpatches_are_the_transposed_convolution_whose_stride_is_its_kernel() -> None:
    torch.manual_seed(0)
    unpatches = Unpatches(5, 3, 4).double()
    conv = nn.ConvTranspose2d(5, 3, 4, stride=4, bias=False).double()
    with torch.no_grad():
        unpatches.linear.bias.zero_()
        # (K K D, C) -> (C, D, K, K)
        conv.weight.copy_(unpatches.linear.weight.view(4, 4, 3, 5).permute(3, 2, 0, 1))
    maps = torch.rand(2, 5, 3, 2, dtype=torch.float64)
    found = unpatches(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, conv(maps), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("core", get_args(Core))
@pytest.mark.parametrize("encoder", get_args(Encoder))
@pytest.mark.parametrize("decoder", get_args(Decoder))
def test_a_step_at_a_time_is_all_steps_at_once(
    decoder: Decoder, encoder: Encoder, core: Core, size: int
) -> None:
    torch.manual_seed(0)
    config = WorldModelConfig(
        core=core,
        encoder=encoder,
        decoder=decoder,
        hidden=16,
        layers=2,
        window=2,
        change_input=True,
        age_input=True,
    )
    model = WorldModel(config, size).double()
    frames = torch.rand(2, 4, 3, size, size, dtype=torch.float64)
    actions = torch.rand(2, 4, 3, dtype=torch.float64)
    whole, _ = model(frames, actions)
    assert whole.shape == frames.shape
    state = None
    for step in range(4):
        found, state = model(frames[:, step : step + 1], actions[:, step : step + 1], state)
        torch.testing.assert_close(found, whole[:, step : step + 1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("core", get_args(Core))
@pytest.mark.parametrize("decoder", get_args(Decoder))
def test_a_prediction_knows_the_past_and_the_action_but_not_the_future(
    decoder: Decoder, core: Core
) -> None:
    torch.manual_seed(0)
    model = WorldModel(WorldModelConfig(core=core, decoder=decoder, hidden=16), 32)
    for parameter in model.decoder.parameters():
        nn.init.normal_(parameter, std=0.1)  # a fresh one draws the same whatever it sees
    frames, actions = torch.rand(1, 5, 3, 32, 32), torch.rand(1, 5, 3)
    expected, _ = model(frames, actions)
    for changed, name in ((frames, "frame"), (actions, "action")):
        other = [part.clone() for part in (frames, actions)]
        other[0 if changed is frames else 1][:, 2] += 0.5
        found, _ = model(*other)
        same = [torch.equal(found[:, step], expected[:, step]) for step in range(5)]
        assert same == [True, True, False, False, False], name


def test_both_lstms_begin_with_the_same_weights_and_say_the_same() -> None:
    torch.manual_seed(0)
    expected = WorldModel(WorldModelConfig(core="builtin"), 32)
    torch.manual_seed(0)
    model = WorldModel(WorldModelConfig(core="scratch"), 32)
    frames, actions = torch.rand(1, 5, 3, 32, 32), torch.rand(1, 5, 3)
    torch.testing.assert_close(model(frames, actions)[0], expected(frames, actions)[0])


@pytest.mark.parametrize("core", get_args(Core))
def test_a_fresh_warp_is_nearly_the_last_frame(core: Core) -> None:
    """It starts from copying, which is what it has to beat."""
    torch.manual_seed(0)
    model = WorldModel(WorldModelConfig(core=core), 32)
    frames = torch.rand(2, 3, 3, 32, 32)
    off = (model(frames, torch.rand(2, 3, 3))[0] - frames).square().mean()
    assert off < 0.02 * frames.var()


def test_the_warp_moves_the_picture_by_its_affine_map() -> None:
    """A shift by a quarter of the width, and nothing drawn."""
    decoder = WarpDecoder(4, 32)
    with torch.no_grad():
        for parameter in decoder.draw.parameters():
            parameter.zero_()
        decoder.draw.always[0] = 50.0
        decoder.motion.bias[2] = 0.5
    last = torch.rand(1, 3, 32, 32)
    found = decoder(torch.zeros(1, 4), last)
    torch.testing.assert_close(found[..., :24], last[..., 8:])
    torch.testing.assert_close(found[..., 24:], last[..., 31:].expand(1, 3, 32, 8))


def test_the_warp_mixes_three_pictures_and_adds_what_is_left() -> None:
    decoder = WarpDecoder(4, 32)
    with torch.no_grad():
        for parameter in decoder.draw.parameters():
            parameter.zero_()
        decoder.draw.always[3:6] = 2.0
        decoder.draw.always[6:9] = 0.125
        decoder.motion.bias[2] = 0.5
    last = torch.rand(1, 3, 32, 32)
    moved = functional.pad(last[..., 8:], (0, 8, 0, 0), mode="replicate")
    expected = (moved + last + torch.sigmoid(torch.tensor(2.0))) / 3 + 0.125
    torch.testing.assert_close(decoder(torch.zeros(1, 4), last), expected)


def test_the_warp_sharpens_what_it_moved_by_what_a_local_mean_leaves() -> None:
    decoder = WarpDecoder(4, 32)
    with torch.no_grad():
        for parameter in decoder.draw.parameters():
            parameter.zero_()
        decoder.draw.always[0] = 50.0  # the moved picture alone, which does not move
        decoder.draw.always[9] = 0.5
    last = torch.rand(2, 3, 32, 32)
    mean = functional.avg_pool2d(last, 3, stride=1, padding=1, count_include_pad=False)
    torch.testing.assert_close(decoder(torch.zeros(2, 4), last), 1.5 * last - 0.5 * mean)


@pytest.mark.parametrize("sees", [False, True])
def test_a_change_is_seen_by_the_encoder_alone(sees: bool) -> None:
    """Of a core without memory, the frame before changes the prediction only if it is seen."""
    torch.manual_seed(0)
    config = WorldModelConfig(
        core="transformer", window=1, hidden=16, change_input=sees, decoder="convolutional"
    )
    model = WorldModel(config, 32)
    for parameter in model.decoder.parameters():
        nn.init.normal_(parameter, std=0.1)
    frames, actions = torch.rand(1, 2, 3, 32, 32), torch.rand(1, 2, 3)
    found, _ = model(frames, actions)
    frames[:, 0] += 0.1
    other, _ = model(frames, actions)
    assert torch.equal(found[:, 1], other[:, 1]) != sees


@pytest.mark.parametrize("knows", [False, True])
def test_the_age_of_a_frame_moves_the_prediction_if_it_is_an_input(knows: bool) -> None:
    torch.manual_seed(0)
    model = WorldModel(WorldModelConfig(hidden=16, age_input=knows), 32)
    for parameter in model.decoder.parameters():
        nn.init.normal_(parameter, std=0.1)
    frames, actions = torch.rand(1, 2, 3, 32, 32), torch.rand(1, 2, 3)
    found, _ = model(frames, actions)
    assert torch.equal(model(frames, actions, None, torch.zeros(1, 2))[0], found)
    aged, _ = model(frames, actions, None, torch.tensor([[0.0, 7.0]]))
    assert torch.equal(aged[:, 0], found[:, 0])
    assert torch.equal(aged, found) != knows


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"core": "gru"}, "core is 'gru': expected one of builtin, scratch, transformer"),
        ({"encoder": "deep"}, "encoder is 'deep': expected one of flatten, convolutional"),
        ({"decoder": "deep"}, "decoder is 'deep': expected one of linear, convolutional, warp"),
        ({"weighting": "none"}, "weighting is 'none': expected one of equal, baseline"),
        ({"sampling_schedule": "step"}, "sampling_schedule is 'step': expected one of constant"),
        ({"sampling_rate": 1.5}, "sampling_rate is 1.5: expected 0 to 1"),
        ({"sampling_rate": -0.5}, "sampling_rate is -0.5: expected 0 to 1"),
        ({"noise": -0.1}, "noise is -0.1: expected at least 0"),
        ({"hidden": 0}, "hidden is 0: expected at least 1"),
        ({"layers": 0}, "layers is 0: expected at least 1"),
        ({"window": 0}, "window is 0: expected at least 1"),
        ({"free_steps": -1}, "free_steps is -1: expected at least 0"),
        ({"dreams": -1}, "dreams is -1: expected at least 0"),
        ({"one_step_weight": -1.0}, "one_step_weight is -1.0: expected above 0"),
        ({"sequence_length": 4}, "context is 4: expected less than sequence_length, which is 4"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: expected above 0"),
    ],
)
def test_a_configuration_out_of_range_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WorldModelConfig(**fields)


@pytest.mark.parametrize("core", ["builtin", "scratch"])
def test_the_homework_is_one_lstm_from_pixels_to_pixels(core: Core) -> None:
    """3,072 pixels and 3 actions into 128 units, and a linear layer back."""
    model = WorldModel(WorldModelConfig(**homework(core)), 32)
    lstm = 4 * 128 * (3072 + 3 + 128 + 2)
    assert sum(p.numel() for p in model.parameters()) == lstm + 3072 * 129


def test_the_homework_with_a_transformer_is_one_block_from_pixels_to_pixels() -> None:
    config = WorldModelConfig(**homework("transformer"))
    model = WorldModel(config, 32)
    attention = 4 * 128 * (128 + 1) + 4 * 10
    network = (128 + 1) * 256 + (256 + 1) * 128
    ends, norms = (3072 + 3 + 1) * 128 + 3072 * 129, 3 * 2 * 128
    assert sum(p.numel() for p in model.parameters()) == attention + network + norms + ends


@pytest.mark.parametrize(
    ("window", "free_steps", "dreams", "steps"),
    [(4, 0, 8, 4), (5, 0, 8, 5), (16, 0, 8, 5), (16, 2, 0, 5), (4, 2, 8, 4), (16, 2, 8, 16)],
)
def test_a_transformer_looks_back_no_farther_than_in_training(
    window: int, free_steps: int, dreams: int, steps: int
) -> None:
    """Beyond, it would meet distances that it has never learned; with dreams it learns all."""
    config = WorldModelConfig(
        core="transformer",
        window=window,
        sequence_length=5,
        context=0,
        free_steps=free_steps,
        dreams=dreams,
    )
    _, (keys, *_) = WorldModel(config, 32)(torch.rand(1, 20, 3, 32, 32), torch.rand(1, 20, 3))
    assert keys.shape[3] == steps - 1
