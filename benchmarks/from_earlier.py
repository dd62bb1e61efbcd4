"""What `--from` saves: CartPole studies that start from an earlier one, beside studies alone.

    python benchmarks/from_earlier.py --runs-dir runs/from-earlier

An earlier study has seed 0. Then, for each further seed, a study alone and one that starts from
the earlier one search for the same number of trials, one after the other, without finals. The
table says how long each trained until it had a value as good as the best that the study alone
ends with; one that never had it counts as endless in the median. The same command goes on after an
interruption, as studies do; seven studies and six take half an hour.
"""

import math
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

from analysis.markdown import table
from benchmarks.command_line import Parser, exit_code, positive
from datasets.errors import InputError
from record.folder import StudyFolder
from record.known_log import known_state
from studies import cartpole_sweep

EARLIER = "earlier"
"""Name of the study that others start from; its seed is 0."""

Search = list[tuple[float, float]]
"""Trials of a search in the order of their ends: seconds of training, and the value, minus
infinity if the trial did not finish."""


def searched(runs: Path, name: str, seed: int, trials: int, *more: str) -> Search:
    """Runs a study, or what of it is missing, and returns its trials.

    Raises:
        InputError: If the study fails.
    """
    limits = ("--trials", str(trials), "--finalists", "0", "--runs-dir", str(runs))
    command = (sys.executable, str(cartpole_sweep.__file__), "--name", name, "--seed", str(seed))
    ended = subprocess.run([*command, *limits, *more], check=False, stdout=subprocess.DEVNULL)
    if ended.returncode:
        raise InputError(f"{name}: the study ended with code {ended.returncode}, see above")
    state = known_state(StudyFolder(runs, name))
    over = [trial for trial in state.search() if trial.reports]
    over.sort(key=lambda trial: trial.reports[-1].unix_ms)
    found = []
    for trial in over:
        seconds = sum(report.metrics["train/seconds"] for report in trial.reports)
        value = trial.value(cartpole_sweep.STUDY.objective)
        found.append((seconds, value if trial.status == "finished" and value else -math.inf))
    return found


def best(search: Search) -> float:
    """Returns the highest value of a search."""
    return max(value for _, value in search)


def seconds_to(search: Search, goal: float) -> float:
    """Returns the seconds of training until a search had a value, infinity if it never had."""
    spent = 0.0
    for seconds, value in search:
        spent += seconds
        if value >= goal:
            return spent
    return math.inf


def rows(pairs: Sequence[tuple[Search, Search]]) -> list[list[str]]:
    """Makes the table's rows of the searches alone and from an earlier study, seed by seed, and a
    last one with the medians of the times and the means of the values."""
    goals = [best(alone) for alone, _ in pairs]
    times = [
        [seconds_to(search, goal) for search in pair]
        for pair, goal in zip(pairs, goals, strict=True)
    ]
    reached = [best(later) for _, later in pairs]
    lines = [
        [str(seed), f"{goal:.3f}", _told(alone), _told(later), f"{end:.3f}"]
        for seed, (goal, (alone, later), end) in enumerate(
            zip(goals, times, reached, strict=True), start=1
        )
    ]
    alone, later = (median(each) for each in zip(*times, strict=True))
    ends = f"{mean(goals):.3f}", _told(alone), _told(later), f"{mean(reached):.3f}"
    return [*lines, ["all", *ends]]


def _told(seconds: float) -> str:
    return "never" if math.isinf(seconds) else f"{seconds:.0f}"


def main(argv: Sequence[str]) -> None:
    """Runs what is missing and prints the table.

    Raises:
        InputError: If a study fails.
    """
    typed = _parsed(argv)
    runs, trials = typed.runs_dir, typed.trials
    more = () if typed.epochs is None else ("--epochs", str(typed.epochs))
    searched(runs, EARLIER, 0, trials, *more)
    pairs = []
    for seed in range(1, typed.seeds + 1):
        alone = searched(runs, f"alone-{seed}", seed, trials, *more)
        later = searched(runs, f"from-{seed}", seed, trials, "--from", EARLIER, *more)
        pairs.append((alone, later))
        print(f"{seed} of {typed.seeds} seeds", file=sys.stderr, flush=True)
    header = ["seed", "best alone", "s alone", "s from the earlier study", "best from it"]
    print(table(header, rows(pairs)))


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_defaulting("--seeds", positive, 6, "pairs of studies")
    parser.add_defaulting("--trials", positive, 16, "trials of each study")
    parser.add_argument("--epochs", type=positive, help="of a trial; by default the study's own")
    parser.add_argument("--runs-dir", type=Path, required=True, help="folder of the studies")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
