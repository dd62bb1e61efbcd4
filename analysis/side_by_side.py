"""Compares several studies side by side: their answers, and whether their champions differ.

Only studies whose scores are the same quantity can be compared. If they were scored on the same
test units, as two searches on one data set and seed are, their champions are compared like the
finalists of one study; if not, each champion keeps its own interval and no difference is tested.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from analysis import finals, style
from analysis.answer import answer, question
from analysis.comparison import LEVEL, Comparison, Finalists
from analysis.finals import Outcome, quantity, test_quantity
from analysis.markdown import escaped, table
from analysis.search_figures import best_values, ended
from analysis.search_report import Chapter
from datasets.addresses import shown
from datasets.errors import InputError
from record import names
from record.recorded_study import RecordedStudy
from record.trial import Trial

LOOKS = tuple(
    zip(
        (style.BLUE, style.VERMILLION, style.SKY, style.ORANGE, style.GREY),
        ("-", "--", "-.", ":", (0, (5, 1, 1, 1))),
        strict=True,
    )
)
"""Colour and dash pattern of each study's curve."""


@dataclass(frozen=True)
class Side:
    """One of the compared studies.

    Attributes:
        study: The study.
        outcome: The result of its finals; None if there is none.
        reason: Why there is no outcome, as Markdown.
        hours: Total training time of its trials and finals, in hours.
    """

    study: RecordedStudy
    outcome: Outcome | None
    reason: str
    hours: float

    @property
    def winner(self) -> Trial | None:
        """The champion's trial, or the best of the search; None if no trial finished."""
        return self.outcome.champion.trial if self.outcome else self.study.best(self.study.trials)


def check_same_quantity(studies: Sequence[RecordedStudy]) -> None:
    """Checks that the scores of studies are the same quantity, so that they can be compared.

    Raises:
        InputError: If they are not; the message says how they differ.
    """
    measured = {study.name: _measured(study) for study in studies}
    for called in _measured(studies[0]):
        values = {name: each[called] for name, each in measured.items()}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{value} ({name})" for name, value in values.items())
            raise InputError(
                f"these studies measure different quantities: {called} {told}; "
                "set studies of one quantity side by side"
            )


def _measured(study: RecordedStudy) -> dict[str, str]:
    """Returns the properties that define a study's score, by name: metric, target, unit, horizon
    and frame size."""
    return {
        "metric": study.params.get(names.OBJECTIVE, "none"),
        "target": study.params.get("data.target", "none"),
        "unit": study.fact("unit", "none"),
        "frames of a rollout": study.fact("horizon", "none"),
        "pixels on a side": study.fact("pixels", "none"),
    }


def compared(sides: Sequence[Side]) -> Chapter:
    """Writes the report that compares studies.

    Raises:
        InputError: If they do not measure the same quantity.
    """
    check_same_quantity([side.study for side in sides])
    told = Chapter()
    told.add(f"# {escaped(' beside '.join(side.study.name for side in sides))}")
    for side in sides:
        said = answer(side.study, side.outcome, side.reason)
        told.add(f"**{escaped(side.study.name)}**: {question(side.study)}\n\n> {said}")
    told.add("## What they came to")
    told.add(_table(sides))
    told.add(_verdicts(sides))
    if any(side.outcome for side in sides):
        told.show("champions", _champions(sides), "The champions on the test splits.")
    told.add("## How they came to it")
    if any(ended(side.study) for side in sides):
        told.show(
            "searches",
            _searches(sides),
            "The best objective on the validation split so far, over the trials that have ended.",
        )
    told.add(_conditions(sides))
    return told


def _table(sides: Sequence[Side]) -> str:
    study = sides[0].study
    name = quantity(study)
    header = [
        "study",
        "configuration",
        f"validation {name} in the search",
        "with fresh seeds",
        f"test {test_quantity(study)}",
        "trials and finals",
        "their training time (h)",
    ]
    return table(header, [_row(side) for side in sides])


def _row(side: Side) -> list[str]:
    winner, study = side.winner, side.study
    cells = ["—"] * 4
    if winner is not None:
        cells[0] = f"{escaped(winner.title)} (trial {winner.number})"
        cells[1] = f"{study.value(winner):.4f}"
    if side.outcome is not None:
        champion = side.outcome.champion
        cells[2] = f"{champion.validation.mean(axis=0):.4f}"
        test = champion.test
        value, low, high = finals.shown(study, test.value, test.low, test.high)
        cells[3] = f"{value} ({low} to {high})"
    return [escaped(study.name), *cells, str(len(study.every)), f"{side.hours:.2f}"]


