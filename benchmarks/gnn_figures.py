"""The figures and tables of docs/results-gnn.md; `benchmarks/figures.py` makes them."""

from collections.abc import Sequence
from itertools import cycle
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from analysis import published
from analysis.markdown import table
from analysis.style import BLUE, GREY, SKY, VERMILLION, family_titles
from benchmarks.document import DOCS, Drawing, Page, changes, grouped, of, spread
from benchmarks.gnn_results import TABLE, Row
from trainables.models import families
from trainables.models.gnn import GNNConfig

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


def of_family(rows: Sequence[Row], experiment: str, family: str) -> list[Row]:
    """The rows of one family in an experiment."""
    return [row for row in of(rows, experiment) if row.family == family]


def r2_and_mae(rows: Sequence[Row]) -> list[str]:
    """Test R² and mean absolute error over seeds, as cells of a table."""
    return [spread([r.test_r2 for r in rows], 4), spread([r.test_mae for r in rows], 4)]


def change(row: Row) -> str:
    """Where a row's configuration differs from the default of its family."""
    return changes(row.configuration, GNNConfig(family=row.family))


# Tables


def family_table(rows: Sequence[Row]) -> str:
    """Test R² of each family: published, of the preset, and of the study's best."""
    lines = []
    for family, name in FAMILIES.items():
        preset, best = (of_family(rows, each, family) for each in ("presets", "best"))
        lines.append(
            [
                name,
                f"{R2[family]:.3f}" if family in R2 else "-",
                spread([r.test_r2 for r in preset], 3) if preset else "-",
                *(r2_and_mae(best) if best else "--"),
                f"{best[0].parameters:,}" if best else "-",
            ]
        )
    head = ["family", "published R²", "preset R²", "study's best R²", "its MAE (D)", "parameters"]
    return table(head, lines)


def config_table(rows: Sequence[Row]) -> str:
    """The configurations that the study found, as changes to the default."""
    lines = [
        [FAMILIES[row.family], change(row), str(row.epochs)]
        for family in FAMILIES
        for row in of_family(rows, "best", family)[:1]
    ]
    return table(["family", "differs from the default in", "epochs"], lines)


def ablation_table(rows: Sequence[Row]) -> str:
    """What one change to the default configuration does, best first."""
    groups = grouped(of(rows, "ablations"), change)
    groups.sort(key=lambda item: -mean(r.test_r2 for r in item[1]))
    lines = [[FAMILIES[group[0].family], name, *r2_and_mae(group)] for name, group in groups]
    return table(["family", "change", "R²", "MAE (D)"], lines)


def size_table(rows: Sequence[Row]) -> str:
    """Test error against the number of training molecules, beside the published ones."""
    lines = [
        [FAMILIES[r.family], f"{r.train:,}", str(r.epochs), *r2_and_mae([r])]
        for r in of(rows, "sizes") + of(rows, "full")
    ]
    lines += [
        [f"{name}, published", f"about {published.MAE_SIZE:,}", "-", "-", str(error)]
        for name, error in published.MAE.items()
    ]
    return table(["model", "training molecules", "epochs", "R²", "MAE (D)"], lines)


def depth_table(rows: Sequence[Row]) -> str:
    """Test R² against depth."""
    depths = sorted({r.depth for r in of(rows, "depths")})
    lines = []
    for family, name in FAMILIES.items():
        r2 = {r.depth: f"{r.test_r2:.4f}" for r in of_family(rows, "depths", family)}
        lines.append([name, *[r2.get(depth, "-") for depth in depths]])
    return table(["family", *map(str, depths)], lines)


def long_table(rows: Sequence[Row]) -> str:
    """The best configuration, trained for as long as in the study, and longer."""
    longer = of(rows, "long")
    trained = {row.family for row in longer}
    shorter = [row for row in of(rows, "best") if row.family in trained]
    lines = [
        [FAMILIES[group[0].family], str(group[0].epochs), *r2_and_mae(group)]
        for group in (shorter, longer)
        if group
    ]
    return table(["family", "epochs", "R²", "MAE (D)"], lines)


# Figures


def draw_families(rows: Sequence[Row], figure: Figure) -> None:
    """The unexplained share of the variance by family, on a logarithmic axis."""
    axes = figure.subplots()
    kinds = (
        ("published", GREY, "x", lambda f: [R2[f]] if f in R2 else []),
        ("homework preset", SKY, "o", lambda f: _test_r2(rows, "presets", f)),
        ("study's best", VERMILLION, "D", lambda f: _test_r2(rows, "best", f)),
    )
    for place, (label, colour, marker, values) in enumerate(kinds):
        for line, family in enumerate(FAMILIES):
            found = [1 - value for value in values(family)]
            heights = [line + (place - 1) * 0.18] * len(found)
            named = label if line == 0 else None
            axes.plot(found, heights, marker, color=colour, markersize=5, label=named)
    _scale_r2(axes)
    axes.set_yticks(range(len(FAMILIES)), list(FAMILIES.values()))
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=3)


def _test_r2(rows: Sequence[Row], experiment: str, family: str) -> list[float]:
    return [row.test_r2 for row in of_family(rows, experiment, family)]


def _scale_r2(axes: Axes) -> None:
    """Makes the horizontal axis one of R², for points at 1 - R²."""
    axes.set_xscale("log")
    shares = [0.6, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005]
    axes.set_xticks(shares, [f"{1 - share:.3g}" for share in shares])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.invert_xaxis()
    axes.set_xlabel("test R² (dimensionless), on a logarithmic scale of 1 - R²")


def draw_sizes(rows: Sequence[Row], figure: Figure) -> None:
    """Error against the number of training molecules."""
    axes, found = figure.subplots(), of(rows, "sizes")
    family = found[0].family
    axes.plot(
        [r.train for r in found],
        [r.test_mae for r in found],
        "o-",
        color=LOOKS[family][0],
        label=f"the study's best, {FAMILIES[family]}, at least {found[-1].epochs} epochs",
    )
    for row in of(rows, "full"):
        label = f"the same, {row.epochs} epochs"
        axes.plot([row.train], [row.test_mae], "D", color=VERMILLION, label=label)
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


def draw_depths(rows: Sequence[Row], figure: Figure) -> None:
    """Error against depth, by family."""
    axes = figure.subplots()
    for family, name in FAMILIES.items():
        found = sorted(of_family(rows, "depths", family), key=lambda r: r.depth)
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


PAGE = Page(
    file=DOCS / "results-gnn.md",
    results=TABLE,
    tables={
        "families": family_table,
        "configurations": config_table,
        "ablations": ablation_table,
        "sizes": size_table,
        "depths": depth_table,
        "long": long_table,
    },
    drawings={
        "gnn_r2_by_family": Drawing("presets", draw_families),
        "gnn_error_against_size": Drawing("sizes", draw_sizes),
        "gnn_error_against_depth": Drawing("depths", draw_depths),
    },
)
