"""Compares the finalists of a study on the test split, with intervals and significance tests.

    python analysis/finals.py NAME

writes runs/NAME/report/finals.md and .csv, finals.png and .pdf. The finalists are the best
configurations of the search and its default one, each trained again on fresh seeds. The champion
is the finalist with the highest mean of the objective on the validation split over these seeds;
finalists that were clearly behind it after some seeds were dropped and trained no more.
The selection gap is the search's validation score minus that mean. The test split is used only
after the champion is chosen, and neither the search nor that choice saw it: the study's own
command scores every final on it, once, at its end.
"""

import math
import sys
from collections.abc import Mapping, Sequence
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
"""Height of a finalist's row in the figure, in inches."""

_DROPPED = (
    " Dropped: after two fresh seeds, and each further one, a finalist whose mean on the "
    "validation split was significantly below the highest, by a one-sided t-test, was trained no "
    f"more; all these tests together drop the truly best one with at most {LEVEL:.0%} probability"
    ", unless one finalist is far noisier than the others and its results are skewed."
)
"""The rule of the race of the finals, for captions."""

DIGITS = 4
"""Decimals of a score whose highest value is 1."""


@dataclass(frozen=True)
class Finalist:
    """A configuration that was trained again on fresh seeds, with its scores.

    Attributes:
        trial: The trial of the search with this configuration.
        finals: The trainings on fresh seeds that finished and were scored on the test split.
        role: Its role beside being a finalist, such as ``default of GAT``; empty for none.
        promised: The objective of the trial in the search.
        validation: (seeds,) float64, the objective of each final on the validation split.
        errors: (seeds, units) float64, the error of each final on each test unit.
        scores: (seeds,) float64, the score of each final on the test split, dimensionless.
        test: Mean of `scores`, with its 95 % interval.
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
        """Configuration, trial number and role."""
        role = f", {self.role}" if self.role else ""
        return f"{self.trial.title} (trial {self.trial.number}{role})"

    @property
    def is_dropped(self) -> bool:
        """Whether it was trained no more since it was clearly behind."""
        return bool(self.trial.dropped)

    @property
    def gap(self) -> float:
        """The selection gap: the search's objective minus the mean over the fresh seeds, both on
        the validation split."""
        return self.promised - float(self.validation.mean(axis=0))


@dataclass(frozen=True)
class Outcome:
    """The result of a study's finals.

    Attributes:
        finalists: The champion first, then by descending mean on the validation split, those that
            were dropped last.
        comparisons: The comparison of every pair on the test split, named by trial numbers.
        reference: (units,) float64, the error of the reference on each test unit.
        baselines: Name -> test score of a method that is no trial, with its 95 % interval for the
            draw of the test units.
    """

    finalists: tuple[Finalist, ...]
    comparisons: tuple[Comparison, ...]
    reference: np.ndarray
    baselines: Mapping[str, Score]

    @property
    def units(self) -> int:
        """Number of test units."""
        return len(self.reference)

    @property
    def champion(self) -> Finalist:
        """The finalist with the highest mean on the validation split of those not dropped."""
        return self.finalists[0]

    def pair(self, one: Finalist, other: Finalist) -> Comparison:
        """Returns the comparison of two finalists on the test split."""
        names = {str(one.trial.number), str(other.trial.number)}
        return next(pair for pair in self.comparisons if {pair.better, pair.worse} == names)

    def level_with(self, finalist: Finalist) -> list[Finalist]:
        """Returns the other finalists that are statistically indistinguishable from one."""
        number = str(finalist.trial.number)
        alike = {
            name
            for pair in self.comparisons
            if number in (pair.better, pair.worse) and not pair.is_distinguishable
            for name in (pair.better, pair.worse)
        } - {number}
        return [other for other in self.finalists if str(other.trial.number) in alike]


def outcome(study: RecordedStudy) -> Outcome | None:
    """Compares the finals of a study by their recorded scores on the test split.

    Returns:
        The result; None if there are no finals, or none of them was scored.

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
    known = {name: errors[None] for name, errors in first.baselines.items()}
    try:
        baselines = Finalists(known, reference) if known else None
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
        key=lambda each: (
            each.trial == champion,
            not each.is_dropped,
            each.validation.mean(axis=0),
        ),
        reverse=True,
    )
    return Outcome(
        tuple(finalists),
        tuple(scored.compare()),
        reference,
        {name: baselines.mean(name) for name in known} if baselines else {},
    )


def _scored(study: RecordedStudy) -> dict[int, list[tuple[Trial, Outcomes]]]:
    """Returns trial number of a finalist -> its scored finals, each with its test outcomes.

    A finalist with a single scored final is left out if another one has several.
    """
    found = {
        number: [
            (final, outcomes)
            for final in finals
            if (outcomes := study.artifacts.outcomes(final)) is not None
        ]
        for number, finals in study.finalists.items()
    }
    # If one training of several is left, its variance over seeds cannot be estimated.
    most = max(map(len, found.values()), default=0)
    return {number: made for number, made in found.items() if len(made) >= min(2, most) > 0}


