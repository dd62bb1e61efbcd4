"""A molecule table of one's own as a source: ``--dataset FILE.parquet``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa

from datasets.cache import Cache
from datasets.molecules import read_table
from datasets.parallel import ParallelMap
from datasets.source import Source, Wanted

SUFFIX = ".parquet"
"""What the path of a table ends with."""

DESCRIPTION = (
    "the path of a molecule table, FILE.parquet (schema: datasets/molecules.py), also a folder of "
    "such files"
)
"""What ``--help`` says of it."""

ORIGIN_UNKNOWN = (
    "Published are moments of QM9's molecules (B3LYP). Whether this study's may be compared with "
    "them depends on where they come from, which their file does not say."
)


def file_source(path: str, namesake: Source | None) -> Source:
    """The source that a file, or a folder of files, is.

    Args:
        path: Of the file. It need not be there before it is loaded.
        namesake: The source that the file is called after, such as QM9 of ``qm9.parquet``, which
            its molecules are taken to come from; None: there is none.
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
    """How the homework's split relates to the published one, of a file that may hold its rows."""
    if namesake.homework_relation is None:
        return None
    rows = f"where the rows of its file are {namesake.title}'s, in their order"
    return f"{rows}, {namesake.homework_relation}"
