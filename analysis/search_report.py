"""Reports on a search in words and figures: importances, ranges, and whether early stopping can be
trusted."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from analysis import search_figures
from analysis.curves import training_seconds
from analysis.markdown import escaped, table
from analysis.searched import FEWEST, TOP, at_the_edge, chosen, importances, searched_of
from record import names, placements
from record.recorded_study import RecordedStudy
from record.trial import WITHOUT_RESULT, Trial
from trainables.parameter import Parameter

STATUSES = (
    "finished",
    "pruned",
    "failed",
    "infeasible",
    "stopped",
    "paused",
    "running",
)

TRUSTED = 0.7
"""Smallest rank correlation at which early scores count as good predictors of final ones."""

ENOUGH = 10
"""Smallest number of finished trials for that verdict: by chance alone, ten unrelated pairs reach
such a correlation once in eighty times, six once in fifteen."""


@dataclass
class Chapter:
    """A part of a report.

    Attributes:
        text: Markdown; it refers to figures as ``figures/NAME.png`` or ``figures/NAME.gif``.
        figures: Name -> a figure, or the bytes of a GIF.
    """

    text: str = ""
    figures: dict[str, Figure | bytes] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """Adds a paragraph or a table."""
        self.text += f"{text.strip()}\n\n"

    def show(self, name: str, figure: Figure | bytes, caption: str) -> None:
        """Adds a figure with its caption."""
        self.figures[name] = figure
        suffix = "png" if isinstance(figure, Figure) else "gif"
        self.add(f"![{caption}](figures/{name}.{suffix})\n\n{caption}")


def search(study: RecordedStudy, winner: Trial | None) -> Chapter:
    """Writes the chapter on a study's search.

    Args:
        study: The study.
        winner: The champion's trial, or the best of the search; None if no trial finished.
    """
    told = Chapter()
    searched = searched_of(study)
    told.add(_counts(study))
    if search_figures.ended(study):
        told.show(
            "best_so_far",
            search_figures.best_so_far(study),
            f"The best {study.objective} of the finished trials so far, over trials and over "
            "time; a pruned trial's value is that of the epoch at which it was stopped.",
        )
        if searched is None:
            told.add("What was searched was not recorded.")
        else:
            _importance(told, study, searched)
            _axes(told, study, searched, winner)
        _early_stopping(told, study)
    return told


def _counts(study: RecordedStudy) -> str:
    states = Counter(trial.status for trial in study.trials)
    total = len(study.trials)
    if not total:
        return "No trial has been begun."
    rows = [
        [state, str(states[state]), f"{states[state] / total:.0%}"]
        for state in STATUSES
        if states[state]
    ]
    text = table(["trials", "number", "share"], [*rows, ["all", str(total), ""]])
    failed = [trial for trial in study.trials if trial.status in WITHOUT_RESULT]
    reasons = Counter(trial.reason for trial in failed if trial.reason)
    lost = [f"- {count} of them: {escaped(reason)}" for reason, count in reasons.most_common(5)]
    return "\n\n".join([text, *(["\n".join(["Why trials failed:", "", *lost])] if lost else [])])


def _importance(told: Chapter, study: RecordedStudy, searched: tuple[Parameter, ...]) -> None:
    told.add("### What mattered")
    shares = importances(study, searched)
    if not shares:
        told.add(
            "What mattered cannot be told: it takes hyperparameters that are searched for every "
            f"trial, and {FEWEST} trials with a score that the sampler chose; there are "
            f"{len(chosen(study))}."
        )
        return
    told.show(
        "importance",
        search_figures.importance_bars(shares),
        "Importance of each searched hyperparameter for being among the better trials, a tenth "
        f"of them and {TOP} at least (PED-ANOVA, Watanabe et al. 2023, arXiv 2304.10255). Of the "
        f"{len(chosen(study))} trials that the sampler chose; one that was stopped early counts "
        "as worse than those that went further, fields that apply under a condition only are left "
        "out. With few trials it is a hint, no more.",
    )


def _axes(
    told: Chapter, study: RecordedStudy, searched: tuple[Parameter, ...], winner: Trial | None
) -> None:
    if not searched:
        told.add("Nothing was searched: every field had one value.")
        return
    told.show(
        "axes",
        search_figures.axes_of(study, searched, winner),
        f"Every trial that ended, by each searched hyperparameter against {study.objective}; "
        "failed ones, which have none, lie at the foot. A field without a unit is a plain number; "
        "one that has another range under a condition has a panel for each.",
    )
    if winner is None:
        return
    edges = at_the_edge(winner, searched)
    for edge in edges:
        told.add(
            f"> **At the edge of its range**: trial {winner.number}'s {edge}. A better "
            "value may lie beyond it."
        )
    if not edges:
        told.add(f"No hyperparameter of trial {winner.number} lies at the edge of its range.")


def _early_stopping(told: Chapter, study: RecordedStudy) -> None:
    told.add("### May early stopping be trusted?")
    epochs = study.numbers(names.RUNGS)
    pruned = sum(trial.status == "pruned" for trial in study.trials)
    how = (
        f"Early stopping was off in the last session, {pruned} trials were stopped early."
        if study.tags.get(names.SCHEDULER) == "none"
        else f"Trials are compared after epochs {', '.join(map(str, epochs)) or 'not recorded'}, "
        f"and the worse half is stopped: {pruned} of {len(study.trials)} were."
    )
    found = search_figures.rungs(study, epochs)
    if not found:
        told.add(f"{how} Too few trials finished to tell whether early scores foretell late ones.")
        return
    worst = min(found, key=lambda rung: rung.correlation)
    count = len(found[0].last)
    verdict = (
        f"Whether early scores foretell the last ones cannot be told from {count} trials"
        if count < ENOUGH
        else "Early scores foretell the last ones well"
        if worst.correlation >= TRUSTED
        else "Early scores are a weak guide"
    )
    told.show(
        "rungs",
        search_figures.rung_panels(study, found),
        f"{study.objective} early and after the last epoch, of the {count} trials that finished.",
    )
    told.add(
        f"{how} {verdict}: the lowest rank correlation (Spearman) with the last "
        f"score is {worst.correlation:.2f}, after epoch {worst.epoch}. Only trials that were "
        "allowed to finish can be looked at, so that the worst, which would be the easiest to "
        "tell, are missing."
    )


def use(study: RecordedStudy) -> str:
    """Returns a table of training time and memory by device, and the wall time, as Markdown."""
    begun = [trial for trial in study.every if trial.epoch]
    if not begun:
        return "No trial has trained for an epoch."
    seconds = {trial.number: training_seconds(trial) for trial in begun}
    rows = [
        [
            escaped(name),
            str(len(trials)),
            f"{sum(trial.epoch for trial in trials):,}",
            f"{sum(seconds[trial.number] for trial in trials) / 3600:.2f}",
            f"{max(trial.reports[-1].memory_gib for trial in trials):.2f}",
        ]
        for name, trials in _by_device(begun).items()
    ]
    header = ["device", "trials", "epochs", "training time (h)", "most memory of a trial (GiB)"]
    return f"{table(header, rows)}\n\n{_wall(study, begun)}"


def _by_device(trials: list[Trial]) -> Mapping[str, list[Trial]]:
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(placements.in_turn(trial.placements)[names.DEVICE], []).append(trial)
    return found


def _wall(study: RecordedStudy, begun: list[Trial]) -> str:
    spans = [(trial.started, trial.ended) for trial in begun if trial.started and trial.ended]
    if not spans:
        return "No trial has ended."
    wall = (max(end for _, end in spans) - min(start for start, _ in spans)).total_seconds()
    finals = f" ({len(study.finals)} of them finals)" if study.finals else ""
    return (
        f"From the first start to the last end, breaks included: {wall / 3600:.2f} h, "
        f"for {len(begun)} trials{finals}."
    )
