"""Atom features and bonds: by hand, and against PyG's own code for QM9."""

import re

import numpy as np
import pyarrow as pa
import pytest
from raw_qm9 import write_raw
from rdkit import Chem
from torch_geometric.data import Data
from torch_geometric.datasets import QM9

from datasets import features
from datasets.conformers import conformer
from datasets.errors import InputError
from datasets.features import molecule_graphs
from datasets.graphs import NODE_FEATURES, Graphs
from datasets.molecules import molecule_table, ragged

PYG_MOLECULES = 50

WATER = conformer("O", seed=0)


def table(*smiles: str, mu=None, **replaced) -> pa.Table:
    """Real geometries of some molecules, or what `replaced` says instead of them."""
    numbers, positions = zip(*[conformer(each, seed=0) for each in smiles], strict=True)
    columns = {"smiles": smiles, "atomic_numbers": numbers, "positions": positions, **replaced}
    values = np.arange(len(smiles)) if mu is None else np.array(mu)
    return molecule_table(**columns, targets={"mu": (values, "D")})


def permuted(order, smiles="CCO"):
    """Structure of one molecule with its atoms in another order than the SMILES lists them."""
    numbers, positions = conformer(smiles, seed=0)
    return numbers[order], positions[order]


def nodes_of(graphs: Graphs, graph: int) -> np.ndarray:
    return graphs.node_features[slice(*graphs.node_offsets[graph : graph + 2])]


def edges_of(graphs: Graphs, graph: int) -> list[tuple[int, ...]]:
    """(source, target, type) of each edge, in order."""
    edges = slice(*graphs.edge_offsets[graph : graph + 2])
    return list(
        zip(*graphs.edge_index[:, edges].tolist(), graphs.edge_types[edges].tolist(), strict=True)
    )


