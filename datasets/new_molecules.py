"""Prepares new molecules for prediction, with the features that a trained model expects."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from rdkit import Chem, rdBase

from datasets.atom_order import in_order_of
from datasets.conformers import conformer
from datasets.errors import InputError
from datasets.features import (
    ATOMS,
    BOND_PLACES,
    MOST_ATOMS,
    check_atoms,
    featurise,
    molecule_of,
    strange_bonds,
)
from datasets.gfn2 import SEED
from datasets.graphs import Graphs
from datasets.molecules import BONDS, molecule_table, ragged


def from_smiles(smiles: Sequence[str]) -> pa.Table:
    """Builds a molecule table without targets, with one generated conformer per SMILES.

    Conformers are made as for the generated data set, by ETKDG and MMFF94, see
    `datasets.conformers`. As a conformer depends on how the SMILES is written, each SMILES is
    replaced by RDKit's canonical one.

    Raises:
        InputError: If a SMILES is not one of a neutral molecule of H, C, N, O and F with at most
            `MOST_ATOMS` atoms, or no conformer of it is found.
    """
    written = [_canonical(each) for each in smiles]
    shapes = [conformer(each, SEED) for each in written]
    return molecule_table(
        written, [numbers for numbers, _ in shapes], [xyz for _, xyz in shapes], targets={}
    )


def _canonical(smiles: str) -> str:
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        raise InputError(f"RDKit rejects the SMILES {smiles!r}: correct it")
    others = {a.GetSymbol() for a in molecule.GetAtoms() if a.GetAtomicNum() not in ATOMS}
    if others:
        raise InputError(
            f"{smiles} has {', '.join(sorted(others))}: expected H, C, N, O and F only"
        )
    if strange := strange_bonds(molecule):
        raise InputError(f"{smiles} has {strange}")
    if (atoms := molecule.GetNumAtoms(onlyExplicit=False)) > MOST_ATOMS:
        raise InputError(
            f"a SMILES of {len(smiles):,} characters has {atoms:,} atoms, hydrogens included: "
            f"expected at most {MOST_ATOMS}"
        )
    return Chem.MolToSmiles(molecule)


def graphs_as_learned(table: pa.Table, lists_bonds: bool) -> Graphs:
    """Makes the graphs of new molecules, with the same kind of features as a study's molecules.

    A table that lists its bonds gets other features than one that does not, see
    `datasets.features`. If the study's table did not list bonds, those of the new table are
    ignored. If it did and the new table does not, bonds are derived from the SMILES and listed as
    in QM9, alternating in aromatic rings.

    Args:
        table: A molecule table; targets are ignored.
        lists_bonds: Whether the study's table lists bonds.

    Returns:
        The graphs, with NaN for targets and without molecules that have no valid geometry; `rows`
        are those of `table`.

    Raises:
        InputError: If a molecule is invalid, see `datasets.features.molecule_graphs`.
    """
    rows = np.arange(table.num_rows)
    listed = BONDS in table.column_names
    if listed and not lists_bonds:
        table = table.drop_columns(BONDS)
    elif lists_bonds and not listed:
        table, rows = _with_bonds(table)
    graphs = featurise(table, np.full(table.num_rows, np.nan))
    return replace(graphs, rows=rows[graphs.rows])


def _with_bonds(table: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Derives bonds from the SMILES; returns the rows whose positions fit their SMILES, with a
    column of bonds, and their row numbers.

    Raises:
        InputError: If a molecule is invalid, or no row is left.
    """
    check_atoms(table)
    numbers, offsets = ragged(table, "atomic_numbers")
    positions = ragged(table, "positions")[0].reshape(-1, 3)
    found = {}
    with rdBase.BlockLogs():
        for row, smiles in enumerate(table.column("smiles").to_pylist()):
            atoms = slice(offsets[row], offsets[row + 1])
            bonds = _alternating(smiles, row, numbers[atoms], positions[atoms])
            if bonds is not None:
                found[row] = bonds
    rows = np.array(list(found), np.int64)
    if len(rows) == 0:
        raise InputError("in no row do the positions fit the SMILES, hydrogens added")
    column = pa.array([bonds.reshape(-1) for bonds in found.values()], pa.list_(pa.int16()))
    return table.take(pa.array(rows)).append_column(BONDS, column), rows


def _alternating(
    smiles: str, row: int, numbers: np.ndarray, positions: np.ndarray
) -> np.ndarray | None:
    """Returns source, target and type of every bond, (bonds, 3) int16, with alternating bonds in
    aromatic rings; None if the positions do not fit the SMILES."""
    molecule = in_order_of(molecule_of(smiles, row), numbers, positions)
    if molecule is None:
        return None
    Chem.Kekulize(molecule, clearAromaticFlags=True)
    bonds = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), BOND_PLACES[bond.GetBondType()])
        for bond in molecule.GetBonds()
    ]
    return np.array(bonds, np.int16).reshape(-1, 3)
