"""The transformer with a sliding window: one step at a time, within its window, by its formula."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from trainables.models.transformer import HEADS, Block, Transformer, band, fading

INPUT, HIDDEN, SEQUENCES, STEPS = 7, 12, 3, 11

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}

SPLITS = ([1] * STEPS, [4, 7], [1, 9, 1], [2, 2, 3, 4], [10, 1])
"""Numbers of steps of successive calls."""

SIZES = [(1, 4), (2, 4), (3, 2), (1, 1), (2, 30)]
"""Blocks and windows; the last window is longer than the sequences."""


def made(
    layers: int = 1, window: int = 4, hidden: int = HIDDEN, dtype: torch.dtype = torch.float64
) -> Transformer:
    """A transformer whose every number matters; a fresh one's far distances hardly do."""
    torch.manual_seed(0)
    model = Transformer(INPUT, hidden, layers, window).to(dtype)
    for name, parameter in model.named_parameters():
        if name.endswith("distance"):
            torch.nn.init.normal_(parameter)
    return model


def inputs_of(steps: int = STEPS, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(steps, SEQUENCES, INPUT, dtype=dtype)


def close(found: Tensor, expected: Tensor) -> None:
    tolerance = TOLERANCE[expected.dtype]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("layers", "window"), SIZES)
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_any_split_of_a_sequence_gives_its_outputs_state_and_gradients(
    split: list[int], layers: int, window: int, dtype: torch.dtype
) -> None:
    model, inputs = made(layers, window, dtype=dtype), inputs_of(dtype=dtype).requires_grad_()
    whole, last = model(inputs)
    (expected,) = torch.autograd.grad(whole.cos().sum(), inputs)
    state, parts = None, []
    for part in inputs.split(split):
        found, state = model(part, state)
        parts.append(found)
    assert state is not None
    close(torch.cat(parts), whole)
    for mine, its in zip(state, last, strict=True):
        assert mine.shape == (layers, SEQUENCES, HEADS, window - 1, HIDDEN // HEADS)
        close(mine, its)
    (gradient,) = torch.autograd.grad(torch.cat(parts).cos().sum(), inputs)
    close(gradient, expected)


@pytest.mark.parametrize(("layers", "window"), SIZES)
def test_an_output_depends_on_the_steps_of_its_window_and_on_no_others(
    layers: int, window: int
) -> None:
    """A block sees K - 1 steps back; what it sees of them was seen by the blocks below."""
    model, inputs = made(layers, window), inputs_of().requires_grad_()
    outputs, _ = model(inputs)
    for step in range(STEPS):
        (gradient,) = torch.autograd.grad(outputs[step].cos().sum(), inputs, retain_graph=True)
        seen = gradient.abs().sum(dim=(1, 2)).nonzero().flatten().tolist()
        assert seen == [*range(max(0, step - layers * (window - 1)), step + 1)]


def test_what_lies_outside_of_the_window_changes_no_bit_of_an_output() -> None:
    model, inputs = made(layers=1, window=4), inputs_of()
    expected, _ = model(inputs)
    for step in range(3, STEPS):
        other = torch.full_like(inputs, 1e3)
        other[step - 3 : step + 1] = inputs[step - 3 : step + 1]
        assert torch.equal(model(other)[0][step], expected[step])


def test_the_same_window_gives_the_same_output_however_long_the_sequence() -> None:
    """Positions are relative to the present: a dream may be as long as one likes."""
    model, last = made(layers=1, window=4, dtype=torch.float32), inputs_of(4, torch.float32)
    found = [
        model(torch.cat([inputs_of(before, torch.float32), last]))[0][-1] for before in (0, 3, 400)
    ]
    for one, other in pairwise(found):
        close(one, other)


def test_before_the_first_step_keys_and_values_are_zeros() -> None:
    model, inputs = made(layers=2), inputs_of()
    _, (keys, values) = model(inputs)
    begun, _ = model(inputs, (torch.zeros_like(keys), torch.zeros_like(values)))
    assert torch.equal(begun, model(inputs)[0])
    assert not torch.equal(begun, model(inputs, (keys, values))[0])


def test_a_block_is_its_formula() -> None:
    """Attention written out for each sequence, head and step."""
    window, features = 3, HIDDEN // HEADS
    block = made(window=window).blocks[0]
    assert isinstance(block, Block)
    x = torch.randn(SEQUENCES, STEPS, HIDDEN, dtype=torch.float64)
    past = torch.randn(2, SEQUENCES, HEADS, window - 1, features, dtype=torch.float64)
    found, *_ = block(x, *past)

    normal = functional.layer_norm(x, (HIDDEN,), block.norm_attention.weight)
    parts = functional.linear(normal, block.enter.weight, block.enter.bias).split(HIDDEN, dim=2)
    heard = torch.zeros_like(x)
    for sequence in range(SEQUENCES):
        for head in range(HEADS):
            own = slice(head * features, (head + 1) * features)
            query, key, value = (part[sequence, :, own] for part in parts)
            keys = torch.cat([past[0, sequence, head], key])
            values = torch.cat([past[1, sequence, head], value])
            for step in range(STEPS):
                seen = slice(step, step + window)  # the past comes first
                scores = keys[seen] @ query[step] / math.sqrt(features)
                shares = (scores + block.distance[head].flip(0)).softmax(dim=0)
                heard[sequence, step, own] = shares @ values[seen]
    x = x + functional.linear(heard, block.leave.weight, block.leave.bias)
    normal = functional.layer_norm(x, (HIDDEN,), block.norm_network.weight)
    close(found, x + block.network(normal))


def test_the_band_holds_the_number_of_each_distance() -> None:
    off = -math.inf
    assert band(torch.tensor([[0.0, 1.0, 2.0]]), 3).tolist() == [
        [
            [2.0, 1.0, 0.0, off, off],
            [off, 2.0, 1.0, 0.0, off],
            [off, off, 2.0, 1.0, 0.0],
        ]
    ]


def test_fresh_heads_attend_from_the_present_alone_to_all_of_the_window() -> None:
    shares = fading(16).softmax(dim=1)  # of steps that look alike
    within = [int((each.cumsum(dim=0) < 0.9).sum()) + 1 for each in shares]
    assert within == [1, 3, 9, 14]


@pytest.mark.parametrize("lengths", [(6, 5, 3, 1), (3, 6, 2, 6), (4, 4, 4, 4)])
@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("begun", [False, True])
def test_packed_sequences_give_what_each_gives_alone(
    lengths: tuple[int, ...], window: int, begun: bool
) -> None:
    model = made(layers=2, window=window)
    sequences = [torch.randn(length, INPUT, dtype=torch.float64) for length in lengths]
    shape = (2, len(lengths), HEADS, window - 1, HIDDEN // HEADS)
    keys, values = torch.randn(2, *shape, dtype=torch.float64)
    state = (keys, values) if begun else None
    outputs, after = model(pack_sequence(sequences, enforce_sorted=False), state)
    for place, found in enumerate(unpack_sequence(outputs)):
        one = slice(place, place + 1)
        before = (keys[:, one], values[:, one]) if begun else None
        alone, last = model(sequences[place][:, None], before)
        close(found, alone[:, 0])
        for mine, its in zip(after, last, strict=True):
            close(mine[:, one], its)


@pytest.mark.parametrize("hidden", [1, 64, 77, 256])
def test_any_width_is_that_of_the_outputs(hidden: int) -> None:
    outputs, (keys, _) = made(hidden=hidden)(inputs_of())
    assert outputs.shape == (STEPS, SEQUENCES, hidden)
    assert keys.shape[-1] == math.ceil(hidden / HEADS)
