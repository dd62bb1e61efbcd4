"""What happened to each trial, on the disk of the study: the ledger that the others agree with.

A trial that has ended is one Parquet file, ``runs/NAME/ledger/trial-00012.parquet``: a row an
epoch, in the file's metadata everything else. It is written, whole or not at all, before Optuna
and MLflow hear of the ending, so that a crash between the three loses nothing: each can be told
again from it. Tune's own snapshot is ten seconds old when the machine dies and is not relied on.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.runs import State
from datasets.files import write_whole
from trainables.trial_spec import trial_folder

FORMAT = b"orrery.trial"
"""Key of the metadata of a file."""

Row = Mapping[str, Any]
"""One epoch: ``epoch``, ``unix_ms`` when it ended, and its metrics by name."""


@dataclass(frozen=True)
class Trial:
    """One trial as far as it is known.

    Attributes:
        identity: Of the study; with the number the trial's one id in Tune, Optuna and MLflow.
        number: In the study.
        name: Number and configuration at a glance.
        params: Hyperparameter -> value.
        baseline: Whether everything else is compared with it.
        of: Of a final the trial that it is another training of.
        state: How it stands; see `analysis.runs.TrialRun`.
        epoch: Epochs done.
        value: The objective after the last of them; None before the first.
        reason: Why it has no result.
        tags: Where it ran, and what else there is to say of it.
        started_ms: When it began, in milliseconds since 1970, UTC.
        ended_ms: When it ended; None while it runs.
        rows: Its epochs.
    """

    identity: str
    number: int
    name: str
    params: Mapping[str, Any]
    baseline: bool
    of: int | None = None
    state: State = "running"
    epoch: int = 0
    value: float | None = None
    reason: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    started_ms: int = 0
    ended_ms: int | None = None
    rows: tuple[Row, ...] = ()


class Records:
    """The ended trials of a study.

    Args:
        folder: Where their files are; created with the first of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, number: int) -> Path:
        """The file of a trial."""
        return self.folder / f"{trial_folder(number)}.parquet"

    def is_whole(self, file: Path) -> bool:
        """Whether a file of a trial is there, and not cut off."""
        return _outline(file) is not None

    def write(self, trial: Trial) -> None:
        """Writes an ended trial, whole or not at all.

        Raises:
            OSError: If the disk does not take it; an earlier file of the trial is then as before.
        """
        facts = asdict(replace(trial, rows=()))
        del facts["rows"]
        columns = list(dict.fromkeys(key for row in trial.rows for key in row))
        table = pa.table({key: [row.get(key) for row in trial.rows] for key in columns})
        table = table.replace_schema_metadata({FORMAT: json.dumps(facts).encode()})
        content = pa.BufferOutputStream()
        pq.write_table(table, content, write_page_checksum=True)
        write_whole(self.path(trial.number), memoryview(content.getvalue()))

    def read(self, number: int) -> Trial | None:
        """A trial with its epochs; None if it has no whole file."""
        try:
            table = pq.read_table(self.path(number).absolute(), page_checksum_verification=True)
            return _trial(table.schema.metadata, tuple(table.to_pylist()))
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
            return None

    def outline(self, number: int) -> Trial | None:
        """A trial without its epochs; None if it has no whole file."""
        return _outline(self.path(number))

    def numbers(self) -> Iterator[int]:
        """Of the trials that have a file, whole or not."""
        for file in sorted(self.folder.glob("*.parquet")):
            yield int(file.stem.rpartition("-")[2])


def _outline(file: Path) -> Trial | None:
    try:
        return _trial(pq.read_schema(file.absolute()).metadata, ())
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None


def _trial(metadata: Mapping[bytes, bytes] | None, rows: tuple[Row, ...]) -> Trial:
    facts = json.loads((metadata or {})[FORMAT])
    return Trial(**facts, rows=rows)
