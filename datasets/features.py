"""Turns a molecule table into `Graphs`, with the bonds and atom features of PyG's QM9.

A table that lists its bonds gets exactly the features that PyG computes for QM9. PyG reads its
molecules without RDKit's sanitisation, which leaves aromaticity and hybridisation of every atom at
zero, even at a bond that the file calls aromatic (pyg-team/pytorch_geometric#8370, open). For any
other table RDKit derives bonds, aromaticity and hybridisation from the SMILES.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from rdkit import Chem, RDLogger

from datasets.atom_order import in_order_of
from datasets.cache import Cache
from datasets.errors import InputError
from datasets.graphs import Graphs
from datasets.molecules import BONDS, fingerprint, ragged, target_values
from datasets.pairs import find_collisions
from datasets.parallel import ParallelMap

VERSION = 2
"""Version of the features, part of the digest, and thereby of the cache's name and a study's
identity; to be raised when the features of a molecule change."""

ATOMS = {1: 0, 6: 1, 7: 2, 8: 3, 9: 4}
"""Atomic number -> index in the one-hot encoding, which comes first in the features."""

MOST_ATOMS = 300
"""Largest number of atoms of a molecule, hydrogens included; a batch's memory grows with its
square."""

NEAREST = 0.5
"""Smallest plausible distance of two atoms, in Angstrom; in H2 it is 0.74. If two atoms are
closer, the positions are not a geometry: they are all zero, for example, or in another unit."""

BOND_PLACES = {
    Chem.BondType.SINGLE: 0,
    Chem.BondType.DATIVE: 0,  # counts as one bond in RDKit's valences too
    Chem.BondType.DOUBLE: 1,
    Chem.BondType.TRIPLE: 2,
    Chem.BondType.AROMATIC: 3,
}
"""RDKit's bond type -> edge type, see `datasets.graphs.BOND_TYPES`."""

CHUNK = 500
"""Molecules per work item: about half a second on one core."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a molecule table, as plain arrays that can be sent to another process.

    Attributes:
        first_row: Number of the first row in the table.
        smiles: One SMILES per row.
        atomic_numbers: (atoms,), all rows one after the other.
        positions: (atoms, 3) float32, Angstrom.
        offsets: (rows + 1,), row r has the atoms offsets[r] to offsets[r + 1].
    """

    first_row: int
    smiles: list[str]
    atomic_numbers: np.ndarray
    positions: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class Featurised:
    """The result of `featurise_molecules` for a chunk: parts of `Graphs`, with sizes in place of
    offsets.

    Attributes:
        rows: (molecules,) int64, table rows of the molecules that were featurised.
        nodes: (molecules,) int64, number of nodes of each.
        edges: (molecules,) int64, number of edges of each.
        node_features: (all nodes, 11) int8.
        edge_index: (2, all edges) int32, source and target within each molecule.
        edge_types: (all edges,) int8.
    """

    rows: np.ndarray
    nodes: np.ndarray
    edges: np.ndarray
    node_features: np.ndarray
    edge_index: np.ndarray
    edge_types: np.ndarray


def molecule_graphs(
    table: pa.Table, target: str, cache: Path | Cache, parallel: ParallelMap = map
) -> Graphs:
    """Returns the graphs of a molecule table, memory-mapped from the cache; makes them if needed.

    Molecules with two atoms closer than `NEAREST` are left out, and, if the table does not list
    bonds, molecules whose SMILES does not fit the positions (2 of 120,000 of QM9). `Graphs.rows`
    holds the rows that were kept.

    Args:
        table: A molecule table, see `datasets.molecules`.
        target: Name of the target.
        cache: Cache of the graphs; entries are named after the table's content, so that a changed
            table never meets old graphs.
        parallel: Maps RDKit over the SMILES, see `ParallelMap`.

    Raises:
        InputError: If RDKit rejects a SMILES, an element is not H, C, N, O or F, a molecule has
            more than `MOST_ATOMS`, a bond is listed twice or is of an unknown type, no molecule is
            left, or the target is missing or not finite.
    """

    def make(folder: Path) -> None:
        featurise(table, target_values(table, target), parallel).save(folder)

    name = f"graphs-{digest_of(table, target)}-{_file_name(target)}"
    return Graphs.load(Cache.of(cache).get(name, make))


