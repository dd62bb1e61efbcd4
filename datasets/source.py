"""What the project knows of a source of molecules, in one value.

The module of a source, such as `datasets.qm9`, ends in ``SOURCE = Source(...)``, and the tuple
`datasets.sources.SOURCES` names it. Options, splits, predictions and reports ask that value, so a
new source is one file and one entry.
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
    """What is wanted of a source; `datasets.sources.MoleculeOptions` is an implementation."""

    @property
    def target(self) -> str:
        """Column to predict."""
        ...

    @property
    def molecules(self) -> int | None:
        """How many molecules, at least 1; None: `Source.size` of them."""
        ...


Load = Callable[[Wanted, Cache, ParallelMap, Callable[[str], None]], pa.Table]
"""Makes or finds a molecule table, see `datasets.molecules`, that has the wanted target.

It may have more rows than are wanted: the first ones are taken. What is dear to make is kept in
the cache, heavy loops run in the parallel map, and the last argument is told what was left out,
replaced or downloaded, a line each. It raises InputError where there is no such table.
"""


@dataclass(frozen=True)
class Source:
    """A source of molecules.

    Attributes:
        key: What ``--dataset`` names it by, such as ``qm9``; of a file its path.
        title: What a sentence calls it, such as QM9.
        description: What ``--help`` says of it, without a full stop.
        targets: Name -> unit of everything that can be predicted; None: the table records that.
        size: Molecules that are taken where the user does not say how many; None: all.
        load: Gives the table, see `Load`.
        geometry_note: What follows "Geometries: one conformer each, by ETKDG and MMFF94" below the
            predictions for SMILES: how these geometries differ from those learned from.
        relation: How its dipole moments relate to the published ones, which are those of QM9's
            molecules by B3LYP. Whole sentences.
        homework_relation: What follows "This study has the homework's split: ", where its first
            12,000 rows are those of the published homework; None: they are others.
        unbounded: Whether it has more molecules than `size` where more are wanted.
        one_row_a_molecule: Whether a random split takes rows with different SMILES for different
            molecules. Otherwise it looks for molecules that are written in several ways, and
            keeps the rows of each in one part.
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
        """How many molecules there are of those wanted; None: known once the table is read."""
        if wanted is None or self.size is None:
            return self.size
        return wanted if self.unbounded else min(wanted, self.size)

    def unit(self, target: str) -> str:
        """The unit of a target, before any table is read; `UNKNOWN` where the table records it.

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
        """The unit of a target in the table that was loaded; `UNKNOWN` where nothing says it.

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
        """How a study's dipole moments relate to the published ones, in whole sentences.

        Args:
            split: The study's, see `datasets.splits.split_rows`.
        """
        if split == "homework" and self.homework_relation is not None:
            return f"This study has the homework's split: {self.homework_relation}"
        return self.relation
