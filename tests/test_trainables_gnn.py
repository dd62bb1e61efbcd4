"""The graph neural networks: layers by hand, against PyG's models, and their symmetries."""

import re
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import (
    GCN,
    GIN,
    GATConv,
    GCNConv,
    GraphSAGE,
    SAGEConv,
    global_mean_pool,
)

from datasets.graphs import NO_BOND, GraphBatch, Graphs, GraphStore
from datasets.standardize import Standardizer
from trainables.models.gnn import (
    EDGE_FEATURES,
    FAMILIES,
    GNN,
    DeepBody,
    DipoleHead,
    EdgeFeatures,
    Family,
    FilteredGCNConv,
    FilteredSAGEConv,
    GNNConfig,
    MeanHead,
    PlainBody,
    homework,
)

CPU = torch.device("cpu")
UNIT = Standardizer(mean=0.0, std=1.0)
SOME = list(range(20))
DEBYE = 4.80320  # one elementary charge times one Angstrom, CODATA 2018


def batch_of(positions, edges, kinds=None, features=None, graph=None) -> GraphBatch:
    """A batch by hand; one molecule unless `graph` says otherwise."""
    xyz = torch.tensor(positions)
    edge_index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T
    nodes = torch.zeros(len(xyz), dtype=torch.int64) if graph is None else torch.tensor(graph)
    return GraphBatch(
        node_features=torch.ones(len(xyz), 11) if features is None else torch.tensor(features),
        positions=xyz,
        graph=nodes,
        edge_index=edge_index,
        edge_types=torch.zeros(edge_index.shape[1], dtype=torch.int64)
        if kinds is None
        else torch.tensor(kinds),
        targets=torch.zeros(int(nodes.max()) + 1),
    )


def doubled(batch: GraphBatch) -> GraphBatch:
    """In 64 bits, so that what is equal but for rounding is equal to 1e-9."""
    return replace(
        batch, node_features=batch.node_features.double(), positions=batch.positions.double()
    )


def select(graphs: Graphs, chosen: list[int] = SOME) -> GraphBatch:
    return GraphStore(graphs, CPU).select(torch.tensor(chosen))


def edged(graphs: Graphs, config: GNNConfig) -> Graphs:
    return graphs.with_pairs(config.cutoff) if config.edges == "distances" else graphs


def model_of(config: GNNConfig, scale: Standardizer = UNIT) -> GNN:
    torch.manual_seed(0)
    return GNN(config, scale).eval()


def copied(source: nn.Module, *renamed: tuple[str, str]) -> dict[str, Tensor]:
    """The weights of a module under the names that another one has for them."""
    state = source.state_dict()
    for ours, theirs in renamed:
        state = {re.sub(ours, theirs, name): value for name, value in state.items()}
    return state


# --- Layers, by hand, on the path 0 - 1 - 2 --------------------------------------------------

PATH = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
PATH_X = torch.tensor([[1.0], [2.0], [3.0]])
PATH_EDGES = torch.tensor([[0.5], [1.0], [2.0], [3.0]])
"""One feature an edge. Through the filter 4 e + 1: 3, 5, 9, 13."""


def set_weights(module: nn.Module, **values: float) -> None:
    for name, parameter in module.named_parameters():
        nn.init.constant_(parameter, values[name.replace(".", "_")])


def test_a_filtered_graph_convolution_by_hand():
    """W = 2, so W x = 2, 4, 6; degrees with the node itself 2, 3, 2; b = 10.

    Node 0 hears 1 through edge 1 -> 0 (filter 5), node 2 through 1 -> 2 (9), node 1 hears 0
    through 0 -> 1 (3) and 2 through 2 -> 1 (13).
    """
    layer = FilteredGCNConv(1, 1, 1)
    set_weights(layer, linear_weight=2, filter_weight=4, filter_bias=1, bias=10)
    root = 6**0.5
    expected = [
        10 + 2 / 2 + 4 * 5 / root,
        10 + 4 / 3 + (2 * 3 + 6 * 13) / root,
        10 + 6 / 2 + 4 * 9 / root,
    ]
    found = layer(PATH_X, PATH, PATH_EDGES)
    assert found.squeeze(dim=1).tolist() == pytest.approx(expected, rel=1e-6)  # float32


