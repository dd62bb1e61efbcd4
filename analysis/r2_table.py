"""Tabulates the test scores of each model family: R², MSE and MAE, with intervals.

    python analysis/r2_table.py NAME

writes runs/NAME/report/r2_table.md and .csv, and predicted_against_true.png and .pdf. Each family
is represented by its finished trial with the best objective on the validation split. That trial
and the family's baseline are the only trials of the search that are scored on the test split,
once, at the end of the study's own command.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import analysis  # noqa: F401 - finds folders for Matplotlib where the user has none

# isort: split
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import cards, kept_weights, predictions, style
from analysis.cards import Card
from analysis.curves import training_seconds
from analysis.markdown import escaped
from analysis.markdown import table as markdown_table
from analysis.predictions import Predictions
from analysis.scores import RESAMPLES, Score, Scores, bootstrap
from analysis.units import squared
from datasets.errors import InputError
from record.recorded_study import RecordedStudy
from record.trial import Trial

PANEL = (2.5, 2.6)
"""Width and height of a panel, in inches."""

MARGIN = 0.1
"""How far the axes extend beyond the true values, as a share of their range."""

QUANTITIES = {"mu": "dipole moment"}
"""Target -> its name in axis labels; other targets keep their own."""


@dataclass(frozen=True)
class Entry:
    """The test results of one trial.

    Attributes:
        trial: The trial.
        predictions: Its predictions for the test split.
        scores: Scores of these predictions, with intervals.
        parameters: Number of trainable parameters of the model.
        seconds: Training time in seconds, without evaluation.
    """

    trial: Trial
    predictions: Predictions
    scores: Scores
    parameters: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """A row of the table: a family's best trial and baseline, each None if it was not scored, and
    a note that says why there is no best trial."""

    family: str
    best: Entry | None
    baseline: Entry | None
    note: str


def make(study: RecordedStudy) -> Card:
    """Makes the card of a study's test scores.

    Raises:
        InputError: If the study is not one of molecules, has not ended, has no finished trial, or
            none of its trials was scored.
    """
    if study.scorecard.unit != "molecules":
        raise InputError(
            f"{study.name} predicts no property of molecules: there is no R² to table"
        )
    study.check_ended()
    entries = _entries(study)
    rows = [_row(study, family, trials, entries) for family, trials in study.groups.items()]
    if all(row.best is None for row in rows):
        raise InputError(
            f"no trial of {study.name} was scored on the test split: {cards.UNSCORED}"
        )
    return Card(
        title="test scores",
        name="r2_table",
        text=markdown(rows, study),
        table=frame(rows, study),
        figures={"predicted_against_true": _draw(rows, study)},
        captions={
            "predicted_against_true": "Predicted against true on the test split, the best trial "
            "of each family; on the line the prediction is right."
        },
    )


def _entries(study: RecordedStudy) -> dict[int, Entry]:
    """Returns trial number -> test results of the compared trials, without those that were not
    scored or whose weights were not kept."""
    entries = {}
    for trial in _compared(study):
        weights, made = kept_weights.weights(study, trial), predictions.of_trial(study, trial)
        if weights is None or made is None:
            continue
        model = predictions.restore(trial, weights)
        entries[trial.number] = Entry(
            trial=trial,
            predictions=made,
            scores=bootstrap(made.prediction, made.target),
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            seconds=training_seconds(trial),
        )
    return entries


def _compared(study: RecordedStudy) -> list[Trial]:
    """Returns the best trial of each family, and the family's baseline."""
    found = [
        trial
        for trials in study.groups.values()
        for trial in (study.best(trials), study.best(t for t in trials if t.is_baseline))
    ]
    return list({trial.number: trial for trial in found if trial is not None}.values())


