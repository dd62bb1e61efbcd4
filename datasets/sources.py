"""Which molecules a study learns from: a table by name, one target, a split.

Tables are generated or read once and kept in a cache, as are their graphs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from datasets import gfn2, qm9
from datasets.cache import Cache
from datasets.errors import InputError
from datasets.features import NEAREST, digest_of, molecule_graphs
from datasets.graphs import Graphs
from datasets.molecules import (
    BONDS,
    UNKNOWN,
    read_table,
    target_unit,
    target_values,
    unit_name,
    write_table,
)
from datasets.parallel import ParallelMap
from datasets.same_molecule import first_writings, text_keys
from datasets.splits import HOMEWORK, Split, split_rows, split_sizes

GFN2_SEED = 0
"""The embedded molecules are the same for every study, whatever the study's own seed."""


@dataclass(frozen=True)
class MoleculeOptions:
    """Which molecules, and what of them."""

    dataset: str = "gfn2"
    """gfn2: molecules generated here and labelled with GFN2-xTB dipoles; qm9: the 130,831 of QM9,
    downloaded, with features, targets and units of PyTorch Geometric; or the path of a molecule
    table, FILE.parquet (schema: datasets/molecules.py), also a folder of such files."""

    target: str = "mu"
    """Column to predict; mu is the dipole moment in D. qm9 has 19, see datasets/qm9.py."""

    unit: str | None = None
    """Unit of the target, such as D or eV, where FILE.parquet does not record it; by default it is
    then unknown."""

    split: str = "random"
    """random: 80, 10 and 10 % by molecule; random:A,B,C: these fractions or counts; homework: the
    first 10,000 / 1,000 / 1,000 rows."""

    molecules: int | None = None
    """How many: gfn2 generates 4,096 by default, of qm9 or a file the first rows are taken, by
    default all."""

    def __post_init__(self) -> None:
        if self.molecules is not None and self.molecules < 1:
            raise InputError(f"--molecules is {self.molecules}: expected at least 1")
        # Before minutes go into making or downloading molecules that cannot be used.
        if self.dataset == "gfn2":
            split_sizes(self.split, self.molecules or gfn2.DEFAULT_SIZE)
            if self.target != "mu":
                raise InputError(f"no target {self.target}: gfn2 has mu only")
            agreed_unit(self.unit, "D", self.target)
        elif self.dataset == "qm9":
            split_sizes(self.split, min(self.molecules or qm9.SIZE, qm9.SIZE))
            if self.target not in qm9.TARGETS:
                raise InputError(f"no target {self.target}: qm9 has {', '.join(qm9.TARGETS)}")
            agreed_unit(self.unit, qm9.TARGETS[self.target][0], self.target)
        elif Path(self.dataset).suffix != ".parquet":
            raise InputError(
                f"unknown --dataset {self.dataset}: expected gfn2, qm9 or the path of a .parquet "
                "file"
            )
        else:
            agreed_unit(self.unit, UNKNOWN, self.target)


def agreed_unit(said: str | None, recorded: str, target: str) -> str:
    """The unit of a target: as recorded, or as said where none is.

    Raises:
        InputError: If what was said is no unit, or another one than is recorded.
    """
    if said is None:
        return recorded
    if not said.strip() or not said.isprintable():
        raise InputError(f"--unit is {said!r}: expected a unit, such as D or eV")
    if recorded not in (UNKNOWN, unit_name(said)):
        raise InputError(f"--unit is {said}, but {target} is recorded to be in {recorded}")
    return unit_name(said)


@dataclass(frozen=True)
class MoleculeSet:
    """Molecules ready to be learned from; what the trials of a study share.

    Attributes:
        graphs: With bonds as edges.
        split: Places in `graphs`, not rows of the table.
        unit: Of the target.
        digest: Of the graphs, see `datasets.features.digest_of`.
        dropped: Rows left out because their positions are no geometry of theirs, see
            `datasets.features.molecule_graphs`.
        lists_bonds: Whether it does.
    """

    graphs: Graphs
    split: Split
    unit: str
    digest: str
    dropped: int
    lists_bonds: bool


