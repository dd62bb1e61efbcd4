"""The graph neural networks: layers by hand, against PyG's models, and their symmetries."""

import re
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from family_contracts import (
    KEYS,
    MOVES,
    SOME,
    close,
    doubled,
    is_invariant,
    moved,
    predicted,
    predicts_one_by_one,
    rotation,
    with_made_up_prior,
)
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import (
    GCN,
    GIN,
    DeepGCNLayer,
    GATConv,
    GENConv,
    GraphSAGE,
    global_mean_pool,
)

from datasets.graphs import NO_BOND, GraphBatch, Graphs, GraphStore
from datasets.standardize import Standardizer
from trainables.models.families.deepgcn import DeepBody
from trainables.models.families.gat import AttentionConvolution
from trainables.models.families.gcn import GraphConvolution
from trainables.models.families.gin import GINConvolution
from trainables.models.families.sage import SAGEConvolution
from trainables.models.gnn import GNN, HYBRIDIZATION, GNNConfig, homework
from trainables.models.heads import DipoleHead, MeanHead
from trainables.models.neighbours import Neighbours
from trainables.models.pair_features import PAIR_FEATURES, PairFeatures
from trainables.models.plain_body import PlainBody

CPU = torch.device("cpu")
UNIT = Standardizer(mean=0.0, std=1.0)
DEBYE = 4.80320  # one elementary charge times one Angstrom, CODATA 2018


def batch_of(positions, edges, kinds=None, features=None, graph=None) -> GraphBatch:
    """A batch by hand; one molecule unless `graph` says otherwise. Edges are sorted, and there in
    both directions."""
    xyz = torch.tensor(positions)
    edge_index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T
    assert sorted(edges) == edges == sorted((b, a) for a, b in edges)
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
        reverse=torch.tensor([edges.index((b, a)) for a, b in edges], dtype=torch.int64),
    )


def select(
    graphs: Graphs, chosen: list[int] = SOME, config: GNNConfig | None = None
) -> GraphBatch:
    """With the edges that a configuration wants; None: the bonds."""
    cutoff = config.cutoff if config is not None and config.edges == "distances" else None
    return GraphStore(graphs, CPU, cutoff).select(torch.tensor(chosen))


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

PATH = Neighbours.of(batch_of([[0.0, 0, 0]] * 3, [(0, 1), (1, 0), (1, 2), (2, 1)]))
PATH_X = torch.tensor([[1.0], [2.0], [3.0]])
PATH_PAIRS = torch.tensor([[0.5], [2.0]])
"""One feature a pair. Through the filter 4 e + 1: 3 and 9."""


def set_weights(module: nn.Module, **values: float) -> None:
    for name, parameter in module.named_parameters():
        nn.init.constant_(parameter, values[name.replace(".", "_")])


def test_a_filtered_graph_convolution_by_hand():
    """W = 2, so W x = 2, 4, 6; degrees with the node itself 2, 3, 2; b = 10."""
    layer = GraphConvolution(1, 1, 1)
    set_weights(layer, lin_weight=2, filter_weight=4, filter_bias=1, bias=10)
    root = 6**0.5
    expected = [
        10 + 2 / 2 + 4 * 3 / root,
        10 + 4 / 3 + (2 * 3 + 6 * 9) / root,
        10 + 6 / 2 + 4 * 9 / root,
    ]
    found = layer(PATH_X, PATH, PATH_PAIRS)
    assert found.squeeze(dim=1).tolist() == pytest.approx(expected, rel=1e-6)  # float32


def test_a_filtered_sage_convolution_by_hand():
    """Its own weight 3 with bias 10, the neighbours' 2; filters 3 and 9."""
    layer = SAGEConvolution(1, 1, 1)
    set_weights(
        layer, lin_r_weight=3, lin_r_bias=10, lin_l_weight=2, filter_weight=4, filter_bias=1
    )
    expected = [
        [10 + 3 * 1 + 4 * 3],
        [10 + 3 * 2 + (2 * 3 + 6 * 9) / 2],
        [10 + 3 * 3 + 4 * 9],
    ]
    assert layer(PATH_X, PATH, PATH_PAIRS).tolist() == expected


def test_a_filtered_gin_convolution_by_hand():
    """First weight 2 with bias -40, second 5 with bias 1; filters 3 and 9. Node 0 gets
    2 + 4 * 3 - 40 = -26, which ReLU stops."""
    layer = GINConvolution(1, 1, 1)
    set_weights(
        layer,
        first_weight=2,
        first_bias=-40,
        second_weight=5,
        second_bias=1,
        filter_weight=4,
        filter_bias=1,
    )
    expected = [[1], [1 + 5 * (4 + 2 * 3 + 6 * 9 - 40)], [1 + 5 * (6 + 4 * 9 - 40)]]
    assert layer(PATH_X, PATH, PATH_PAIRS).tolist() == expected


