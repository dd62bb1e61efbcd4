"""Draws the figures and fills in the tables of the pages docs/results-*.md.

    python benchmarks/figures.py
    python benchmarks/figures.py --report runs/drives-best/report

Both are made of the rows in docs/results, which benchmarks/rows.py takes from recorded studies.
``--report`` takes figures over from the report of a study, those that ``--figure`` names, by
default the four of a study of drives; in docs/images their names begin with ``--prefix``.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import controller_figures, driving_figures, gnn_figures
from benchmarks.command_line import Parser, exit_code
from benchmarks.document import IMAGES, Page
from datasets.errors import InputError
from datasets.typed_paths import typed_path

PAGES: tuple[Page[Any], ...] = (
    gnn_figures.PAGE,
    driving_figures.PAGE,
    controller_figures.PAGE,
)

TAKEN = ("loss_curves", "two_aims", "error_against_horizon", "film_strip")
"""Figures of the report of a study of drives."""


def main(argv: Sequence[str]) -> None:
    """Makes everything, and prints the file of each.

    Raises:
        InputError: If a figure of the report is not there.
    """
    line = Parser(__doc__)
    line.add_argument(
        "--report", type=typed_path, metavar="PATH", help="of a study, to take figures of"
    )
    line.add_argument("--figure", nargs="+", default=TAKEN, help="names of figures of the report")
    line.add_argument("--prefix", default="driving", help="of their names in docs/images")
    typed = line.parse_args(argv)
    if typed.report is not None:
        take(typed.report, typed.figure, typed.prefix)
    for page in PAGES:
        for path in page.make():
            print(path)


def take(report: Path, figures: Sequence[str], prefix: str, images: Path = IMAGES) -> None:
    """Copies figures of a report into a folder.

    Raises:
        InputError: If one is not there.
    """
    lacking = [f"{name}.png" for name in figures if not (report / f"{name}.png").is_file()]
    if lacking:
        raise InputError(f"{report} has no {', '.join(lacking)}: expected the report of a study")
    for name in figures:
        print(shutil.copyfile(report / f"{name}.png", images / f"{prefix}_{name}.png"))


if __name__ == "__main__":
    sys.exit(exit_code(main))