def open_molecules(
    options: MoleculeOptions,
    seed: int,
    cache: Path | Cache,
    parallel: ParallelMap = map,
    say: Callable[[str], None] = print,
) -> MoleculeSet:
    """Makes or finds the molecules that the options name.

    Args:
        options: Which.
        seed: Seeds a random split.
        cache: Keeps generated tables and graphs.
        parallel: Runs generation and featurisation.
        say: Is told what was left out or replaced, a line each.

    Raises:
        InputError: If they cannot be used; the message says why.
    """
    cache = Cache.of(cache)
    table = _table(options, cache, parallel, say)
    unit = agreed_unit(options.unit, target_unit(table, options.target), options.target)
    if options.split == "homework":
        table = table.slice(0, sum(HOMEWORK))  # the other rows are in no part of it
    target_values(table, options.target)
    split_sizes(options.split, table.num_rows)  # before minutes go into what cannot be split
    smiles = table.column("smiles").to_pylist()
    # The splits of the data sets that are known by name stay what they are: gfn2 has each molecule
    # once; of qm9 some 75 are there twice, by both structures of an aromatic ring.
    named = options.dataset in ("gfn2", "qm9")
    molecules = None if named else first_writings(smiles, cache, parallel)
    split = split_rows(text_keys(smiles), options.split, seed, molecules)
    if molecules is not None and (shared := _shared(molecules, split)):
        say(shared)
    graphs = molecule_graphs(table, options.target, cache, parallel)
    dropped = table.num_rows - len(graphs)
    lists_bonds = BONDS in table.column_names
    if dropped:
        near = f"of which two atoms are nearer than {NEAREST} Angstrom"
        why = near if lists_bonds else "whose positions do not fit their SMILES"
        say(f"left out {dropped:,} of {table.num_rows:,} molecules, {why}")
    split = split.keeping(graphs.rows)
    for name, part in vars(split).items():
        if len(part) < 2 or np.ptp(graphs.targets[part]) == 0:
            raise InputError(
                f"target {options.target} takes a single value on the {len(part)} molecules of "
                f"the {name} split: R² is undefined, choose another target or split"
            )
    return MoleculeSet(
        graphs=graphs,
        split=split,
        unit=unit,
        digest=digest_of(table, options.target),
        dropped=dropped,
        lists_bonds=lists_bonds,
    )


def _shared(molecules: np.ndarray, split: Split) -> str:
    """How many rows share a molecule, (rows,), with others; empty where none do."""
    _, molecule_of_row, rows = np.unique(molecules, return_inverse=True, return_counts=True)
    shared = int((rows[molecule_of_row] > 1).sum())
    if not shared:
        return ""
    parts = np.concatenate([np.unique(molecule_of_row[part]) for part in vars(split).values()])
    apart = np.flatnonzero(np.bincount(parts, minlength=len(rows)) > 1)
    where = (
        f"{int(rows[apart].sum()):,} of them in two parts" if len(apart) else "each in one part"
    )
    return f"{shared:,} of {len(molecules):,} rows share a molecule with other rows, {where}"


def _table(
    options: MoleculeOptions, cache: Cache, parallel: ParallelMap, say: Callable[[str], None]
) -> pa.Table:
    if options.dataset == "gfn2":
        path = _generated(options.molecules or gfn2.DEFAULT_SIZE, cache, parallel, say)
    elif options.dataset == "qm9":
        table = partial(qm9.table_file, cache.folder / "qm9", qm9.PUBLISHED, parallel, say)
        cache.get(f"qm9/{qm9.table_name(qm9.PUBLISHED)}", lambda _: table())
        path = table()  # checks the raw files as well, where they are
    else:
        path = Path(options.dataset)
    return read_table(path, options.target).slice(0, options.molecules)


def _generated(
    molecules: int, cache: Cache, parallel: ParallelMap, say: Callable[[str], None]
) -> Path:
    def make(path: Path) -> None:
        generated = gfn2.generate(molecules, GFN2_SEED, parallel)
        if generated.failures:
            causes = ", ".join(f"{count} {kind}" for kind, count in generated.failures.items())
            say(f"replaced molecules that could not be labelled: {causes}")
        write_table(generated.table, path)

    return cache.get(f"gfn2-{molecules}-v{gfn2.VERSION}.parquet", make)
