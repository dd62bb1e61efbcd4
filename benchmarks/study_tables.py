"""Tables of studies that were run in two ways: their rates, and where the time went."""

from collections.abc import Sequence
from statistics import fmean, median

from analysis.markdown import table
from benchmarks.breakdown import PARTS, TRAINING, StudyRun
from benchmarks.rounds import ratios, spread, verdict

WANTED = 4.0
"""Times the trials an hour of the plain way that the project asks of itself."""

SHORTER = 6.0
"""How many times as short the time to the plain way's best value is to be."""

LUCK = 0.001
"""By how much R² differs between trainings of one configuration with different seeds, about."""

WISHED = 5.0
"""Times the trials an hour of which the project wants to know what it would take."""

HOUR = 3600.0

TRIALS_AN_HOUR = "trials an hour"
RATES = (
    TRIALS_AN_HOUR,
    "epochs an hour",
    "molecules trained a second",
    "molecules a second of a slot that trains",
)
"""Quantities of which the ratio of the two sides says something."""


def report(
    ours: Sequence[StudyRun], plain: Sequence[StudyRun], molecules: int, epochs: int
) -> str:
    """Says all that there is to say of the runs.

    Args:
        ours: A run a round.
        plain: A run a round.
        molecules: In the train split.
        epochs: Of a whole trial.
    """
    measured = [[quantities(run, molecules) for run in side] for side in (ours, plain)]
    parts = [rates_table(*measured), best_table(ours, plain), breakdown_table(ours, plain)]
    differences = [d for each in zip(ours, plain, strict=True) for d in apart(*each)]
    if differences:
        parts.append(
            f"validation R² of the same configuration after {epochs} epochs differs by "
            f"{median(differences):.3f} in the median, at most {max(differences):.3f}"
        )
    hourly = ratios(*([quantity[TRIALS_AN_HOUR] for quantity in side] for side in measured))
    shorter = [_shorter(*each, LUCK) for each in zip(ours, plain, strict=True)]
    parts += [
        verdict(TRIALS_AN_HOUR, median(hourly), WANTED),
        verdict("time to the plain way's best, but for luck", median(shorter), SHORTER),
        outlook(ours, plain),
    ]
    return "\n\n".join(parts)


def apart(ours: StudyRun, plain: StudyRun) -> list[float]:
    """Differences in R² of the same configuration after its whole budget on both sides."""
    budget = max(len(trial.r2) for trial in (*ours.trials, *plain.trials))
    one, other = (
        {trial.key: trial.r2[-1] for trial in side.trials if len(trial.r2) == budget}
        for side in (ours, plain)
    )
    return [abs(one[key] - other[key]) for key in one.keys() & other.keys()]


def quantities(run: StudyRun, molecules: int) -> dict[str, float]:
    """Counts what a study did, and how fast.

    Args:
        run: The study.
        molecules: In the train split.
    """
    budget = max(len(trial.r2) for trial in run.trials)
    training = run.slots * run.parts()[TRAINING]
    return {
        "wall time (s)": run.wall,
        "trials": len(run.trials),
        "trials stopped early": sum(len(trial.r2) < budget for trial in run.trials),
        "epochs": run.epochs,
        TRIALS_AN_HOUR: HOUR * len(run.trials) / run.wall,
        "epochs an hour": HOUR * run.epochs / run.wall,
        "molecules trained a second": molecules * run.epochs / run.wall,
        "molecules a second of a slot that trains": molecules * run.epochs / training,
    }


def rates_table(ours: Sequence[dict[str, float]], plain: Sequence[dict[str, float]]) -> str:
    """Each of the `quantities`, with the ratio of the two sides round by round."""
    rows = []
    for name in ours[0]:
        both = [[quantity[name] for quantity in side] for side in (ours, plain)]
        ratio = spread(ratios(*both)) if name in RATES else ""
        rows.append([name, *map(spread, both), ratio])
    return table(("a study", "ours", "plain way", "ratio"), rows)


def best_table(ours: Sequence[StudyRun], plain: Sequence[StudyRun]) -> str:
    """Tells how long each side took to the best value of the plain way, and to what is as good
    but for the luck of the training."""
    rows = []
    for name, luck in (("", 0.0), (f", less {LUCK:g}", LUCK)):
        seconds = [
            [run.seconds_to(theirs.best - luck) for run, theirs in zip(side, plain, strict=True)]
            for side in (ours, plain)
        ]
        ratio = [_shorter(*each, luck) for each in zip(ours, plain, strict=True)]
        rows.append([f"s to the plain way's best R²{name}", *map(spread, seconds), spread(ratio)])
    best = [[run.best for run in side] for side in (ours, plain)]
    rows.append(["best R²", *(", ".join(f"{r2:.4f}" for r2 in side) for side in best), ""])
    return table(("a study", "ours", "plain way", "times as short"), rows)


def _shorter(ours: StudyRun, plain: StudyRun, luck: float) -> float:
    """Returns how many times as short our time to the plain way's best R² is, less some luck; 0
    if ours never comes to it."""
    wanted = plain.best - luck
    return plain.seconds_to(wanted) / ours.seconds_to(wanted)


def breakdown_table(ours: Sequence[StudyRun], plain: Sequence[StudyRun]) -> str:
    """Tells where wall time went, means of the rounds, and the ratio if ours had none of it."""
    walls = [fmean(run.wall for run in side) for side in (ours, plain)]
    rows = []
    for name in PARTS:
        seconds = [fmean(run.parts()[name] for run in side) for side in (ours, plain)]
        without = walls[1] / (walls[0] - seconds[0])
        rows.append([name, *map(_seconds, seconds), f"{without:.2f}"])
    rows.append(["wall time", *map(_seconds, walls), f"{walls[1] / walls[0]:.2f}"])
    header = ("seconds of wall time", "ours", "plain way", "ratio without ours")
    return table(header, rows)


def outlook(ours: Sequence[StudyRun], plain: Sequence[StudyRun]) -> str:
    """Tells what it would take to be `WISHED` times as fast."""
    allowed = fmean(run.wall for run in plain) / WISHED
    wall = fmean(run.wall for run in ours)
    training = fmean(run.parts()[TRAINING] for run in ours)
    text = (
        f"{WISHED:g} times would be {allowed:.1f} s; ours takes {wall:.1f} s, {training:.1f} s of "
        "them training"
    )
    if wall <= allowed:
        return f"{text}: it is there"
    left = allowed - (wall - training)
    if left <= 0:
        return f"{text}: the rest alone takes longer, by {-left:.1f} s"
    return f"{text}: with the rest as it is, training {training / left:.1f} times as fast would do"


def _seconds(value: float) -> str:
    """Writes seconds to a tenth."""
    return f"{value:.1f}"