def _file_name(target: str) -> str:
    """Returns a target's name if it is a valid file name on any system, else its digest."""
    plain = re.fullmatch(r"[A-Za-z0-9_.+-]{1,60}", target)
    return target if plain else hashlib.sha256(target.encode()).hexdigest()[:16]


def featurise(table: pa.Table, targets: np.ndarray, parallel: ParallelMap = map) -> Graphs:
    """Makes the graphs of a molecule table, without a cache; see `molecule_graphs`.

    Args:
        table: A molecule table.
        targets: (rows,) float64, in the target's unit.
        parallel: Maps RDKit over the SMILES.

    Raises:
        InputError: If a molecule is invalid, see `molecule_graphs`.
    """
    check_atoms(table)
    if BONDS in table.column_names:
        return _graphs_from_bonds(table, targets)
    return _graphs_from_smiles(table, targets, parallel)


def digest_of(table: pa.Table, target: str) -> str:
    """Returns a digest that identifies the graphs of a table.

    It changes with the table's content, the target, the number of rows with two atoms closer than
    `NEAREST`, and this module's `VERSION`.
    """
    collided = int(_collided(table).sum())
    less = f"-less-{collided}" if collided else ""
    return f"{fingerprint(table, target)}-v{VERSION}{less}"


def _collided(table: pa.Table) -> np.ndarray:
    """Returns whether each molecule has two atoms closer than `NEAREST`, (rows,) bool."""
    starts = ragged(table, "atomic_numbers")[1]
    return find_collisions(_positions(table), starts, np.float32(NEAREST**2))


def check_atoms(table: pa.Table) -> None:
    """Checks sizes and elements of the molecules of a table.

    Raises:
        InputError: If one has no atom, more than `MOST_ATOMS`, or an element other than H, C, N, O
            and F.
    """
    numbers, offsets = ragged(table, "atomic_numbers")
    sizes = np.diff(offsets)
    if not sizes.all():
        raise InputError(f"row {np.argmin(sizes)} has no atom: remove it")
    if sizes.max() > MOST_ATOMS:
        raise InputError(
            f"row {np.argmax(sizes)} has {sizes.max():,} atoms: expected at most {MOST_ATOMS}"
        )
    known = np.isin(numbers, list(ATOMS))
    if not known.all():
        row = np.searchsorted(offsets, np.argmin(known), "right") - 1
        found = numbers[offsets[row] : offsets[row + 1]].tolist()
        raise InputError(
            f"row {row} ({table.column('smiles')[row]}) has atomic number(s) "
            f"{sorted(set(found) - set(ATOMS))}: expected H, C, N, O, F (1, 6, 7, 8, 9) only"
        )