# Columns: H C N O F | atomic number | aromatic | sp sp2 sp3 | hydrogens. RDKit numbers the heavy
# atoms as the SMILES writes them, then the hydrogens of the first of them, of the second, ...
BY_HAND = {
    "C#N": (  # hydrogen cyanide: both heavy atoms linear, hence sp; a triple bond is type 2
        [
            [0, 1, 0, 0, 0, 6, 0, 1, 0, 0, 1],
            [0, 0, 1, 0, 0, 7, 0, 1, 0, 0, 0],
            [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        ],
        [(0, 1, 2), (0, 2, 0), (1, 0, 2), (2, 0, 0)],
    ),
    "NC=O": (  # formamide: the amide's nitrogen is planar, sp2; a double bond is type 1
        [
            [0, 0, 1, 0, 0, 7, 0, 0, 1, 0, 2],
            [0, 1, 0, 0, 0, 6, 0, 0, 1, 0, 1],
            [0, 0, 0, 1, 0, 8, 0, 0, 1, 0, 0],
            [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
            [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
            [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        ],
        [
            *[(0, 1, 0), (0, 3, 0), (0, 4, 0)],
            *[(1, 0, 0), (1, 2, 1), (1, 5, 0)],
            *[(2, 1, 1), (3, 0, 0), (4, 0, 0), (5, 1, 0)],
        ],
    ),
    "CF": (  # fluoromethane: carbon tetrahedral, sp3, and so is fluorine with its lone pairs
        [
            [0, 1, 0, 0, 0, 6, 0, 0, 0, 1, 3],
            [0, 0, 0, 0, 1, 9, 0, 0, 0, 1, 0],
            *[[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]] * 3,
        ],
        [
            *[(0, 1, 0), (0, 2, 0), (0, 3, 0), (0, 4, 0)],
            *[(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0)],
        ],
    ),
    "o1cccc1": (  # furan: all five ring atoms aromatic and sp2; an aromatic bond is type 3
        [
            [0, 0, 0, 1, 0, 8, 1, 0, 1, 0, 0],
            *[[0, 1, 0, 0, 0, 6, 1, 0, 1, 0, 1]] * 4,
            *[[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]] * 4,
        ],
        [
            *[(0, 1, 3), (0, 4, 3), (1, 0, 3), (1, 2, 3), (1, 5, 0), (2, 1, 3), (2, 3, 3)],
            *[(2, 6, 0), (3, 2, 3), (3, 4, 3), (3, 7, 0), (4, 0, 3), (4, 3, 3), (4, 8, 0)],
            *[(5, 1, 0), (6, 2, 0), (7, 3, 0), (8, 4, 0)],
        ],
    ),
}


@pytest.mark.parametrize("smiles", BY_HAND)
def test_features_and_bonds_are_those_written_out_by_hand(smiles, tmp_path):
    nodes, edges = BY_HAND[smiles]
    graphs = molecule_graphs(table("O", smiles), "mu", tmp_path)  # not first: offsets count
    assert nodes_of(graphs, 1).tolist() == nodes
    assert edges_of(graphs, 1) == edges


def with_bonds(rows: pa.Table, bonds: list[list[int]]) -> pa.Table:
    return rows.append_column("bonds", pa.array(bonds, pa.list_(pa.int8())))


FORMAMIDE = [1, 2, 1, 0, 1, 0, 5, 1, 0, 3, 0, 0, 0, 4, 0]
"""N C O H H H, its bonds once each, in no order and in either direction."""


def test_listed_bonds_are_taken_as_they_are_and_perceive_nothing(tmp_path):
    """Hydroxymethylene for formaldehyde: the SMILES says otherwise and is not asked."""
    rows = with_bonds(table("NC=O", "C=O"), [FORMAMIDE, [0, 1, 3, 1, 2, 0, 0, 3, 0]])
    graphs = molecule_graphs(rows, "mu", tmp_path, parallel=refused)
    assert nodes_of(graphs, 0).tolist() == [
        [0, 0, 1, 0, 0, 7, 0, 0, 0, 0, 2],
        [0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0, 8, 0, 0, 0, 0, 0],
        *[[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]] * 3,
    ]
    assert edges_of(graphs, 0) == BY_HAND["NC=O"][1]
    assert nodes_of(graphs, 1)[:, -1].tolist() == [1, 1, 0, 0]
    assert edges_of(graphs, 1) == [
        (0, 1, 3),
        (0, 3, 0),
        (1, 0, 3),
        (1, 2, 0),
        (2, 1, 0),
        (3, 0, 0),
    ]
    assert graphs.rows.tolist() == [0, 1]


def test_listed_bonds_give_the_edges_that_the_smiles_give(molecules, molecule_rows, tmp_path):
    """Each bond once, in one direction or the other."""
    rng = np.random.default_rng(0)
    bonds = []
    for graph in range(len(molecules.graphs)):
        edges = np.array([edge for edge in edges_of(molecules.graphs, graph) if edge[0] < edge[1]])
        turned = rng.random(len(edges)) < 0.5
        edges[turned] = edges[turned][:, [1, 0, 2]]
        bonds.append(rng.permutation(edges).reshape(-1).tolist())
    graphs = molecule_graphs(with_bonds(molecule_rows, bonds), "mu", tmp_path, parallel=refused)
    for name, array in vars(graphs).items():
        expected = getattr(molecules.graphs, name)
        if name == "node_features":
            perceived = [6, 7, 8, 9]
            assert not array[:, perceived].any()
            array, expected = (np.delete(each, perceived, axis=1) for each in (array, expected))
        np.testing.assert_array_equal(array, expected, err_msg=name, strict=True)


@pytest.mark.parametrize("twice", [[0, 1, 0], [1, 0, 0], [1, 0, 1]])
def test_a_bond_that_is_listed_twice_is_refused(twice, tmp_path):
    rows = with_bonds(table("C#N", "O"), [[0, 1, 2], [0, 1, 0, 0, 2, 0, *twice]])
    with pytest.raises(InputError, match="row 1 lists the bond between atoms 0 and 1 twice"):
        molecule_graphs(rows, "mu", tmp_path)


def test_a_bond_may_repeat_in_the_next_molecule_and_between_other_atoms(tmp_path):
    rows = with_bonds(table("O", "O"), [[0, 2, 0], [0, 2, 0, 0, 1, 0]])
    graphs = molecule_graphs(rows, "mu", tmp_path)
    assert graphs.edge_offsets.tolist() == [0, 2, 6]


@pytest.mark.parametrize("listed", [False, True])
def test_a_row_without_an_atom_is_refused(listed, tmp_path):
    water = conformer("O", seed=0)
    none = (np.empty(0), np.empty((0, 3)))
    numbers, positions = zip(water, none, strict=True)
    rows = table("O", "C", atomic_numbers=numbers, positions=positions)
    rows = with_bonds(rows, [[0, 1, 0, 0, 2, 0], []]) if listed else rows
    with pytest.raises(InputError, match="row 1 has no atom: remove it"):
        molecule_graphs(rows, "mu", tmp_path)


@pytest.fixture(scope="module")
def pyg_molecules(molecule_rows: pa.Table, tmp_path_factory) -> list[Data]:
    """What `torch_geometric.datasets.QM9.process` makes of the first generated molecules.

    With one change: PyG reads the molecules without sanitising them, for which RDKit fills in
    neither hybridisation nor aromaticity (pyg-team/pytorch_geometric#8370, open); here it does.
    """
    raw = tmp_path_factory.mktemp("pyg") / "raw"
    write_raw(molecule_rows.slice(0, PYG_MOLECULES), raw, left_out=[])
    supplier = Chem.SDMolSupplier
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chem, "SDMolSupplier", lambda path, **_: supplier(path, removeHs=False))
        found = QM9(str(raw.parent))
    return [data for data in found if isinstance(data, Data)]


def test_features_and_bonds_equal_those_of_pyg_for_sanitised_molecules(molecules, pyg_molecules):
    graphs = molecules.graphs
    assert len(pyg_molecules) == PYG_MOLECULES
    for graph, data in enumerate(pyg_molecules):
        assert data.x is not None and data.edge_index is not None and data.edge_attr is not None
        np.testing.assert_array_equal(nodes_of(graphs, graph), data.x.numpy())
        edges = slice(*graphs.edge_offsets[graph : graph + 2])
        np.testing.assert_array_equal(graphs.edge_index[:, edges], data.edge_index.numpy())
        one_hot = np.eye(4)[graphs.edge_types[edges]]
        np.testing.assert_array_equal(one_hot, data.edge_attr.numpy())


def test_the_compared_molecules_show_every_feature_and_bond_type(molecules):
    nodes, edges = (offsets[PYG_MOLECULES] for offsets in offsets_of(molecules.graphs))
    seen = molecules.graphs.node_features[:nodes]
    assert (seen.max(axis=0) > 0).all() and seen.shape[1] == NODE_FEATURES
    assert set(molecules.graphs.edge_types[:edges].tolist()) == {0, 1, 2, 3}


def offsets_of(graphs: Graphs) -> tuple[np.ndarray, np.ndarray]:
    return graphs.node_offsets, graphs.edge_offsets


def test_positions_and_targets_are_those_of_the_table(molecules, molecule_rows):
    graphs = molecules.graphs
    positions, offsets = ragged(molecule_rows, "positions")
    np.testing.assert_array_equal(graphs.positions, positions.reshape(-1, 3))
    np.testing.assert_array_equal(graphs.node_offsets, offsets // 3)
    np.testing.assert_array_equal(graphs.targets, molecule_rows.column("mu").to_numpy())


PERMUTED = {
    "other elements": ("CCO", [2, 1, 0, *range(3, 9)]),
    "equal elements, far apart": ("CCO", [0, 1, 2, 8, 4, 5, 6, 7, 3]),
    "backwards": ("CCO", [*range(8, -1, -1)]),
    "QM9's order of a charged molecule": (
        "C[NH+](C)[O-]",
        [0, 1, 7, 2, 3, 4, 5, 6, 8, 9, 10],
    ),
}
"""Ethanol is C C O and hydrogens 3 4 5 (methyl) 6 7 (methylene) 8 (hydroxyl); trimethylamine's
oxide with a methyl less is C N C O and hydrogens 4 5 6 (methyl) 7 (nitrogen) 8 9 10 (methyl)."""


@pytest.mark.parametrize("case", PERMUTED)
def test_atoms_are_in_the_order_of_the_positions(case, tmp_path):
    smiles, order = PERMUTED[case]
    expected = molecule_graphs(table(smiles), "mu", tmp_path)
    numbers, positions = permuted(order, smiles)
    rows = table("O", smiles, atomic_numbers=[WATER[0], numbers], positions=[WATER[1], positions])
    graphs = molecule_graphs(rows, "mu", tmp_path)
    np.testing.assert_array_equal(graphs.positions, np.concatenate([WATER[1], positions]))
    np.testing.assert_array_equal(nodes_of(graphs, 1), expected.node_features[order])
    edges = [(order[source], order[target], kind) for source, target, kind in edges_of(graphs, 1)]
    assert sorted(edges) == edges_of(expected, 0)


def isomer():
    """Structure of dimethyl ether, its elements in the order of ethanol's."""
    return permuted([0, 2, 1, *range(3, 9)], "COC")


def incomplete():
    """Structure of ethanol without its last atom."""
    return permuted([*range(8)])


def torn():
    """Structure of ethanol with its first atom far away."""
    numbers, positions = conformer("CCO", seed=0)
    positions[0] += 10
    return numbers, positions


def collapsed():
    """Structure of ethanol with all of its atoms in one place."""
    numbers, positions = conformer("CCO", seed=0)
    return numbers, 0 * positions


def stacked():
    """Structure of ethanol with one hydrogen upon another, which no bond is too long for."""
    numbers, positions = conformer("CCO", seed=0)
    positions[4] = positions[3]
    return numbers, positions


def in_nanometres():
    """Structure of ethanol in a tenth of its size."""
    numbers, positions = conformer("CCO", seed=0)
    return numbers, positions / 10


def too_near():
    """Structure of ethanol with its last hydrogen 0.49 Angstrom from the oxygen."""
    numbers, positions = conformer("CCO", seed=0)
    bond = positions[8] - positions[2]
    positions[8] = positions[2] + 0.49 * bond / np.linalg.norm(bond)
    return numbers, positions


NO_GEOMETRIES = [collapsed, stacked, in_nanometres, too_near]


@pytest.mark.parametrize("unfit", [isomer, incomplete, torn, *NO_GEOMETRIES])
def test_a_molecule_whose_positions_do_not_fit_its_smiles_is_left_out(unfit, tmp_path):
    smiles = ["O", "CCO", "C#N"]
    shapes = [WATER, unfit(), conformer("C#N", seed=0)]
    numbers, positions = zip(*shapes, strict=True)
    rows = table(*smiles, atomic_numbers=numbers, positions=positions, mu=[1.8, 1.7, 3.0])
    graphs = molecule_graphs(rows, "mu", tmp_path)
    assert graphs.rows.tolist() == [0, 2]
    assert graphs.targets.tolist() == [1.8, 3.0]
    np.testing.assert_array_equal(graphs.positions, np.concatenate([positions[0], positions[2]]))
    assert nodes_of(graphs, 1).tolist() == BY_HAND["C#N"][0]
    assert edges_of(graphs, 1) == BY_HAND["C#N"][1]


ETHANOL = [0, 1, 0, 1, 2, 0, 0, 3, 0, 0, 4, 0, 0, 5, 0, 1, 6, 0, 1, 7, 0, 2, 8, 0]


@pytest.mark.parametrize("unfit", NO_GEOMETRIES)
def test_listed_bonds_do_not_make_a_geometry(unfit, tmp_path):
    shapes = [WATER, unfit(), conformer("C#N", seed=0)]
    numbers, positions = zip(*shapes, strict=True)
    smiles, bonds = ["O", "CCO", "C#N"], [[0, 1, 0, 0, 2, 0], ETHANOL, [0, 1, 2, 0, 2, 0]]
    rows = table(*smiles, atomic_numbers=numbers, positions=positions, mu=[1.8, 1.7, 3.0])
    graphs = molecule_graphs(with_bonds(rows, bonds), "mu", tmp_path)
    expected = with_bonds(table("O", "C#N", mu=[1.8, 3.0]), [bonds[0], bonds[2]])
    for name, array in vars(molecule_graphs(expected, "mu", tmp_path)).items():
        found = getattr(graphs, name)
        if array is None:  # no prior
            assert found is None
            continue
        assert found.dtype == array.dtype, name
        np.testing.assert_array_equal(found, [0, 2] if name == "rows" else array, name)


def test_the_nearest_atoms_that_there_are_are_a_geometry(tmp_path):
    """Hydrogen's molecule, 0.74 Angstrom long."""
    shape = [np.array([1, 1])], [np.array([[0, 0, 0], [0, 0, 0.74]])]
    rows = table("[H][H]", atomic_numbers=shape[0], positions=shape[1])
    assert molecule_graphs(rows, "mu", tmp_path).rows.tolist() == [0]


def test_graphs_that_were_kept_with_collapsed_molecules_are_not_met_again(tmp_path):
    """Versions before this one kept them under the plain name."""
    numbers, positions = collapsed()
    rows = table("O", "CCO", atomic_numbers=[WATER[0], numbers], positions=[WATER[1], positions])
    assert features.digest_of(rows, "mu").endswith(f"-v{features.VERSION}-less-1")
    assert features.digest_of(table("O"), "mu").endswith(f"-v{features.VERSION}")


@pytest.mark.parametrize("listed", [False, True])
def test_a_molecule_of_too_many_atoms_is_refused(listed, tmp_path):
    numbers = [WATER[0], np.full(features.MOST_ATOMS + 1, 6)]
    positions = [WATER[1], np.zeros((features.MOST_ATOMS + 1, 3))]
    rows = table("O", "C", atomic_numbers=numbers, positions=positions)
    rows = with_bonds(rows, [[0, 1, 0], [0, 1, 0]]) if listed else rows
    with pytest.raises(InputError, match="row 1 has 301 atoms: expected at most 300"):
        molecule_graphs(rows, "mu", tmp_path, parallel=refused)


@pytest.mark.parametrize(
    ("smiles", "kind"),
    [("C~N", "UNSPECIFIED|ZERO"), ("CN |Z:0|", "ZERO")],
)
def test_a_bond_of_no_type_of_ours_is_refused_by_row(smiles, kind, tmp_path):
    rows = table("O", "C", smiles=["O", smiles])
    said = f"row 1: the SMILES .* has a bond of RDKit's type ({kind}), expected single, double"
    with pytest.raises(InputError, match=said):
        molecule_graphs(rows, "mu", tmp_path)


def test_a_dative_bond_counts_as_single(tmp_path):
    """Trimethylamine's oxide, in the two ways to write it."""
    shape = conformer("C[N+](C)(C)[O-]", seed=0)
    rows = table(
        *("O", "O"),
        smiles=["C[N+](C)(C)[O-]", "CN(C)(C)->[O]"],
        atomic_numbers=[shape[0]] * 2,
        positions=[shape[1]] * 2,
    )
    graphs = molecule_graphs(rows, "mu", tmp_path)
    assert graphs.rows.tolist() == [0, 1]
    assert edges_of(graphs, 0) == edges_of(graphs, 1)


def test_a_table_in_which_no_positions_fit_is_refused(tmp_path):
    numbers, positions = isomer()
    rows = table("CCO", atomic_numbers=[numbers], positions=[positions])
    with pytest.raises(InputError, match="in no row do the positions fit the SMILES"):
        molecule_graphs(rows, "mu", tmp_path)


@pytest.mark.parametrize("listed", [False, True])
def test_another_element_is_refused_by_row_and_smiles_before_any_work(listed, tmp_path):
    rows = table("O", "CCl")
    rows = with_bonds(rows, [[0, 1, 0], [0, 1, 0]]) if listed else rows
    with pytest.raises(InputError, match=r"row 1 \(CCl\) has atomic number\(s\) \[17\]: expected"):
        molecule_graphs(rows, "mu", tmp_path, parallel=refused)


def test_a_smiles_that_rdkit_rejects_is_refused_by_row_and_in_silence(tmp_path, capfd):
    rows = table("O", "C#N", "C", smiles=["O", "C#N", "C(C)(C)(C)(C)C"])
    with pytest.raises(InputError, match=r"row 2: RDKit rejects the SMILES 'C\(C\)\(C\)"):
        molecule_graphs(rows, "mu", tmp_path)
    assert capfd.readouterr().err == ""


def test_refusals_name_the_row_of_the_table_not_of_the_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "CHUNK", 2)
    with pytest.raises(InputError, match=r"row 4 \(CS\)"):
        molecule_graphs(table("O", "C", "N", "C#N", "CS"), "mu", tmp_path)


def assert_equal(graphs: Graphs, others: Graphs) -> None:
    for name, array in vars(graphs).items():
        np.testing.assert_array_equal(array, getattr(others, name), err_msg=name)


@pytest.mark.parametrize("size", [1, 7, 50, 120])
def test_chunks_do_not_change_the_graphs(size, molecules, molecule_rows, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "CHUNK", size)
    assert_equal(molecule_graphs(molecule_rows, "mu", tmp_path), molecules.graphs)


def test_chunks_of_which_nothing_is_left_do_not_change_the_graphs(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "CHUNK", 1)
    numbers, positions = isomer()
    rows = table(
        *("CCO", "O", "CCO"),
        atomic_numbers=[numbers, WATER[0], numbers],
        positions=[positions, WATER[1], positions],
    )
    assert molecule_graphs(rows, "mu", tmp_path).rows.tolist() == [1]


def refused(function, items):
    raise AssertionError(f"{function.__name__} was asked for {len(items)} chunks")


def test_the_cache_is_used_again_and_a_changed_table_makes_another(tmp_path):
    first = molecule_graphs(table("O", "C#N"), "mu", tmp_path)
    assert_equal(molecule_graphs(table("O", "C#N"), "mu", tmp_path, parallel=refused), first)
    with pytest.raises(AssertionError, match="asked for 1 chunks"):
        molecule_graphs(table("O", "C#N", mu=[0.0, 1.5]), "mu", tmp_path, parallel=refused)
    molecule_graphs(table("O", "C#N", mu=[0.0, 1.5]), "mu", tmp_path)
    assert len(list(tmp_path.glob("graphs-*-mu"))) == 2


def test_other_features_give_another_digest_and_another_cache(tmp_path, monkeypatch):
    rows = table("O", "C")
    before = features.digest_of(rows, "mu")
    molecule_graphs(rows, "mu", tmp_path)
    monkeypatch.setattr(features, "VERSION", features.VERSION + 1)
    assert features.digest_of(rows, "mu") != before
    molecule_graphs(rows, "mu", tmp_path)
    assert len(list(tmp_path.glob("graphs-*-mu"))) == 2


def test_the_cache_takes_a_target_whose_name_has_a_slash(tmp_path):
    rows = table("O", "C#N").rename_columns(["smiles", "atomic_numbers", "positions", "mu/D"])
    molecule_graphs(rows, "mu/D", tmp_path)
    assert len(molecule_graphs(rows, "mu/D", tmp_path, parallel=refused)) == 2
    assert all(folder.name.startswith("graphs-") for folder in tmp_path.iterdir())


@pytest.mark.parametrize(
    "target", ["a/../../b", "/etc/b", "..", "a\\b", "gap (eV)", "µ", "x" * 300, "a\nb", "", "a:b"]
)
def test_the_cache_stays_in_its_folder_whatever_a_target_is_called(target, tmp_path):
    rows = table("O", "C#N").rename_columns(["smiles", "atomic_numbers", "positions", target])
    molecule_graphs(rows, target, tmp_path / "cache")
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    assert (folder / "targets.npy").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert re.fullmatch(r"graphs-[0-9a-f]{16}-v\d+-([0-9a-f]{16}|\.\.)", folder.name)


def test_the_cache_of_a_plain_target_has_its_name(tmp_path):
    rows = table("O", "C#N")
    molecule_graphs(rows, "mu", tmp_path)
    assert (tmp_path / f"graphs-{features.digest_of(rows, 'mu')}-mu").is_dir()