def role_of(study: RecordedStudy, number: int) -> str:
    """Returns a trial's special role: ``default of GAT``, ``preset of GCN`` or ``baseline of
    GCN``; empty for most trials."""
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
    """Returns the finals' result as a card; without one, a card that only says so."""
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
            f"{_race(found)}"
        },
    )


def quantity(study: RecordedStudy) -> str:
    """Returns the objective's name for tables, without its split: ``R²`` for
    ``validation/r2``."""
    return {"r2": "R²"}.get(study.objective.partition("/")[2], study.objective.partition("/")[2])


def test_quantity(study: RecordedStudy) -> str:
    """Returns the name of the score on the test split for tables."""
    return study.scorecard.quantity or quantity(study)


def shown(study: RecordedStudy, *scores: float) -> list[str]:
    """Returns scores on the test split, or differences of them, as they are printed: in the
    scorecard's quantity, with four significant digits of the highest score."""
    factor = study.scorecard.factor(study)
    return [f"{score * factor:.{_digits(factor)}f}" for score in scores]


def shown_of_validation(study: RecordedStudy, score: float, sign: str = "") -> str:
    """Returns a score on the validation split, or a difference of two, as it is printed beside one
    on the test split: with as many digits, where it is the same quantity, else with four.

    Args:
        study: The study.
        score: The score.
        sign: ``+``: with a sign in any case.
    """
    return f"{score:{sign}.{_digits(scale(study))}f}"


def scale(study: RecordedStudy) -> float:
    """Returns the number by which scores on the test split are multiplied in figures: that of the
    scorecard where the objective is the same quantity, so that both stand on one axis; else 1."""
    same = quantity(study) == test_quantity(study)
    return study.scorecard.factor(study) if same else 1.0


def _digits(highest: float) -> int:
    return max(0, DIGITS - math.ceil(math.log10(max(1.0, highest))))


def of_validation(study: RecordedStudy) -> str:
    """Returns the finalists' validation scores as Markdown: all there is without a test split."""
    name = quantity(study)
    header = [
        "configuration",
        f"validation {name} in the search",
        "mean over fresh seeds",
        "seeds",
    ]
    numbered = {trial.number: trial for trial in study.trials}
    rows = []
    for number, finals in study.finalists.items():
        trial, title = numbered[number], f"{escaped(numbered[number].title)} (trial {number})"
        mean = np.mean([study.value(final) for final in finals])
        is_champion = trial == study.champion
        title = f"**{title}**" if is_champion else title
        seeds = f"{len(finals)}, dropped" if trial.dropped else str(len(finals))
        rows.append([title, f"{study.value(trial):.4f}", f"{mean:.4f}", seeds])
    is_raced = any(numbered[number].dropped for number in study.finalists)
    return markdown_table(header, rows) + (f"\n\n{_DROPPED.strip()}" if is_raced else "")


def frame(found: Outcome, study: RecordedStudy) -> pd.DataFrame:
    """Returns the scores at full precision, one row per final."""
    name, factor = test_quantity(study), study.scorecard.factor(study)
    return pd.DataFrame(
        [
            {
                "trial": finalist.trial.number,
                "champion": finalist is found.champion,
                "dropped": finalist.is_dropped,
                "seed": final.config["seed"],
                "run_id": study.artifacts.run_id(final),
                study.objective: validation,
                f"test {name}": score * factor,
                f"{study.objective} in the search": finalist.promised,
                f"mean test {name}": finalist.test.value * factor,
                "low": finalist.test.low * factor,
                "high": finalist.test.high * factor,
            }
            for finalist in found.finalists
            for final, validation, score in zip(
                finalist.finals, finalist.validation, finalist.scores, strict=True
            )
        ]
    )


def markdown(found: Outcome, study: RecordedStudy) -> str:
    """Returns the table as aligned Markdown, with an explanation below."""
    name = quantity(study)
    header = [
        "configuration",
        f"validation {name} in the search",
        "with fresh seeds",
        "selection gap",
        f"test {test_quantity(study)}",
        "cannot be told from",
    ]
    rows = [_cells(found, study, finalist) for finalist in found.finalists]
    for name_of, score in found.baselines.items():
        rows.append([escaped(name_of), "—", "—", "—", _interval(study, score), "—"])
    return f"{markdown_table(header, rows)}\n\n{_caption(found, study)}\n"


def _cells(found: Outcome, study: RecordedStudy, finalist: Finalist) -> list[str]:
    numbers = [str(other.trial.number) for other in found.level_with(finalist)]
    title = escaped(finalist.title)
    return [
        f"**{title}**" if finalist is found.champion else title,
        shown_of_validation(study, finalist.promised),
        _over_seeds(found, study, finalist),
        shown_of_validation(study, finalist.gap, sign="+"),
        _interval(study, finalist.test),
        f"trial{'s' * (len(numbers) > 1)} {', '.join(numbers)}" if numbers else "—",
    ]


def _interval(study: RecordedStudy, score: Score) -> str:
    value, low, high = shown(study, score.value, score.low, score.high)
    return f"{value} (no spread)" if low == high else f"{value} ({low} to {high})"


