"""Unstable structural motifs: generated molecules that contain one are rejected."""

from rdkit import Chem

BANNED = {
    "N or another heteroatom beside N on one sp3 carbon": "[#7X3][CX4][#7,OX2,F]",
    "cumulated double bonds": "*=[CX2]=*",
    "hemiacetal, hemiaminal or fluorohydrin carbon": "[OX2H][CX4][#7,#8,F]",
    "triple bond in a ring": "[R]#[R]",
    "double bond at a ring of three": "[r3]=*",
    "enamine": "[NX3;H1,H2;!$(NC=O)][CX3]=[CX3;!$(C-C=O);!$(C-C#N)]",
    "enol": "[OX2H][CX3]=[CX3]",
    "double bond at a bridgehead": "[C;x3]=*",
    "enediol": "[#7,#8;!a][CX3]=[CX3][#7,#8]",
    "azadiene": "[CX3]=[NX2]-[CX3]=*",
    "ketene acetal": "[CX3;!$(C=[#7,#8])]([#7,#8])([#7,#8,F])",
    "imine with hydrogen at N": "[CX3;!$(C-[#7])]=[NX2H]",
    "hydroxyl at an aromatic ring of five": "[OX2H][c;r5]",
    "imine nitrogen beside a heteroatom": "[NX2][CX4][#7,#8,F]",
    "methanimine": "[CX3H2]=[NX2]",
    "heteroatom at the carbon of an epoxide or aziridine": "[#7,#8;r3][C;r3][#7,#8,F]",
    "oxygen or fluorine at an alkyne or nitrile": "[OX2,F]-[CX2]#*",
    "hydroxylamine": "[#7X3]-[OX2]",
    "alpha-fluoro ether": "[OX2][CX4]F",
    "carbonic or carbamic acid": "[OX2H][CX3](=O)[#7,#8]",
    "imidic acid": "[OX2H][CX3]=[NX2]",
    "cyclopentadiene": "[C;X4]1[#6,#7]=,:[#6,#7][#6,#7]=,:[#6,#7]1",
    "nitrogen at an alkyne": "[#7]-[CX2]#[CX2]",
    "imine in a ring of four": "[#7;r4]=[r4]",
    "hydrazine": "[#7X3]-[NX3]",
    "nitroso": "[NX2]=[OX1]",
    "cyclobutenone": "[r4]1=[r4][r4](=*)[r4]1",
    "acyl fluoride": "F[CX3]=[#7,#8]",
    "two heteroatoms across a ring of four": "[#7,#8;r4]~*~[#7,#8;r4]",
    "peroxide": "[#8]~[#8]",
    "cyclobutadiene": "[r4]=,:[r4]~[r4]=,:[r4]",
    "fluorine at a heteroatom": "[#7,#8,F]~F",
    "amide at a bridgehead": "[N;x3]-[C;R]=*",
    "three carbonyls or nitriles in a row": "[#7,#8]=,#C-C(=[#7,#8])-C=,#[#7,#8]",
    "acylated cyanamide": "[NX3](C#N)C=,#[#7,#8]",
    "double bond to carbon or nitrogen out of an aromatic ring": "c=[#6,#7]",
    "chain of three heteroatoms": "[#7,#8]~[#7,#8]~[#7,#8]",
    "orthoester": "[CX4]([OX2])([OX2])[OX2]",
    "azo group": "[NX2]=[NX2]",
    "imine at a nitrile": "[NX2]-[CX2]#[NX1]",
    "anhydride": "[CX3](=O)[OX2][CX3]=O",
    "fulvene": "*=[C;r5]1[#6,#7]=,:[#6,#7][#6,#7]=,:[#6,#7]1",
    "bridged aromatic ring": "[a;x3]:[a;x2]:[a;x3]",
    "two double bonds out of a ring of four": "[r4](=[!R])[r4]=[!R]",
    "ortho tautomer of an aromatic ring": "*=[C;r6]1~*=,:*~*=,:*~[C;X4]1",
    "para tautomer of an aromatic ring": "*=[C;r6]1~*=,:*~[C;X4]~*=,:*1",
}
"""Name -> SMARTS of motifs that react, decompose or tautomerise readily, or are too strained.

The most frequent come first, as matching stops at the first match.
"""

PATTERNS = [Chem.MolFromSmarts(smarts) for smarts in BANNED.values()]


def has_banned_motif(molecule: Chem.Mol) -> bool:
    """Whether a molecule, with aromaticity perceived, contains any motif of `BANNED`."""
    return any(map(molecule.HasSubstructMatch, PATTERNS))
