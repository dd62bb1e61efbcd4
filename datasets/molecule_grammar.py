"""Draws random small organic molecules as SMILES, with 3 to 9 heavy atoms of C, N, O and F.

The steps follow the order of GDB-17 (Ruddigkeit et al. 2012, doi:10.1021/ci300415d): a skeleton of
rings, chains and functional groups, then multiple bonds, then heteroatoms, then the filter of
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
"""Number of heavy atoms -> sampling weight; nine dominates, as most possible molecules have
nine."""

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
"""Start of a skeleton, as SMILES -> sampling weight: a chain, rings, and fused, bridged and spiro
bicycles."""

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
"""Group that is added to a skeleton, as SMILES, bound through its first atom -> sampling
weight."""

MULTIPLE_BONDS = {0: 40, 1: 35, 2: 20, 3: 5}
"""How often a bond order is raised by one in a finished skeleton -> sampling weight."""

VALENCE = {"C": 4, "N": 3, "O": 2, "F": 1}
"""Element -> number of bonds that an atom makes."""

SUBSTITUTIONS = {
    (1,): {"C": 60, "N": 14, "O": 22, "F": 4},
    (2,): {"C": 16, "N": 6, "O": 78},
    (3,): {"C": 35, "N": 65},
    (1, 1): {"C": 70, "N": 14, "O": 16},
    (1, 2): {"C": 80, "N": 20},
    (1, 1, 1): {"C": 88, "N": 12},
}
"""Orders of a carbon's bonds, ascending -> element that replaces it -> sampling weight."""

PATIENCE = 20_000
"""Number of consecutive draws without a new molecule after which generation stops."""


@dataclass
class Sketch:
    """A molecule under construction: its heavy atoms, and bonds as (begin, end, order)."""

    elements: list[str]
    bonds: list[tuple[int, int, int]]

    @classmethod
    def of(cls, smiles: str) -> "Sketch":
        """Parses a fragment; aromatic rings become alternating single and double bonds."""
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
        """Returns each atom's free valence: the number of its hydrogens, which can be replaced by
        bonds."""
        free = [VALENCE[element] for element in self.elements]
        for begin, end, order in self.bonds:
            free[begin] -= order
            free[end] -= order
        return free

    def attach(self, group: "Sketch", atom: int) -> None:
        """Adds a group, with a single bond between its first atom and `atom`."""
        first = len(self.elements)
        self.elements += group.elements
        self.bonds += [(begin + first, end + first, order) for begin, end, order in group.bonds]
        self.bonds.append((atom, first, 1))

    def molecule(self) -> Chem.Mol:
        """Builds the RDKit molecule and perceives aromaticity."""
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
    """Yields distinct molecules as canonical SMILES, in an order that depends on the seed only.

    It stops after `PATIENCE` consecutive draws without a new molecule; by then it has yielded more
    than 100,000.
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
    """Grows a core by groups to `size` heavy atoms, or fewer if no free valence is left."""
    sketch = _choose_fitting(random, CORES, size).copy()
    while (room := size - len(sketch.elements)) and any(free := sketch.free()):
        # Squared weights favour chain ends and rims over crowded carbons.
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
    """Replaces random carbons by heteroatoms, but not next to another heteroatom: adjacent ones
    come from `GROUPS` and `CORES` only."""
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
