"""The tables of docs/results-driving.md; `benchmarks/figures.py` makes them."""

from collections import Counter
from collections.abc import Sequence
from statistics import mean

from analysis import published
from analysis.markdown import table
from analysis.style import CORES
from benchmarks.document import DOCS, Page, changes, grouped, of, spread
from benchmarks.driving_results import LONGEST, TABLE, Row
from trainables.models.world_model import WorldModelConfig

CHOSEN = {
    "loop": "homework, a step of the optimiser per time step",
    "best": "study's champion",
    "long": "long training, 256 episodes",
    "both": "long training, 1,024 episodes",
}
"""Experiment -> what its configuration is called."""

OTHER_DRIVES = {
    "64": "64x64 pixels",
    "random": "driven at random",
}
"""Experiment on other drives, of the default configuration -> what they are."""

Groups = list[tuple[str, list[Row]]]
"""Trainings that differ in their seeds only, and what they are called."""

HORIZONS = (10, 30, 50, 100)
"""Of the free-running errors that are tabulated."""


MSE = "one-step MSE (10⁻³)"
"""Title of the column of squared pixel values."""

COLUMNS = {
    "one-step, of persistence": ("one_step", 3),
    **{f"free-running, of freeze, at {each}": (f"free_{each}", 2) for each in HORIZONS},
    f"mean 1 to {LONGEST}": ("free_mean", 2),
    "of climatology": ("free_mean_of_climatology", 2),
    f"horizons below both, of {LONGEST}": ("below_both", 0),
    "SSIM": ("ssim", 3),
}
"""Column -> the field of a row, and digits."""


def change(row: Row) -> str:
    """Where a row's configuration differs from the default one."""
    return changes(row.configuration, WorldModelConfig())


def models(rows: Sequence[Row], experiments: Sequence[str] = ("presets", *CHOSEN)) -> Groups:
    """The homework's configurations and those that were chosen, or those of other experiments; a
    name that several of them have is told with what each changes."""
    shown = [row for experiment in experiments for row in of(rows, experiment)]
    groups = [
        (name, label, group)
        for name, named in grouped(shown, _name)
        for label, group in grouped(named, change)
    ]
    count = Counter(name for name, _, _ in groups)
    return [
        (name if count[name] == 1 else f"{name}: {label}", group) for name, label, group in groups
    ]


def _name(row: Row) -> str:
    name = (CHOSEN | OTHER_DRIVES).get(row.experiment) or f"homework, {CORES[row.core]}"
    return f"{name}, {row.epochs} epochs"


def over_seeds(group: Sequence[Row], field: str, digits: int) -> str:
    """A column of rows as a cell: mean and standard deviation over seeds."""
    return spread([getattr(row, field) for row in group], digits)


def model_table(rows: Sequence[Row]) -> str:
    """Test errors of the models, as shares of those of the baselines, and what the homework
    publishes of its own."""
    said = [
        [f"homework, {core}, published", f"{1e3 * error:.2f}", *[""] * (len(COLUMNS) + 1)]
        for core, error in published.MSE.items()
    ]
    return table(["model", MSE, *COLUMNS, "minutes"], [*said, *_errors(models(rows))])


def other_drives_table(rows: Sequence[Row]) -> str:
    """The same of the default configuration on other drives."""
    return table(["drives", MSE, *COLUMNS, "minutes"], _errors(models(rows, [*OTHER_DRIVES])))


def _errors(groups: Groups) -> list[list[str]]:
    """Makes the lines of a table of errors."""
    return [
        [
            name,
            spread([1e3 * row.one_step_mse for row in group], 3),
            *(over_seeds(group, *column) for column in COLUMNS.values()),
            f"{mean(row.seconds for row in group) / 60:.1f}",
        ]
        for name, group in groups
    ]


def champion_table(rows: Sequence[Row]) -> str:
    """The configurations that were chosen, as changes to the default."""
    lines = [[name, change(group[0])] for name, group in models(rows) if "homework" not in name]
    return table(["model", "differs from the default in"], lines)


PAGE = Page(
    file=DOCS / "results-driving.md",
    results=TABLE,
    tables={
        "models": model_table,
        "configurations": champion_table,
        "other_drives": other_drives_table,
    },
    drawings={},
)
