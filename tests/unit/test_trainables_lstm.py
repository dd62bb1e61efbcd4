"""The LSTMs, against torch's own and against the textbook."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from trainables.models.lstm import LSTM, SteppingLSTM

INPUT, HIDDEN, SEQUENCES = 7, 5, 4

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def both(layers: int, dtype: torch.dtype) -> tuple[nn.LSTM, LSTM]:
    """torch's and ours, with the same weights."""
    torch.manual_seed(0)
    torchs = nn.LSTM(INPUT, HIDDEN, layers).to(dtype)
    ours = LSTM(INPUT, HIDDEN, layers).to(dtype)
    ours.load_state_dict(torchs.state_dict())
    return torchs, ours


def data_of(sequences: Tensor | PackedSequence) -> Tensor:
    return sequences.data if isinstance(sequences, PackedSequence) else sequences


def assert_agree(
    torchs: nn.LSTM,
    ours: nn.Module,
    inputs: Tensor | PackedSequence,
    state: tuple[Tensor, Tensor] | None,
) -> None:
    """Outputs, last states, and the gradients of weights, inputs and first states."""
    found = []
    for model in (torchs, ours):
        model.zero_grad()
        data = data_of(inputs).clone().requires_grad_()
        given = inputs._replace(data=data) if isinstance(inputs, PackedSequence) else data
        first = None if state is None else tuple(part.clone().requires_grad_() for part in state)
        outputs, (hidden, cell) = model(given, first)
        weighted = [
            part * torch.arange(1, part.numel() + 1).view_as(part).cos()
            for part in (data_of(outputs), hidden, cell)
        ]
        sum(part.sum() for part in weighted).backward()  # pyright: ignore[reportAttributeAccessIssue]
        found.append(
            [
                *(part.detach() for part in (data_of(outputs), hidden, cell)),
                data.grad,
                *(part.grad for part in first or ()),
                *(parameter.grad for parameter in model.parameters()),
            ]
        )
    tolerance = TOLERANCE[data_of(inputs).dtype]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("steps", [1, 3])
def test_steps_one_by_one_are_those_of_torch(layers: int, steps: int) -> None:
    torchs, _ = both(layers, torch.float64)
    stepping = SteppingLSTM(INPUT, HIDDEN, layers).double()
    stepping.load_state_dict(torchs.state_dict())
    inputs = torch.randn(steps, SEQUENCES, INPUT, dtype=torch.float64)
    hidden, cell = torch.randn(2, layers, SEQUENCES, HIDDEN, dtype=torch.float64)
    assert_agree(torchs, stepping, inputs, (hidden, cell))
    assert_agree(torchs, stepping, inputs, None)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("begun", [False, True])
def test_outputs_and_gradients_are_those_of_torch(
    layers: int, dtype: torch.dtype, begun: bool
) -> None:
    torchs, ours = both(layers, dtype)
    inputs = torch.randn(6, SEQUENCES, INPUT, dtype=dtype)
    state = tuple(torch.randn(layers, SEQUENCES, HIDDEN, dtype=dtype) for _ in range(2))
    assert_agree(torchs, ours, inputs, state if begun else None)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("lengths", [(6, 5, 3, 1), (3, 6, 2, 6), (4, 4, 4, 4)])
def test_packed_sequences_of_any_lengths_give_those_of_torch(
    layers: int, dtype: torch.dtype, begun: bool, lengths: tuple[int, ...]
) -> None:
    torchs, ours = both(layers, dtype)
    packed = pack_sequence(
        [torch.randn(length, INPUT, dtype=dtype) for length in lengths], enforce_sorted=False
    )
    state = tuple(torch.randn(layers, SEQUENCES, HIDDEN, dtype=dtype) for _ in range(2))
    assert_agree(torchs, ours, packed, state if begun else None)  # pyright: ignore[reportArgumentType]


def test_a_step_is_the_textbook_s() -> None:
    """One number in, one out: every gate has a weight of its own, so none can be another's."""
    lstm = LSTM(1, 1).double()
    gates = {
        "i": (0.1, 0.5, -0.2),
        "f": (0.3, -0.4, 0.6),
        "g": (0.7, 0.2, 0.1),
        "o": (-0.5, 0.9, 0.3),
    }
    with torch.no_grad():
        for place, (w, u, b) in enumerate(gates.values()):
            lstm.weight_ih_l0[place], lstm.weight_hh_l0[place] = w, u  # pyright: ignore[reportIndexIssue]
            lstm.bias_ih_l0[place], lstm.bias_hh_l0[place] = b, 0.0  # pyright: ignore[reportIndexIssue]
    x, h, c = (torch.tensor([[[value]]], dtype=torch.float64) for value in (0.8, -0.3, 0.4))
    _, (hidden, cell) = lstm(x, (h, c))
    a = {gate: w * x + u * h + b for gate, (w, u, b) in gates.items()}
    expected = a["f"].sigmoid() * c + a["i"].sigmoid() * a["g"].tanh()
    torch.testing.assert_close(cell, expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(hidden, a["o"].sigmoid() * expected.tanh(), rtol=1e-14, atol=0)


def test_running_on_from_the_state_is_running_through() -> None:
    _, ours = both(2, torch.float64)
    inputs = torch.randn(9, SEQUENCES, INPUT, dtype=torch.float64)
    whole, (hidden, _) = ours(inputs)
    first, state = ours(inputs[:4])
    second, (after, _) = ours(inputs[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(after, hidden, rtol=1e-12, atol=1e-12)


def test_fresh_weights_are_drawn_as_torch_draws_them() -> None:
    torch.manual_seed(1)
    ours = LSTM(INPUT, HIDDEN, 2)
    torch.manual_seed(1)
    torchs = nn.LSTM(INPUT, HIDDEN, 2)
    for (name, one), (same, other) in zip(
        ours.named_parameters(), torchs.named_parameters(), strict=True
    ):
        assert name == same
        assert torch.equal(one, other)
