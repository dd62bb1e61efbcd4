"""Small organic molecules drawn at random, as SMILES: 3 to 9 heavy atoms of C, N, O and F.

They come in the order of GDB-17 (Ruddigkeit et al. 2012, doi:10.1021/ci300415d): a skeleton of
rings, chains and functional groups, then multiple bonds, then heteroatoms, then a filter of
`datasets.banned_motifs`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from rdkit import Chem

from datasets.banned_motifs import has_banned_motif

Key = TypeVar("Key")

SIZES = {3: 0.3, 4: 0.7, 5: 2, 6: 5, 7: 12, 8: 25, 9: 55}
"""Heavy atoms -> weight; mostly nine, as there are most molecules of nine."""

CORES = {
    "C": 30,
    "C1CC1": 4,
    "C1CCC1": 5,
    "C1CCCC1": 9,
    "C1CCCCC1": 7,
    "C1CCCCCC1": 2,
    "c1ccccc1": 10,
    "c1cc[nH]c1": 4,
    "c1ccoc1": 4,
    "c1cnc[nH]1": 3,
    "c1cn[nH]c1": 2,
    "c1cocn1": 2,
    "c1conc1": 2,
    "c1nc[nH]n1": 1,
    "c1nnco1": 1,
    "c1ncon1": 1,
    "c1ccc2[nH]ccc2c1": 1,
    "c1ccc2occc2c1": 0.5,
    "c1ccn2ccnc2c1": 0.5,
    "C1Cc2ccccc12": 0.5,
    "C1Cc2ccccc2C1": 0.5,
    "C1CC2CCC12": 0.5,
    "C1CC2CC2C1": 2,
    "C1CCC2CC2C1": 1,
    "C1CC2CCC2C1": 1,
    "C1CC2CCCC2C1": 1,
    "C1CCC2CCC2C1": 0.5,
    "C1C2CC1C2": 0.5,
    "C1CC2CC1C2": 0.5,
    "C1CC2CCC1C2": 2,
    "C1CC2CCC1CC2": 1,
    "C1CC2CCC(C1)C2": 1,
    "C1CC12CC2": 0.5,
    "C1CC12CCC2": 0.5,
    "C1CC2(C1)CCC2": 0.5,
    "C1CCC2(C1)CC2": 1,
}
"""What a skeleton starts from -> weight: a chain, rings, and fused, bridged and spiro bicycles."""

GROUPS = {
    "C": 62,
    "O": 8,
    "N": 6,
    "F": 2,
    "OC": 3,
    "C=C": 3,
    "C#C": 2.5,
    "C=O": 4,
    "C#N": 4,
    "C=NO": 1,
    "C(N)=O": 4,
    "C(O)=O": 3,
    "C(F)(F)F": 1,
    "C1CC1": 2,
    "C1CCC1": 0.5,
    "C1CO1": 0.5,
}
"""What a skeleton grows by, bound through its first atom -> weight."""

MULTIPLE_BONDS = {0: 40, 1: 35, 2: 20, 3: 5}
"""Bond orders raised by one in a finished skeleton -> weight."""

VALENCE = {"C": 4, "N": 3, "O": 2, "F": 1}

SUBSTITUTIONS = {
    (1,): {"C": 60, "N": 14, "O": 22, "F": 4},
    (2,): {"C": 16, "N": 6, "O": 78},
    (3,): {"C": 35, "N": 65},
    (1, 1): {"C": 70, "N": 14, "O": 16},
    (1, 2): {"C": 80, "N": 20},
    (1, 1, 1): {"C": 88, "N": 12},
}
"""Orders of a carbon's bonds, ascending -> element in its place -> weight."""

PATIENCE = 20_000
"""Draws in a row without a new molecule after which the space counts as exhausted."""


