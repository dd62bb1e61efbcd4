"""A long short-term memory (LSTM) implemented from its equations.

It follows Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins
2000, as `torch.nn.LSTM` does. For input x, output h and cell c:

    i, f, o = sigmoid(W_i x + U_i h + b_i), ...     g = tanh(W_g x + U_g h + b_g)
    c' = f c + i g                                  h' = o tanh(c')

The products W x do not depend on h, so that one matrix product computes them for all steps.

Shapes in this module: steps T, sequences B, input I, hidden H.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

State = tuple[Tensor, Tensor]
"""Outputs and cells of all layers after a step, each (layers, B, H)."""


class SteppingLSTM(nn.LSTM):
    """A `torch.nn.LSTM` that computes single steps by `torch.lstm_cell`.

    On a CPU, `torch.nn.LSTM` arranges its weights anew at each call, which takes longer than a
    step of few sequences itself.
    """

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, inputs: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Runs over sequences, (T, B, I), as `LSTM` does."""
        if state is None or len(inputs) > 1:
            return super().forward(inputs, state)
        outputs, after = inputs[0], []
        for layer, before in enumerate(zip(*state, strict=True)):
            outputs, cell = torch.lstm_cell(outputs, before, *self.all_weights[layer])
            after.append((outputs, cell))
        hidden, cells = (torch.stack(each) for each in zip(*after, strict=True))
        return outputs[None], (hidden, cells)


class LSTM(nn.Module):
    """An LSTM with the inputs, outputs and parameter names of `torch.nn.LSTM`.

    Args:
        input_size: Number of input features, I.
        hidden_size: Width of the output and the cell, H.
        num_layers: Number of stacked layers; each takes the outputs of the layer below.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        bound = 1 / math.sqrt(hidden_size)
        for layer in range(num_layers):
            wide = hidden_size if layer else input_size
            for name, shape in (
                ("weight_ih", (4 * hidden_size, wide)),  # the gates i, f, g, o, in this order
                ("weight_hh", (4 * hidden_size, hidden_size)),
                ("bias_ih", (4 * hidden_size,)),
                ("bias_hh", (4 * hidden_size,)),
            ):
                values = torch.empty(shape).uniform_(-bound, bound)
                self.register_parameter(f"{name}_l{layer}", nn.Parameter(values))

    def forward(
        self, inputs: Tensor | PackedSequence, state: State | None = None
    ) -> tuple[Tensor | PackedSequence, State]:
        """Runs over sequences.

        Args:
            inputs: Inputs, (T, B, I), or a `PackedSequence` of sequences of different lengths.
            state: State before the first step, two tensors (layers, B, H); None: zeros.

        Returns:
            The last layer's outputs after every step, (T, B, H) or packed like the inputs, and the
            state after the last step of each sequence.
        """
        if not isinstance(inputs, PackedSequence):
            steps, sequences, _ = inputs.shape
            outputs, state = self._layers(inputs.flatten(0, 1), [sequences] * steps, state)
            return outputs.view(steps, sequences, -1), state
        if state is not None and inputs.sorted_indices is not None:
            state = (state[0][:, inputs.sorted_indices], state[1][:, inputs.sorted_indices])
        outputs, state = self._layers(inputs.data, inputs.batch_sizes.tolist(), state)
        if inputs.unsorted_indices is not None:
            state = (state[0][:, inputs.unsorted_indices], state[1][:, inputs.unsorted_indices])
        return inputs._replace(data=outputs), state

    def _layers(
        self, inputs: Tensor, sizes: Sequence[int], state: State | None
    ) -> tuple[Tensor, State]:
        """Runs all layers over concatenated steps.

        Args:
            inputs: Inputs of all steps, one step after the other, (sum of sizes, I).
            sizes: Number of sequences in each step, not increasing.
            state: State before the first step; None: zeros.

        Returns:
            The last layer's outputs, (sum of sizes, H), and the last state of each sequence.
        """
        if state is None:
            zeros = inputs.new_zeros(self.num_layers, sizes[0], self.hidden_size)
            state = (zeros, zeros)
        last = []
        for layer in range(self.num_layers):
            outputs, *final = self._layer(layer, inputs, sizes, state[0][layer], state[1][layer])
            inputs = outputs
            last.append(final)
        hidden, cell = zip(*last, strict=True)
        return inputs, (torch.stack(hidden), torch.stack(cell))

    def _layer(
        self, layer: int, inputs: Tensor, sizes: Sequence[int], hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        weight_ih, weight_hh, bias_ih, bias_hh = self._weights(layer)
        from_inputs = functional.linear(inputs, weight_ih, bias_ih + bias_hh).split(list(sizes))
        outputs, ended = [], []
        for gates, size in zip(from_inputs, sizes, strict=True):
            if size < len(hidden):  # shorter sequences, which are the last rows, have ended
                ended.append((hidden[size:], cell[size:]))
                hidden, cell = hidden[:size], cell[:size]
            gates = torch.addmm(gates, hidden, weight_hh.t())
            enter, forget, candidate, leave = gates.chunk(4, dim=1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            outputs.append(hidden)
        ended.append((hidden, cell))
        hidden, cell = (torch.cat(parts) for parts in zip(*reversed(ended), strict=True))
        return torch.cat(outputs), hidden, cell

    def _weights(self, layer: int) -> Iterator[Tensor]:
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            yield getattr(self, f"{name}_l{layer}")