def test_a_filtered_sage_convolution_by_hand():
    """W_1 = 3 with bias 10, W_2 = 2; the filters are those of the graph convolution above."""
    layer = FilteredSAGEConv(1, 1, 1)
    set_weights(
        layer, own_weight=3, own_bias=10, neighbour_weight=2, filter_weight=4, filter_bias=1
    )
    expected = [
        [10 + 3 * 1 + 4 * 5],
        [10 + 3 * 2 + (2 * 3 + 6 * 13) / 2],
        [10 + 3 * 3 + 4 * 9],
    ]
    assert layer(PATH_X, PATH, PATH_EDGES).tolist() == expected


def pass_everything(layer: FilteredGCNConv | FilteredSAGEConv) -> None:
    nn.init.zeros_(layer.filter.weight)
    nn.init.ones_(layer.filter.bias)


def some_edges(graphs: Graphs) -> tuple[Tensor, Tensor, Tensor]:
    """Node features, edges of which every third is missing, so that their direction matters, and
    random edge features."""
    batch = select(graphs)
    kept = torch.arange(batch.edge_index.shape[1]) % 3 > 0
    generator = torch.Generator().manual_seed(0)
    edges = torch.randn(int(kept.sum()), 3, generator=generator)
    return batch.node_features, batch.edge_index[:, kept], edges


def test_a_graph_convolution_whose_filter_passes_everything_is_that_of_pyg(molecules):
    x, edge_index, edges = some_edges(molecules.graphs)
    ours, theirs = FilteredGCNConv(11, 8, 3), GCNConv(11, 8)
    pass_everything(ours)
    nn.init.normal_(ours.bias)
    theirs.load_state_dict({"bias": ours.bias, "lin.weight": ours.linear.weight})
    torch.testing.assert_close(ours(x, edge_index, edges), theirs(x, edge_index))


def test_a_sage_convolution_whose_filter_passes_everything_is_that_of_pyg(molecules):
    x, edge_index, edges = some_edges(molecules.graphs)
    ours, theirs = FilteredSAGEConv(11, 8, 3), SAGEConv(11, 8)
    pass_everything(ours)
    theirs.load_state_dict(
        {
            "lin_r.weight": ours.own.weight,
            "lin_l.bias": ours.own.bias,
            "lin_l.weight": ours.neighbour.weight,
        }
    )
    torch.testing.assert_close(ours(x, edge_index, edges), theirs(x, edge_index))


@pytest.mark.parametrize("layer", [FilteredGCNConv, FilteredSAGEConv])
def test_messages_go_from_source_to_target(layer):
    """One edge 0 -> 1: what node 1 becomes depends on node 0, and not the other way round."""
    torch.manual_seed(0)
    convolution = layer(1, 4, 1)
    edge, feature = torch.tensor([[0], [1]]), torch.ones(1, 1)
    before = convolution(torch.tensor([[1.0], [2.0]]), edge, feature)
    source = convolution(torch.tensor([[5.0], [2.0]]), edge, feature)
    target = convolution(torch.tensor([[1.0], [5.0]]), edge, feature)
    assert not torch.equal(before[1], source[1])
    assert torch.equal(before[0], target[0])


# --- Edge features and heads, by hand --------------------------------------------------------


def test_edge_features_are_those_worked_out_by_hand():
    """Cutoff 3.8 Angstrom: centres every 0.2. At 1.9, half way, the fade is 1/2; at 1.0 it is
    (cos(pi / 3.8) + 1) / 2, and the centres one and five spacings off are exp(-1/2), exp(-25/2)
    as high as the nearest."""
    batch = batch_of([[0.0, 0, 0], [0, 1.0, 0], [0, 0, 1.9]], [(0, 1), (0, 2)], kinds=[2, NO_BOND])
    near, middle = EdgeFeatures(3.8)(batch)
    fade = (np.cos(np.pi / 3.8) + 1) / 2
    assert len(near) == EDGE_FEATURES == 24
    assert near[[0, 4, 5, 6, 10]].tolist() == pytest.approx(
        [fade * np.exp(-12.5), *fade * np.exp([-0.5, 0, -0.5]), fade * np.exp(-12.5)], rel=1e-4
    )  # float32: the spacing, 0.2, is rounded and its error is divided by 0.2 again
    assert middle[[9, 10]].tolist() == pytest.approx([0.5 * np.exp(-0.125)] * 2, rel=1e-4)
    assert near[20:].tolist() == [0, 0, 1, 0]
    assert middle[20:].tolist() == [0, 0, 0, 0]


