"""Draws the figures and fills in the tables of docs/results-gnn.md and docs/results-driving.md.

    python benchmarks/figures.py
    python benchmarks/figures.py --report runs/drives-best/report

Both are made of the rows in docs/results, which benchmarks/rows.py takes from recorded studies.
``--report`` takes three figures over from the report of a study of drives.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import driving_figures, gnn_figures
from benchmarks.command_line import Parser, exit_code
from benchmarks.document import IMAGES, Page
from datasets.errors import InputError
from datasets.typed_paths import typed_path

PAGES: tuple[Page[Any], ...] = (gnn_figures.PAGE, driving_figures.PAGE)

TAKEN = ("loss_curves.png", "error_against_horizon.png", "film_strip.png")
"""Figures of a report; in docs/images their names begin with driving_."""


def main(argv: Sequence[str]) -> None:
    """Makes everything, and prints the file of each.

    Raises:
        InputError: If a figure of the report is not there.
    """
    line = Parser(__doc__)
    line.add_argument(
        "--report", type=typed_path, metavar="PATH", help="of a study, to take figures of"
    )
    report = line.parse_args(argv).report
    if report is not None:
        take(report)
    for page in PAGES:
        for path in page.make():
            print(path)


def take(report: Path, images: Path = IMAGES) -> None:
    """Copies the figures of a report into a folder.

    Raises:
        InputError: If one is not there.
    """
    lacking = [name for name in TAKEN if not (report / name).is_file()]
    if lacking:
        raise InputError(f"{report} has no {', '.join(lacking)}: expected the report of a study")
    for name in TAKEN:
        print(shutil.copyfile(report / name, images / f"driving_{name}"))


if __name__ == "__main__":
    sys.exit(exit_code(main))
