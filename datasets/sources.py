"""The data of a study of molecules: options, tables by name, one target, and a split.

Tables are generated or read once and kept in a cache, as are their graphs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets import gfn2, qm9
from datasets.cache import Cache
from datasets.errors import InputError
from datasets.features import NEAREST, digest_of, molecule_graphs
from datasets.graphs import Graphs
from datasets.molecule_file import DESCRIPTION, SUFFIX, file_source
from datasets.molecules import BONDS, UNKNOWN, target_values, unit_name
from datasets.parallel import ParallelMap
from datasets.prior import PRIORS, Prior, check_no_leak, with_prior
from datasets.prior import VERSION as PRIOR_VERSION
from datasets.same_molecule import first_writings, text_keys
from datasets.source import Source
from datasets.splits import HOMEWORK, Split, split_rows, split_sizes

SOURCES = (gfn2.SOURCE, qm9.SOURCE)
"""All sources that ``--dataset`` accepts by key; it also accepts the path of a file."""


def source_of(dataset: str) -> Source:
    """Returns the source that a value of ``--dataset`` names, by key or as the path of a file.

    Raises:
        InputError: If it names none.
    """
    keys = [source.key for source in SOURCES]
    if dataset not in keys and Path(dataset).suffix != SUFFIX:
        raise InputError(
            f"unknown --dataset {dataset}: expected {', '.join(keys)} or the path of a {SUFFIX} "
            "file"
        )
    return recorded_source(dataset)


def recorded_source(dataset: str) -> Source:
    """Returns the source of a recorded study; a key that no longer exists is taken for a file."""
    keys = {source.key: source for source in SOURCES}
    return keys.get(dataset) or file_source(dataset, keys.get(Path(dataset).stem.lower()))


def described(sources: Sequence[Source]) -> str:
    """Returns the help text of ``--dataset``."""
    named = [f"{source.key}: {source.description}" for source in sources]
    return f"{'; '.join(named)}; or {DESCRIPTION}."


def sizes_described(sources: Sequence[Source]) -> str:
    """Returns the help text of ``--molecules``."""
    sizes = [f"{source.size:,} of {source.key}" for source in sources if source.size]
    return (
        "How many: the first rows of a table, or as many as are generated; by default "
        f"{', '.join(sizes)}, all of a file."
    )


@dataclass(frozen=True)
class MoleculeOptions:
    # Built from the sources, so that --help lists each of them.
    __doc__ = f"""Which molecules, and what of them.

    Attributes:
        dataset: {described(SOURCES)}
        molecules: {sizes_described(SOURCES)}
    """

    dataset: str = "gfn2"

    target: str = "mu"
    """Column to predict; mu is the dipole moment in D. For an unknown name, the error message
    lists the available ones."""

    unit: str | None = None
    """Unit of the target, such as D or eV, if FILE.parquet does not record it; without this option
    it is then unknown."""

    split: str = "random"
    """Train, validation and test split. random: 80, 10 and 10 % by molecule; random:A,B,C: these
    fractions or counts; homework: the first 10,000 / 1,000 / 1,000 rows."""

    molecules: int | None = None

    prior: Prior = "none"
    """Approximate dipole moment of each molecule that models are given, and learn the difference
    from (delta learning): none, or gfn2, a GFN2-xTB single point of 5 ms a molecule, which a
    prediction then takes, too."""

    def __post_init__(self) -> None:
        if self.prior not in PRIORS:
            raise InputError(f"unknown --prior {self.prior}: expected {' or '.join(PRIORS)}")
        if self.molecules is not None and self.molecules < 1:
            raise InputError(f"--molecules is {self.molecules}: expected at least 1")
        # Checked before minutes are spent making or downloading molecules that cannot be used.
        source = source_of(self.dataset)
        if (rows := source.rows(self.molecules)) is not None:
            split_sizes(self.split, rows)
        unit = agreed_unit(self.unit, source.unit(self.target), self.target)
        if self.prior != "none":
            self.check_prior(unit)

    def check_prior(self, unit: str) -> None:
        """Checks that a prior suits the data.

        Args:
            unit: Unit of the target, or `UNKNOWN`.

        Raises:
            InputError: If the labels are the prior's own, or the target is no dipole moment.
        """
        if self.dataset == self.prior:
            raise InputError(
                f"--prior {self.prior} with --dataset {self.dataset}, whose labels are by that "
                "method: the model would be told what it is to predict; choose another one"
            )
        if unit not in ("D", UNKNOWN):
            raise InputError(
                f"--prior {self.prior} is a dipole moment in D, but {self.target} is in {unit}: "
                "leave it out"
            )


def agreed_unit(said: str | None, recorded: str, target: str) -> str:
    """Returns the unit of a target: the recorded one, or that of ``--unit`` if none is recorded.

    Args:
        said: The value of ``--unit``; None if it was not given.
        recorded: The recorded unit, or `UNKNOWN`.
        target: Name of the target, for the message.

    Raises:
        InputError: If ``--unit`` is not a unit, or contradicts the recorded one.
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
    """Molecules as graphs, with their split; the trials of a study share one instance.

    Attributes:
        graphs: The molecules, with bonds as edges.
        split: Indices of `graphs`, not rows of the table.
        unit: Unit of the target.
        digest: Fingerprint of the graphs, see `datasets.features.digest_of`, and of the prior.
        dropped: Number of rows left out for lack of a valid geometry, see
            `datasets.features.molecule_graphs`, or of a prior.
        lists_bonds: Whether the table lists bonds, see `datasets.features`.
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
    notify: Callable[[str], None] = print,
) -> MoleculeSet:
    """Opens the molecules that the options name: from a file, from the cache, or newly made.

    Args:
        options: The options.
        seed: Seed of a random split.
        cache: Cache of tables and graphs.
        parallel: Maps generation and featurisation over chunks.
        notify: Receives one line each about what was left out, replaced or downloaded.

    Raises:
        InputError: If the molecules cannot be used; the message says why.
    """
    cache = Cache.of(cache)
    source = source_of(options.dataset)
    table = source.load(options, cache, parallel, notify).slice(0, options.molecules)
    unit = agreed_unit(options.unit, source.unit_in(table, options.target), options.target)
    if options.prior != "none":
        options.check_prior(unit)
        if unit == UNKNOWN:
            raise InputError(
                f"--prior {options.prior} needs a dipole moment in D, and the unit of "
                f"{options.target} is not recorded: say --unit D if it is one"
            )
    if options.split == "homework":
        table = table.slice(0, sum(HOMEWORK))  # the split does not use the other rows
    target_values(table, options.target)
    split_sizes(options.split, table.num_rows)  # fails early, before minutes of featurisation
    smiles = table.column("smiles").to_pylist()
    molecules = None if source.one_row_a_molecule else first_writings(smiles, cache, parallel)
    split = split_rows(text_keys(smiles), options.split, seed, molecules)
    if molecules is not None and (shared := _shared(molecules, split)):
        notify(shared)
    graphs = molecule_graphs(table, options.target, cache, parallel)
    lists_bonds = BONDS in table.column_names
    if dropped := table.num_rows - len(graphs):
        near = f"of which two atoms are nearer than {NEAREST} Angstrom"
        why = near if lists_bonds else "whose positions do not fit their SMILES"
        notify(f"left out {dropped:,} of {table.num_rows:,} molecules, {why}")
    digest = digest_of(table, options.target)
    if options.prior != "none":
        graphs, failed = with_prior(graphs, cache, parallel)
        if failed:
            notify(f"left out {failed:,} molecules for which GFN2-xTB fails")
        check_no_leak(graphs, options.target)
        digest += f":{options.prior}-v{PRIOR_VERSION}"
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
        digest=digest,
        dropped=table.num_rows - len(graphs),
        lists_bonds=lists_bonds,
    )


def _shared(molecules: np.ndarray, split: Split) -> str:
    """Describes how many rows share a molecule with other rows, and whether the split separates
    them; empty if none do.

    Args:
        molecules: (rows,), a number that identifies each row's molecule.
        split: The split of the rows.
    """
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
