"""Words a study's answer in one or two sentences, claiming no more than the record supports."""

from collections import Counter

from analysis.finals import Outcome, shown, shown_of_validation, test_quantity
from analysis.markdown import escaped
from record.recorded_study import RecordedStudy
from record.trial import WITHOUT_RESULT, Trial

UNFINISHED = {
    "RUNNING": "The study is running",
    "KILLED": "The study was stopped before its end",
}


def answer(study: RecordedStudy, outcome: Outcome | None, reason: str = "") -> str:
    """Returns the study's answer as Markdown.

    The answer comes from the finals if they were scored, else from the best trial of the search.

    Args:
        study: The study.
        outcome: The result of its finals; None if there is none.
        reason: Why there is no outcome, as Markdown.
    """
    best = study.best(study.trials)
    if outcome is not None:
        return _of_finals(study, outcome)
    if best is None:
        return _nothing(study)
    return _of_search(study, best, reason)


def question(study: RecordedStudy) -> str:
    """Returns the first paragraph of the study's question, as Markdown."""
    return escaped(study.question.strip().partition("\n\n")[0])


def _of_finals(study: RecordedStudy, outcome: Outcome) -> str:
    champion = outcome.champion
    test, name = champion.test, test_quantity(study)
    seeds = len(champion.finals)
    unit = study.scorecard.unit
    value, low, high = shown(study, test.value, test.low, test.high)
    lucky = "" if seeds > 1 else ", which leaves the luck of the training out"
    against = _against_default(study, outcome) if seeds > 1 else ""
    spread = "no spread" if low == high else f"95 % interval {low} to {high}"
    found = (
        f"**{escaped(champion.title)}** is the champion: "
        f"its mean test {name} is **{value}** "
        f"({spread}{lucky}) over {seeds} fresh "
        f"seed{'s' * (seeds > 1)}, on {outcome.units:,} test {unit} {study.scorecard.unseen}"
        f"{against}."
    )
    alike = _alike(outcome) if seeds > 1 else "One training each cannot tell finalists apart"
    return f"{found} {alike}; {_promised(study, outcome)}."


def _promised(study: RecordedStudy, outcome: Outcome) -> str:
    """Compares the validation score of the search's best trial with that of its fresh seeds."""
    champion = outcome.champion
    best = study.best(study.trials)
    first = next((each for each in outcome.finalists if each.trial == best), champion)
    others = "" if first is champion else f", trial {first.trial.number},"
    searched = shown_of_validation(study, first.promised)
    anew, own = (
        shown_of_validation(study, each.validation.mean(axis=0)) for each in (first, champion)
    )
    told = (
        f"of its best{others} the search had promised {searched} on the validation split, where "
        f"fresh seeds give {anew}"
    )
    return told if first is champion else f"{told}, and {own} of the champion"


def _against_default(study: RecordedStudy, outcome: Outcome) -> str:
    """Compares the champion with a default configuration: that of its own group if it is a
    finalist too, else the first default among the finalists."""
    champion = outcome.champion
    if champion.role:
        return f"; the search found nothing better than this {champion.role}"
    group = study.group(champion.trial)
    defaults = [each for each in outcome.finalists if each.trial.number in study.defaults]
    own = [finalist for finalist in defaults if study.group(finalist.trial) == group]
    if not defaults:
        return "; there is no default configuration to compare it with"
    other = (own or defaults)[0]
    pair = outcome.pair(champion, other)
    if not pair.is_distinguishable:
        return f"; it cannot be told from the {other.role}"
    way = "better" if pair.better == str(champion.trial.number) else "worse"
    by = pair.difference
    value, low, high = shown(study, by.value, by.low, by.high)
    return f", by {value} (of this pair alone {low} to {high}) {way} than the {other.role}"


def _alike(outcome: Outcome) -> str:
    """Names the finalists that are statistically indistinguishable from the champion."""
    alike = outcome.level_with(outcome.champion)
    others = len(outcome.finalists) - 1
    if not others:
        return "There is no other finalist"
    if not alike:
        return "It can be told from every other finalist"
    if len(alike) == others:
        return "It cannot be told from any other finalist"
    names = ", ".join(f"trial {finalist.trial.number}" for finalist in alike)
    return f"Of the {others} other finalists it cannot be told from {len(alike)} ({names})"


def _of_search(study: RecordedStudy, best: Trial, reason: str) -> str:
    state = UNFINISHED.get(study.status)
    so_far = f"{state}; so far " if state else ""
    count = len(study.trials)
    which = f"{so_far}the best of {count} trial{'s' * (count > 1)} is trial {best.number}"
    found = (
        f"{which[0].upper()}{which[1:]}, **{escaped(best.title)}**, with {study.objective} "
        f"**{study.value(best):.4f}**."
    )
    if study.finals:
        return (
            f"{found} How much of that is luck its finals tell, which are not scored"
            f"{f' ({reason})' if reason else ''}."
        )
    then = (
        "finals follow when the search has come to its end, unless the command leaves them out."
        if state
        else "the same command with `--finalists 5` tells how much."
    )
    return (
        f"{found} It has not been trained again on fresh seeds, so that part of it may be luck "
        f"and no interval can be given: {then}"
    )


def _nothing(study: RecordedStudy) -> str:
    if not study.trials:
        return "No trial has been begun, so there is no answer. The question is open."
    states = Counter(trial.status for trial in study.trials)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    failed = [trial for trial in study.trials if trial.status in WITHOUT_RESULT]
    reasons = Counter(trial.reason for trial in failed if trial.reason)
    state = UNFINISHED.get(study.status)
    so_far = "has finished so far" if state else "finished"
    told = f"None of {len(study.trials)} trials {so_far} ({counts}), so there is no answer."
    if not reasons:
        return f"{told} The question is open."
    reason, count = reasons.most_common(1)[0]
    return f"{told} The most frequent reason, of {count}: {escaped(reason).rstrip('.')}."
