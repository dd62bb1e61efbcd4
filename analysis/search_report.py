"""How a search went, in words and figures: may its winner, and its early stopping, be trusted?"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from analysis import search_figures
from analysis.markdown import escaped, table
from analysis.runs import DEVICE, RUNGS, SCHEDULER, StudyRuns, TrackingStore, TrialRun
from analysis.searched import FEWEST, TOP, Searched, at_the_edge, chosen, importances, read
from analysis.texts import whole

STATES = ("finished", "pruned", "failed", "infeasible", "stopped", "running")

TRUSTED = 0.7
"""Rank correlation from which on an early score tells the last one well enough."""

ENOUGH = 10
"""Finished trials from which on that is judged: of ten that have nothing to do with each other
one in eighty has as large a correlation, of six one in fifteen."""


@dataclass
class Chapter:
    """A part of a report.

    Attributes:
        text: Markdown; images name figures as ``figures/NAME.png``.
        figures: By name.
    """

    text: str = ""
    figures: dict[str, Figure | bytes] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """Adds a paragraph or a table."""
        self.text += f"{text.strip()}\n\n"

    def show(self, name: str, figure: Figure | bytes, caption: str) -> None:
        """Adds a figure, with what it shows."""
        self.figures[name] = figure
        suffix = "png" if isinstance(figure, Figure) else "gif"
        self.add(f"![{caption}](figures/{name}.{suffix})\n\n{caption}")


def search(store: TrackingStore, runs: StudyRuns, winner: TrialRun | None) -> Chapter:
    """The search of a study.

    Args:
        store: MLflow's.
        runs: The study.
        winner: The trial that it came to: the champion's, or the best.
    """
    told = Chapter()
    searched = read(store, runs)
    told.add(_counts(runs))
    if search_figures.ended(runs):
        told.show(
            "best_so_far",
            search_figures.best_so_far(runs),
            f"The best {runs.objective} of the finished trials so far, over trials and over time; "
            "a pruned trial's value is that of the epoch at which it was stopped.",
        )
        if searched is None:
            told.add("What was searched was not recorded.")
        else:
            _importance(told, runs, searched)
            _axes(told, runs, searched, winner)
        _early_stopping(told, store, runs)
    return told


def _counts(runs: StudyRuns) -> str:
    states = Counter(trial.state for trial in runs.trials)
    total = len(runs.trials)
    if not total:
        return "No trial has been begun."
    rows = [
        [state, str(states[state]), f"{states[state] / total:.0%}"]
        for state in STATES
        if states[state]
    ]
    text = table(["trials", "number", "share"], [*rows, ["all", str(total), ""]])
    reasons = Counter(trial.reason for trial in runs.trials if trial.reason)
    lost = [f"- {count} of them: {escaped(reason)}" for reason, count in reasons.most_common(5)]
    return "\n\n".join([text, *(["\n".join(["Why trials failed:", "", *lost])] if lost else [])])


def _importance(told: Chapter, runs: StudyRuns, searched: tuple[Searched, ...]) -> None:
    told.add("### What mattered")
    shares = importances(runs, searched)
    if not shares:
        told.add(
            "What mattered cannot be told: it takes hyperparameters that are searched for every "
            f"trial, and {FEWEST} trials with a score that the sampler chose; there are "
            f"{len(chosen(runs))}."
        )
        return
    told.show(
        "importance",
        search_figures.importance_bars(shares),
        "Importance of each searched hyperparameter for being among the better trials, a tenth "
        f"of them and {TOP} at least (PED-ANOVA, Watanabe et al. 2023, arXiv 2304.10255). Of the "
        f"{len(chosen(runs))} trials that the sampler chose; one that was stopped early counts as "
        "worse than those that went further, fields that apply under a condition only are left "
        "out. With few trials it is a hint, no more.",
    )


def _axes(
    told: Chapter, runs: StudyRuns, searched: tuple[Searched, ...], winner: TrialRun | None
) -> None:
    if not searched:
        told.add("Nothing was searched: every field had one value.")
        return
    told.show(
        "axes",
        search_figures.axes_of(runs, searched, winner),
        f"Every trial that ended, by each searched hyperparameter against {runs.objective}; "
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


def _early_stopping(told: Chapter, store: TrackingStore, runs: StudyRuns) -> None:
    told.add("### May early stopping be trusted?")
    epochs = [whole(RUNGS, epoch) for epoch in runs.tags.get(RUNGS, "").split(", ") if epoch]
    pruned = sum(trial.state == "pruned" for trial in runs.trials)
    how = (
        f"Early stopping was off in the last session, {pruned} trials were stopped early."
        if runs.tags.get(SCHEDULER) == "none"
        else f"Trials are compared after epochs {', '.join(map(str, epochs)) or 'not recorded'}, "
        f"and the worse half is stopped: {pruned} of {len(runs.trials)} were."
    )
    found = search_figures.rungs(store, runs, epochs)
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
        search_figures.rung_panels(runs, found),
        f"{runs.objective} early and after the last epoch, of the {count} trials that finished.",
    )
    told.add(
        f"{how} {verdict}: the lowest rank correlation (Spearman) with the last "
        f"score is {worst.correlation:.2f}, after epoch {worst.epoch}. Only trials that were "
        "allowed to finish can be looked at, so that the worst, which would be the easiest to "
        "tell, are missing."
    )


def use(store: TrackingStore, runs: StudyRuns) -> str:
    """Time and devices, as Markdown."""
    everything = (*runs.trials, *runs.finals)
    begun = [trial for trial in everything if trial.metrics.get("epoch")]
    if not begun:
        return "No trial has trained for an epoch."
    seconds = {trial.number: training_seconds(store, trial) for trial in begun}
    rows = [
        [
            escaped(name),
            str(len(trials)),
            f"{sum(int(trial.metrics['epoch']) for trial in trials):,}",
            f"{sum(seconds[trial.number] for trial in trials) / 3600:.2f}",
            f"{max(trial.metrics.get('memory_gib', 0.0) for trial in trials):.2f}",
        ]
        for name, trials in _by_device(begun).items()
    ]
    header = ["device", "trials", "epochs", "training time (h)", "most memory of a trial (GiB)"]
    return f"{table(header, rows)}\n\n{_wall(runs, begun)}"


def training_seconds(store: TrackingStore, trial: TrialRun) -> float:
    """How long a trial has trained, in all of its sessions; without validation."""
    return float(store.history(trial, "train/seconds").values.sum())


def _by_device(trials: list[TrialRun]) -> Mapping[str, list[TrialRun]]:
    found: dict[str, list[TrialRun]] = {}
    for trial in trials:
        found.setdefault(trial.tags.get(DEVICE, "unknown"), []).append(trial)
    return found


def _wall(runs: StudyRuns, begun: list[TrialRun]) -> str:
    spans = [(trial.started, trial.ended) for trial in begun if trial.ended is not None]
    if not spans:
        return "No trial has ended."
    wall = (max(end for _, end in spans) - min(start for start, _ in spans)).total_seconds()
    finals = f" ({len(runs.finals)} of them finals)" if runs.finals else ""
    return (
        f"From the first start to the last end, breaks included: {wall / 3600:.2f} h, "
        f"for {len(begun)} trials{finals}."
    )
