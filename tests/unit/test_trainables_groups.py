"""Sums, means and softmaxes over groups are PyG's, to the last bit; their gradients too."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch_geometric import utils
from torch_geometric.nn import global_add_pool, global_mean_pool

from trainables.models import groups

GROUP = torch.tensor([4, 0, 0, 1, 4, 1, 3, 0, 0])
"""Of nine rows, in five groups, of which one is empty."""

PAIRS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "sums": (groups.sums, global_add_pool),
    "means": (groups.means, global_mean_pool),
    "softmax": (groups.softmax, lambda x, group, n: utils.softmax(x, group, num_nodes=n)),
}


@pytest.mark.parametrize(
    ("name", "further"), [("sums", (3,)), ("means", (3,)), ("softmax", (3,)), ("softmax", (2, 4))]
)
def test_they_are_those_of_pyg(name: str, further: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(GROUP), *further, generator=generator) * 30
    made = []
    for function in PAIRS[name]:
        own = x.clone().requires_grad_()
        out = function(own, GROUP, 5)
        (out * torch.arange(out.numel()).view_as(out)).sum().backward()
        made.append((out.detach(), own.grad))
    (ours, our_gradient), (theirs, their_gradient) = made
    assert our_gradient is not None
    assert torch.equal(ours, theirs)
    assert torch.equal(our_gradient, their_gradient)