def test_gaussians_have_faded_out_at_the_cutoff_and_beyond():
    batch = batch_of([[0.0, 0, 0], [0, 2.5, 0], [0, 0, 2.6]], [(0, 1), (0, 2), (1, 0)])
    features = EdgeFeatures(2.5)(batch)
    assert features[:, :20].abs().max() < 1e-6  # cos(pi) + 1 in 32 bits
    assert features[:, 20:].tolist() == [[1, 0, 0, 0]] * 3


def test_the_gaussians_of_a_model_fade_out_at_its_own_cutoff():
    batch = batch_of([[0.0, 0, 0], [0, 2.9, 0], [0, 0, 3.1]], [(0, 1), (0, 2)])
    features = model_of(GNNConfig(cutoff=3.0)).edge_features
    assert features is not None
    inside, outside = features(batch)[:, :20].abs().amax(dim=1).tolist()
    assert inside > 1e-3 > 1e-6 > outside


def test_edge_features_do_not_depend_on_the_direction_of_the_edge():
    batch = batch_of([[0.0, 0, 0], [0.3, 1.1, -0.7]], [(0, 1), (1, 0)])
    there, back = EdgeFeatures(4.0)(batch)
    assert torch.equal(there, back)


WATER = [[0.0, 0.0, 0.0], [0.0, 0.76, 0.59], [0.0, -0.76, 0.59]]
WATER_EDGES = [(0, 1), (0, 2), (1, 0), (2, 0)]
CHARGES = [[-0.8], [0.4], [0.4]]
"""Charges -0.8 and 0.4 e at these positions (Angstrom): 2 * 0.4 * 0.59 = 0.472 e Angstrom."""


class Nothing(nn.Module):
    """A linear layer's place, taken by zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, :1])


def charge_head() -> DipoleHead:
    """The node features, of width 1, are the charges; there are no bond dipoles."""
    head = DipoleHead(1, None)
    head.charge, head.bond = nn.Sequential(nn.Identity()), nn.Sequential(Nothing())
    return head


def bond_head() -> DipoleHead:
    """The bond dipole of an edge is the feature of its source plus ten times its target's."""
    head = DipoleHead(1, None)
    head.charge, head.bond = nn.Sequential(Nothing()), nn.Sequential(nn.Identity())
    set_weights(head, source_weight=1, source_bias=0, target_weight=10)
    return head


def test_known_charges_have_their_known_dipole_moment():
    """0.472 e Angstrom are 2.267 D."""
    moment = charge_head()(torch.tensor(CHARGES), None, batch_of(WATER, WATER_EDGES))
    assert moment.tolist() == pytest.approx([0.472], rel=1e-6)
    assert float(moment) * DEBYE == pytest.approx(2.267, abs=5e-4)


def test_charges_are_made_to_sum_to_zero_in_each_molecule():
    """Another constant on every atom of a molecule changes nothing, wherever it lies; a lone
    atom has no charge left."""
    far = [[x + 50.0, y, z] for x, y, z in WATER]
    positions = [*WATER, *far, [9.0, 9.0, 9.0]]
    graph = [0, 0, 0, 1, 1, 1, 2]
    charges = torch.tensor([*CHARGES, *[[charge + 7.0] for (charge,) in CHARGES], [3.0]])
    moment = charge_head()(charges, None, batch_of(positions, [], graph=graph))
    # 50 Angstrom in 32 bits leave 4e-6 of a position and the charge 7 5e-7 of a charge.
    assert moment.tolist() == pytest.approx([0.472, 0.472, 0.0], abs=5e-5)


def test_bond_dipoles_point_from_source_to_target_and_are_unit_vectors_times_their_size():
    """Features 1 and 3 on the z axis, 2 Angstrom apart: edge 0 -> 1 has 1 + 10 * 3 = 31 along
    +z, edge 1 -> 0 has 3 + 10 * 1 = 13 along -z, together 18 whatever the distance."""
    features = torch.tensor([[1.0], [3.0]])
    batch = batch_of([[0.0, 0, 0], [0, 0, 2]], [(0, 1), (1, 0)])
    assert bond_head()(features, None, batch).tolist() == pytest.approx([18.0])


