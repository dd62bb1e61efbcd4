"""The figures and tables of docs/results-driving.md.

    python benchmarks/driving_figures.py
    python benchmarks/driving_figures.py --report runs/world-model-pursuit/report

Tables and the figure of changes come from the rows that benchmarks/driving_fits.py wrote, and
``--report`` takes the figures of a study over. Figures go to docs/images; tables into the document
itself, see `benchmarks.document`.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.markdown import table
from analysis.style import BLUE, CORES, VERMILLION
from benchmarks import document
from benchmarks.command_line import Parser
from benchmarks.document import DOCS, IMAGES, changes, fill, spread
from benchmarks.driving_results import LONGEST, Row, read_rows
from datasets.errors import InputError
from datasets.typed_paths import typed_path
from trainables.models.world_model import WorldModelConfig

DOCUMENT = DOCS / "results-driving.md"

TAKEN = ("loss_curves.png", "error_against_horizon.png", "film_strip.png")
"""Figures of a study's report, which are called driving_ and so on in docs/images."""

CHOSEN = {
    "loop": "homework, a step of the optimiser per time step",
    "one-step": "one-step configuration",
    "both": "the default",
    "best": "study's champion",
}
"""Experiment -> what its configuration is called."""

Group = tuple[str, list[Row]]
"""Fits that differ in their seeds only, and what they are called."""


def of(rows: Sequence[Row], experiment: str) -> list[Row]:
    """The rows of an experiment."""
    return [row for row in rows if row.experiment == experiment]


def models(rows: Sequence[Row]) -> list[Group]:
    """The homework's configurations and those that were chosen: fits of one configuration each."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in of(rows, "presets"):
        _add(groups, f"homework, {CORES[row.core]}", row)
    for experiment, name in CHOSEN.items():
        for row in of(rows, experiment):
            _add(groups, name, row)
    names = Counter(name for name, _ in groups)
    return [
        (name if names[name] == 1 else f"{name}: {change}", group)
        for (name, change), group in groups.items()
    ]


def _add(groups: dict[tuple[str, str], list[Row]], name: str, row: Row) -> None:
    groups.setdefault((f"{name}, {row.epochs} epochs", told(row)), []).append(row)


def model_table(rows: Sequence[Row]) -> str:
    """Test errors of the models, as shares of those of the baselines."""
    lines = [
        [
            name,
            spread([r.one_step for r in group], 3),
            *(
                spread([getattr(r, f"free_{horizon}") for r in group], 2)
                for horizon in (10, 30, 50, 100)
            ),
            spread([r.free_mean for r in group], 2),
            spread([r.free_mean_of_climatology for r in group], 2),
            spread([r.below_both for r in group], 0),
            spread([r.ssim for r in group], 3),
            f"{mean(r.seconds for r in group) / 60:.1f}",
        ]
        for name, group in models(rows)
    ]
    head = [
        "model",
        "one-step, of persistence",
        *(f"free-running, of freeze, at {horizon}" for horizon in (10, 30, 50, 100)),
        f"mean 1 to {LONGEST}",
        "of climatology",
        f"horizons below both, of {LONGEST}",
        "SSIM",
        "minutes",
    ]
    return table(head, lines)


def champion_table(rows: Sequence[Row]) -> str:
    """The configurations that were chosen, as changes to the default."""
    lines = [[name, told(group[0])] for name, group in models(rows) if "homework" not in name]
    return table(["model", "differs from the default in"], lines)


def told(row: Row) -> str:
    """Where its configuration differs from the default."""
    return changes(row.configuration, WorldModelConfig(), ignored=("seed", "epochs"))


def ablations(rows: Sequence[Row]) -> list[Group]:
    """One change to the default configuration each, the best first."""
    groups: dict[str, list[Row]] = {}
    for row in of(rows, "ablations"):
        groups.setdefault(told(row), []).append(row)
    return sorted(groups.items(), key=lambda item: mean(r.free_mean for r in item[1]))


def ablation_table(rows: Sequence[Row]) -> str:
    """What one change to the default configuration does."""
    lines = [
        [
            name,
            spread([r.free_mean for r in group], 3),
            spread([r.free_30 for r in group], 3),
            spread([r.one_step for r in group], 3),
            spread([r.ssim for r in group], 3),
        ]
        for name, group in ablations(rows)
    ]
    head = [
        "change",
        f"free-running, of freeze, mean 1 to {LONGEST}",
        "at 30",
        "one-step, of persistence",
        "SSIM",
    ]
    return table(head, lines)


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    "models": model_table,
    "configurations": champion_table,
    "ablations": ablation_table,
}


def figure_of_ablations(rows: Sequence[Row], figure: Figure) -> None:
    """Both errors of each change, a dot a seed; the default's as a line."""
    groups = ablations(rows)
    panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
    kinds = (
        (f"free-running, mean 1 to {LONGEST}\n(share of freeze)", "free_mean", BLUE, "o"),
        ("one-step\n(share of persistence)", "one_step", VERMILLION, "D"),
    )
    for axis, (label, field, colour, marker) in zip(panels, kinds, strict=True):
        for line, (name, group) in enumerate(groups):
            values = [getattr(row, field) for row in group]
            axis.plot(values, [line] * len(values), marker, color=colour, markersize=4)
            if name == "the default":
                axis.axvline(mean(values), color=colour, lw=0.8, ls="--")
        axis.set_xscale("log")
        axis.set_xlabel(label)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(axis="x", which="both", alpha=0.3)
    panels[0].set_yticks(range(len(groups)), [name for name, _ in groups])
    panels[0].invert_yaxis()


def main(argv: Sequence[str] | None = None) -> int:
    """Draws and fills in everything; returns the exit code."""
    line = Parser(__doc__)
    line.add_argument(
        "--report", type=typed_path, metavar="PATH", help="of a study, to take figures of"
    )
    try:
        report = line.parse_args(argv).report
        if report is not None:
            _take(report)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = read_rows()
    if of(rows, "ablations"):
        path = IMAGES / "driving_ablations.png"
        print(document.draw(path, (6.6, 4.2), lambda figure: figure_of_ablations(rows, figure)))
    text = fill(DOCUMENT.read_text(encoding="utf-8"), TABLES, rows)
    DOCUMENT.write_text(text, encoding="utf-8")
    print(DOCUMENT)
    return 0


def _take(report: Path) -> None:
    lacking = [name for name in TAKEN if not (report / name).is_file()]
    if lacking:
        raise InputError(f"{report} has no {', '.join(lacking)}: expected the report of a study")
    for name in TAKEN:
        print(shutil.copyfile(report / name, IMAGES / f"driving_{name}"))


if __name__ == "__main__":
    sys.exit(main())
