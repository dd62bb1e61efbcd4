"""Networks for the nodes of one graph: they are those of PyG, several at once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional
from torch_geometric.nn import APPNP, GATConv, GCN2Conv, GCNConv, SGConv

from datasets.errors import InputError
from trainables.models.node_classifier import DeviceGraph, NodeClassifier, NodeConfig
from trainables.sparse_matrix import SparseMatrix

CPU = torch.device("cpu")
NODES, FEATURES, CLASSES, SPLITS = 30, 12, 4, 3


def random_graph() -> tuple[sparse.csr_matrix, np.ndarray]:
    """Sparse features (N, F) and edges (2, E) of 30 nodes, one of them without an edge."""
    random = np.random.default_rng(0)
    features = sparse.csr_matrix((random.random((NODES, FEATURES)) < 0.3).astype(np.float32))
    upper = np.argwhere(np.triu(random.random((NODES - 1, NODES - 1)) < 0.15, k=1)).T
    return features, np.hstack([upper, upper[::-1]])


FEATURES_OF, EDGES = random_graph()
GRAPH = DeviceGraph.of(FEATURES_OF, EDGES, CPU)
EDGE_INDEX = torch.from_numpy(EDGES)
LABELS = torch.arange(NODES) % CLASSES


def network(config: NodeConfig, splits: int = SPLITS) -> NodeClassifier:
    torch.manual_seed(0)
    return NodeClassifier(config, splits, FEATURES, CLASSES)


def shares() -> Tensor:
    """The features (N, F), each row divided by its sum."""
    dense = torch.from_numpy(FEATURES_OF.toarray())
    return dense / dense.sum(dim=1, keepdim=True).clamp(min=1)


def with_weight(layer: Any, weight: Tensor, bias: Tensor) -> Any:
    layer.lin.weight.data = weight.T
    layer.bias.data = bias
    return layer


def of_gcn(body: Any, split: int) -> Tensor:
    x = shares()
    for number, layer in enumerate([body.first, *body.others]):
        weight, bias = layer.weight[split], body.biases[number][split]
        conv = with_weight(GCNConv(*weight.shape), weight, bias)
        x = conv(x.relu() if number else x, EDGE_INDEX)
    return x


def of_sgc(body: Any, split: int) -> Tensor:
    conv = SGConv(FEATURES, CLASSES, K=body.config.layers)
    conv.lin.weight.data = body.first.weight[split].T
    conv.lin.bias.data = body.bias[split]
    return conv(shares(), EDGE_INDEX)


def of_appnp(body: Any, split: int) -> Tensor:
    x = (shares() @ body.first.weight[split] + body.first.bias[split]).relu()
    x = x @ body.second.weight[split] + body.second.bias[split]
    return APPNP(body.config.layers, body.config.alpha)(x, EDGE_INDEX)


def of_gcn2(body: Any, split: int) -> Tensor:
    first = x = (shares() @ body.first.weight[split] + body.first.bias[split]).relu()
    for number, layer in enumerate(body.convolutions, start=1):
        conv = GCN2Conv(body.config.width, body.config.alpha, body.config.theta, number)
        conv.weight1.data = layer.weight[split]
        x = conv(x, first, EDGE_INDEX).relu()
    return x @ body.last.weight[split] + body.last.bias[split]


def of_gat(body: Any, split: int) -> Tensor:
    x, heads = shares(), body.config.heads
    for number, layer in enumerate([body.first, *body.others]):
        weight, is_last = layer.weight[split], number == len(body.others)
        size = weight.shape[1] // heads
        conv: Any = GATConv(weight.shape[0], size, heads, concat=not is_last)
        with_weight(conv, weight, body.biases[number][split])
        conv.att_src.data = body.attentions[number].of_source[split][None]
        conv.att_dst.data = body.attentions[number].of_target[split][None]
        x = conv(functional.elu(x) if number else x, EDGE_INDEX)
    return x


PYG: dict[str, tuple[NodeConfig, Callable[[Any, int], Tensor]]] = {
    "gcn": (NodeConfig(family="gcn", layers=3, width=16, normalize=True), of_gcn),
    "sgc": (NodeConfig(family="sgc", layers=2, normalize=True), of_sgc),
    "appnp": (NodeConfig(family="appnp", layers=5, width=16, normalize=True), of_appnp),
    "gcn2": (NodeConfig(family="gcn2", layers=8, width=16, normalize=True), of_gcn2),
    "gat": (NodeConfig(family="gat", layers=3, width=16, heads=4, normalize=True), of_gat),
}


@pytest.mark.parametrize("family", PYG)
def test_every_split_has_the_scores_of_pygs_layers(family: str) -> None:
    config, other = PYG[family]
    model = network(config).eval()
    for weight in model.parameters():  # biases begin at 0
        torch.nn.init.normal_(weight, std=0.3)
    with torch.no_grad():
        found = model(GRAPH)
        assert found.shape == (NODES, SPLITS, CLASSES)
        for split in range(SPLITS):
            torch.testing.assert_close(found[:, split], other(model.body, split))


@pytest.mark.parametrize("family", PYG)
def test_splits_that_are_trained_together_do_not_meet(family: str) -> None:
    """The gradient of one split's loss is 0 for the weights of all the others."""
    config = replace(PYG[family][0], dropout=0.0, input_dropout=0.0)
    model = network(config)
    functional.cross_entropy(model(GRAPH)[:, 1], LABELS).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.shape[0] == SPLITS, name
        assert not weight.grad[[0, 2]].any(), name
    assert any(weight.grad[1].any() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize("family", PYG)
@pytest.mark.parametrize("dropout", ["input_dropout", "dropout", "edge_dropout"])
def test_dropout_is_of_training_alone(family: str, dropout: str) -> None:
    none = {"input_dropout": 0.0, "dropout": 0.0, "edge_dropout": 0.0}
    config = replace(PYG[family][0], **none)
    dropped = network(replace(config, **{dropout: 0.5}))
    plain = network(config)
    with torch.no_grad():
        assert torch.equal(dropped.eval()(GRAPH), plain.eval()(GRAPH))
        differs = not torch.equal(dropped.train()(GRAPH), plain.train()(GRAPH))
    assert differs == (family != "sgc" or dropout != "dropout")


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        *((family, {"normalize": False}) for family in PYG),
        *((family, {"layers": 9}) for family in PYG),
        *((family, {"width": 32}) for family in ("gcn", "gat", "appnp", "gcn2")),
        ("gat", {"heads": 2}),
        ("appnp", {"alpha": 0.3}),
        ("gcn2", {"alpha": 0.3}),
        ("gcn2", {"theta": 1.0}),
    ],
)
def test_each_field_of_a_family_changes_its_scores(family: str, changes: Any) -> None:
    config = PYG[family][0]
    with torch.no_grad():
        before, after = (
            network(each).eval()(GRAPH) for each in (config, replace(config, **changes))
        )
    assert not torch.equal(before, after)