def test_a_filtered_attention_convolution_by_hand():
    """W = 2, so h = 2, 4, 6; scores h_j - h_i / 2 + e_ij, below zero times 0.2; filters 3 and 9;
    b = 10."""
    layer = AttentionConvolution(1, 1, 1, 1)
    set_weights(
        layer,
        lin_weight=2,
        filter_weight=4,
        filter_bias=1,
        score_edge_weight=1,
        score_neighbour=1,
        score_own=-0.5,
        bias=10,
    )
    of_node = {  # (score, what is sent), itself first
        0: [(2 - 1, 2), (4 - 1 + 0.5, 3 * 4)],
        1: [(4 - 2, 4), (2 - 2 + 0.5, 3 * 2), (6 - 2 + 2, 9 * 6)],
        2: [(6 - 3, 6), (4 - 3 + 2, 9 * 4)],
    }
    expected = []
    for heard in of_node.values():
        attention = np.exp([score for score, _ in heard])
        sent = np.array([sent for _, sent in heard])
        expected.append(10 + (attention * sent).sum() / attention.sum())
    found = layer(PATH_X, PATH, PATH_PAIRS)
    assert found.squeeze(dim=1).tolist() == pytest.approx(expected, rel=1e-6)  # float32


def test_negative_scores_of_attention_leak():
    """Weights that make all scores negative: -1 times h_j + h_i, times 0.2."""
    layer = AttentionConvolution(1, 1, 1, 1)
    set_weights(
        layer,
        lin_weight=1,
        filter_weight=0,
        filter_bias=1,
        score_edge_weight=0,
        score_neighbour=-1,
        score_own=-1,
        bias=0,
    )
    own, other = np.exp(-0.2 * 2), np.exp(-0.2 * 3)
    found = layer(PATH_X, PATH, PATH_PAIRS)[0].item()
    assert found == pytest.approx((own * 1 + other * 2) / (own + other), rel=1e-6)


def one_head_of_pyg(layer: AttentionConvolution) -> GATConv:
    theirs = GATConv(11, 8, heads=layer.heads, edge_dim=3)
    theirs.load_state_dict(
        {
            "lin.weight": layer.lin.weight,
            "att_src": layer.score_neighbour[None],
            "att_dst": layer.score_own[None],
            "bias": layer.bias,
            # PyG writes an edge's share as a . (V e): one row of V an output of a head.
            "lin_edge.weight": torch.zeros(8 * layer.heads, 3),
            "att_edge": torch.zeros(1, layer.heads, 8),
        }
    )
    return theirs


def pass_everything(layer: nn.Module) -> None:
    filters = layer.filter
    assert isinstance(filters, nn.Linear)
    nn.init.zeros_(filters.weight)
    nn.init.ones_(filters.bias)


