"""Which motifs keep a drawn molecule out of the embedded data set."""

import pytest
from rdkit import Chem

from datasets.banned_motifs import BANNED, has_banned_motif

EXAMPLES = {
    "N or another heteroatom beside N on one sp3 carbon": "CNCOC",
    "cumulated double bonds": "CC=C=C",
    "hemiacetal, hemiaminal or fluorohydrin carbon": "CC(O)OC",
    "triple bond in a ring": "C1CCC#CCC1",
    "double bond at a ring of three": "CC1=CC1",
    "enamine": "CC=CN",
    "enol": "CC=CO",
    "double bond at a bridgehead": "C1CC2=CCC1C2",
    "enediol": "COC=COC",
    "azadiene": "CC=NC=CC",
    "ketene acetal": "COC(OC)=CC",
    "imine with hydrogen at N": "CC(C)=N",
    "hydroxyl at an aromatic ring of five": "Oc1ccco1",
    "imine nitrogen beside a heteroatom": "CC=NCOC",
    "methanimine": "C=NCC",
    "heteroatom at the carbon of an epoxide or aziridine": "COC1CO1",
    "oxygen or fluorine at an alkyne or nitrile": "COC#CC",
    "hydroxylamine": "CN(C)OC",
    "alpha-fluoro ether": "COCF",
    "carbonic or carbamic acid": "CNC(=O)O",
    "imidic acid": "CC(O)=NC",
    "cyclopentadiene": "C1C=CC=C1",
    "nitroso": "CN=O",
    "nitrogen at an alkyne": "CN(C)C#C",
    "imine in a ring of four": "C1CC=N1",
    "hydrazine": "CN(C)N(C)C",
    "cyclobutenone": "O=C1C=CC1",
    "acyl fluoride": "CC(=O)F",
    "two heteroatoms across a ring of four": "C1OCO1",
    "peroxide": "COOC",
    "cyclobutadiene": "C1=CC=C1",
    "fluorine at a heteroatom": "CN(C)F",
    "amide at a bridgehead": "O=C1CC2CCN1CC2",
    "three carbonyls or nitriles in a row": "O=CC(=O)C=O",
    "acylated cyanamide": "CC(=O)NC#N",
    "double bond to carbon or nitrogen out of an aromatic ring": "N=c1cc[nH]cc1",
    "chain of three heteroatoms": "c1c[nH]nn1",
    "orthoester": "COC(OC)OC",
    "azo group": "CN=NC",
    "imine at a nitrile": "CC=NC#N",
    "anhydride": "CC(=O)OC(C)=O",
    "fulvene": "C=C1C=CC=C1",
    "bridged aromatic ring": "c1c2c[nH]c1CC2",
    "two double bonds out of a ring of four": "C=C1CCC1=O",
    "ortho tautomer of an aromatic ring": "O=C1C=CC=CC1",
    "para tautomer of an aromatic ring": "O=C1C=CCC=C1",
}
"""One molecule a banned motif."""

WELCOME = (
    "c1ccc2[nH]ccc2c1",
    "Cn1ccnc1",
    "O=c1cccc[nH]1",
    "CC(=O)O",
    "CC(=O)NC",
    "COC(=O)C#N",
    "CCC=NO",
    "CC(F)(F)F",
    "COC(C)OC",
    "C1CC2C=CC1C2",
    "CC(C)=NN",
    "NC(=O)N",
    "C1CO1",
    "CC(C)(C)C#C",
    "O=C1CCCCC1",
    "c1cnoc1",
    "CC(=N)N",
)
"""Molecules from a chemist's shelf that the filter must let through."""


def is_banned(smiles: str, motif: str) -> bool:
    pattern = Chem.MolFromSmarts(BANNED[motif])
    return Chem.MolFromSmiles(smiles).HasSubstructMatch(pattern)


def test_every_banned_motif_has_an_example():
    assert set(EXAMPLES) == set(BANNED)


@pytest.mark.parametrize("motif", EXAMPLES)
def test_the_filter_finds_the_banned_motif(motif):
    assert is_banned(EXAMPLES[motif], motif)
    assert has_banned_motif(Chem.MolFromSmiles(EXAMPLES[motif]))


@pytest.mark.parametrize("smiles", WELCOME)
def test_the_filter_lets_a_familiar_molecule_pass(smiles):
    assert [motif for motif in BANNED if is_banned(smiles, motif)] == []
    assert not has_banned_motif(Chem.MolFromSmiles(smiles))
