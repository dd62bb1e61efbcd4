"""Which molecules are drawn, and in which order."""

from itertools import islice

import numpy as np
import pytest
from rdkit import Chem

from datasets import gfn2
from datasets.molecule_grammar import candidates

SEED = 7


@pytest.fixture(scope="module")
def drawn() -> list[Chem.Mol]:
    return [Chem.MolFromSmiles(smiles) for smiles in islice(candidates(SEED), 1000)]


def test_molecules_are_distinct_and_their_smiles_canonical(drawn):
    smiles = [Chem.MolToSmiles(molecule) for molecule in drawn]
    assert smiles == list(islice(candidates(SEED), len(drawn)))
    assert len(set(smiles)) == len(drawn)


def test_molecules_are_neutral_connected_and_of_three_to_nine_heavy_atoms(drawn):
    for molecule in drawn:
        symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
        assert set(symbols) <= set("CNOF")
        assert "C" in symbols
        assert 3 <= len(symbols) <= 9
        assert len(Chem.GetMolFrags(molecule)) == 1
        assert not any(atom.GetFormalCharge() for atom in molecule.GetAtoms())
        assert not any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())


def test_molecules_are_about_as_large_as_those_of_qm9(drawn):
    atoms = [Chem.AddHs(molecule).GetNumAtoms() for molecule in drawn]
    assert 15 < np.mean(atoms) < 18.5  # QM9: 18.0


@pytest.mark.parametrize("smarts", ["OO", "NNN", "[N,O]F", "C=C=C", "[r]#[r]", "[r3]=*", "O[N]O"])
def test_no_molecule_has_an_absurd_motif(drawn, smarts):
    pattern = Chem.MolFromSmarts(smarts)
    assert not any(molecule.HasSubstructMatch(pattern) for molecule in drawn)


def test_the_first_molecules_of_the_embedded_data_set_are_what_they_were_in_version_1():
    """With others, `datasets.gfn2.VERSION` has to be raised."""
    first = ["CC(F)(C=O)C(=O)C#N", "CC#CC(OC)C(=O)O", "NC(=O)n1ccnc1", "COC1=CCC(N)C1N"]
    assert list(islice(candidates(gfn2.SEED), 4)) == first
    assert gfn2.VERSION == 1
