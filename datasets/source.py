"""The description of a source of molecules, as one value.

The module of a source, such as `datasets.qm9`, ends in ``SOURCE = Source(...)``, and the tuple
`datasets.sources.SOURCES` lists it. Options, splits, predictions and reports use only that value,
so that a new source takes one file and one entry.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from datasets.cache import Cache
from datasets.errors import InputError
from datasets.molecules import UNKNOWN, target_unit, unit_name
from datasets.parallel import ParallelMap


class Wanted(Protocol):
    """A request to a source; `datasets.sources.MoleculeOptions` is an implementation."""

    @property
    def target(self) -> str:
        """Name of the column to predict."""
        ...

    @property
    def molecules(self) -> int | None:
        """Number of molecules, at least 1; None for `Source.size`."""
        ...


Load = Callable[[Wanted, Cache, ParallelMap, Callable[[str], None]], pa.Table]
"""A function that returns a molecule table, see `datasets.molecules`, with the wanted target.

Its arguments are the request, the cache for what is expensive to make, the parallel map for heavy
loops, and a function that receives one line each about what was left out, replaced or downloaded.
The table may have more rows than wanted: the first ones are used. It raises InputError if there is
no such table.
"""


@dataclass(frozen=True)
class Source:
    """A source of molecules: where they come from, and how they are described.

    Attributes:
        key: Its name in ``--dataset``, such as ``qm9``; for a file its path.
        title: Its name in sentences, such as QM9.
        description: Its description in ``--help``, without a full stop.
        targets: Name -> unit of all targets; None if the table records them.
        size: Default number of molecules; None for all.
        load: Loads the table, see `Load`.
        geometry_note: Continuation of "Geometries: one conformer each, by ETKDG and MMFF94" below
            predictions for SMILES: how these geometries relate to the training geometries.
        relation: Whole sentences on how its dipole moments relate to the published ones, which are
            those of QM9's molecules by B3LYP.
        homework_relation: Continuation of "This study has the homework's split: ", for a source
            whose first 12,000 rows are those of the published homework; None for other sources.
        unbounded: Whether it can provide more molecules than `size` on request.
        one_row_a_molecule: Whether a random split may take rows with different SMILES for
            different molecules. If not, it detects different SMILES of one molecule and keeps
            their rows in one part.
    """

    key: str
    title: str
    description: str
    targets: Mapping[str, str] | None
    size: int | None
    load: Load
    geometry_note: str
    relation: str
    homework_relation: str | None = None
    unbounded: bool = False
    one_row_a_molecule: bool = False

    def rows(self, wanted: int | None) -> int | None:
        """Returns how many of the wanted molecules the source has; None if that is known only once
        the table is read.

        Args:
            wanted: Number of wanted molecules; None for the default.
        """
        if wanted is None or self.size is None:
            return self.size
        return wanted if self.unbounded else min(wanted, self.size)

    def unit(self, target: str) -> str:
        """Returns the unit of a target without reading a table; `UNKNOWN` if only the table has
        it.

        Raises:
            InputError: If there is no such target.
        """
        if self.targets is None:
            return UNKNOWN
        if target not in self.targets:
            only = " only" if len(self.targets) == 1 else ""
            raise InputError(f"no target {target}: {self.key} has {', '.join(self.targets)}{only}")
        return unit_name(self.targets[target])

    def unit_in(self, table: pa.Table, target: str) -> str:
        """Returns the unit of a target in a loaded table; `UNKNOWN` if it is not recorded.

        Raises:
            InputError: If there is no such target, or the table records another unit than the
                source states.
        """
        stated, recorded = self.unit(target), target_unit(table, target)
        if UNKNOWN not in (stated, recorded) and stated != recorded:
            raise InputError(
                f"{target} of {self.title} is recorded to be in {recorded}, but its source states "
                f"{stated}: correct one of them"
            )
        return recorded if stated == UNKNOWN else stated

    def relation_to_published(self, split: str) -> str:
        """Returns whole sentences on how a study's dipole moments relate to published ones.

        Args:
            split: The study's split method, see `datasets.splits.split_rows`.
        """
        if split == "homework" and self.homework_relation is not None:
            return f"This study has the homework's split: {self.homework_relation}"
        return self.relation
