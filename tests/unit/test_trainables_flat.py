"""The parameters of a model as one vector."""

from copy import deepcopy

import pytest
import torch
from pretended_gpu import GPU
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


def test_on_a_gpu_an_lstm_comes_first_and_the_model_s_order_is_known(a_gpu) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"encode": nn.Linear(3, 4), "core": nn.LSTM(4, 5, 2)})
    expected = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    with a_gpu():
        flat = FlatParameters(model.to(GPU))
        vector = flat.vector.detach()
        in_order = flat.in_model_order(vector)
        assert torch.equal(flat.from_model_order(in_order), vector)
        assert torch.equal(in_order.cpu(), expected)
        assert not torch.equal(vector.cpu(), expected)
        assert model.get_parameter("core.weight_ih_l0").storage_offset() == 0


def test_elsewhere_the_order_is_that_of_the_model() -> None:
    model = nn.ModuleDict({"encode": nn.Linear(3, 4), "core": nn.LSTM(4, 5, 2)})
    flat = FlatParameters(model)
    vector = flat.vector.detach()
    assert torch.equal(vector, torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(flat.in_model_order(vector), vector)


def test_a_parameter_that_has_left_the_vector_is_noticed(model) -> None:
    flat = FlatParameters(model)
    flat.check_in_place()
    model[0].weight.data = model[0].weight.data.clone()
    with pytest.raises(RuntimeError, match=r"a parameter of shape \(4, 3\) has left the vector"):
        flat.check_in_place()