@dataclass
class Sketch:
    """A molecule being drawn: its heavy atoms, and bonds as (begin, end, order)."""

    elements: list[str]
    bonds: list[tuple[int, int, int]]

    @classmethod
    def of(cls, smiles: str) -> "Sketch":
        """Reads a fragment, aromatic rings as alternating bonds."""
        molecule = Chem.MolFromSmiles(smiles)
        Chem.Kekulize(molecule, clearAromaticFlags=True)
        return cls(
            [atom.GetSymbol() for atom in molecule.GetAtoms()],
            [
                (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), int(bond.GetBondTypeAsDouble()))
                for bond in molecule.GetBonds()
            ],
        )

    def copy(self) -> "Sketch":
        return Sketch(list(self.elements), list(self.bonds))

    def free(self) -> list[int]:
        """Bonds that each atom can still make, which are its hydrogens."""
        free = [VALENCE[element] for element in self.elements]
        for begin, end, order in self.bonds:
            free[begin] -= order
            free[end] -= order
        return free

    def attach(self, group: "Sketch", atom: int) -> None:
        """Binds the first atom of a group to an atom."""
        first = len(self.elements)
        self.elements += group.elements
        self.bonds += [(begin + first, end + first, order) for begin, end, order in group.bonds]
        self.bonds.append((atom, first, 1))

    def molecule(self) -> Chem.Mol:
        """Builds the molecule and perceives its aromatic rings."""
        molecule = Chem.RWMol()
        for element in self.elements:
            molecule.AddAtom(Chem.Atom(element))
        for begin, end, order in self.bonds:
            molecule.AddBond(begin, end, BOND_TYPES[order])
        Chem.SanitizeMol(molecule)
        return molecule


BOND_TYPES = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
SKETCHES = {smiles: Sketch.of(smiles) for smiles in (*CORES, *GROUPS)}


def candidates(seed: int) -> Iterator[str]:
    """Distinct molecules as canonical SMILES, in the one order that belongs to the seed.

    Ends when `PATIENCE` draws in a row brought nothing new; more than 100,000 come before that.
    """
    random = Random(seed)
    seen: set[str] = set()
    misses = 0
    while misses < PATIENCE:
        misses += 1
        molecule = _draw(random).molecule()
        if has_banned_motif(molecule):
            continue
        smiles = Chem.MolToSmiles(molecule)
        if smiles not in seen:
            seen.add(smiles)
            misses = 0
            yield smiles


def _draw(random: Random) -> Sketch:
    sketch = _skeleton(random, _choose(random, SIZES))
    _raise_bond_orders(random, sketch, _choose(random, MULTIPLE_BONDS))
    _substitute(random, sketch)
    return sketch


def _choose(random: Random, weights: Mapping[Key, float]) -> Key:
    return random.choices(list(weights), list(weights.values()))[0]


def _choose_fitting(random: Random, weights: Mapping[str, float], room: int) -> Sketch:
    while True:
        sketch = SKETCHES[_choose(random, weights)]
        if len(sketch.elements) <= room:
            return sketch


def _skeleton(random: Random, size: int) -> Sketch:
    """A core, grown by groups to `size` heavy atoms, or fewer if no bond is left to grow from."""
    sketch = _choose_fitting(random, CORES, size).copy()
    while (room := size - len(sketch.elements)) and any(free := sketch.free()):
        # Squared: chains and rims grow sooner than crowded carbons.
        atom = random.choices(range(len(free)), [count**2 for count in free])[0]
        sketch.attach(_choose_fitting(random, GROUPS, room), atom)
    return sketch


def _raise_bond_orders(random: Random, sketch: Sketch, times: int) -> None:
    for _ in range(times):
        free = sketch.free()
        raisable = [
            index
            for index, (begin, end, _) in enumerate(sketch.bonds)
            if free[begin] and free[end]
        ]
        if not raisable:
            return
        index = random.choice(raisable)
        begin, end, order = sketch.bonds[index]
        sketch.bonds[index] = (begin, end, order + 1)


def _substitute(random: Random, sketch: Sketch) -> None:
    """Turns carbons into heteroatoms, never beside another one: that is left to the groups."""
    orders: list[list[int]] = [[] for _ in sketch.elements]
    neighbours: list[list[int]] = [[] for _ in sketch.elements]
    for begin, end, order in sketch.bonds:
        for atom, other in ((begin, end), (end, begin)):
            orders[atom].append(order)
            neighbours[atom].append(other)
    for atom in random.sample(range(len(orders)), len(orders)):
        weights = SUBSTITUTIONS.get(tuple(sorted(orders[atom])))
        if weights and all(sketch.elements[other] == "C" for other in [atom, *neighbours[atom]]):
            sketch.elements[atom] = _choose(random, weights)
