"""The tables of docs/results: CSV files with one row a training, which recorded studies give.

A row is a final: a training of a finalist on a seed that the search did not use, scored on the
test split once, when its study ended. A study that tries a single configuration chooses nothing,
and may do without finals.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, get_type_hints

from benchmarks.chosen_finalists import trainings
from datasets.errors import InputError, described
from datasets.files import write_whole
from record import names
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.config import TrialConfig

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"

SPLIT_SEED = 0
"""The seed of the studies, which draws their splits: rows of one table are of one split."""


class Row(Protocol):
    """A row: a dataclass of texts and numbers."""

    @property
    def experiment(self) -> str:
        """The experiment whose result it is."""
        ...

    @property
    def config(self) -> str:
        """The configuration that was trained, seed included, as JSON."""
        ...


AnyRow = TypeVar("AnyRow", bound=Row)
Made = TypeVar("Made")
Found = TypeVar("Found")


@dataclass(frozen=True)
class ResultTable(Generic[AnyRow]):
    """The rows of one page of docs/.

    Attributes:
        file: The CSV file.
        kind: Class of the rows.
        order: Key by which rows are sorted.
        studies: The `key` of the studies whose finals may be rows.
        experiments: Name of an experiment -> chooses its finalists; see
            `benchmarks.chosen_finalists`.
        row: Makes a row of an experiment, a study, and one of its finals.
    """

    file: Path
    kind: type[AnyRow]
    order: Callable[[AnyRow], Any]
    studies: Sequence[str]
    experiments: dict[str, Callable[[RecordedStudy], Sequence[int]]]
    row: Callable[[str, RecordedStudy, Trial], AnyRow]

    def read(self, file: Path | None = None) -> list[AnyRow]:
        """Reads the rows.

        Args:
            file: Another CSV file with the same columns; None: the table's own.

        Raises:
            InputError: See `read_rows`.
        """
        return read_rows(self.kind, file or self.file)

    def write(self, rows: Iterable[AnyRow], file: Path | None = None) -> None:
        """Writes all rows, sorted; the file is whole at any moment.

        Raises:
            InputError: If it cannot be written.
        """
        write_rows(self.kind, sorted(rows, key=self.order), file or self.file)

    def rows(self, experiment: str, study: RecordedStudy) -> list[AnyRow]:
        """Makes the rows that a recorded study has for an experiment.

        Raises:
            InputError: If it is a study of something else or on another split, has not ended, or
                lacks finals of what the experiment shows.
        """
        self._check(study)
        numbers = self.experiments[experiment](study)
        trained = trainings(study)
        if missing := [number for number in numbers if number not in trained]:
            numbered = ", ".join(map(str, missing))
            raise InputError(
                f"trials {numbered} of {study.name} have no finals: repeat its command with more "
                "--finalists"
            )
        return [
            self.row(experiment, study, final) for number in numbers for final in trained[number]
        ]

    def _check(self, study: RecordedStudy) -> None:
        key, seed = study.params[names.STUDY], study.params[names.SEED]
        if key not in self.studies or seed != SPLIT_SEED:
            raise InputError(
                f"{study.name} is a study of {key} with seed {seed}: expected one of "
                f"{' or '.join(self.studies)} with seed {SPLIT_SEED}"
            )
        study.check_ended()
        if not trainings(study):
            raise InputError(
                f"{study.name} has no finals that finished, of which rows could be made: repeat "
                "its command with --finalists 5"
            )


def write_rows(kind: type[Made], rows: Iterable[Made], file: Path) -> None:
    """Writes rows to a CSV file, which is whole at any moment.

    Args:
        kind: Class of the rows, a dataclass of texts and numbers, whose fields are the columns.
        rows: The rows.
        file: The file.

    Raises:
        InputError: If it cannot be written.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, [*get_type_hints(kind)], lineterminator="\n")
    table.writeheader()
    table.writerows(vars(row) for row in rows)
    try:
        write_whole(file, text.getvalue().encode())
    except OSError as error:
        raise InputError(f"cannot write the table ({described(error)})") from error


def read_rows(kind: type[Made], file: Path) -> list[Made]:
    """Reads the rows of a CSV file.

    Args:
        kind: Class of the rows, a dataclass of texts and numbers, whose fields are the columns.
        file: The file.

    Raises:
        InputError: If the file has other columns, or a value is of another type.
    """
    kinds = get_type_hints(kind)
    with file.open(newline="", encoding="utf-8") as lines:
        table = csv.DictReader(lines)
        if [*(table.fieldnames or ())] != [*kinds]:
            raise InputError(f"{file} has other columns: expected {', '.join(kinds)}")
        try:
            return [
                kind(**{name: kinds[name](value) for name, value in row.items()}) for row in table
            ]
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(f"{file}, line {table.line_num}: {error}") from None


def common_columns(
    experiment: str, study: RecordedStudy, final: Trial, config: TrialConfig
) -> dict[str, Any]:
    """The columns that every table has, of a final with this configuration.

    ``seconds`` are those of the training on the clock, without evaluation, whatever else the
    machine did.
    """
    return {
        "experiment": experiment,
        "split": study.params[f"{names.OPTIONS}split"],
        "seed": config.seed,
        "epochs": config.epochs,
        "seconds": round(sum(each.metrics["train/seconds"] for each in final.reports), 1),
        "device": final.placements[-1].device,
        "config": json.dumps(asdict(config), sort_keys=True),
    }


def scored(
    study: RecordedStudy, final: Trial, read: Callable[[RecordedStudy, Trial], Found | None]
) -> Found:
    """What a final came to on the test split.

    Args:
        study: The study.
        final: Its final.
        read: Reads that from the study's record; None: the final was not scored.

    Raises:
        InputError: If it was not scored.
    """
    found = read(study, final)
    if found is None:
        raise InputError(
            f"trial {final.number} of {study.name} was not scored on the test split: repeat the "
            "command of the study, which does it"
        )
    return found
