"""Renumbers the atoms of a molecule parsed from SMILES to match the atom order of a geometry.

Files of molecules have their own atom order. QM9, for example, lists the hydrogens of a charged
atom right after it, where RDKit puts all hydrogens last. These molecules are QM9's zwitterions,
which have the largest dipole moments of all: leaving them out would make the task look easier.
"""

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds

LONGEST_BOND = 2.0
"""Upper limit of bond lengths among H, C, N, O and F, in Angstrom. A longer bond means that the
atoms of molecule and geometry are not in the same order."""


def in_order_of(
    molecule: Chem.Mol, atomic_numbers: np.ndarray, positions: np.ndarray
) -> Chem.Mol | None:
    """Returns a molecule with its atoms renumbered to match those of a geometry.

    A molecule that matches already is returned as it is. Otherwise its bond graph, without bond
    orders, is matched to the pairs of atoms that are near each other in the geometry
    (`rdDetermineBonds.DetermineConnectivity`).

    Args:
        molecule: The molecule, with explicit hydrogens.
        atomic_numbers: (atoms,), of the geometry.
        positions: (atoms, 3), of the geometry, in Angstrom.

    Returns:
        The renumbered molecule; None if the geometry does not belong to it.
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
    """Whether the elements match the geometry's and every bond is shorter than `LONGEST_BOND`."""
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
    """Returns a molecule's elements and bonds, without charges and with single bonds only."""
    skeleton = _atoms(_numbers(molecule))
    for bond in molecule.GetBonds():
        skeleton.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    return skeleton


def _joined_where_near(atomic_numbers: np.ndarray, positions: np.ndarray) -> Chem.Mol:
    """Returns the atoms of a geometry, with a single bond between each pair within bonding
    distance."""
    molecule = _atoms(atomic_numbers)
    conformer = Chem.Conformer(len(atomic_numbers))
    conformer.SetPositions(positions.astype(np.float64))
    molecule.AddConformer(conformer)
    rdDetermineBonds.DetermineConnectivity(molecule)
    return molecule