def _row(
    study: RecordedStudy, family: str, trials: Sequence[Trial], entries: dict[int, Entry]
) -> Row:
    best = study.best(trials)
    baseline = study.best(trial for trial in trials if trial.is_baseline)
    note = ""
    if best is None:
        states = Counter(trial.status for trial in trials)
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        note = f"no finished trial ({counts})"
    elif best.number not in entries:
        note = f"trial {best.number} was not scored"
    return Row(
        family=family,
        best=entries.get(best.number) if best else None,
        baseline=entries.get(baseline.number) if baseline else None,
        note=note,
    )


def frame(rows: Sequence[Row], study: RecordedStudy) -> pd.DataFrame:
    """Returns the table at full precision, one row per family, and one for each method without a
    network."""
    lines = [_columns(row, study) for row in rows]
    lines += [
        {
            study.group_by: name,
            "test molecules": molecules,
            **_score_columns("", scores, study.unit),
        }
        for name, scores, molecules in _without_network(rows)
    ]
    # Integer columns with missing values stay integers.
    return pd.DataFrame(lines).convert_dtypes()


def _without_network(rows: Sequence[Row]) -> list[tuple[str, Scores, int]]:
    """Returns what predicts the test split without a network: its name, its scores and the number
    of test molecules."""
    made = next((row.best.predictions for row in rows if row.best), None)
    if made is None:
        return []
    return [
        (name, bootstrap(prediction, made.target), len(made.target))
        for name, prediction in made.of_prior.items()
    ]


def _columns(row: Row, study: RecordedStudy) -> dict[str, object]:
    best, baseline = row.best, row.baseline
    return {
        study.group_by: row.family,
        "trial": best.trial.number if best else None,
        "run_id": study.artifacts.run_id(best.trial) if best else None,
        study.objective: study.value(best.trial) if best else None,
        "test molecules": len(best.predictions.row) if best else None,
        **_score_columns("", best and best.scores, study.unit),
        "baseline trial": baseline.trial.number if baseline else None,
        **_score_columns("baseline ", baseline and baseline.scores, study.unit),
        "parameters": best.parameters if best else None,
        "training time (s)": best.seconds if best else None,
        "epochs": best.trial.epoch if best else None,
        "note": row.note,
    }


def _score_columns(prefix: str, scores: Scores | None, unit: str) -> dict[str, float | None]:
    columns = {}
    for name, written in (("r2", ""), ("mse", f" ({squared(unit)})"), ("mae", f" ({unit})")):
        for part, end in (("value", ""), ("low", " low"), ("high", " high")):
            value = getattr(getattr(scores, name), part) if scores else None
            columns[f"{prefix}{name}{end}{written}"] = value
    return columns


def markdown(rows: Sequence[Row], study: RecordedStudy) -> str:
    """Returns the table as aligned Markdown, with an explanation below."""
    unit = escaped(study.unit)
    header = [
        study.group_by,
        "trial",
        "R²",
        f"MSE ({escaped(squared(study.unit))})",
        f"MAE ({unit})",
        "baseline R²",
        f"baseline MAE ({unit})",
        "parameters",
        "training time (s)",
        "epochs",
    ]
    others = [
        [name, "—", *_scored(scores), *["—"] * 5] for name, scores, _ in _without_network(rows)
    ]
    table = markdown_table(header, [*map(_cells, rows), *others])
    return f"{table}\n\n{_caption(rows, study)}\n"


def _cells(row: Row) -> list[str]:
    best, baseline = row.best, row.baseline
    end = ["—", "—"]
    if baseline:
        end = [f"{baseline.scores.r2.value:.4f}", f"{baseline.scores.mae.value:#.3g}"]
    if best is None:
        return [style.title(row.family), "—", row.note, "—", "—", *end, "—", "—", "—"]
    return [
        style.title(row.family),
        str(best.trial.number),
        *_scored(best.scores),
        *end,
        f"{best.parameters:,}",
        f"{best.seconds:.1f}",
        str(best.trial.epoch),
    ]


def _scored(scores: Scores) -> list[str]:
    return [
        _interval(scores.r2, ".4f"),
        _interval(scores.mse, "#.3g"),
        _interval(scores.mae, "#.3g"),
    ]


