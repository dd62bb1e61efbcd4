"""The one geometry of a molecule that is known by its SMILES."""

import numpy as np
import pytest

from datasets.conformers import conformer
from datasets.errors import InputError

SEED = 7


def test_the_geometry_depends_on_the_seed():
    geometries = [conformer("CCC(O)C1CO1", seed)[1] for seed in range(4)]
    assert len({geometry.tobytes() for geometry in geometries}) == 4


def test_molecules_without_mmff_parameters_are_relaxed_by_uff():
    numbers, positions = conformer("CB(C)C", SEED)
    assert numbers.tolist() == [6, 5, 6, 6] + [1] * 9
    assert np.linalg.norm(positions[0] - positions[1]) == pytest.approx(1.57, abs=0.1)  # B-C


@pytest.mark.parametrize("smiles", ["", "x", "C1CC", "CN(C)(C)C", "C.C", "[CH3]", "C[NH3+]"])
def test_what_is_no_neutral_molecule_is_refused(smiles, capfd):
    with pytest.raises(InputError, match="expected the SMILES of one neutral molecule"):
        conformer(smiles, SEED)
    assert capfd.readouterr().err == ""


def test_a_molecule_without_conformer_is_refused_by_name():
    with pytest.raises(InputError, match="no conformer for SMILES 'C1#CC1'"):
        conformer("C1#CC1", SEED)
