"""The recorded learning curves of many configurations, in one Parquet file, a row a training.

`benchmarks/record_curves.py` makes the file, `benchmarks/search.py` replays it. What is recorded
of a training does not depend on how it was chosen or stopped: the objective and the processor time
of each of its epochs.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.result_table import RESULTS
from datasets.errors import InputError
from datasets.files import write_whole

FILE = RESULTS / "gnn_curves.parquet"
"""The curves of the space of `studies/gnn_sweep.py`, on its default molecules."""

SCHEMA = pa.schema(
    [
        ("number", pa.int32()),
        ("seed", pa.int32()),
        ("config", pa.string()),
        ("objective", pa.list_(pa.float32())),
        ("seconds", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True)
class Curve:
    """The curve of one training.

    Attributes:
        number: Number of the configuration, in the order in which they were drawn; the defaults
            come first.
        seed: Seed of the training.
        config: Hyperparameters, without the seed.
        objective: Objective after each epoch; fewer than the configuration's epochs if the
            training diverged.
        seconds: Processor seconds of each epoch, training and evaluation.
    """

    number: int
    seed: int
    config: dict[str, Any]
    objective: list[float]
    seconds: list[float]

    @property
    def is_whole(self) -> bool:
        """True if the training came to its end."""
        return len(self.objective) == self.config["epochs"]

    def line(self) -> str:
        """Returns the curve as one line of JSON."""
        return json.dumps(asdict(self))


def read(file: Path = FILE) -> list[Curve]:
    """Reads all curves of a file.

    Raises:
        InputError: If it is no such file.
    """
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{file}: cannot be read ({error}): expected a file of benchmarks/record_curves.py"
        ) from error
    if table.schema.names != SCHEMA.names:
        raise InputError(f"{file}: expected the columns {', '.join(SCHEMA.names)}")
    return [Curve(**{**row, "config": json.loads(row["config"])}) for row in table.to_pylist()]


def write(curves: Iterable[Curve], file: Path) -> None:
    """Writes curves to a file, sorted by seed and number."""
    ordered = sorted(curves, key=lambda curve: (curve.seed, curve.number))
    rows = [{**asdict(curve), "config": json.dumps(curve.config)} for curve in ordered]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), buffer, compression="zstd")
    write_whole(file, buffer.getvalue().to_pybytes())


def read_lines(file: Path) -> Iterator[Curve]:
    """Yields the curves of a file of lines; a last line that was cut off is left out."""
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield Curve(**json.loads(line))
