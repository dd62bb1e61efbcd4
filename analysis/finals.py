"""How good the finalists of a study are, how sure that is, and which of them can be told apart.

    python analysis/finals.py NAME

writes runs/NAME/report/finals.md and .csv, finals.png and .pdf. The finalists are the best
configurations of the search and its default one, each trained again on fresh seeds. The champion
is the one with the highest mean of the objective on the validation split over these seeds; by how
much the search promised too much stands beside it (the selection gap). Only then is the test split
looked at, which neither the search nor the choice of the champion saw: the study's own command
scores every final on it, once, at its end.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import analysis  # noqa: F401 - finds folders for Matplotlib where the user has none

# isort: split
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import cards, style
from analysis.cards import Card
from analysis.comparison import LEVEL, Comparison, Finalists
from analysis.markdown import escaped
from analysis.markdown import table as markdown_table
from analysis.scores import Score
from datasets.errors import InputError
from record.names import PRESET
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import WITHOUT_RESULT, Trial

NONE = "no finals: --finalists says of how many configurations there are some"

ROW = 0.42
"""Height of a finalist in the figure, in inches."""


@dataclass(frozen=True)
class Finalist:
    """A configuration on fresh seeds.

    Attributes:
        trial: The trial of the search that had it.
        finals: Its trainings on fresh seeds, those that finished and could be scored.
        role: What else it is, such as the default of its family; empty: nothing.
        promised: The objective that the search saw.
        validation: (seeds,) float64, the objective with the fresh ones.
        errors: (seeds, units) float64, on each test unit.
        scores: (seeds,) float64, the same quantity on the test split.
        test: Their mean, with its 95 % interval.
    """

    trial: Trial
    finals: tuple[Trial, ...]
    role: str
    promised: float
    validation: np.ndarray
    errors: np.ndarray
    scores: np.ndarray
    test: Score

    @property
    def title(self) -> str:
        """Configuration and trial."""
        role = f", {self.role}" if self.role else ""
        return f"{self.trial.title} (trial {self.trial.number}{role})"

    @property
    def gap(self) -> float:
        """By how much the search promised too much."""
        return self.promised - float(self.validation.mean(axis=0))


@dataclass(frozen=True)
class Outcome:
    """What the finals say.

    Attributes:
        finalists: By their means on the validation split, the champion first.
        comparisons: Every pair on the test split, by the numbers of the trials.
        reference: (units,) float64, the error of the reference on each test unit.
    """

    finalists: tuple[Finalist, ...]
    comparisons: tuple[Comparison, ...]
    reference: np.ndarray

    @property
    def units(self) -> int:
        """Number of test units."""
        return len(self.reference)

    @property
    def champion(self) -> Finalist:
        """The first."""
        return self.finalists[0]

    def pair(self, one: Finalist, other: Finalist) -> Comparison:
        """The comparison of two finalists."""
        names = {str(one.trial.number), str(other.trial.number)}
        return next(pair for pair in self.comparisons if {pair.better, pair.worse} == names)

    def level_with(self, finalist: Finalist) -> list[Finalist]:
        """Those that cannot be told from one."""
        number = str(finalist.trial.number)
        alike = {
            name
            for pair in self.comparisons
            if number in (pair.better, pair.worse) and not pair.is_distinguishable
            for name in (pair.better, pair.worse)
        } - {number}
        return [other for other in self.finalists if str(other.trial.number) in alike]


def outcome(study: RecordedStudy) -> Outcome | None:
    """Scores the finals of a study.

    Returns:
        None if there are no finals, or none of them was scored.

    Raises:
        InputError: If the study has not ended, or its finals cannot be compared.
    """
    if not study.finals:
        return None
    study.check_ended()
    found = _scored(study)
    if not found:
        return None
    _, first = next(iter(found.values()))[0]
    reference = first.reference
    try:
        errors = {str(n): np.stack([each.errors for _, each in made]) for n, made in found.items()}
        scored = Finalists(errors, reference)
    except ValueError as error:
        raise InputError(f"the finals of {study.name} cannot be compared: {error}") from error
    finalists = [
        Finalist(
            trial=trial,
            finals=tuple(final for final, _ in made),
            role=role_of(study, number),
            promised=study.value(trial),
            validation=np.array([study.value(final) for final, _ in made]),
            errors=errors[str(number)],
            scores=scored.scores[str(number)],
            test=scored.mean(str(number)),
        )
        for number, made in found.items()
        for trial in [study.trial(number)]
    ]
    champion = study.champion
    finalists.sort(
        key=lambda each: (each.trial == champion, each.validation.mean(axis=0)), reverse=True
    )
    return Outcome(tuple(finalists), tuple(scored.compare()), reference)


def _scored(study: RecordedStudy) -> dict[int, list[tuple[Trial, Outcomes]]]:
    """Number of a finalist -> its finals that were scored, and what they came to."""
    found = {
        number: [
            (final, outcomes)
            for final in finals
            if (outcomes := study.artifacts.outcomes(final)) is not None
        ]
        for number, finals in study.finalists.items()
    }
    # One training of several, the others failed or lost: of its luck nothing is known.
    most = max(map(len, found.values()), default=0)
    return {number: made for number, made in found.items() if len(made) >= min(2, most) > 0}


def role_of(study: RecordedStudy, number: int) -> str:
    """What a trial is besides a trial: ``default of GAT``, ``baseline of GCN``; empty for most."""
    trial = study.trial(number)
    if number not in study.defaults and not trial.is_baseline:
        return ""
    called = "default" if study.params.get(PRESET, "none") == "none" else "preset"
    role = called if number in study.defaults else "baseline"
    return f"{role} of {style.title(study.group(trial))}"


def make(study: RecordedStudy) -> Card:
    """Makes the card of a study's finals.

    Raises:
        InputError: See `outcome`.
    """
    return card_of(outcome(study), study)


def card_of(found: Outcome | None, study: RecordedStudy) -> Card:
    """An outcome as text, table and figure."""
    if found is None:
        return Card(title="finals", name="finals", text=NONE)
    return Card(
        title="finals",
        name="finals",
        text=markdown(found, study),
        table=frame(found, study),
        figures={"finals": draw(found, study)},
        captions={
            "finals": "Each finalist: what the search promised on the validation split, what each "
            "fresh seed gave there, and on the test split."
        },
    )


def quantity(study: RecordedStudy) -> str:
    """The objective as it is written in a table."""
    return {"r2": "R²"}.get(study.objective.partition("/")[2], study.objective.partition("/")[2])


def frame(found: Outcome, study: RecordedStudy) -> pd.DataFrame:
    """All digits, one row a final."""
    name = quantity(study)
    return pd.DataFrame(
        [
            {
                "trial": finalist.trial.number,
                "champion": finalist is found.champion,
                "seed": final.config["seed"],
                "run_id": study.artifacts.run_id(final),
                study.objective: validation,
                f"test {name}": score,
                f"{study.objective} in the search": finalist.promised,
                f"mean test {name}": finalist.test.value,
                "low": finalist.test.low,
                "high": finalist.test.high,
            }
            for finalist in found.finalists
            for final, validation, score in zip(
                finalist.finals, finalist.validation, finalist.scores, strict=True
            )
        ]
    )


def markdown(found: Outcome, study: RecordedStudy) -> str:
    """The table as aligned Markdown, with what it means below."""
    name = quantity(study)
    header = [
        "configuration",
        f"validation {name} in the search",
        "with fresh seeds",
        "selection gap",
        f"test {name}",
        "cannot be told from",
    ]
    rows = [_cells(found, finalist) for finalist in found.finalists]
    return f"{markdown_table(header, rows)}\n\n{_caption(found, study)}\n"


def _cells(found: Outcome, finalist: Finalist) -> list[str]:
    numbers = [str(other.trial.number) for other in found.level_with(finalist)]
    title = escaped(finalist.title)
    return [
        f"**{title}**" if finalist is found.champion else title,
        f"{finalist.promised:.4f}",
        _over_seeds(found, finalist),
        f"{finalist.gap:+.4f}",
        f"{finalist.test.value:.4f} ({finalist.test.low:.4f} to {finalist.test.high:.4f})",
        f"trial{'s' * (len(numbers) > 1)} {', '.join(numbers)}" if numbers else "—",
    ]


def _over_seeds(found: Outcome, finalist: Finalist) -> str:
    """The mean on the validation split; of how many seeds, where these differ."""
    counts = {len(other.finals) for other in found.finalists}
    of = f" ({len(finalist.finals)} seeds)" if len(counts) > 1 else ""
    return f"{finalist.validation.mean(axis=0):.4f}{of}"


def _caption(found: Outcome, study: RecordedStudy) -> str:
    seeds = sorted({len(finalist.finals) for finalist in found.finalists})
    pairs = len(found.comparisons)
    scorecard = study.scorecard
    remark = f" {scorecard.remark}" if scorecard.remark else ""
    luck = "the training and " if seeds[-1] > 1 else ""
    return (
        f"{escaped(study.name)}: the finalists, each trained again with "
        f"{' or '.join(map(str, seeds))} fresh seeds; in bold the champion, which has the highest "
        f"mean of {study.objective} over them. Selection gap: what the search promised, less that "
        "mean. "
        f"In brackets: 95 % interval of the mean, for the luck of {luck}the draw of the "
        f"{found.units:,} test {scorecard.unit}. Two are told apart where their difference "
        f"would come by chance with less than {LEVEL:.0%} probability, corrected for {pairs} "
        f"pairs (Holm).{_lost(found, study)}{remark}"
    )


def _lost(found: Outcome, study: RecordedStudy) -> str:
    """What is to be said of finals that failed, or cannot be scored."""
    told = ""
    if failed := sum(final.status in WITHOUT_RESULT for final in study.finals):
        told += f" {failed} finals failed; a configuration of which none did goes before."
    shown = {finalist.trial.number for finalist in found.finalists}
    missing = [
        *study.without_finals,
        *(number for number in study.finalists if number not in shown),
    ]
    if missing:
        numbers = ", ".join(map(str, missing))
        told += (
            f" Finalists too, but left out, since too few of their finals came to an end and were "
            f"kept: trials {numbers}."
        )
    champion = study.champion
    if champion is not None and champion.number != found.champion.trial.number:
        told += (
            f" The one with the highest mean, trial {champion.number}, could not be scored, as "
            "its weights were not kept."
        )
    return told


def draw(found: Outcome, study: RecordedStudy) -> Figure:
    """Draws what the search promised, what fresh seeds gave, and the test split's word."""
    with matplotlib.rc_context(style.LOOK):
        height = ROW * len(found.finalists) + 1.3
        figure = Figure((6.4, height), layout="constrained")
        axis = figure.subplots()
        for place, finalist in enumerate(found.finalists):
            _paint(axis, place, finalist)
        names = [style.plain(finalist.title) for finalist in found.finalists]
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.locator_params("x", nbins=5)  # names take half of the width
        axis.set_xlabel(f"{quantity(study)} (dimensionless)")
        axis.grid(axis="x", lw=0.4, color=style.LIGHT)
        handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
        return figure