def test_charges_and_bond_dipoles_add_up_with_their_signs():
    """The same two atoms: charges 1 and 3, less their mean, are -1 and +1 at 2 Angstrom, so 2
    along +z; with the 18 of the bond that makes 20."""
    head = bond_head()
    head.charge = charge_head().charge
    batch = batch_of([[0.0, 0, 0], [0, 0, 2]], [(0, 1), (1, 0)])
    assert head(torch.tensor([[1.0], [3.0]]), None, batch).tolist() == pytest.approx([20.0])


def test_bond_dipoles_add_up_as_vectors_in_each_molecule():
    """A right angle: 0 -> 1 along x with 1 + 10 * 2 = 21, 0 -> 2 along y with 1 + 10 * 0 = 1."""
    features = torch.tensor([[1.0], [2.0], [0.0]])
    batch = batch_of([[0.0, 0, 0], [1.5, 0, 0], [0, 0.5, 0]], [(0, 1), (0, 2)])
    assert bond_head()(features, None, batch).tolist() == pytest.approx([(21**2 + 1) ** 0.5])


def test_the_mean_head_is_linear_in_the_mean_over_the_nodes_of_a_graph():
    head = MeanHead(2)
    nn.init.constant_(head.linear.weight, 2)
    nn.init.constant_(head.linear.bias, 1)
    batch = batch_of([[0.0, 0, 0]] * 3, [], graph=[0, 0, 1])
    x = torch.tensor([[1.0, 2], [3, 4], [10, 20]])
    assert head(x, None, batch).tolist() == [1 + 2 * (2 + 3), 1 + 2 * (10 + 20)]


@pytest.mark.parametrize("head", ["mean", "dipole"])
def test_the_prediction_is_in_the_unit_of_the_target(head, molecules):
    """Both heads are scaled; only the mean is shifted, so that no charges are no dipole."""
    config = GNNConfig(head=head, edges="bonds", width=8)
    bare = model_of(config)(select(molecules.graphs))
    scaled = model_of(config, Standardizer(mean=3.0, std=0.5))(select(molecules.graphs))
    torch.testing.assert_close(scaled, 0.5 * bare + (3.0 if head == "mean" else 0.0))


# --- Bodies, against PyG's own models --------------------------------------------------------


def as_pyg(graphs: Graphs, chosen: list[int]) -> Any:
    """The homework's molecules in PyG's own form and by PyG's own collate."""
    found = []
    for graph in chosen:
        nodes = slice(*graphs.node_offsets[graph : graph + 2])
        edges = slice(*graphs.edge_offsets[graph : graph + 2])
        features = np.concatenate([graphs.node_features[nodes], graphs.positions[nodes]], axis=1)
        found.append(
            Data(
                x=torch.tensor(features, dtype=torch.float32),
                edge_index=torch.tensor(graphs.edge_index[:, edges], dtype=torch.int64),
            )
        )
    return Batch.from_data_list(found)


class HomeworkGAT(nn.Module):
    """Four concatenated heads, then one; PyG's `GAT` would average four in its last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([GATConv(14, 128, heads=4), GATConv(4 * 128, 128, heads=1)])

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.convs[1](torch.relu(self.convs[0](x, edge_index)), edge_index)


PUBLISHED = {
    "gcn": lambda: GCN(14, 128, num_layers=2),
    "gat": HomeworkGAT,
    "sage": lambda: GraphSAGE(14, 128, num_layers=2),
    "gin": lambda: GIN(14, 128, num_layers=7),
}


@pytest.mark.parametrize("family", PUBLISHED)
def test_the_homework_model_predicts_what_one_made_of_pyg_predicts(family: Family, molecules):
    """Provenance: shared/references.md. Each convolution is followed by ReLU, PyG's models end
    without one, and so does the homework's GIN."""
    config = GNNConfig(**homework(family))  # pyright: ignore[reportArgumentType]
    ours = model_of(config)
    theirs = PUBLISHED[family]()
    theirs.load_state_dict(copied(ours.body, ("convolutions", "convs")))
    batch = as_pyg(molecules.graphs, SOME)
    x = theirs(batch.x, batch.edge_index)
    pooled = global_mean_pool(x if family == "gin" else torch.relu(x), batch.batch)
    assert isinstance(ours.head, MeanHead)
    expected = ours.head.linear(pooled).squeeze(dim=1)
    torch.testing.assert_close(ours(select(molecules.graphs)), expected)


