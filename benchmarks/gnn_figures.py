"""The figures and tables of docs/results-gnn.md; `benchmarks/figures.py` makes them."""

from collections.abc import Sequence
from itertools import cycle
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from analysis import published
from analysis.markdown import table
from analysis.style import BLUE, GREY, ORANGE, SKY, VERMILLION, family_titles
from benchmarks import gnn_beyond
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
            cycle((BLUE, VERMILLION, SKY, "#009E73", GREY, ORANGE)),
            cycle("os^DvP"),
            cycle(("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))),
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
    """Test error of models that see the geometry alone against the number of training molecules,
    beside the published ones."""
    return _size_table(rows, corrects=False, others=published.FROM_GEOMETRY)


def delta_size_table(rows: Sequence[Row]) -> str:
    """Test error of models that correct a prior against the number of training molecules, beside
    the published ones."""
    return _size_table(rows, corrects=True, others=published.FROM_QUANTUM_CHEMISTRY)


def _size_table(
    rows: Sequence[Row], corrects: bool, others: Sequence[published.DipoleError]
) -> str:
    lines = [
        [FAMILIES[r.family], f"{r.train:,}", str(r.epochs), *r2_and_mae([r])]
        for r in of(rows, "sizes") + of(rows, "full") + _painns(rows)
        if r.configuration.delta == corrects
    ]
    lines += [
        [f"{each.model}, published", f"about {each.train:,}", "-", "-", str(each.mae)]
        for each in others
    ]
    return table(["model", "training molecules", "epochs", "R²", "MAE (D)"], lines)


def _painns(rows: Sequence[Row]) -> list[Row]:
    """The trainings of PaiNN on 100,000 molecules, shortest first."""
    return sorted(of(rows, "painn_sizes"), key=lambda row: row.epochs)


def prior_table(rows: Sequence[Row]) -> str:
    """Test scores on the homework's split with a prior and without one."""
    lines = [
        [name, prior, *r2_and_mae(group), seconds_of(group), str(group[0].epochs)]
        for family, name in FAMILIES.items()
        for prior, experiment in (("none", "best"), ("GFN2-xTB", "prior"))
        if (group := of_family(rows, experiment, family))
    ]
    return table(["family", "prior", "R²", "MAE (D)", "training (s)", "epochs"], lines)


def seconds_of(rows: Sequence[Row]) -> str:
    """Mean training time of some rows, in s, as the cell of a table."""
    return f"{mean(row.seconds for row in rows):.0f}"


def loss_table(rows: Sequence[Row]) -> str:
    """Test and validation scores with each loss."""
    groups = grouped(of(rows, "losses"), lambda row: row.configuration.loss)
    lines = [
        [
            FAMILIES[group[0].family],
            loss,
            spread([r.validation_r2 for r in group], 4),
            spread([r.validation_mae for r in group], 4),
            *r2_and_mae(group),
        ]
        for loss, group in groups
    ]
    head = ["family", "loss", "validation R²", "validation MAE (D)", "test R²", "test MAE (D)"]
    return table(head, lines)


def beyond_table(rows: Sequence[Row]) -> str:
    """Scores beyond the homework's split, which stand in a file of their own."""
    del rows
    return gnn_beyond.shown(gnn_beyond.recorded())


def depth_table(rows: Sequence[Row]) -> str:
    """Test R² against depth."""
    depths = sorted({r.depth for r in of(rows, "depths")})
    lines = []
    for family, name in FAMILIES.items():
        r2 = {r.depth: f"{r.test_r2:.4f}" for r in of_family(rows, "depths", family)}
        if r2:
            lines.append([name, *[r2.get(depth, "-") for depth in depths]])
    return table(["family", *map(str, depths)], lines)


# Figures


def draw_families(rows: Sequence[Row], figure: Figure) -> None:
    """The unexplained share of the variance by family, on a logarithmic axis."""
    axes = figure.subplots()
    kinds = (
        ("published", GREY, "x", lambda f: [R2[f]] if f in R2 else []),
        ("homework preset", SKY, "o", lambda f: _test_r2(rows, "presets", f)),
        ("study's best", VERMILLION, "D", lambda f: _test_r2(rows, "best", f)),
        ("study's best, correcting GFN2-xTB", BLUE, "P", lambda f: _test_r2(rows, "prior", f)),
    )
    for place, (label, colour, marker, values) in enumerate(kinds):
        for line, family in enumerate(FAMILIES):
            found = [1 - value for value in values(family)]
            heights = [line + (place - 1.5) * 0.18] * len(found)
            named = label if line == 0 else None
            axes.plot(found, heights, marker, color=colour, markersize=5, label=named)
    _scale_r2(axes)
    axes.set_yticks(range(len(FAMILIES)), list(FAMILIES.values()))
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)


def _test_r2(rows: Sequence[Row], experiment: str, family: str) -> list[float]:
    return [row.test_r2 for row in of_family(rows, experiment, family)]


def _scale_r2(axes: Axes) -> None:
    """Makes the horizontal axis one of R², for points at 1 - R²."""
    axes.set_xscale("log")
    shares = [0.6, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005]
    axes.set_xticks(shares, [f"{1 - share:.4g}" for share in shares])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.invert_xaxis()
    axes.set_xlabel("test R² (dimensionless), on a logarithmic scale of 1 - R²")


def draw_sizes(rows: Sequence[Row], figure: Figure) -> None:
    """Error against the number of training molecules, with a prior and without."""
    axes = figure.subplots()
    for name, found in grouped(of(rows, "sizes") + _painns(rows), _curve):
        colour, marker, _ = LOOKS[found[0].family]
        axes.plot(
            [r.train for r in found],
            [r.test_mae for r in found],
            marker=marker,
            linestyle="--" if found[0].configuration.delta else "-",
            fillstyle="none" if found[0].configuration.delta else "full",
            color=colour,
            markersize=4,
            label=name,
        )
    for row in of(rows, "full"):
        colour, *_ = LOOKS[row.family]
        label = f"{_curve(row)}, {row.epochs} epochs"
        axes.plot([row.train], [row.test_mae], "D", color=colour, label=label)
    every = [*published.FROM_GEOMETRY, *published.FROM_QUANTUM_CHEMISTRY]
    for each, marker in zip(every, "x+1*23", strict=True):
        axes.plot([each.train], [each.mae], marker, color=GREY, label=f"{each.model}, published")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("training molecules")
    axes.set_ylabel("test MAE (D)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    errors = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]
    axes.set_yticks(errors, [str(error) for error in errors])
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _curve(row: Row) -> str:
    """The curve that a row belongs to: of one family, with a prior or without."""
    prior = ", correcting GFN2-xTB" if row.configuration.delta else ""
    return f"{FAMILIES[row.family]}{prior}"


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
        "prior": prior_table,
        "losses": loss_table,
        "sizes_with_prior": delta_size_table,
        "beyond": beyond_table,
    },
    drawings={
        "gnn_r2_by_family": Drawing("presets", draw_families),
        "gnn_error_against_size": Drawing("sizes", draw_sizes, size=(8.0, 4.0)),
        "gnn_error_against_depth": Drawing("depths", draw_depths),
    },
)