def _verdicts(sides: Sequence[Side]) -> str:
    """States which champions differ significantly, as Markdown."""
    groups = _on_the_same_units(sides)
    if sum(map(len, groups)) < 2:
        return "Without finals of two studies at least, nothing can be said of their difference."
    groups = [{escaped(name): outcome for name, outcome in group.items()} for group in groups]
    told = [_within(group, sides[0].study) for group in groups if len(group) > 1]
    if len(groups) > 1:
        splits = "; ".join(" and ".join(group) for group in groups)
        told.append(
            f"The studies were scored on different test splits ({splits}): each interval holds "
            "for its own, and a difference between them is one of models and of data together."
        )
    return "\n\n".join(told)


def _on_the_same_units(sides: Sequence[Side]) -> list[dict[str, Outcome]]:
    """Groups the studies with finals, by name, so that those in a group share their test units.

    Test units count as the same if the errors of the reference agree but for rounding, which may
    differ between machines.
    """
    groups: list[dict[str, Outcome]] = []
    for side in sides:
        if side.outcome is None:
            continue
        own = side.outcome.reference
        for group in groups:
            other = next(iter(group.values())).reference
            if own.shape == other.shape and np.allclose(own, other, rtol=1e-4, atol=0):
                group[side.study.name] = side.outcome
                break
        else:
            groups.append({side.study.name: side.outcome})
    return groups


def _within(group: Mapping[str, Outcome], study: RecordedStudy) -> str:
    """States which champions of studies on the same test units differ significantly."""
    errors = {name: outcome.champion.errors for name, outcome in group.items()}
    if len({len(each) > 1 for each in errors.values()}) > 1:
        return "One champion was trained once only: its luck is unknown, and so is any difference."
    pairs = Finalists(errors, next(iter(group.values())).reference).compare()
    return "\n".join(f"- {_verdict(pair, study)}" for pair in pairs)


def _verdict(pair: Comparison, study: RecordedStudy) -> str:
    by = pair.difference
    value, low, high = finals.shown(study, by.value, by.low, by.high)
    interval = f"{value} ({low} to {high})"
    if pair.is_distinguishable:
        return f"{pair.better} is better than {pair.worse} by {interval}."
    return (
        f"{pair.better} and {pair.worse} cannot be told apart: their difference, {interval} for "
        f"this pair alone, would come by chance with more than {LEVEL:.0%} probability, corrected "
        "for the number of pairs."
    )


def _champions(sides: Sequence[Side]) -> Figure:
    known = [side for side in sides if side.outcome is not None]
    with matplotlib.rc_context(style.LOOK):
        figure = Figure((7.2, 0.42 * len(known) + 1.0), layout="constrained")
        axis = figure.subplots()
        for place, side in enumerate(known):
            assert side.outcome is not None
            finals.paint_test(axis, place, side.outcome.champion, finals.scale(side.study))
        axis.set_yticks(range(len(known)), [style.plain(side.study.name) for side in known])
        axis.set_ylim(len(known) - 0.5, -0.5)
        axis.locator_params("x", nbins=5)
        axis.set_xlabel(f"test {finals.test_axis(known[0].study)} (dimensionless)")
        axis.grid(axis="x", lw=0.4, color=style.LIGHT)
        handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
        return figure


def _searches(sides: Sequence[Side]) -> Figure:
    with matplotlib.rc_context(style.LOOK):
        figure = Figure((7.2, 2.8), layout="constrained")
        axis = figure.subplots()
        for place, side in enumerate(sides):
            colour, dashes = LOOKS[place % len(LOOKS)]
            best = best_values(side.study)
            reached = np.isfinite(best)
            numbers = np.arange(1, len(best) + 1)[reached]
            axis.step(
                numbers,
                best[reached],
                where="post",
                color=colour,
                ls=dashes,
                label=side.study.name,
            )
        axis.set(
            xlabel="trials that have ended",
            ylabel=f"best {sides[0].study.objective} so far\n(dimensionless)",
        )
        axis.grid(axis="y", lw=0.4, color=style.LIGHT)
        axis.legend()
        return figure


def _circumstances(study: RecordedStudy) -> dict[str, str]:
    tags = {"command": names.COMMAND, "scheduler": names.SCHEDULER}
    told = {name: shown(study.tags.get(tag, "—")) for name, tag in tags.items()}
    commits = ", then ".join(study.trained_with(lambda placement: placement.commit))
    return {**told, "commit": commits or "—"}


def _conditions(sides: Sequence[Side]) -> str:
    """Returns a table of the parameters and circumstances that differ, one column per study."""
    told = [{**side.study.params, **_circumstances(side.study)} for side in sides]
    rows = []
    for name in dict.fromkeys(name for each in told for name in each):
        values = [str(each.get(name, "—")) for each in told]
        if len(set(values)) > 1:
            rows.append([name, *map(escaped, values)])
    if not rows:
        return "The studies were asked by the same command, of the same data."
    shown = table(["differs", *(escaped(side.study.name) for side in sides)], rows)
    return f"What else differs between the studies:\n\n{shown}"
