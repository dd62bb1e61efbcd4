"""A family of graph neural networks is one file and one entry in the tuple: all else follows.

The toy family below is the file; the fixture is the entry.
"""

from collections.abc import Iterator
from dataclasses import asdict

import pytest
import torch
from contracts import waits_of_a_step
from family_contracts import (
    MOVES,
    changes_the_fit,
    is_invariant,
    is_the_same_filled_up,
    learns_by_heart,
    outcome,
    predicts_one_by_one,
    repeats_itself,
    small,
    values_that_matter,
    with_made_up_prior,
)
from optuna.distributions import IntDistribution
from recorded_study import study_of, trial
from torch import Tensor, nn

from analysis import loss_curves, r2_table, style
from analysis.curves import Learning, curve
from analysis.published import of_dipoles
from benchmarks.gpu import OURS, molecule_loads
from benchmarks.inputs import Inputs
from benchmarks.stock import StockGNN, mirrored, mirrored_space
from datasets.errors import InputError
from datasets.sources import MoleculeSet
from engine.command import Command
from engine.command_line import parse
from engine.options import Options
from engine.space import Space, parameters_of
from studies.gnn_sweep import STUDY
from trainables.models import families
from trainables.models.adjacency import Adjacency
from trainables.models.family import BodyConfig, Family, PublishedR2
from trainables.models.filters import filter_layer, neighbour_sum
from trainables.models.gnn import GNNConfig, homework
from trainables.models.homework import homework as protocol
from trainables.models.plain_body import PlainBody
from trainables.molecules import MoleculeTask


class ToyConvolution(nn.Module):
    """``x'_i = W x_i + sum_j f_ij * W x_j / (1 + degree) + b``."""

    def __init__(self, width_in: int, width: int, pair_features: int | None) -> None:
        super().__init__()
        self.lin = nn.Linear(width_in, width)
        self.filter = filter_layer(pair_features, width)

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, W_in), vectors of pairs (P, features) or None -> (N, W)."""
        x = self.lin(x)
        return x + neighbour_sum(x, near, self.filter, pairs) / (near.degree + 1)


def toy_body(config: BodyConfig, features: int, pair_features: int | None) -> PlainBody:
    """Is as wide between the convolutions as its heads together."""
    between = config.heads * config.width
    return PlainBody(config, features, pair_features, ToyConvolution, between)


TOY = Family(
    key="toy",
    title="ToyNet",
    body=toy_body,
    depth=IntDistribution(2, 3),
    deepest=4,
    homework=protocol(depth=4),
    further={"heads": IntDistribution(1, 2)},
    published=PublishedR2(0.123, "this test"),
)


@pytest.fixture(autouse=True)
def toy_is_an_entry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts the toy family into the tuple, and has the configuration made of it anew."""
    before = families.FAMILIES
    monkeypatch.setattr(families, "FAMILIES", (*before, TOY))
    GNNConfig.__init_subclass__(families=families.FAMILIES)
    yield
    GNNConfig.__init_subclass__(families=before)


# --- What it is called, where it is searched, what is refused -----------------------------------


def test_it_is_compared_and_searched_in_its_own_ranges() -> None:
    space = Space.of(GNNConfig, "family", {})
    assert space.compared == ("gcn", "gat", "sage", "gin", "deepgcn", "painn", "toy")
    assert space.default("toy") == GNNConfig(family="toy")
    ranges = {p.key: p.distribution for p in space.parameters if p.applies(asdict(small("toy")))}
    assert ranges["depth_toy"] == IntDistribution(2, 3)
    assert ranges["heads_toy"] == IntDistribution(1, 2)
    assert {"depth", "depth_deepgcn", "heads"}.isdisjoint(ranges)


def test_the_parameters_of_the_others_stay_as_they_are() -> None:
    """Recorded studies go on by their names."""
    before = parameters_of(GNNConfig)
    GNNConfig.__init_subclass__(families=families.FAMILIES[:-1])
    for parameter in parameters_of(GNNConfig):
        assert parameter in before or parameter.field == "family"


def test_the_command_line_takes_it() -> None:
    typed = ["--family", "toy", "gin", "--heads", "2"]
    line = parse(typed, STUDY.question, STUDY.data_options, STUDY.config)
    assert line.given == {"family": ["toy", "gin"], "heads": [2]}
    with pytest.raises(InputError, match=r"choose from 'gcn', .*'painn', 'toy'"):
        parse(["--family", "mpnn"], STUDY.question, STUDY.data_options, STUDY.config)


