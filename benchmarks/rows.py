"""Makes rows of docs/results of the finals of recorded studies.

    python benchmarks/rows.py gnn ablations qm9-ablations
    python benchmarks/rows.py driving best drives-best
    python benchmarks/rows.py controllers long racing-long

The rows of the experiment are then those of the studies that are named, and no others; each final,
a training on a fresh seed, is one. `best` takes of a study of molecules the finals of each
family's best trial, and of a study of drives those of the champion; every other experiment takes
all finals. The pages docs/results-gnn.md, docs/results-driving.md and docs/results-world-models.md
list the commands of the studies; benchmarks/figures.py draws and tabulates the rows.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from analysis.command_line import add_runs_dir
from benchmarks import controller_results, driving_results, gnn_results
from benchmarks.command_line import Parser, exit_code
from benchmarks.result_table import ResultTable
from datasets.errors import InputError
from datasets.typed_paths import typed_path
from record.folder import StudyFolder
from record.reading import recorded_study
from record.tracking_uri import tracking_uri

TABLES: dict[str, ResultTable[Any]] = {
    "gnn": gnn_results.TABLE,
    "driving": driving_results.TABLE,
    "controllers": controller_results.TABLE,
}


def main(argv: Sequence[str]) -> None:
    """Replaces the rows of one experiment.

    Raises:
        InputError: If there is no such experiment, or a study cannot give its rows.
    """
    typed = _parsed(argv)
    table, uri = TABLES[typed.table], tracking_uri(typed.runs_dir)
    if typed.experiment not in table.experiments:
        expected = ", ".join(table.experiments)
        raise InputError(f"unknown experiment {typed.experiment}: expected {expected}")
    folders = [StudyFolder(typed.runs_dir, name) for name in dict.fromkeys(typed.studies)]
    studies = [recorded_study(folder, uri).in_mlflow() for folder in folders]
    made = [row for study in studies for row in table.rows(typed.experiment, study)]
    file = typed.results or table.file
    before = table.read(file) if file.is_file() else []
    table.write([*(row for row in before if row.experiment != typed.experiment), *made], file)
    print(f"{file}: {len(made)} rows of {typed.experiment}")


def _parsed(argv: Sequence[str]) -> Namespace:
    line = Parser(__doc__)
    line.add_argument("table", choices=TABLES, help="whose rows")
    line.add_argument("experiment", help="what they show")
    line.add_argument("studies", nargs="+", metavar="STUDY", help="name of a recorded study")
    line.add_argument(
        "--results",
        type=typed_path,
        metavar="FILE.csv",
        help="a table of one's own (default: the one in docs/results)",
    )
    add_runs_dir(line)
    return line.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
