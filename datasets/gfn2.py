"""The default data set: small organic molecules with GFN2-xTB dipole moments, generated locally.

It takes three steps, none of which needs a network:

1. `datasets.molecule_grammar.candidates` draws molecules of 3 to 9 heavy atoms of C, N, O and F.
2. `datasets.conformers.conformer` embeds one conformer (ETKDGv3) and relaxes it (MMFF94).
3. `dipole` is that of a GFN2-xTB single point at that geometry, see `datasets.xtb`.

The order of the molecules depends on the seed alone, a geometry on the SMILES and the seed: a
smaller data set is the beginning of a larger one, however the work is distributed. The data are
bit-identical on one kind of machine; another processor or library build may round the last digits
differently.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from datasets.cache import Cache
from datasets.conformers import LabelError, conformer
from datasets.errors import InputError
from datasets.molecule_grammar import candidates
from datasets.molecules import molecule_table, read_table, write_table
from datasets.parallel import ParallelMap
from datasets.source import Source, Wanted
from datasets.xtb import SinglePointError, single_point

DEFAULT_SIZE = 4096
"""Number of molecules of the default data set."""

SEED = 0
"""Seed of the generated molecules, which are the same for every study, whatever the study's own
seed."""

VERSION = 1
"""Version of the data, part of the cache's name; to be raised when the same size and seed give
other molecules."""

CHUNK_SIZE = 32
"""Molecules per chunk: half a second on one core, which is short for a study, and long compared
with sending the chunk."""


@dataclass(frozen=True)
class Chunk:
    """Molecules that one worker labels in one call.

    Attributes:
        smiles: The molecules.
        seed: Seed of the conformers.
    """

    smiles: tuple[str, ...]
    seed: int

    def __len__(self) -> int:
        return len(self.smiles)


@dataclass(frozen=True)
class Label:
    """One molecule's geometry and dipole moment."""

    smiles: str
    atomic_numbers: np.ndarray
    """(atoms,) int8, explicit hydrogens included."""
    positions: np.ndarray
    """(atoms, 3) float32, Angstrom."""
    dipole: float
    """Magnitude of the dipole moment in Debye."""


@dataclass(frozen=True)
class Generated:
    """A generated data set, with counts of the candidates that failed and were replaced."""

    table: pa.Table
    """A molecule table with the target ``mu``, the dipole moment in Debye."""
    failures: Mapping[str, int]
    """Kind of failure ("no conformer", "not relaxed", "no convergence") -> number of
    candidates."""


def generate(size: int, seed: int, parallel: ParallelMap = map) -> Generated:
    """Generates a data set of `size` molecules, each labelled with its dipole moment.

    Candidates that fail are replaced by the next ones, in further rounds.

    Args:
        size: Number of molecules, at least 1.
        seed: Seed of the molecules and their conformers, 0 to 2^31 - 2.
        parallel: Maps `label_molecules` over the chunks of a round.

    Raises:
        InputError: If size or seed is out of range, or the seed yields fewer molecules than
            `size`.
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
    """Labels a chunk's molecules; returns, in order, a label or the kind of failure for each.

    Each process uses a single thread: the chunks already keep every core busy, and OpenMP threads
    that wait for a core spin. Two processes on two cores labelled 1,200 molecules in 7 s with one
    thread each, and in 152 s with two.
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
    """Computes conformer and dipole moment of one molecule.

    Raises:
        InputError: If this is not the SMILES of one neutral closed-shell molecule.
        LabelError: If there is no conformer, or the self-consistent field does not converge.
    """
    atomic_numbers, positions = conformer(smiles, seed)
    try:
        moment = dipole(atomic_numbers, positions)
    except SinglePointError as error:
        raise LabelError("no convergence", smiles) from error
    return Label(smiles, atomic_numbers, positions, moment)


def dipole(atomic_numbers: np.ndarray, positions: np.ndarray) -> float:
    """Computes the magnitude of the GFN2-xTB dipole moment, in Debye.

    Raises:
        SinglePointError: See `datasets.xtb.single_point`, which has the arguments, too.
    """
    return float(np.linalg.norm(single_point(atomic_numbers, positions).dipole))


def load(
    wanted: Wanted, cache: Cache, parallel: ParallelMap, notify: Callable[[str], None]
) -> pa.Table:
    """Returns the generated table from the cache, or generates it and reports how many candidates
    failed.

    Raises:
        InputError: If more molecules are wanted than can be generated.
    """
    size = wanted.molecules or DEFAULT_SIZE

    def make(path: Path) -> None:
        generated = generate(size, SEED, parallel)
        if generated.failures:
            causes = ", ".join(f"{count} {kind}" for kind, count in generated.failures.items())
            notify(f"replaced molecules that could not be labelled: {causes}")
        write_table(generated.table, path)

    return read_table(cache.get(f"gfn2-{size}-v{VERSION}.parquet", make), wanted.target)


SOURCE = Source(
    key="gfn2",
    title="GFN2-xTB",
    description="molecules generated here and labelled with GFN2-xTB dipoles",
    targets={"mu": "D"},
    size=DEFAULT_SIZE,
    unbounded=True,
    load=load,
    one_row_a_molecule=True,
    geometry_note=", as those that the model was trained on",
    relation=(
        "Published are moments of QM9's molecules (B3LYP). Those of this study are others, with "
        "labels of another method: the figures give the scale, they are no comparison."
    ),
)
