"""The figures and tables of docs/results-gnn.md, from the rows that benchmarks/gnn_fits.py wrote.

    python benchmarks/gnn_figures.py

Figures go to docs/images; tables into the document itself, between `<!-- table NAME -->` and
`<!-- end -->`.
"""

import sys
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from analysis import published
from analysis.markdown import table
from analysis.style import BLUE, GREY, SKY, VERMILLION, family_titles
from benchmarks import document
from benchmarks.command_line import Parser, exit_code
from benchmarks.document import DOCS, IMAGES, fill, spread
from benchmarks.gnn_results import Row, read_rows
from trainables.models import families
from trainables.models.gnn import GNNConfig

DOCUMENT = DOCS / "results-gnn.md"

FAMILIES = family_titles()

R2 = {each.key: each.published.value for each in families.FAMILIES if each.published is not None}
"""Family -> published test R² of the homework."""

LOOKS = dict(
    zip(
        FAMILIES,
        zip(
            cycle((BLUE, VERMILLION, SKY, "#009E73", GREY)),
            cycle("os^Dv"),
            cycle(("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))),
            strict=False,
        ),
        strict=False,
    )
)
"""Family -> colour, marker and dashes."""


def of(rows: Sequence[Row], experiment: str, family: str | None = None) -> list[Row]:
    """The rows of an experiment, or of one family in it."""
    return [r for r in rows if r.experiment == experiment and family in (None, r.family)]


def family_table(rows: Sequence[Row]) -> str:
    """Test R² of each family: published, preset, the study's best."""
    lines = []
    for family, name in FAMILIES.items():
        preset, best = of(rows, "presets", family), of(rows, "best", family)
        theirs = R2.get(family)
        lines.append(
            [
                name,
                f"{theirs:.3f}" if theirs else "-",
                spread([r.test_r2 for r in preset], 3) if preset else "-",
                spread([r.test_r2 for r in best], 4) if best else "-",
                spread([r.test_mae for r in best], 4) if best else "-",
                f"{best[0].parameters:,}" if best else "-",
            ]
        )
    head = ["family", "published R²", "preset R²", "study's best R²", "its MAE (D)", "parameters"]
    return table(head, lines)


def changes(config: GNNConfig) -> str:
    """Where a configuration differs from the default of its family."""
    default = GNNConfig(family=config.family)
    return document.changes(config, default, ignored=("seed", "epochs"))


def config_table(rows: Sequence[Row]) -> str:
    """The configurations that the study found, as changes to the default."""
    lines = [
        [FAMILIES[row.family], changes(row.configuration), str(row.epochs)]
        for family in FAMILIES
        for row in of(rows, "best", family)[:1]
    ]
    return table(["family", "differs from the default in", "epochs"], lines)


def ablation_table(rows: Sequence[Row]) -> str:
    """What one change to the default configuration does, best first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in of(rows, "ablations"):
        groups.setdefault((row.family, changes(row.configuration)), []).append(row)
    ordered = sorted(groups.items(), key=lambda item: -mean(r.test_r2 for r in item[1]))
    lines = [
        [
            FAMILIES[family],
            change,
            spread([r.test_r2 for r in group], 4),
            spread([r.test_mae for r in group], 4),
        ]
        for (family, change), group in ordered
    ]
    return table(["family", "change", "R²", "MAE (D)"], lines)


def size_table(rows: Sequence[Row]) -> str:
    """Test error against the number of training molecules, beside the published ones."""
    lines = [
        [
            FAMILIES[r.family],
            f"{r.train:,}",
            str(r.epochs),
            f"{r.test_r2:.4f}",
            f"{r.test_mae:.4f}",
        ]
        for r in of(rows, "sizes") + of(rows, "full")
    ]
    lines += [
        [f"{name}, published", f"about {published.MAE_SIZE:,}", "-", "-", str(error)]
        for name, error in published.MAE.items()
    ]
    return table(["model", "training molecules", "epochs", "R²", "MAE (D)"], lines)


def depth_table(rows: Sequence[Row]) -> str:
    """Test R² against depth."""
    found = of(rows, "depths")
    depths = sorted({r.depth for r in found})
    lines = []
    for family, name in FAMILIES.items():
        r2 = {r.depth: f"{r.test_r2:.4f}" for r in found if r.family == family}
        lines.append([name, *[r2.get(depth, "-") for depth in depths]])
    return table(["family", *[str(depth) for depth in depths]], lines)


def long_table(rows: Sequence[Row]) -> str:
    """The best configuration, trained longer."""
    lines = []
    for experiment in ("best", "long"):
        for row_family in {r.family for r in of(rows, "long")}:
            group = of(rows, experiment, row_family)
            lines.append(
                [
                    FAMILIES[row_family],
                    str(group[0].epochs),
                    spread([r.test_r2 for r in group], 4),
                    spread([r.test_mae for r in group], 4),
                ]
            )
    return table(["family", "epochs", "R²", "MAE (D)"], lines)


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    "families": family_table,
    "configurations": config_table,
    "ablations": ablation_table,
    "sizes": size_table,
    "depths": depth_table,
    "long": long_table,
}


def figure_of_families(rows: Sequence[Row], axes: Axes) -> None:
    """The unexplained share of the variance by family, on a logarithmic axis."""
    kinds = (
        ("published", GREY, "x", lambda f: [R2[f]] if f in R2 else []),
        ("homework preset", SKY, "o", lambda f: [r.test_r2 for r in of(rows, "presets", f)]),
        ("study's best", VERMILLION, "D", lambda f: [r.test_r2 for r in of(rows, "best", f)]),
    )
    for place, (label, colour, marker, values) in enumerate(kinds):
        for line, family in enumerate(FAMILIES):
            found = [1 - value for value in values(family)]
            axes.plot(
                found,
                [line + (place - 1) * 0.18] * len(found),
                marker,
                color=colour,
                markersize=5,
                label=label if line == 0 else None,
            )
    axes.set_xscale("log")
    axes.set_yticks(range(len(FAMILIES)), list(FAMILIES.values()))
    axes.invert_yaxis()
    shares = [0.6, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005]
    axes.set_xticks(shares, [f"{1 - share:.3g}" for share in shares])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.invert_xaxis()
    axes.set_xlabel("test R² (dimensionless), on a logarithmic scale of 1 - R²")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=3)


def figure_of_sizes(rows: Sequence[Row], axes: Axes) -> None:
    """Error against the number of training molecules."""
    found = of(rows, "sizes")
    family = found[0].family
    axes.plot(
        [r.train for r in found],
        [r.test_mae for r in found],
        "o-",
        color=LOOKS[family][0],
        label=f"the study's best, {FAMILIES[family]}, at least {found[-1].epochs} epochs",
    )
    for row in of(rows, "full"):
        axes.plot(
            [row.train],
            [row.test_mae],
            "D",
            color=VERMILLION,
            label=f"the same, {row.epochs} epochs",
        )
    for (name, value), marker in zip(published.MAE.items(), "x+*", strict=True):
        axes.plot([published.MAE_SIZE], [value], marker, color=GREY, label=f"{name}, published")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("training molecules")
    axes.set_ylabel("test MAE (D)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"])
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3, which="both")
    axes.legend()


def figure_of_depths(rows: Sequence[Row], axes: Axes) -> None:
    """Error against depth, by family."""
    for family, name in FAMILIES.items():
        found = sorted(of(rows, "depths", family), key=lambda r: r.depth)
        colour, marker, dashes = LOOKS[family]
        axes.plot(
            [r.depth for r in found],
            [r.test_mae for r in found],
            marker=marker,
            linestyle=dashes,
            color=colour,
            markersize=4,
            label=name,
        )
    axes.set_xscale("log")
    ticks = [2, 3, 4, 6, 8, 14, 28]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("convolutions")
    axes.set_ylabel("test MAE (D)")
    axes.grid(alpha=0.3)
    axes.legend()


FIGURES: dict[str, tuple[str, Callable[[Sequence[Row], Axes], None]]] = {
    "gnn_r2_by_family": ("presets", figure_of_families),
    "gnn_error_against_size": ("sizes", figure_of_sizes),
    "gnn_error_against_depth": ("depths", figure_of_depths),
}
"""Name -> the experiment it needs, and what draws it."""


def draw(name: str, rows: Sequence[Row], folder: Path) -> Path | None:
    """Draws a figure as PNG; None where its experiment has no rows yet."""
    needs, paint = FIGURES[name]
    if not of(rows, needs):
        return None
    path = folder / f"{name}.png"
    return document.draw(path, (6.0, 3.6), lambda figure: paint(rows, figure.subplots()))


def main(argv: Sequence[str]) -> None:
    """Draws and fills in everything."""
    Parser(__doc__).parse_args(argv)
    rows = read_rows()
    for name in FIGURES:
        path = draw(name, rows, IMAGES)
        print(path if path else f"{name}: no rows yet, see benchmarks/gnn_fits.py")
    text = fill(DOCUMENT.read_text(encoding="utf-8"), TABLES, rows)
    DOCUMENT.write_text(text, encoding="utf-8")
    print(DOCUMENT)


if __name__ == "__main__":
    sys.exit(exit_code(main))
