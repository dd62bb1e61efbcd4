"""Batch normalisation over the rows that are nodes."""

import pytest
import torch
from torch import Tensor, nn

from trainables.models.norms import MaskedBatchNorm, normalized

THERE = torch.tensor([True, True, False, True, False, True, True])


def norms() -> tuple[MaskedBatchNorm, nn.BatchNorm1d]:
    """Ours and torch's, of equal weights, in 64 bits."""
    torch.manual_seed(0)
    ours, theirs = MaskedBatchNorm(3).double(), nn.BatchNorm1d(3).double()
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def rows(seed: int, scale: float = 1.0) -> Tensor:
    """Where no node is, numbers that would show."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(7, 3, generator=generator, dtype=torch.float64) * scale + 5
    return torch.where(THERE[:, None], x, 1e3).requires_grad_()


def assert_same_state(ours: nn.Module, theirs: nn.Module) -> None:
    state = theirs.state_dict()
    assert ours.state_dict().keys() == state.keys()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=1e-12, atol=1e-12)


def test_rows_that_are_no_nodes_do_not_count_in_training_nor_in_the_statistics() -> None:
    ours, theirs = norms()
    weights = rows(9).detach()[THERE]
    for seed in range(3):
        x = rows(seed, scale=seed + 1)
        found, expected = ours(x, THERE)[THERE], theirs(x[THERE])
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        parameters = [x, ours.weight, ours.bias]
        gradients = torch.autograd.grad((found * weights).sum(), parameters)
        theirs_too = [x, theirs.weight, theirs.bias]
        for one, other in zip(
            gradients, torch.autograd.grad((expected * weights).sum(), theirs_too), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
        assert_same_state(ours, theirs)
    found = ours.eval()(rows(3), THERE)[THERE]
    torch.testing.assert_close(found, theirs.eval()(rows(3)[THERE]))


@pytest.mark.parametrize("training", [True, False])
def test_where_all_rows_are_nodes_it_is_that_of_torch_to_the_last_bit(training: bool) -> None:
    ours, theirs = (norm.float().train(training) for norm in norms())
    x = rows(0).detach().float()
    assert torch.equal(ours(x, None), theirs(x))
    assert all(torch.equal(v, theirs.state_dict()[n]) for n, v in ours.state_dict().items())


def test_half_precision_keeps_its_kind_and_single_statistics() -> None:
    ours = norms()[0].float()
    assert ours(rows(0).detach().bfloat16(), THERE).dtype == torch.bfloat16
    expected = 0.1 * rows(0).detach().bfloat16()[THERE].float().mean(dim=0)
    torch.testing.assert_close(ours.running_mean, expected)


def test_a_single_node_leaves_numbers() -> None:
    ours = norms()[0]
    alone = torch.zeros(7, dtype=torch.bool)
    alone[3] = True
    torch.testing.assert_close(ours(rows(0), alone)[3], ours.bias)
    assert torch.isfinite(ours.running_var).all()  # pyright: ignore[reportArgumentType]


def test_other_norms_need_not_know_which_rows_are_nodes() -> None:
    x = torch.randn(7, 3)
    layer = nn.LayerNorm(3)
    assert torch.equal(normalized(layer, x, THERE), layer(x))
    assert normalized(nn.Identity(), x, THERE) is x