def filtered(layer: nn.Module, batch: GraphBatch) -> Tensor:
    """What a layer makes of some molecules when its filters pass everything."""
    pass_everything(layer)
    near = Neighbours.of(batch)
    pairs = torch.randn(len(near.target) // 2, 3, generator=torch.Generator().manual_seed(0))
    return layer(batch.node_features, near, pairs)


@pytest.mark.parametrize("layer", [GraphConvolution, SAGEConvolution, GINConvolution])
def test_filters_that_pass_everything_change_nothing(layer, molecules):
    batch = select(molecules.graphs, SOME, GNNConfig())
    torch.manual_seed(0)
    with_filters = layer(11, 8, 3)
    without = layer(11, 8, None)
    without.load_state_dict(
        {n: w for n, w in with_filters.state_dict().items() if not n.startswith("filter")}
    )
    expected = without(batch.node_features, Neighbours.of(batch), None)
    torch.testing.assert_close(filtered(with_filters, batch), expected)


def test_attention_whose_edges_say_nothing_is_that_of_pyg(molecules):
    batch = select(molecules.graphs, SOME, GNNConfig())
    layer = AttentionConvolution(11, 8, 2, 3)
    nn.init.zeros_(layer.score_edge.weight)
    nn.init.normal_(layer.bias)
    expected = one_head_of_pyg(layer)(batch.node_features, batch.edge_index)
    torch.testing.assert_close(filtered(layer, batch), expected)


# --- Edge features and heads, by hand --------------------------------------------------------


STAR = [(0, 1), (0, 2), (1, 0), (2, 0)]
"""Two neighbours of atom 0."""


def features_of(cutoff: float, batch: GraphBatch) -> Tensor:
    return PairFeatures(cutoff)(Neighbours.of(batch))


def test_the_features_of_pairs_are_those_worked_out_by_hand():
    """Cutoff 3.8 Angstrom: centres every 0.2. At 1.9, half way, the fade is 1/2; at 1.0 it is
    (cos(pi / 3.8) + 1) / 2, and the centres one and five spacings off are exp(-1/2), exp(-25/2)
    as high as the nearest."""
    positions = [[0.0, 0, 0], [0, 1.0, 0], [0, 0, 1.9]]
    batch = batch_of(positions, STAR, kinds=[2, NO_BOND, 2, NO_BOND])
    near, middle = features_of(3.8, batch)
    fade = (np.cos(np.pi / 3.8) + 1) / 2
    assert len(near) == PAIR_FEATURES == 24
    assert near[[0, 4, 5, 6, 10]].tolist() == pytest.approx(
        [fade * np.exp(-12.5), *fade * np.exp([-0.5, 0, -0.5]), fade * np.exp(-12.5)], rel=1e-4
    )  # float32: the spacing, 0.2, is rounded and its error is divided by 0.2 again
    assert middle[[9, 10]].tolist() == pytest.approx([0.5 * np.exp(-0.125)] * 2, rel=1e-4)
    assert near[20:].tolist() == [0, 0, 1, 0]
    assert middle[20:].tolist() == [0, 0, 0, 0]


def test_gaussians_have_faded_out_at_the_cutoff_and_beyond():
    features = features_of(2.5, batch_of([[0.0, 0, 0], [0, 2.5, 0], [0, 0, 2.6]], STAR))
    assert features[:, :20].abs().max() < 1e-6  # cos(pi) + 1 in 32 bits
    assert features[:, 20:].tolist() == [[1, 0, 0, 0]] * 2


def test_the_gaussians_of_a_model_fade_out_at_its_own_cutoff():
    batch = batch_of([[0.0, 0, 0], [0, 2.9, 0], [0, 0, 3.1]], STAR)
    features = model_of(GNNConfig(cutoff=3.0)).pair_features
    assert features is not None
    inside, outside = features(Neighbours.of(batch))[:, :20].abs().amax(dim=1).tolist()
    assert inside > 1e-3 > 1e-6 > outside


WATER = [[0.0, 0.0, 0.0], [0.0, 0.76, 0.59], [0.0, -0.76, 0.59]]
WATER_EDGES = [(0, 1), (0, 2), (1, 0), (2, 0)]
CHARGES = [[-0.8], [0.4], [0.4]]
"""Charges -0.8 and 0.4 e at these positions (Angstrom): 2 * 0.4 * 0.59 = 0.472 e Angstrom."""


def head_of(vectors: int = 1) -> DipoleHead:
    """The node features are the charge and the coefficients of the atomic dipoles themselves."""
    head = DipoleHead(1, vectors)
    head.charges = nn.Sequential(nn.Identity())
    return head


def moment_of(head: DipoleHead, features, batch: GraphBatch, pairs=None) -> list[float]:
    pairs = None if pairs is None else torch.tensor(pairs)
    x, near = torch.tensor(features), Neighbours.of(batch)
    return head(x, nn.Identity(), near, near.moments(pairs)).tolist()


def test_known_charges_have_their_known_dipole_moment():
    """0.472 e Angstrom are 2.267 D."""
    (moment,) = moment_of(head_of(), [[*q, 0.0] for q in CHARGES], batch_of(WATER, WATER_EDGES))
    assert moment == pytest.approx(0.472, rel=1e-6)
    assert moment * DEBYE == pytest.approx(2.267, abs=5e-4)


def test_charges_are_made_to_sum_to_zero_in_each_molecule():
    """Another constant on every atom of a molecule changes nothing, wherever it lies; a lone
    atom has no charge left."""
    far = [[x + 50.0, y, z] for x, y, z in WATER]
    positions = [*WATER, *far, [9.0, 9.0, 9.0]]
    charges = [*CHARGES, *[[charge + 7.0] for (charge,) in CHARGES], [3.0]]
    batch = batch_of(positions, [], graph=[0, 0, 0, 1, 1, 1, 2])
    moment = moment_of(head_of(), [[*charge, 1.0] for charge in charges], batch)
    # 50 Angstrom in 32 bits leave 4e-6 of a position and the charge 7 5e-7 of a charge.
    assert moment == pytest.approx([0.472, 0.472, 0.0], abs=5e-5)


def test_atomic_dipoles_are_made_of_unit_vectors_from_an_atom_to_its_neighbours():
    """Coefficients 1 and 3 on the z axis, 2 Angstrom apart: atom 0 has 1 along +z, atom 1 has 3
    along -z, together 2 whatever the distance."""
    batch = batch_of([[0.0, 0, 0], [0, 0, 2]], [(0, 1), (1, 0)])
    assert moment_of(head_of(), [[0.0, 1.0], [0.0, 3.0]], batch) == pytest.approx([2.0])


def test_charges_and_atomic_dipoles_add_up_with_their_signs():
    """The same two atoms: charges 3 and 1, less their mean, are 1 and -1 at 2 Angstrom, so 2
    along -z; with the 2 along -z of the dipoles that makes 4."""
    batch = batch_of([[0.0, 0, 0], [0, 0, 2]], [(0, 1), (1, 0)])
    assert moment_of(head_of(), [[3.0, 1.0], [1.0, 3.0]], batch) == pytest.approx([4.0])


def test_each_entry_of_the_vector_of_a_pair_weighs_its_own_coefficient():
    """A right angle at atom 0, whose coefficients are 2 and 5: along x lies a pair with the
    vector (1, 10), hence 2 + 50, along y one with (3, 0), hence 6. Atom 1, with 1 and 1, has 11
    along -x, so 41 are left. Atom 2 has none."""
    batch = batch_of([[0.0, 0, 0], [1.5, 0, 0], [0, 0.5, 0]], STAR)
    features = [[0.0, 2.0, 5.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    found = moment_of(head_of(2), features, batch, [[1.0, 10.0], [3.0, 0.0]])
    assert found == pytest.approx([(41**2 + 6**2) ** 0.5])


def test_the_mean_head_is_linear_in_the_mean_over_the_nodes_of_a_graph():
    head = MeanHead(2)
    nn.init.constant_(head.linear.weight, 2)
    nn.init.constant_(head.linear.bias, 1)
    batch = batch_of([[0.0, 0, 0]] * 3, [], graph=[0, 0, 1])
    x = torch.tensor([[1.0, 2], [3, 4], [10, 20]])
    assert head(x, nn.Identity(), Neighbours.of(batch)).tolist() == [
        1 + 2 * (2 + 3),
        1 + 2 * (10 + 20),
    ]


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


AS_PYG = (
    ("convolutions", "convs"),
    (r"lin_r\.bias", "lin_l.bias"),  # PyG adds GraphSAGE's bias on the neighbours' side
    (r"first\.", "nn.lins.0."),
    (r"second\.", "nn.lins.1."),
)


@pytest.mark.parametrize("family", PUBLISHED)
def test_the_homework_model_predicts_what_one_made_of_pyg_predicts(family: str, molecules):
    """Provenance: shared/references.md. Each convolution is followed by ReLU, PyG's models end
    without one, and so does the homework's GIN."""
    config = GNNConfig(**homework(family))
    ours = model_of(config)
    theirs = PUBLISHED[family]()
    theirs.load_state_dict(theirs.state_dict() | copied(ours.body, *AS_PYG))
    batch = as_pyg(molecules.graphs, SOME)
    batch.x[:, HYBRIDIZATION] = 0  # as published
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
    ours = config.chosen.body(config, 11, None)
    assert isinstance(ours, PlainBody)
    for parameter in ours.norms.parameters():
        nn.init.normal_(parameter)
    theirs = model(11, 8, 3, out_channels=8, dropout=0.3, norm="BatchNorm", jk="last")
    nn.init.eye_(theirs.lin.weight)
    nn.init.zeros_(theirs.lin.bias)
    names = (*AS_PYG, (r"norms\.(\d)", r"norms.\1.module"))
    theirs.load_state_dict(theirs.state_dict() | copied(ours, *names))
    batch = select(molecules.graphs)
    torch.manual_seed(1)
    found = ours(batch.node_features, Neighbours.of(batch), None)
    torch.manual_seed(1)
    torch.testing.assert_close(found, theirs(batch.node_features, batch.edge_index))
    assert (found == 0).float().mean() > 0.3  # ReLU and dropout were at work


def pygs(ours: nn.Module) -> GENConv:
    """PyG's own layer with the weights of ours."""
    theirs = GENConv(8, 8, learn_t=True, norm="layer")
    theirs.load_state_dict(ours.state_dict())
    return theirs


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
    layers: list[Any] = [
        DeepGCNLayer(pygs(block.conv), block.norm, nn.ReLU(), dropout=0.3) for block in blocks
    ]
    first, *others = layers
    torch.manual_seed(1)
    x = first.conv(body.encode(batch.node_features), batch.edge_index)
    for layer in others:
        x = layer(x, batch.edge_index)
    expected = torch.relu(first.norm(x))
    torch.manual_seed(1)
    found = body(batch.node_features, Neighbours.of(batch), None)
    torch.testing.assert_close(found, expected)


def test_deepgcn_may_be_as_wide_as_the_vectors_of_pairs(molecules):
    """PyG's layer adds vectors of its own width as they are, and is then left without weights of
    theirs."""
    config = GNNConfig(family="deepgcn", width=PAIR_FEATURES, depth=2)
    model = model_of(config)
    assert "body.blocks.0.conv.lin_edge.weight" in model.state_dict()
    assert torch.isfinite(model(select(molecules.graphs, SOME, config))).all()


# --- Symmetries and batches, for every family ------------------------------------------------

VARIANTS = list(product(KEYS, ["bonds", "distances"]))


def small(family: str, edges, **fields) -> GNNConfig:
    return GNNConfig(family=family, edges=edges, width=8, depth=3, **fields)


@pytest.mark.parametrize("head", ["dipole", "mean"])
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize(("family", "edges"), VARIANTS)
def test_predictions_are_invariant_to(move, family, edges, head, molecules):
    is_invariant(small(family, edges, head=head), move, molecules)


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize(("family", "edges"), VARIANTS)
def test_a_corrected_prior_turns_with_the_molecule(move, family, edges, molecules):
    is_invariant(small(family, edges, delta=True), move, with_made_up_prior(molecules))


@pytest.mark.parametrize("family", KEYS)
def test_a_prior_that_is_left_behind_spoils_the_invariance(family, molecules):
    """Which is proof that the test above would see it."""
    graphs, config = with_made_up_prior(molecules).graphs, small(family, "distances", delta=True)
    turned = replace(moved(graphs, rotation()), prior=graphs.prior)
    assert (predicted(config, turned) - predicted(config, graphs)).abs().max() > 1e-3


@pytest.mark.parametrize(("family", "edges"), VARIANTS)
def test_a_fresh_network_predicts_about_its_prior(family, edges, molecules):
    """It is in Debye, as the prediction is, whatever the target is standardised by."""
    graphs = with_made_up_prior(molecules).graphs
    assert graphs.prior is not None
    torch.manual_seed(0)
    config = small(family, edges, delta=True)
    model = GNN(config, Standardizer(mean=3.0, std=0.5)).eval()
    found = model(select(graphs, SOME, config)).detach().numpy()
    expected = np.linalg.norm(graphs.prior[SOME], axis=1)
    assert np.abs(found - expected).mean() < 0.2 * expected.std()


@pytest.mark.parametrize("move", ["rotation", "reflection", "translation"])
@pytest.mark.parametrize("family", KEYS)
def test_raw_positions_spoil_the_invariance(family, move, molecules):
    """As in the homework; and proof that the test above would see it."""
    config = small(family, "bonds", head="mean", raw_positions=True)
    apart = predicted(config, MOVES[move](molecules.graphs)) - predicted(config, molecules.graphs)
    assert apart.abs().max() > 1e-3


def test_raw_positions_leave_the_order_of_the_atoms_free(molecules):
    config = small("gcn", "bonds", head="mean", raw_positions=True)
    found = predicted(config, MOVES["atom order"](molecules.graphs))
    close(found, predicted(config, molecules.graphs))


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("head", ["dipole", "mean"])
@pytest.mark.parametrize(("family", "edges"), VARIANTS)
def test_a_batch_is_predicted_as_its_molecules_one_by_one(
    family, edges, head, normalization, molecules
):
    predicts_one_by_one(small(family, edges, head=head, normalization=normalization), molecules)


@pytest.mark.parametrize("head", ["dipole", "mean"])
@pytest.mark.parametrize("family", KEYS)
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


@pytest.mark.parametrize("family", KEYS)
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
}


@pytest.mark.parametrize(("family", "edges"), VARIANTS)
def test_every_parameter_is_trained_but_for_those_that_cannot_matter(family, edges, molecules):
    """In 64 bits, where what cancels is below 1e-14. The share of the target in GAT's attention
    cancels in the softmax too, wherever all scores of a node have one sign."""
    config = small(family, edges)
    model = model_of(config).double()
    model(doubled(select(molecules.graphs, SOME, config))).square().mean().backward()
    idle = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() < 1e-10
    }
    assert {name for name in idle if not name.endswith(("att_dst", "score_own"))} <= set(IDLE)
    assert family == "gin" or not any("norms" in name for name in idle)
