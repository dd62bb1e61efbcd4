"""A user's molecule table as a source: ``--dataset FILE.parquet``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa

from datasets.cache import Cache
from datasets.molecules import read_table
from datasets.parallel import ParallelMap
from datasets.source import Source, Wanted

SUFFIX = ".parquet"
"""Suffix by which ``--dataset`` recognises the path of a table."""

DESCRIPTION = (
    "the path of a molecule table, FILE.parquet (schema: datasets/molecules.py), also a folder of "
    "such files"
)
"""Description of such a source in ``--help``."""

ORIGIN_UNKNOWN = (
    "Published are moments of QM9's molecules (B3LYP). Whether this study's may be compared with "
    "them depends on where they come from, which their file does not say."
)


def file_source(path: str, namesake: Source | None) -> Source:
    """Returns a molecule table file, or a folder of such files, as a source.

    Args:
        path: Path of the file or folder; it need not exist before it is loaded.
        namesake: The known source whose key is the file's name, such as QM9 for ``qm9.parquet``;
            the molecules are assumed to come from it. None if there is none.
    """
    return Source(
        key=path,
        title=path,
        description=DESCRIPTION,
        targets=None,
        size=None,
        load=partial(_load, path),
        geometry_note=f"; the model was trained on those of {path}",
        relation=ORIGIN_UNKNOWN if namesake is None else namesake.relation,
        homework_relation=None if namesake is None else _if_the_rows_are(namesake),
    )


def _load(
    path: str, wanted: Wanted, cache: Cache, parallel: ParallelMap, notify: Callable[[str], None]
) -> pa.Table:
    del cache, parallel, notify  # nothing has to be made
    return read_table(Path(path), wanted.target)


def _if_the_rows_are(namesake: Source) -> str | None:
    """Returns the source's remark on the homework's split, on condition that the file has the
    source's rows; None if the source has no such remark."""
    if namesake.homework_relation is None:
        return None
    rows = f"where the rows of its file are {namesake.title}'s, in their order"
    return f"{rows}, {namesake.homework_relation}"