def _graphs_from_bonds(table: pa.Table, targets: np.ndarray) -> Graphs:
    numbers, node_offsets = ragged(table, "atomic_numbers")
    bonds, offsets = ragged(table, BONDS)
    row = np.repeat(np.arange(table.num_rows), np.diff(offsets) // 3)
    edges, row = _both_directions(bonds.reshape(-1, 3).T.astype(np.int32), row)
    nodes = _with_hydrogens(_unsanitised(numbers), edges[:2] + node_offsets[row])
    kept = ~_collided(table)
    if not kept.any():
        raise InputError(
            f"in no row do the positions fit: two atoms of each are nearer than {NEAREST} "
            "Angstrom; expected geometries, in Angstrom"
        )
    atoms = np.diff(node_offsets)
    edges, kept_atoms = edges[:, kept[row]], np.repeat(kept, atoms)
    return Graphs(
        node_features=nodes[kept_atoms],
        positions=_positions(table)[kept_atoms],
        node_offsets=_offsets([atoms[kept]]),
        edge_index=edges[:2],
        edge_types=edges[2].astype(np.int8),
        edge_offsets=_offsets([np.diff(offsets)[kept] // 3 * 2]),
        targets=targets[kept],
        rows=np.flatnonzero(kept),
    )


def _unsanitised(numbers: np.ndarray) -> np.ndarray:
    """Returns atom features without hydrogen counts, (atoms, 10) int8, as PyG has them for QM9:
    aromaticity and hybridisation are zero."""
    one_hot = numbers[:, None] == np.array(list(ATOMS))
    perceived = np.zeros((len(numbers), 4), np.int8)
    return np.column_stack([one_hot, numbers.astype(np.int8), perceived])


def _both_directions(bonds: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lists each bond in both directions, sorted by row, source and target.

    Args:
        bonds: (3, bonds): source, target and type.
        row: (bonds,), table row of each bond.

    Returns:
        Edges (3, edges) and their rows (edges,).

    Raises:
        InputError: If a bond is listed twice.
    """
    edges = np.concatenate([bonds, bonds[[1, 0, 2]]], axis=1)
    row = np.tile(row, 2)
    order = np.lexsort((edges[1], edges[0], row))
    edges, row = edges[:, order], row[order]
    # Equal neighbouring edges belong to one row: the first edge of a row has source < target, the
    # last one source > target.
    twice = (np.diff(edges[:2]) == 0).all(axis=0)
    if twice.any():
        place = np.argmax(twice)
        source, target = edges[:2, place].tolist()
        raise InputError(
            f"row {row[place]} lists the bond between atoms {source} and {target} twice: expected "
            "it once, in one direction"
        )
    return edges, row


def _positions(table: pa.Table) -> np.ndarray:
    return ragged(table, "positions")[0].astype(np.float32).reshape(-1, 3)


def _graphs_from_smiles(table: pa.Table, targets: np.ndarray, parallel: ParallelMap) -> Graphs:
    chunks = _chunks(table)
    parts = list(parallel(featurise_molecules, chunks))
    rows = np.concatenate([part.rows for part in parts])
    if len(rows) == 0:
        raise InputError(
            "in no row do the positions fit the SMILES, hydrogens added: expected a geometry of "
            "that molecule, in Angstrom"
        )
    kept = np.isin(np.arange(table.num_rows), rows)
    kept_atoms = np.repeat(kept, np.diff(ragged(table, "atomic_numbers")[1]))
    return Graphs(
        node_features=np.concatenate([part.node_features for part in parts]),
        positions=_positions(table)[kept_atoms],
        node_offsets=_offsets([part.nodes for part in parts]),
        edge_index=np.concatenate([part.edge_index for part in parts], axis=1),
        edge_types=np.concatenate([part.edge_types for part in parts]),
        edge_offsets=_offsets([part.edges for part in parts]),
        targets=targets[rows],
        rows=rows,
    )


def _offsets(sizes: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)


def _chunks(table: pa.Table) -> list[Chunk]:
    smiles = table.column("smiles").to_pylist()
    numbers, offsets = ragged(table, "atomic_numbers")
    positions = _positions(table)
    chunks = []
    for first in range(0, len(smiles), CHUNK):
        ends = offsets[first : first + CHUNK + 1]
        atoms = slice(ends[0], ends[-1])
        chunks.append(
            Chunk(
                first_row=first,
                smiles=smiles[first : first + CHUNK],
                atomic_numbers=numbers[atoms],
                positions=positions[atoms],
                offsets=ends - ends[0],
            )
        )
    return chunks


def featurise_molecules(chunk: Chunk) -> Featurised:
    """Computes features and bonds of the molecules of a chunk whose positions fit their SMILES;
    the others are left out.

    Raises:
        InputError: If RDKit rejects a SMILES, or it has a bond of an unknown type.
    """
    RDLogger.DisableLog("rdApp.*")  # pyright: ignore[reportAttributeAccessIssue]
    rows, features, edges = [], [], []
    collided = find_collisions(chunk.positions, chunk.offsets, np.float32(NEAREST**2))
    for place, smiles in enumerate(chunk.smiles):
        row = chunk.first_row + place
        atoms = slice(chunk.offsets[place], chunk.offsets[place + 1])
        geometry = chunk.atomic_numbers[atoms], chunk.positions[atoms]
        molecule = molecule_of(smiles, row)
        molecule = None if collided[place] else in_order_of(molecule, *geometry)
        if molecule is None:
            continue
        nodes, bonds = _perceived(molecule), _bonds(molecule)
        rows.append(row)
        edges.append(bonds)
        features.append(_with_hydrogens(nodes, bonds))
    none = np.empty((3, 0), np.int32)
    all_edges = np.concatenate([*edges, none], axis=1)
    return Featurised(
        rows=np.array(rows, np.int64),
        nodes=np.array([len(f) for f in features], np.int64),
        edges=np.array([bonds.shape[1] for bonds in edges], np.int64),
        node_features=np.concatenate([*features, np.empty((0, 11), np.int8)]),
        edge_index=all_edges[:2],
        edge_types=all_edges[2].astype(np.int8),
    )


def molecule_of(smiles: str, row: int) -> Chem.Mol:
    """Parses a row's SMILES and adds hydrogens.

    Raises:
        InputError: If RDKit rejects the SMILES, or it has a bond of an unknown type.
    """
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        raise InputError(f"row {row}: RDKit rejects the SMILES {smiles!r}; correct or remove it")
    if strange := strange_bonds(molecule):
        raise InputError(f"row {row}: the SMILES {smiles!r} has {strange}; correct or remove it")
    return Chem.AddHs(molecule)


def strange_bonds(molecule: Chem.Mol) -> str:
    """Describes the bond types of a molecule that are not in `BOND_PLACES`, such as those of order
    zero; empty if there are none."""
    types = {bond.GetBondType() for bond in molecule.GetBonds()} - BOND_PLACES.keys()
    if not types:
        return ""
    named = ", ".join(sorted(map(str, types)))
    return f"a bond of RDKit's type {named}, expected single, double, triple or aromatic ones"


def _bonds(molecule: Chem.Mol) -> np.ndarray:
    """Returns source, target and type of every bond in both directions, (3, edges) int32, sorted
    by source and target."""
    bonds = [
        (b.GetBeginAtomIdx(), b.GetEndAtomIdx(), BOND_PLACES[b.GetBondType()])
        for b in molecule.GetBonds()
    ]
    edges = np.array(bonds, np.int32).reshape(-1, 3).T
    edges = np.concatenate([edges, edges[[1, 0, 2]]], axis=1)
    return edges[:, np.lexsort((edges[1], edges[0]))]


def _perceived(molecule: Chem.Mol) -> np.ndarray:
    """Returns atom features without hydrogen counts, (atoms, 10) int8; see
    `datasets.graphs.NODE_FEATURES`.

    Iterating over atoms is slow in RDKit, so all features are read in one pass.
    """
    hybridisations = Chem.HybridizationType
    rows = []
    for atom in molecule.GetAtoms():
        number, kind = atom.GetAtomicNum(), atom.GetHybridization()
        rows.append(
            [
                *(number == each for each in ATOMS),
                number,
                atom.GetIsAromatic(),
                kind == hybridisations.SP,
                kind == hybridisations.SP2,
                kind == hybridisations.SP3,
            ]
        )
    return np.array(rows, np.int8).reshape(-1, 10)


def _with_hydrogens(nodes: np.ndarray, edge_index: np.ndarray) -> np.ndarray:
    """Appends to the features of each node the number of hydrogens bound to it.

    Args:
        nodes: (nodes, 10) int8.
        edge_index: (2 or more, edges): source and target among these nodes, both directions.

    Returns:
        (nodes, 11) int8.
    """
    source, target = edge_index[:2]
    hydrogens = np.bincount(target, weights=nodes[source, 0], minlength=len(nodes))
    return np.column_stack([nodes, hydrogens.astype(np.int8)])
