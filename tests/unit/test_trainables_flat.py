"""The parameters of a model as one vector."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from trainables.flat import FlatParameters


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))


def test_parameters_keep_their_values_and_become_views(model):
    before = deepcopy(model)
    flat = FlatParameters(model)
    assert flat.vector.shape == (12 + 4 + 8,)
    for mine, its in zip(model.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=0)
    with torch.no_grad():
        flat.vector.fill_(2.0)
        assert all((parameter == 2).all() for parameter in model.parameters())
        model.load_state_dict(before.state_dict())
    expected = torch.cat([parameter.flatten() for parameter in before.parameters()])
    torch.testing.assert_close(flat.vector, expected, rtol=0, atol=0)


def test_gradients_move_into_that_of_the_vector(model):
    x = torch.randn(5, 3)
    expected = torch.autograd.grad(model(x).square().sum(), tuple(model.parameters()))
    flat = FlatParameters(model)
    model(x).square().sum().backward()
    flat.take_gradients()
    assert all(parameter.grad is None for parameter in model.parameters())
    found = torch.cat([gradient.flatten() for gradient in expected])
    torch.testing.assert_close(flat.vector.grad, found, rtol=0, atol=0)


def test_a_parameter_without_a_gradient_gets_zeros(model):
    flat = FlatParameters(model)
    model[0](torch.randn(5, 3)).square().sum().backward()
    flat.take_gradients()
    assert flat.vector.grad is not None
    assert flat.vector.grad[:16].abs().min() > 0
    assert (flat.vector.grad[16:] == 0).all()


def test_steps_are_those_of_an_optimiser_of_all_parameters(model):
    """But for rounding, which depends on where vector instructions begin."""
    usual = deepcopy(model)
    theirs = torch.optim.AdamW(usual.parameters(), lr=0.1, weight_decay=0.1, fused=True)
    flat = FlatParameters(model)
    ours = torch.optim.AdamW([flat.vector], lr=0.1, weight_decay=0.1, fused=True)
    for _ in range(5):
        x = torch.randn(5, 3)
        usual(x).square().sum().backward()
        theirs.step()
        theirs.zero_grad()
        model(x).square().sum().backward()
        flat.take_gradients()
        ours.step()
    for mine, its in zip(model.parameters(), usual.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-7)
