"""From the molecule table to `Graphs`: bonds and atom features from the SMILES, as PyG's QM9.

PyG reads its molecules without RDKit's sanitisation, which leaves aromaticity and hybridisation at
zero in the data set it publishes (pyg-team/pytorch_geometric#8370); here they are what they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from rdkit import Chem, RDLogger

from datasets.errors import InputError
from datasets.graphs import Graphs
from datasets.molecules import fingerprint, ragged, target_values
from datasets.parallel import ParallelMap

VERSION = 1
"""Goes into the cache's name: raise it when the features of a molecule change."""

ATOMS = {1: 0, 6: 1, 7: 2, 8: 3, 9: 4}
"""Atomic number -> place in the one-hot part of the features."""

BONDS = {
    Chem.BondType.SINGLE: 0,
    Chem.BondType.DOUBLE: 1,
    Chem.BondType.TRIPLE: 2,
    Chem.BondType.AROMATIC: 3,
}

CHUNK = 500
"""Molecules a work item: about half a second of one core."""

LONGEST_BOND = 2.0
"""Angstrom. No bond among H, C, N, O and F is longer; a longer one means that the atoms of the
SMILES and the positions are not in the same order."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of the table, as plain arrays that travel to another process."""

    first_row: int
    smiles: list[str]
    atomic_numbers: np.ndarray
    positions: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class Featurised:
    """What `featurise_molecules` made of a chunk: parts of `Graphs`, with sizes for offsets."""

    rows: np.ndarray
    nodes: np.ndarray
    edges: np.ndarray
    node_features: np.ndarray
    edge_index: np.ndarray
    edge_types: np.ndarray


def molecule_graphs(
    table: pa.Table, target: str, cache: Path, parallel: ParallelMap = map
) -> Graphs:
    """The graphs of a table, from the cache where they lie there.

    Molecules whose atoms in the SMILES are not those of the row, in that order, are left out
    (0.5 % of QM9): `Graphs.rows` tells which rows are there.

    Args:
        table: A molecule table, see `datasets.molecules`.
        target: Name of the target.
        cache: Folder for the memory-mapped graphs; named after the content, so a changed table
            never meets an old cache.
        parallel: Runs the featurisation, see `ParallelMap`.

    Raises:
        InputError: If RDKit rejects a SMILES, an element is not H, C, N, O or F, or the target
            is missing or not finite.
    """
    folder = cache / f"graphs-{fingerprint(table, target)}-{target}-v{VERSION}"
    if not folder.is_dir():
        _featurise(table, target, parallel).save(folder)
    return Graphs.load(folder)


def _featurise(table: pa.Table, target: str, parallel: ParallelMap) -> Graphs:
    targets = target_values(table, target)
    chunks = _chunks(table)
    parts = list(parallel(featurise_molecules, chunks))
    rows = np.concatenate([part.rows for part in parts])
    if len(rows) == 0:
        raise InputError(
            "in no row do the atoms of the SMILES, hydrogens added, follow the order of "
            "atomic_numbers: expected the order of RDKit's AddHs"
        )
    kept = np.isin(np.arange(table.num_rows), rows)
    positions, offsets = ragged(table, "positions")
    kept_atoms = np.repeat(kept, np.diff(offsets) // 3)
    return Graphs(
        node_features=np.concatenate([part.node_features for part in parts]),
        positions=positions.astype(np.float32).reshape(-1, 3)[kept_atoms],
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
    positions = ragged(table, "positions")[0].astype(np.float32).reshape(-1, 3)
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
    """Features and bonds of the molecules whose SMILES agree with their atoms.

    Raises:
        InputError: If RDKit rejects a SMILES or an element is not among `ATOMS`.
    """
    RDLogger.DisableLog("rdApp.*")  # pyright: ignore[reportAttributeAccessIssue]
    rows, features, edges = [], [], []
    for place, smiles in enumerate(chunk.smiles):
        atoms = slice(chunk.offsets[place], chunk.offsets[place + 1])
        molecule = _molecule(smiles, chunk.atomic_numbers[atoms], chunk.first_row + place)
        if not _agrees(molecule, chunk.atomic_numbers[atoms], chunk.positions[atoms]):
            continue
        rows.append(chunk.first_row + place)
        bonds = _bonds(molecule)
        edges.append(bonds)
        features.append(_node_features(molecule, bonds))
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


def _molecule(smiles: str, atomic_numbers: np.ndarray, row: int) -> Chem.Mol:
    unknown = sorted(set(atomic_numbers.tolist()) - set(ATOMS))
    if unknown:
        raise InputError(
            f"row {row} ({smiles}) has atomic number(s) {unknown}: expected H, C, N, O, F "
            "(1, 6, 7, 8, 9) only"
        )
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is not None and molecule.GetNumAtoms() == 0:
        raise InputError(f"row {row} has no atom: remove it")
    if molecule is None:
        raise InputError(f"row {row}: RDKit rejects the SMILES {smiles!r}; correct or remove it")
    return Chem.AddHs(molecule)


def _agrees(molecule: Chem.Mol, atomic_numbers: np.ndarray, positions: np.ndarray) -> bool:
    """Whether the atoms are the same, in order, and bonded atoms are as near as bonds are."""
    ours = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    if ours != atomic_numbers.tolist():
        return False
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    apart = positions[np.array(ends, int).reshape(-1, 2)]
    lengths = np.linalg.norm(apart[:, 0] - apart[:, 1], axis=1)
    return bool((lengths < LONGEST_BOND).all())


def _bonds(molecule: Chem.Mol) -> np.ndarray:
    """Source, target and type of every bond in both directions, sorted: (3, edges) int32."""
    bonds = [
        (b.GetBeginAtomIdx(), b.GetEndAtomIdx(), BONDS[b.GetBondType()])
        for b in molecule.GetBonds()
    ]
    edges = np.array(bonds, np.int32).reshape(-1, 3).T
    edges = np.concatenate([edges, edges[[1, 0, 2]]], axis=1)
    return edges[:, np.lexsort((edges[1], edges[0]))]


def _node_features(molecule: Chem.Mol, bonds: np.ndarray) -> np.ndarray:
    """(atoms, 11) int8, see `datasets.graphs.NODE_FEATURES`."""
    hybridisations = Chem.HybridizationType
    rows = []
    for atom in molecule.GetAtoms():
        one_hot = [0] * len(ATOMS)
        one_hot[ATOMS[atom.GetAtomicNum()]] = 1
        kind = atom.GetHybridization()
        rows.append(
            [
                *one_hot,
                atom.GetAtomicNum(),
                atom.GetIsAromatic(),
                kind == hybridisations.SP,
                kind == hybridisations.SP2,
                kind == hybridisations.SP3,
            ]
        )
    features = np.array(rows, np.int8)
    hydrogens = np.bincount(
        bonds[1], weights=features[bonds[0], 0].astype(float), minlength=len(features)
    )
    return np.column_stack([features, hydrogens.astype(np.int8)])
