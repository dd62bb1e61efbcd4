"""What a study has come to, in two sentences, and no more than its records bear out."""

from collections import Counter

from analysis.finals import Outcome, quantity
from analysis.runs import StudyRuns, TrialRun

UNFINISHED = {
    "RUNNING": "The study is running",
    "KILLED": "The study was stopped before its end",
}


def answer(runs: StudyRuns, outcome: Outcome | None) -> str:
    """The answer as Markdown.

    Args:
        runs: The study.
        outcome: Of its finals; None: there is none.
    """
    best = runs.best(runs.trials)
    if outcome is not None:
        return _of_finals(runs, outcome)
    if best is None:
        return _nothing(runs)
    return _of_search(runs, best)


def question(runs: StudyRuns) -> str:
    """What the study asks, as its own first paragraph puts it."""
    return runs.question.strip().partition("\n\n")[0].replace("\n", " ")


def _of_finals(runs: StudyRuns, outcome: Outcome) -> str:
    champion = outcome.champion
    test, name = champion.test, quantity(runs)
    seeds = len(champion.finals)
    unit = "molecules" if runs.kind == "molecules" else "episodes"
    found = (
        f"**{champion.title}** is the champion: its mean test {name} is **{test.value:.4f}** "
        f"(95 % interval {test.low:.4f} to {test.high:.4f}) over {seeds} fresh "
        f"seed{'s' * (seeds > 1)}, on {outcome.units:,} test {unit} that neither the search nor "
        f"this choice saw{_against_default(outcome)}."
    )
    told = (
        f"{_alike(outcome)}; the search had promised {champion.promised:.4f} on the validation "
        f"split, fresh seeds give {champion.validation.mean(axis=0):.4f} there."
    )
    return f"{found} {told}"


def _against_default(outcome: Outcome) -> str:
    champion = str(outcome.champion.trial.number)
    if champion == "0":
        return "; it is the default configuration, which the search did not improve"
    for pair in outcome.comparisons:
        if {pair.better, pair.worse} == {champion, "0"}:
            if not pair.is_distinguishable:
                return "; it cannot be told from the default configuration"
            way = "better" if pair.better == champion else "worse"
            by = pair.difference
            return (
                f", by {by.value:.4f} ({by.low:.4f} to {by.high:.4f}) {way} than the default "
                "configuration"
            )
    return ""


def _alike(outcome: Outcome) -> str:
    """Which other finalists the champion cannot be told from."""
    alike = outcome.level_with(outcome.champion)
    others = len(outcome.finalists) - 1
    if not others:
        return "There is no other finalist"
    if not alike:
        return f"It can be told from each of the {others} other finalists"
    if len(alike) == others:
        return f"It cannot be told from any of the {others} other finalists"
    names = ", ".join(f"trial {finalist.trial.number}" for finalist in alike)
    return f"Of the {others} other finalists it cannot be told from {len(alike)} ({names})"


def _of_search(runs: StudyRuns, best: TrialRun) -> str:
    state = UNFINISHED.get(runs.status)
    so_far = f"{state}; so far " if state else ""
    which = f"{so_far}the best of {len(runs.trials)} trials is trial {best.number}"
    configuration = best.name.partition(" ")[2]
    found = (
        f"{which[0].upper()}{which[1:]}, **{configuration}**, with {runs.objective} "
        f"**{best.metrics[runs.objective]:.4f}**."
    )
    if runs.finals:
        return (
            f"{found} It was chosen for this very number; its finals, which tell how much of it "
            "is luck, are not scored: that is done when the study has come to its end."
        )
    return (
        f"{found} It was chosen for this very number and has not been trained again on fresh "
        "seeds, so that part of it is luck and no interval can be given: the same command with "
        "`--finalists 5` tells how much."
    )


def _nothing(runs: StudyRuns) -> str:
    if not runs.trials:
        return "No trial has been begun, so there is no answer. The question is open."
    states = Counter(trial.state for trial in runs.trials)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    reasons = Counter(trial.reason for trial in runs.trials if trial.reason)
    told = f"None of {len(runs.trials)} trials finished ({counts}), so there is no answer."
    if not reasons:
        return f"{told} The question is open."
    reason, count = reasons.most_common(1)[0]
    return f"{told} The most frequent reason, of {count}: {reason.rstrip('.')}."