@pytest.mark.parametrize(("family", "model"), [("gcn", GCN), ("sage", GraphSAGE)])
def test_normalisation_relu_and_dropout_come_in_the_order_of_pyg(family, model, molecules):
    """PyG's models with jumping knowledge "last" treat every layer alike, as `PlainBody` does.

    Not GAT, of which PyG's model drops attention weights as well.
    """
    config = GNNConfig(family=family, depth=3, width=8, normalization="batch", dropout=0.3)
    ours = PlainBody(config, 11, None)
    for parameter in ours.norms.parameters():
        nn.init.normal_(parameter)
    theirs = model(11, 8, 3, out_channels=8, dropout=0.3, norm="BatchNorm", jk="last")
    nn.init.eye_(theirs.lin.weight)
    nn.init.zeros_(theirs.lin.bias)
    names = (("convolutions", "convs"), (r"norms\.(\d)", r"norms.\1.module"))
    theirs.load_state_dict(theirs.state_dict() | copied(ours, *names))
    batch = select(molecules.graphs)
    torch.manual_seed(1)
    found = ours(batch.node_features, batch.edge_index, None)
    torch.manual_seed(1)
    torch.testing.assert_close(found, theirs(batch.node_features, batch.edge_index))
    assert (found == 0).float().mean() > 0.3  # ReLU and dropout were at work


def test_deepgcn_blocks_come_in_the_order_of_the_paper(molecules):
    """Li et al. 2020 and PyG's ``examples/ogbn_proteins_deepgcn.py``: convolution; then blocks of
    norm, ReLU, dropout, convolution and sum; then the first block's norm and ReLU."""
    config = GNNConfig(family="deepgcn", depth=4, width=8, dropout=0.3)
    body = DeepBody(config, 11, None)
    for parameter in body.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter)  # else norms would be hard to tell apart
    batch = select(molecules.graphs)
    blocks: list[Any] = list(body.blocks)
    torch.manual_seed(1)
    x = blocks[0].conv(body.encode(batch.node_features), batch.edge_index)
    for block in blocks[1:]:
        h = nn.functional.dropout(torch.relu(block.norm(x)), 0.3)
        x = x + block.conv(h, batch.edge_index)
    expected = torch.relu(blocks[0].norm(x))
    torch.manual_seed(1)
    found = body(batch.node_features, batch.edge_index, None)
    torch.testing.assert_close(found, expected)


# --- Symmetries and batches, for every family ------------------------------------------------

VARIANTS = list(product(FAMILIES, ["bonds", "distances"]))