def _interval(score: Score, digits: str) -> str:
    return f"{score.value:{digits}} ({score.low:{digits}} to {score.high:{digits}})"


def _caption(rows: Sequence[Row], study: RecordedStudy) -> str:
    chosen = study.best(study.trials)
    assert chosen is not None
    made = next((row.best.predictions for row in rows if row.best), None)
    molecules = len(made.row) if made else 0
    line = "The line is fitted to the train split. " if made and made.of_prior else ""
    return (
        f"{escaped(study.name)}: the trial of each {study.group_by} that finished with the "
        f"highest {study.objective}, on {molecules:,} test molecules that nothing was "
        "fitted to or chosen by. In brackets: 95 % bootstrap interval over the test molecules "
        f"({RESAMPLES:,} resamples); it leaves out the luck of the training seed. "
        f"Baseline: the default, or preset, configuration of that {study.group_by}. "
        f"{line}"
        f"Best by {study.objective}: "
        f"{style.title(study.group(chosen))}, trial {chosen.number} "
        f"({study.value(chosen):.4f})."
    )


def _draw(rows: Sequence[Row], study: RecordedStudy) -> Figure:
    targets = np.concatenate([row.best.predictions.target for row in rows if row.best])
    margin = MARGIN * np.ptp(targets)
    low, high = float(targets.min() - margin), float(targets.max() + margin)
    target = study.params["data.target"]
    quantity = f"{QUANTITIES.get(target, target)} ({study.unit})"

    def paint(axes: Sequence[Axes]) -> None:
        for axis, row in zip(axes, rows, strict=True):
            _paint_panel(axis, row, low, high)

    labels = (f"true {quantity}", f"predicted {quantity}")
    return style.draw(PANEL, len(rows), labels, paint)


def _paint_panel(axis: Axes, row: Row, low: float, high: float) -> None:
    axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axis.locator_params(nbins=5)
    family = style.title(row.family)
    if row.best is None:
        axis.set_title(family)
        axis.text(0.5, 0.5, row.note.replace(" (", "\n("), transform=axis.transAxes, ha="center")
        return
    made, scores = row.best.predictions, row.best.scores
    axis.set_title(f"{family}, trial {row.best.trial.number}: R² = {scores.r2.value:.4f}")
    ends = [low, high]
    axis.plot(ends, ends, color=style.GREY, lw=0.8, zorder=3, label="prediction = truth")
    inside = (low <= made.prediction) & (made.prediction <= high)
    size, alpha = _density(len(made.row))
    axis.scatter(
        made.target[inside],
        made.prediction[inside],
        s=size,
        alpha=alpha,
        color=style.BLUE,
        linewidths=0,
        label="a test molecule",
        rasterized=True,  # as vectors, a test split of QM9 makes a PDF of many megabytes
    )
    _paint_outside(axis, made.target[~inside], made.prediction[~inside], low, high)


def _paint_outside(
    axis: Axes, target: np.ndarray, prediction: np.ndarray, low: float, high: float
) -> None:
    """Marks predictions outside the axes at their edge, so that outliers do not stretch the
    axes."""
    for beyond, edge, marker in ((prediction > high, high, "^"), (prediction < low, low, "v")):
        axis.scatter(
            target[beyond],
            np.full(int(beyond.sum()), edge),
            s=16,
            marker=marker,
            color=style.VERMILLION,
            linewidths=0,
            clip_on=False,
            label="prediction off the axis" if beyond.any() else None,
        )


def _density(points: int) -> tuple[float, float]:
    """Returns area (points²) and opacity of a dot; both fall with the number of dots."""
    return float(np.clip(1500 / points, 3, 14)), float(np.clip(8 / points**0.5, 0.06, 0.7))


def main(argv: Sequence[str] | None = None) -> int:
    """Tabulates a study's test scores from the command line; returns the exit code."""
    return cards.main("Tabulates the test scores of the best trial of each family.", make, argv)


if __name__ == "__main__":
    sys.exit(main())