def _paint(axis: Axes, place: int, finalist: Finalist) -> None:
    above, below = place - 0.15, place + 0.15
    axis.plot(
        finalist.promised,
        above,
        ls="",
        marker="D",
        ms=5,
        color=style.VERMILLION,
        label="validation, in the search",
    )
    axis.plot(
        finalist.validation,
        np.full(len(finalist.validation), above),
        ls="",
        marker="o",
        ms=4,
        mfc="none",
        color=style.ORANGE,
        label="validation, a fresh seed",
    )
    paint_test(axis, below, finalist)


def paint_test(axis: Axes, place: float, finalist: Finalist) -> None:
    """Marks what each seed of a finalist gave on the test split, and their mean, at a height."""
    axis.plot(
        finalist.scores,
        np.full(len(finalist.scores), place),
        ls="",
        marker="o",
        ms=4,
        mfc="none",
        color=style.SKY,
        label="test, a fresh seed",
    )
    mean = finalist.test
    axis.errorbar(
        mean.value,
        place,
        xerr=[[mean.value - mean.low], [mean.high - mean.value]],
        color=style.BLUE,
        marker="|",
        ms=9,
        capsize=3,
        lw=1.2,
        label="test, mean and 95 % interval",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return cards.main("Compares the finalists of a study on the test split.", make, argv)


if __name__ == "__main__":
    sys.exit(main())