def test_the_penalty_is_of_the_first_layer_or_of_all() -> None:
    config = PYG["gcn"][0]
    first = network(config).penalty()
    every = network(replace(config, penalised="all")).penalty()
    model = network(config)
    expected = config.l2 * model.body.first.weight.square().sum() / 2
    torch.testing.assert_close(first, expected)
    whole = torch.stack([weight.square().sum() for weight in model.parameters()]).sum() / 2
    torch.testing.assert_close(every, config.l2 * whole)
    assert every > first > 0


def test_gcn2s_convolutions_have_a_penalty_of_their_own() -> None:
    config = replace(PYG["gcn2"][0], l2=0.0, l2_convolutions=2.0)
    model = network(config)
    weights = [layer.weight for layer in model.body.convolutions]
    expected = torch.stack([weight.square().sum() for weight in weights]).sum()
    torch.testing.assert_close(model.penalty(), expected)
    with_all = network(replace(config, l2=1e-3, penalised="all"))
    rest = sum(w.square().sum() for w in with_all.parameters()) - expected
    torch.testing.assert_close(with_all.penalty(), expected + 5e-4 * rest)


@pytest.mark.parametrize("field", ["input_dropout", "dropout", "edge_dropout"])
@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
def test_a_share_that_leaves_nothing_or_is_none_is_refused(field: str, share: float) -> None:
    with pytest.raises(InputError, match=f"{field} is {share}: expected 0 to below 1"):
        NodeConfig(**cast("dict[str, Any]", {field: share}))


def test_a_node_keeps_at_most_all_of_its_own_value() -> None:
    with pytest.raises(InputError, match=r"alpha is 1.5: expected 0 to 1"):
        NodeConfig(alpha=1.5)


def test_a_sparse_product_has_the_gradient_of_a_dense_one() -> None:
    dense = torch.from_numpy(FEATURES_OF.toarray())
    x = torch.randn(FEATURES, SPLITS, 5, requires_grad=True)
    weights = torch.randn(NODES, SPLITS, 5)
    (SparseMatrix.of(FEATURES_OF, CPU).product(x) * weights).sum().backward()
    found, x.grad = x.grad, None
    (torch.einsum("nf,fsw->nsw", dense, x) * weights).sum().backward()
    torch.testing.assert_close(found, x.grad)


def test_a_dropped_product_is_right_in_the_mean_and_in_its_gradient() -> None:
    matrix, x = SparseMatrix.of(FEATURES_OF, CPU), torch.ones(FEATURES, 1, requires_grad=True)
    torch.manual_seed(0)
    drawn = torch.stack([matrix.product(x, dropout=0.5) for _ in range(2000)])
    whole = matrix.product(x)
    assert (drawn.mean(dim=0) - whole).abs().max() < 0.25
    assert len(drawn.unique()) > 2
    torch.manual_seed(1)
    found = matrix.product(x, dropout=0.5)
    found.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(
        x.grad.sum(), found.sum().detach()
    )  # the same entries were left out
