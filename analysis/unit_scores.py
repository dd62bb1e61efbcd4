"""Shows scores unit by unit: of the finalists and of the methods that are no trials.

Suits a study with few test units, such as splits of one graph, that differ in how hard they are,
and with one reference for all of them: only then the mean over the units is the score.
"""

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import finals, style
from analysis.cards import Card
from analysis.finals import Outcome
from analysis.markdown import escaped, table
from datasets.errors import InputError
from record.recorded_study import RecordedStudy

LOOKS = tuple(
    zip(
        (style.BLUE, style.VERMILLION, style.SKY, style.ORANGE, style.GREY, "black"),
        ("o", "s", "^", "D", "v", "x"),
        strict=True,
    )
)
"""Colour and marker of each method, which repeat after these."""

Scores = Mapping[str, np.ndarray]
"""Name of a method -> its score on each test unit, (units,) float64."""


def make(study: RecordedStudy) -> Card:
    """Makes the card with the scores on each test unit.

    Raises:
        InputError: If no final was scored.
    """
    outcome = finals.outcome(study)
    if outcome is None:
        raise InputError("no final was scored")
    scores, unit = scores_by_unit(study, outcome), study.scorecard.unit
    return Card(
        title=unit,
        name="by_unit",
        text=_markdown(study, scores),
        table=pd.DataFrame(scores),
        figures={"by_unit": _draw(study, scores)},
        captions={
            "by_unit": f"Score on each of the test {unit}, ordered by the champion's; mean over "
            "the seeds."
        },
    )


def scores_by_unit(study: RecordedStudy, outcome: Outcome) -> Scores:
    """Returns the scores of the champion, of the best finalist of each other group, and of the
    methods that are no trials; mean over the seeds."""
    best = {}
    for finalist in outcome.finalists:
        best.setdefault(study.group(finalist.trial), finalist)
    errors = {each.title: each.errors.mean(axis=0) for each in best.values()}
    scored = study.artifacts.outcomes(outcome.champion.finals[0])
    assert scored is not None
    every = {**errors, **scored.baselines}
    return {name: 1 - wrong / outcome.reference for name, wrong in every.items()}


def _markdown(study: RecordedStudy, scores: Scores) -> str:
    unit, quantity = study.scorecard.unit, finals.test_quantity(study)
    first = next(iter(scores.values()))
    header = [
        "method",
        f"mean test {quantity}",
        f"standard deviation over the {unit}",
        "least",
        "greatest",
        f"{unit} on which it is better than the champion",
    ]
    rows = []
    for name, values in scores.items():
        spread = (values.mean(axis=0), values.std(axis=0, ddof=1), values.min(), values.max())
        better = "—" if values is first else f"{(values > first).sum()} of {len(values)}"
        rows.append([escaped(name), *finals.shown(study, *spread), better])
    return table(header, rows)


def _draw(study: RecordedStudy, scores: Scores) -> Figure:
    first = next(iter(scores.values()))
    order = np.argsort(first, kind="stable")
    with matplotlib.rc_context(style.LOOK):
        figure = Figure((6.4, 3.2 + 0.12 * len(scores)), layout="constrained")
        axis = figure.subplots()
        for place, (name, values) in enumerate(scores.items()):
            colour, marker = LOOKS[place % len(LOOKS)]
            numbers = np.arange(1, len(order) + 1)
            axis.plot(
                *(numbers, values[order] * finals.scale(study)),
                color=colour,
                marker=marker,
                ms=3,
                lw=0.8,
                label=style.plain(name),
            )
        axis.set(
            xlabel=f"test {study.scorecard.unit}, ordered by the champion's score",
            ylabel=f"test {finals.test_axis(study)} (dimensionless)",
        )
        axis.locator_params("x", integer=True)
        axis.grid(axis="y", lw=0.4, color=style.LIGHT)
        figure.legend(loc="outside lower center", ncols=2)
        return figure
