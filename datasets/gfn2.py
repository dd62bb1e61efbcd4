"""The embedded default: small organic molecules with GFN2-xTB dipole moments, made on the spot.

Three steps, none of which needs a network:

1. `candidates` draws molecules of 3 to 9 heavy atoms of C, N, O and F, in the order of GDB-17
   (Ruddigkeit et al. 2012, doi:10.1021/ci300415d): a skeleton of rings, chains and functional
   groups, then multiple bonds, then heteroatoms, then a filter of motifs no chemist would bottle.
2. `conformer` embeds one conformer (ETKDGv3, Wang et al. 2020, doi:10.1021/acs.jcim.0c00025) and
   relaxes it with MMFF94, or UFF where MMFF94 lacks a parameter. The SMILES name no stereoisomer;
   the embedding picks one. It is a local minimum of the force field, not the global one.
3. `dipole` is a GFN2-xTB single point at that geometry (Bannwarth et al. 2019,
   doi:10.1021/acs.jctc.8b01176), without solvent, by tblite.

The order of the molecules depends on the seed alone, a geometry on the SMILES and the seed: a
smaller data set is the beginning of a larger one, however the work is spread. Bytes are equal on
one kind of machine; another processor or library build may round the last digits differently.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from random import Random
from typing import TypeVar

import numpy as np
import pyarrow as pa
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom
from rdkit.Chem.rdForceFieldHelpers import (
    MMFFHasAllMoleculeParams,
    MMFFOptimizeMolecule,
    UFFHasAllMoleculeParams,
    UFFOptimizeMolecule,
)
from tblite.exceptions import TBLiteRuntimeError
from tblite.interface import Calculator
from threadpoolctl import threadpool_limits

from datasets.errors import InputError
from datasets.molecules import molecule_table
from datasets.parallel import ParallelMap

DEFAULT_SIZE = 4096
"""Molecules in the default data set."""

VERSION = 1
"""Goes into the cache's name: raise it when the same size and seed give other molecules."""

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
"""Motifs that react, decompose, tautomerise or strain too readily -> SMARTS.

Most frequent first: a draw is left at its first match.
"""

PATIENCE = 20_000
"""Draws in a row without a new molecule after which the space counts as exhausted."""

CHUNK_SIZE = 32
"""Molecules a chunk, half a second on one core: short beside a run, long beside its transport."""

MAX_RELAXATION_STEPS = 2000
"""Ample: of 800 molecules, 797 took at most 200 steps and none more than 400."""

EMBEDDING_SECONDS = 60
"""Ample: a molecule of 9 heavy atoms takes 0.01, one of 60 carbons 2. A limit, as RDKit cannot be
interrupted."""

BOHR_PER_ANGSTROM = 1 / 0.529177210903
"""CODATA 2018."""

DEBYE_PER_ATOMIC_UNIT = 2.541746473
"""Debye in one elementary charge times Bohr, CODATA 2018."""


@dataclass(frozen=True)
class Chunk:
    """Molecules that one worker labels in one go."""

    smiles: tuple[str, ...]
    seed: int

    def __len__(self) -> int:
        return len(self.smiles)


@dataclass(frozen=True)
class Label:
    """One molecule's geometry and dipole moment."""

    smiles: str
    atomic_numbers: np.ndarray
    """Shape (atoms,), int8, hydrogens explicit."""
    positions: np.ndarray
    """Shape (atoms, 3), float32, in Angstrom."""
    dipole: float
    """In Debye, at least 0."""


@dataclass(frozen=True)
class Generated:
    """A generated data set and the candidates that others had to replace."""

    table: pa.Table
    """A molecule table with the target ``mu``, the dipole moment in Debye."""
    failures: Mapping[str, int]
    """Kind of failure -> candidates: "no conformer", "not relaxed", "no convergence"."""


class LabelError(InputError):
    """A valid molecule without a label; its arguments are the kind of failure and the SMILES."""

    def __str__(self) -> str:
        kind, smiles = self.args
        return f"{kind} for SMILES {smiles!r}: expected one that RDKit and GFN2-xTB can treat"