def _over_seeds(found: Outcome, study: RecordedStudy, finalist: Finalist) -> str:
    """Returns the mean on the validation split as text, with the number of seeds if it differs
    between finalists or one was dropped."""
    counts = {(len(other.finals), other.is_dropped) for other in found.finalists}
    dropped = ", dropped" if finalist.is_dropped else ""
    of = f" ({len(finalist.finals)} seeds{dropped})" if len(counts) > 1 else ""
    return f"{shown_of_validation(study, finalist.validation.mean(axis=0))}{of}"


def _caption(found: Outcome, study: RecordedStudy) -> str:
    seeds = sorted({len(finalist.finals) for finalist in found.finalists})
    pairs = len(found.comparisons)
    scorecard = study.scorecard
    remark = f" {scorecard.remark}" if scorecard.remark else ""
    luck = "the training and " if seeds[-1] > 1 else ""
    left = twice = ""
    if _race(found):
        left, twice = " of those not dropped", ", those with a dropped one counted twice"
    return (
        f"{escaped(study.name)}: the finalists, each trained again with "
        f"{' or '.join(map(str, seeds))} fresh seeds; in bold the champion, which{left} has the "
        f"highest mean of {study.objective} over them. Selection gap: what the search promised, "
        "less that mean. "
        f"In brackets: 95 % interval of the mean, for the luck of {luck}the draw of the "
        f"{found.units:,} test {scorecard.unit}. Two are told apart where their difference "
        f"would come by chance with less than {LEVEL:.0%} probability, corrected for {pairs} "
        f"pair{'s' * (pairs != 1)} (Holm{twice}).{_race(found)}{_beyond(found)}"
        f"{_lost(found, study)}{remark}"
    )


def _race(found: Outcome) -> str:
    """Returns the rule of the race if a finalist was dropped; else empty."""
    return _DROPPED if any(each.is_dropped for each in found.finalists) else ""


def _beyond(found: Outcome) -> str:
    """Returns a remark if an interval exceeds the highest score, 1; else empty."""
    if all(finalist.test.high <= 1 for finalist in found.finalists):
        return ""
    return " Student's intervals are symmetric, also where no score can be higher."


def _lost(found: Outcome, study: RecordedStudy) -> str:
    """Returns remarks on finals that failed and finalists that could not be scored; else empty."""
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
    """Draws each finalist's validation score in the search, and its scores on fresh seeds on the
    validation and test splits."""
    with matplotlib.rc_context(style.LOOK):
        height = ROW * len(found.finalists) + 1.3
        figure = Figure((6.4, height), layout="constrained")
        axis = figure.subplots()
        for place, finalist in enumerate(found.finalists):
            _paint(axis, place, finalist, scale(study))
        names = [_label(finalist) for finalist in found.finalists]
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.locator_params("x", nbins=5)  # names take half of the width
        _paint_best_baseline(axis, found, scale(study))
        axis.set_xlabel(f"{quantities(study)} (dimensionless)")
        axis.grid(axis="x", lw=0.4, color=style.LIGHT)
        handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
        return figure


def _label(finalist: Finalist) -> str:
    """Returns the name of a finalist's row in the figure."""
    title = style.plain(finalist.title)
    if not finalist.is_dropped:
        return title
    return f"{title}\ndropped, {len(finalist.finals)} seeds"


def quantities(study: RecordedStudy) -> str:
    """Returns the label of an axis of scores on the validation and test splits."""
    return ", test ".join(dict.fromkeys((quantity(study), test_axis(study))))


def test_axis(study: RecordedStudy) -> str:
    """Returns the label of an axis of scores on the test split."""
    factor = study.scorecard.factor(study) / scale(study)
    return test_quantity(study) if factor == 1 else f"{test_quantity(study)} / {factor:g}"


def _paint_best_baseline(axis: Axes, found: Outcome, scale: float) -> None:
    """Draws the test score of the best method that is no trial as a vertical line; those of the
    others, which are in the table, would squeeze the finalists."""
    if found.baselines:
        name, score = max(found.baselines.items(), key=lambda item: item[1].value)
        axis.axvline(score.value * scale, color=style.GREY, lw=1, ls="--", label=f"test, {name}")


def _paint(axis: Axes, place: int, finalist: Finalist, scale: float) -> None:
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
    paint_test(axis, below, finalist, scale)


def paint_test(axis: Axes, place: float, finalist: Finalist, scale: float) -> None:
    """Draws a finalist's test score for each seed, multiplied by `scale`, and their mean with its
    interval, at a vertical position of the axis."""
    axis.plot(
        finalist.scores * scale,
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
        mean.value * scale,
        place,
        xerr=[[(mean.value - mean.low) * scale], [(mean.high - mean.value) * scale]],
        color=style.BLUE,
        marker="|",
        ms=9,
        capsize=3,
        lw=1.2,
        label="test, mean and 95 % interval",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Compares a study's finalists from the command line; returns the exit code."""
    return cards.main("Compares the finalists of a study on the test split.", make, argv)


if __name__ == "__main__":
    sys.exit(main())
