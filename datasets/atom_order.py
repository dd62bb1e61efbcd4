"""The molecule that a SMILES writes, with its atoms in the order of a geometry.

Files of molecules number their atoms in their own way; QM9's, for one, has the hydrogens of a
charged atom right behind it, where RDKit puts all of them last. These are its zwitterions, which
have the largest dipole moments of all: leaving them out would make the task look easier.
"""

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds

LONGEST_BOND = 2.0
"""Angstrom. No bond among H, C, N, O and F is longer; a longer one means that the atoms of the
molecule and of the geometry are not in the same order."""


def in_order_of(
    molecule: Chem.Mol, atomic_numbers: np.ndarray, positions: np.ndarray
) -> Chem.Mol | None:
    """The molecule with its atoms renumbered so that they are those of the geometry.

    It is kept as it is where that fits. Else its bonds are looked for among the atoms that are
    near each other, whatever their type (`rdDetermineBonds.DetermineConnectivity`).

    Args:
        molecule: Hydrogens explicit.
        atomic_numbers: (atoms,).
        positions: (atoms, 3), Angstrom.

    Returns:
        None where the geometry is not one of this molecule.
    """
    if _fits(molecule, atomic_numbers, positions):
        return molecule
    if sorted(atomic_numbers) != sorted(_numbers(molecule)):
        return None
    places = _joined_where_near(atomic_numbers, positions).GetSubstructMatch(_skeleton(molecule))
    if not places:
        return None
    renumbered = Chem.RenumberAtoms(molecule, np.argsort(places).tolist())
    return renumbered if _fits(renumbered, atomic_numbers, positions) else None


def _fits(molecule: Chem.Mol, atomic_numbers: np.ndarray, positions: np.ndarray) -> bool:
    """Whether the elements are those of the geometry and bonded atoms as near as bonds are."""
    if not np.array_equal(_numbers(molecule), atomic_numbers):
        return False
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    source, target = np.array(ends, int).reshape(-1, 2).T
    apart = positions[source] - positions[target]
    return bool((np.linalg.norm(apart, axis=1) < LONGEST_BOND).all())


def _numbers(molecule: Chem.Mol) -> list[int]:
    return [atom.GetAtomicNum() for atom in molecule.GetAtoms()]


def _atoms(atomic_numbers: np.ndarray | list[int]) -> Chem.RWMol:
    molecule = Chem.RWMol()
    for number in atomic_numbers:
        molecule.AddAtom(Chem.Atom(int(number)))
    return molecule


def _skeleton(molecule: Chem.Mol) -> Chem.Mol:
    """Its elements and which are bonded: no charges, all bonds single."""
    skeleton = _atoms(_numbers(molecule))
    for bond in molecule.GetBonds():
        skeleton.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    return skeleton


def _joined_where_near(atomic_numbers: np.ndarray, positions: np.ndarray) -> Chem.Mol:
    """Atoms of a geometry, a single bond between those that are near each other."""
    molecule = _atoms(atomic_numbers)
    conformer = Chem.Conformer(len(atomic_numbers))
    conformer.SetPositions(positions.astype(np.float64))
    molecule.AddConformer(conformer)
    rdDetermineBonds.DetermineConnectivity(molecule)
    return molecule
