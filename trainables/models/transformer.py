"""A transformer whose attention slides over the last K steps, usable in place of an LSTM.

Each block adds causal self-attention (Vaswani et al. 2017) and then a feed-forward network, both
behind a layer normalisation (pre-norm, Xiong et al. 2020); a last normalisation follows. A step
attends to itself and to the K - 1 steps before it. Their keys and values are the state, so that
one more step costs one step of attention, however many came before. Before the first step, keys
and values are zeros. With L blocks an output depends on the last L (K - 1) + 1 inputs.

Each head learns one number for each distance of 0 to K - 1 steps, which is added to the score of
a step at that distance (the relative position bias of Raffel et al. 2020, without buckets). In so
short a window, each distance can have its own, and stored keys need no position, so that they
remain valid as the window slides on. Fresh numbers fall with the distance, faster in some heads
than in others (Press et al. 2022).

Shapes in this module: steps T, sequences B, input I, hidden H, window K, blocks L, heads N,
features of a head D.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

HEADS = 4
"""Number of attention heads of each block, N."""

EXPANSION = 2
"""Width of the feed-forward network's inner layer, in units of H."""

SCALE = 0.3
"""Scale of a fresh transformer's outputs: about that of an LSTM's, with which it shares decoders
and learning rates."""

State = tuple[Tensor, Tensor]
"""Keys and values of the last K - 1 steps in all blocks, each (L, B, N, K - 1, D)."""


class Transformer(nn.Module):
    """A causal transformer with the inputs and outputs of `torch.nn.LSTM`.

    Args:
        input_size: Number of input features, I.
        hidden_size: Width of the output and of the residual stream, H. It need not be a multiple
            of the number of heads: D is H / N, rounded up.
        num_layers: Number of blocks, L.
        window: Number of steps that a step attends to, itself included, K.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, window: int = 16
    ) -> None:
        super().__init__()
        self.encode = nn.Linear(input_size, hidden_size)
        self.blocks = nn.ModuleList(Block(hidden_size, window) for _ in range(num_layers))
        self.norm = nn.LayerNorm(hidden_size)
        nn.init.constant_(self.norm.weight, SCALE)
        self.past = (HEADS, window - 1, head_features(hidden_size))

    def forward(
        self, inputs: Tensor | PackedSequence, state: State | None = None
    ) -> tuple[Tensor | PackedSequence, State]:
        """Runs over sequences.

        Args:
            inputs: Inputs, (T, B, I), or a `PackedSequence` of sequences of different lengths.
            state: State before the first step, two tensors (L, B, N, K - 1, D); None: zeros.

        Returns:
            Outputs after every step, (T, B, H) or packed like the inputs, and the state after the
            last step of each sequence.
        """
        if isinstance(inputs, PackedSequence):
            return self._packed(inputs, state)
        outputs, keys, values = self._blocks(inputs, state)
        steps = len(inputs)
        return outputs, (keys[..., steps:, :], values[..., steps:, :])

    def _packed(self, inputs: PackedSequence, state: State | None) -> tuple[PackedSequence, State]:
        """Runs over packed sequences; what pads the shorter ones comes after their last step."""
        padded, lengths = pad_packed_sequence(inputs)
        outputs, keys, values = self._blocks(padded, state)
        last = (lengths[:, None] + torch.arange(self.past[1])).to(outputs.device)  # (B, K - 1)
        keys, values = (
            part.take_along_dim(last[None, :, None, :, None], dim=3) for part in (keys, values)
        )
        if (order := inputs.sorted_indices) is not None:
            outputs, lengths = outputs[:, order], lengths[order.cpu()]
        return inputs._replace(data=pack_padded_sequence(outputs, lengths).data), (keys, values)

    def _blocks(self, inputs: Tensor, state: State | None) -> tuple[Tensor, Tensor, Tensor]:
        """Runs all blocks over sequences of equal length, (T, B, I).

        Returns:
            Outputs, (T, B, H), and the keys and the values of the state and of all steps,
            (L, B, N, K - 1 + T, D) each.
        """
        x = self.encode(inputs.transpose(0, 1))  # (B, T, H)
        if state is None:
            zeros = x.new_zeros(len(self.blocks), len(x), *self.past)
            state = (zeros, zeros)
        found = []
        for block, *past in zip(self.blocks, *state, strict=True):
            x, *known = block(x, *past)
            found.append(known)
        keys, values = zip(*found, strict=True)
        return self.norm(x).transpose(0, 1), torch.stack(keys), torch.stack(values)


class Block(nn.Module):
    """A pre-norm block: attention within the window, then a feed-forward network for each step.

    Args:
        width: Width of the residual stream, H.
        window: Number of steps that a step attends to, itself included, K.
    """

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        inner = HEADS * head_features(width)
        self.norm_attention = nn.LayerNorm(width)
        self.enter = nn.Linear(width, 3 * inner)  # queries, keys, values
        self.leave = nn.Linear(inner, width)
        self.distance = nn.Parameter(fading(window))
        self.norm_network = nn.LayerNorm(width)
        self.network = nn.Sequential(
            nn.Linear(width, EXPANSION * width), nn.GELU(), nn.Linear(EXPANSION * width, width)
        )

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Runs over sequences.

        Args:
            x: Residual stream, (B, T, H).
            keys: Keys of the K - 1 steps before, (B, N, K - 1, D).
            values: Values of these steps, shaped alike.

        Returns:
            The residual stream, and keys and values with those of the T steps appended.
        """
        mixed = self.enter(self.norm_attention(x)).unflatten(2, (3, HEADS, -1))
        query, key, value = mixed.permute(2, 0, 3, 1, 4)  # each (B, N, T, D)
        keys, values = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
        found = functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=band(self.distance, x.shape[1])
        )
        x = x + self.leave(found.transpose(1, 2).flatten(2))
        return x + self.network(self.norm_network(x)), keys, values


def fading(window: int) -> Tensor:
    """Returns fresh numbers for each distance, (N, K): -4, -1, -1/4 and -1/16 for each step back,
    by which one head at first attends to the present and another to all of the window."""
    slopes = -(4.0 ** (1 - torch.arange(HEADS)))
    return torch.outer(slopes, torch.arange(window, dtype=slopes.dtype))


def band(distance: Tensor, steps: int) -> Tensor:
    """Returns what is added to the scores of each of T steps for the K - 1 + T steps up to the
    last one, (N, T, K - 1 + T): minus infinity outside the window.

    Args:
        distance: Number for each distance back from a step, (N, K).
        steps: Number of steps that attend, T.
    """
    # A row is K numbers and T infinities long; read in rows shorter by one, each is shifted by
    # one more than the row above.
    row = functional.pad(distance.flip(1), (0, steps), value=-math.inf)
    heads, length = row.shape
    rows = row[:, None].expand(heads, steps, length).flatten(1)
    return rows[:, : steps * (length - 1)].unflatten(1, (steps, length - 1))


def head_features(width: int) -> int:
    """Returns the number of features of a head, D, of a block of a given width."""
    return math.ceil(width / HEADS)