def test_its_preset_is_that_of_its_file() -> None:
    command = Command(STUDY, Options(preset="homework"), STUDY.data_options(), {}, [])
    config = command.space({}).default("toy")
    assert config == GNNConfig(**homework("toy"))
    assert asdict(config).items() >= {"family": "toy", "depth": 4, "edges": "bonds"}.items()


def test_its_bounds_are_said_by_name() -> None:
    assert GNNConfig(family="toy", depth=4).depth == 4
    with pytest.raises(InputError, match="depth is 5: expected 2 to 4 for toy"):
        GNNConfig(family="toy", depth=5)
    with pytest.raises(
        InputError, match="expected one of gcn, gat, sage, gin, deepgcn, painn, toy"
    ):
        GNNConfig(family="mpnn")


def test_tables_and_figures_write_its_title() -> None:
    study = study_of([trial(0, GNNConfig(family="toy"), 0.5)])
    assert style.title("toy") == "ToyNet"
    row = r2_table.Row("toy", None, None, "no finished trial")
    *_, line, _, _ = r2_table.markdown([row], study).splitlines()
    assert line.startswith("| ToyNet | —     | no finished trial |")
    learning = Learning(
        quantity="error (D²)",
        name="mse",
        unit="D²",
        train=lambda each: curve(each, "train/loss"),
        validation=lambda each: curve(each, "validation/mse"),
        caption="How it learned.",
    )
    figure = loss_curves._draw([loss_curves.Panel("toy", None, None)], learning)
    assert figure.axes[0].get_title() == "ToyNet"


def test_its_published_figure_stands_beside_a_study() -> None:
    published = of_dipoles(study_of([trial(0, GNNConfig(family="toy"), 0.5)]))
    told = [(model, figure, source) for model, figure, _, source in published.rows]
    assert ("ToyNet", "R² 0.123", "this test") in told


# --- What it does -------------------------------------------------------------------------------


@pytest.mark.usefixtures("on_each_device")
def test_every_field_changes_its_fit(molecules: MoleculeSet) -> None:
    molecules, held = with_made_up_prior(molecules), values_that_matter("toy")
    assert (held["depth"], held["heads"]) == ((2, 3), (1, 2))
    for field, values in held.items():
        changes_the_fit("toy", field, values, molecules)
    assert outcome(small("toy"), molecules) != outcome(small("sage"), molecules)


@pytest.mark.usefixtures("on_each_device")
def test_it_repeats_itself_and_learns(molecules: MoleculeSet) -> None:
    repeats_itself("toy", molecules)
    learns_by_heart("toy", "distances", "dipole", molecules)


@pytest.mark.parametrize("edges", ["bonds", "distances"])
@pytest.mark.parametrize("move", MOVES)
def test_its_predictions_are_invariant(move: str, edges: str, molecules: MoleculeSet) -> None:
    is_invariant(small("toy", edges=edges), move, molecules)


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("edges", ["bonds", "distances"])
def test_its_batches_are_filled_up_or_not_and_never_mixed(
    edges: str, normalization: str, molecules: MoleculeSet
) -> None:
    config = small("toy", edges=edges, normalization=normalization, cutoff=3.0)
    is_the_same_filled_up(config, molecules)
    predicts_one_by_one(config, molecules)


@pytest.mark.usefixtures("on_each_device")
def test_its_steps_never_wait_for_a_gpu(
    molecules: MoleculeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def task(config: GNNConfig, device: torch.device) -> MoleculeTask:
        return MoleculeTask(molecules, config, device)

    assert waits_of_a_step(task, small("toy"), monkeypatch) == []


# --- What the benchmarks make of it -------------------------------------------------------------


def test_benchmarks_beside_pyg_leave_out_what_is_not_made_of_its_layers(
    molecules: MoleculeSet,
) -> None:
    assert mirrored() == ["gcn", "gat", "sage", "gin", "deepgcn"]
    assert mirrored_space(epochs=1).compared == tuple(mirrored())
    inputs = Inputs(molecules.graphs, molecules.split, "molecules")
    ways = [load.way for load in molecule_loads(inputs, ["toy"], epochs=1)]
    assert OURS in ways and "PyG's loop" not in ways
    with pytest.raises(InputError, match="toy is not written with PyG's own layers: expected one"):
        StockGNN(GNNConfig(family="toy"), 0.0, 1.0)