def generate(size: int, seed: int, parallel: ParallelMap = map) -> Generated:
    """Makes the data set: `size` molecules, each labelled with its dipole moment.

    Candidates that fail are replaced by the next ones, in further and smaller rounds.

    Args:
        size: Number of molecules, at least 1.
        seed: Of the molecules and their conformers, 0 to 2^31 - 2.
        parallel: Runs `label_molecules` over a list of `Chunk`; the sum of their lengths is the
            number of molecules at work in that round.

    Raises:
        InputError: If size or seed is out of range, or there are fewer molecules than asked for.
    """
    if size < 1:
        raise InputError(f"size of the gfn2 data set: expected at least 1, got {size}")
    if not 0 <= seed < 2**31 - 1:
        raise InputError(f"seed of the gfn2 data set: expected 0 to 2^31 - 2, got {seed}")
    stream = candidates(seed)
    labels: list[Label] = []
    failures = Counter[str]()
    while missing := size - len(labels):
        batch = list(islice(stream, missing))
        if len(batch) < missing:
            most = len(labels) + len(batch)
            raise InputError(f"size: expected at most {most} molecules at seed {seed}, got {size}")
        for outcome in chain.from_iterable(parallel(label_molecules, _chunks(batch, seed))):
            if isinstance(outcome, Label):
                labels.append(outcome)
            else:
                failures[outcome] += 1
    return Generated(_table(labels), dict(sorted(failures.items())))


def _chunks(smiles: Sequence[str], seed: int) -> list[Chunk]:
    starts = range(0, len(smiles), CHUNK_SIZE)
    return [Chunk(tuple(smiles[start : start + CHUNK_SIZE]), seed) for start in starts]


def _table(labels: Sequence[Label]) -> pa.Table:
    return molecule_table(
        [label.smiles for label in labels],
        [label.atomic_numbers for label in labels],
        [label.positions for label in labels],
        {"mu": (np.array([label.dipole for label in labels]), "D")},
    )


def label_molecules(chunk: Chunk) -> list[Label | str]:
    """Labels a chunk's molecules in order; where that fails, the kind of failure stands instead.

    One thread a process: the molecules already keep every core busy, and OpenMP threads that wait
    for a core spin. Two processes on two cores labelled 1,200 molecules in 7 s with one thread
    each, in 152 s with two.
    """
    outcomes: list[Label | str] = []
    with threadpool_limits(1):
        for smiles in chunk.smiles:
            try:
                outcomes.append(label(smiles, chunk.seed))
            except LabelError as error:
                outcomes.append(error.args[0])
    return outcomes


def label(smiles: str, seed: int) -> Label:
    """Conformer and dipole moment of one molecule.

    Raises:
        InputError: As `conformer`; also if the self-consistent field does not converge.
    """
    atomic_numbers, positions = conformer(smiles, seed)
    try:
        moment = dipole(atomic_numbers, positions)
    except TBLiteRuntimeError as error:
        raise LabelError("no convergence", smiles) from error
    return Label(smiles, atomic_numbers, positions, moment)


def dipole(atomic_numbers: np.ndarray, positions: np.ndarray) -> float:
    """GFN2-xTB dipole moment in Debye of a neutral closed-shell molecule, without solvent.

    Args:
        atomic_numbers: Shape (atoms,).
        positions: Shape (atoms, 3), in Angstrom.

    Raises:
        TBLiteRuntimeError: If the self-consistent field does not converge.
    """
    bohr = positions.astype(np.float64) * BOHR_PER_ANGSTROM
    calculator = Calculator("GFN2-xTB", atomic_numbers.astype(np.int64), bohr)
    calculator.set("verbosity", 0)
    moment = calculator.singlepoint().get("dipole")
    return float(np.linalg.norm(moment)) * DEBYE_PER_ATOMIC_UNIT


def conformer(smiles: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One relaxed conformer, hydrogens explicit, atoms in the order of ``AddHs`` on this SMILES.

    Returns:
        Atomic numbers of shape (atoms,), int8, and positions of shape (atoms, 3), float32, in
        Angstrom.

    Raises:
        InputError: If this is not the SMILES of one neutral closed-shell molecule, or no
            conformer can be embedded and relaxed.
    """
    with rdBase.BlockLogs():
        molecule = Chem.AddHs(_parse(smiles))
        parameters = rdDistGeom.ETKDGv3()
        parameters.randomSeed = seed + 1  # RDKit embeds the same with 0 as with 1
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
    """Whether the conformer reached a minimum of MMFF94, or of UFF where MMFF94 is mute."""
    if MMFFHasAllMoleculeParams(molecule):
        return MMFFOptimizeMolecule(molecule, "MMFF94", MAX_RELAXATION_STEPS) == 0
    if UFFHasAllMoleculeParams(molecule):
        return UFFOptimizeMolecule(molecule, MAX_RELAXATION_STEPS) == 0
    return False


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
BANNED_PATTERNS = [Chem.MolFromSmarts(smarts) for smarts in BANNED.values()]


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
        if any(map(molecule.HasSubstructMatch, BANNED_PATTERNS)):
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
