"""Generates one conformer of a molecule from its SMILES: embedded, then relaxed by a force field.

The embedding is ETKDGv3 (Wang et al. 2020, doi:10.1021/acs.jcim.0c00025), the force field MMFF94,
or UFF if MMFF94 lacks a parameter. If the SMILES does not specify a stereoisomer, the embedding
picks one. The conformer is a local minimum of the force field, not the global one.
"""

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom
from rdkit.Chem.rdForceFieldHelpers import (
    MMFFHasAllMoleculeParams,
    MMFFOptimizeMolecule,
    UFFHasAllMoleculeParams,
    UFFOptimizeMolecule,
)

from datasets.errors import InputError

MAX_RELAXATION_STEPS = 2000
"""Limit of relaxation steps, which is ample: of 800 molecules, 797 took at most 200 steps and none
more than 400."""

EMBEDDING_SECONDS = 60
"""Time limit of an embedding, needed as RDKit cannot be interrupted. It is ample: a molecule of 9
heavy atoms takes 0.01 s, one of 60 carbon atoms 2 s."""


class LabelError(InputError):
    """Raised for a valid molecule whose conformer or label cannot be computed.

    Its arguments are the kind of failure and the SMILES.
    """

    def __str__(self) -> str:
        kind, smiles = self.args
        return f"{kind} for SMILES {smiles!r}: expected one that RDKit and GFN2-xTB can treat"


def conformer(smiles: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Generates one relaxed conformer with explicit hydrogens.

    Args:
        smiles: The molecule.
        seed: Seed of the embedding.

    Returns:
        Atomic numbers of shape (atoms,), int8, and positions of shape (atoms, 3), float32, in
        Angstrom; atoms are in the order of RDKit's ``AddHs`` on this SMILES.

    Raises:
        InputError: If this is not the SMILES of one neutral closed-shell molecule.
        LabelError: If no conformer can be embedded and relaxed.
    """
    with rdBase.BlockLogs():
        molecule = Chem.AddHs(_parse(smiles))
        parameters = rdDistGeom.ETKDGv3()
        parameters.randomSeed = seed + 1  # RDKit treats seeds 0 and 1 alike
        parameters.timeout = EMBEDDING_SECONDS
        if rdDistGeom.EmbedMolecule(molecule, parameters) != 0:
            raise LabelError("no conformer", smiles)
        if not _relax(molecule):
            raise LabelError("not relaxed", smiles)
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return np.array(numbers, np.int8), molecule.GetConformer().GetPositions().astype(np.float32)


def _parse(smiles: str) -> Chem.Mol:
    molecule = Chem.MolFromSmiles(smiles)
    if (
        molecule is None
        or len(Chem.GetMolFrags(molecule)) != 1
        or Chem.GetFormalCharge(molecule)
        or any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    ):
        raise InputError(
            f"expected the SMILES of one neutral molecule without radicals, got {smiles!r}"
        )
    return molecule


def _relax(molecule: Chem.Mol) -> bool:
    """Relaxes the conformer with MMFF94, or with UFF if MMFF94 lacks a parameter; returns whether
    it converged."""
    if MMFFHasAllMoleculeParams(molecule):
        return MMFFOptimizeMolecule(molecule, "MMFF94", MAX_RELAXATION_STEPS) == 0
    if UFFHasAllMoleculeParams(molecule):
        return UFFOptimizeMolecule(molecule, MAX_RELAXATION_STEPS) == 0
    return False