def rotation(seed: int = 0) -> np.ndarray:
    """A proper rotation, drawn at random."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def moved(graphs: Graphs, matrix: np.ndarray, shift=(0.0, 0.0, 0.0)) -> Graphs:
    """All molecules turned and moved alike, in 64 bits."""
    return replace(graphs, positions=graphs.positions.astype(np.float64) @ matrix + shift)


def reordered(graphs: Graphs, seed: int = 0) -> Graphs:
    """The atoms of each molecule, and its edges, in another order."""
    generator = np.random.default_rng(seed)
    nodes, edges = np.arange(len(graphs.positions)), np.arange(len(graphs.edge_types))
    edge_index = graphs.edge_index.copy()
    for graph in range(len(graphs)):
        first, last = graphs.node_offsets[graph : graph + 2]
        order = generator.permutation(last - first)
        nodes[first:last] = first + order
        begin, end = graphs.edge_offsets[graph : graph + 2]
        edge_index[:, begin:end] = np.argsort(order)[edge_index[:, begin:end]]
        edges[begin:end] = begin + generator.permutation(end - begin)
    return replace(
        graphs,
        node_features=graphs.node_features[nodes],
        positions=graphs.positions[nodes],
        edge_index=edge_index[:, edges],
        edge_types=graphs.edge_types[edges],
    )


MOVES = {
    "rotation": lambda graphs: moved(graphs, rotation()),
    "reflection": lambda graphs: moved(graphs, rotation(1) @ np.diag([1, 1, -1])),
    "translation": lambda graphs: moved(graphs, np.eye(3), (3.0, -40.0, 5.0)),
    "atom order": lambda graphs: reordered(moved(graphs, np.eye(3))),
}


def small(family: Family, edges, **fields) -> GNNConfig:
    return GNNConfig(family=family, edges=edges, width=8, depth=3, **fields)


def predicted(config: GNNConfig, graphs: Graphs) -> Tensor:
    """In 64 bits, with the pairs found anew at the positions as they are."""
    return model_of(config).double()(doubled(select(edged(graphs, config))))


@pytest.mark.parametrize("head", ["dipole", "mean"])
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize(("family", "edges"), VARIANTS)
def test_predictions_are_invariant_to(move, family, edges, head, molecules):
    """Measured to agree to 1e-13; 1e-9 is far above rounding in 64 bits and far below any term
    that were left out."""
    config = small(family, edges, head=head)
    expected = predicted(config, molecules.graphs)
    found = predicted(config, MOVES[move](molecules.graphs))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert expected.std() > 1e-3  # else there were nothing to vary


@pytest.mark.parametrize("move", ["rotation", "reflection", "translation"])
@pytest.mark.parametrize("family", FAMILIES)
def test_raw_positions_spoil_the_invariance(family, move, molecules):
    """As in the homework; and proof that the test above would see it."""
    config = small(family, "bonds", head="mean", raw_positions=True)
    apart = predicted(config, MOVES[move](molecules.graphs)) - predicted(config, molecules.graphs)
    assert apart.abs().max() > 1e-3


def test_raw_positions_leave_the_order_of_the_atoms_free(molecules):
    config = small("gcn", "bonds", head="mean", raw_positions=True)
    found = predicted(config, MOVES["atom order"](molecules.graphs))
    torch.testing.assert_close(found, predicted(config, molecules.graphs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("head", ["dipole", "mean"])
@pytest.mark.parametrize(("family", "edges"), VARIANTS)
def test_a_batch_is_predicted_as_its_molecules_one_by_one(
    family, edges, head, normalization, molecules
):
    """Only the order of the sums differs: rounding in 64 bits."""
    config = small(family, edges, head=head, normalization=normalization)
    model = model_of(config).double()
    graphs = edged(molecules.graphs, config)
    chosen = [3, 119, 0, 3]
    together = model(doubled(select(graphs, chosen)))
    alone = torch.cat([model(doubled(select(graphs, [one]))) for one in chosen])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("head", ["dipole", "mean"])
@pytest.mark.parametrize("family", FAMILIES)
def test_molecules_without_any_edge_are_predicted(family, head):
    """A cutoff shorter than every bond, or a lone atom."""
    batch = batch_of([[0.0, 0, 0], [5.0, 0, 0]], [], graph=[0, 1])
    assert torch.isfinite(model_of(small(family, "distances", head=head))(batch)).all()


# Carbon dioxide, O=C=O, with a centre of symmetry.
DIOXIDE = [[-1.16, 0.0, 0.0], [0.0, 0.0, 0.0], [1.16, 0.0, 0.0]]
DIOXIDE_EDGES = [(0, 1), (1, 0), (1, 2), (2, 1)]
DIOXIDE_FEATURES = [
    [0.0, 0, 0, 1, 0, 8, 0, 0, 1, 0, 0],
    [0.0, 1, 0, 0, 0, 6, 0, 1, 0, 0, 0],
    [0.0, 0, 0, 1, 0, 8, 0, 0, 1, 0, 0],
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("edges", ["bonds", "distances"])
def test_a_molecule_with_a_centre_of_symmetry_has_no_moment_and_finite_gradients(family, edges):
    batch = batch_of(DIOXIDE, DIOXIDE_EDGES, [1] * 4, DIOXIDE_FEATURES)
    torch.manual_seed(0)
    model = GNN(small(family, edges), UNIT)
    moment = model(batch)
    assert moment.tolist() == pytest.approx([1e-6], rel=1e-3)  # the root of what keeps it off zero
    moment.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)


IDLE = {
    "body.norms.2.weight": "GIN's last convolution ends bare",
    "body.norms.2.bias": "GIN's last convolution ends bare",
    "head.charge.2.bias": "a constant charge is taken off again",
    "head.bond.1.bias": "the two directions of a bond cancel a constant dipole",
}


@pytest.mark.parametrize(("family", "edges"), VARIANTS)
def test_every_parameter_is_trained_but_for_those_that_cannot_matter(family, edges, molecules):
    """In 64 bits, where what cancels is below 1e-14. The share of the target in GAT's attention
    cancels in the softmax too, wherever all scores of a node have one sign."""
    config = small(family, edges)
    model = model_of(config).double()
    model(doubled(select(edged(molecules.graphs, config)))).square().mean().backward()
    idle = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() < 1e-10
    }
    assert {name for name in idle if not name.endswith("att_dst")} <= set(IDLE)
    assert family == "gin" or not any("norms" in name for name in idle)
