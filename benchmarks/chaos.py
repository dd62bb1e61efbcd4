"""Disturbs a running study at random moments, continues it, and looks for what was lost.

    python benchmarks/chaos.py --runs 30

Each run starts a small GNN study by its own command line, strikes one of its parts without
warning, and runs the same command again, if need be, until it ends well. The victims take turns:
the driver, one worker, all workers, Ray's raylet; the tracking server, which stays away for 20
seconds; MLflow's database, a run that the user deletes there, and the driver's disk, each with the
driver; and a second driver, which has to be refused. The moment is drawn from the seed.

Then the log and MLflow are read by themselves. A violation is a log that lost a line or does not
fold, a trial or an epoch that is missing or there twice, a trial that ran twice at once, a run
that MLflow shows otherwise than the log has it, or leaves RUNNING, or shows again although the
user deleted it, and a value that is not, to the last bit, that of the undisturbed study. All
proposals of the eight trials are independent of the order of the endings, so all of them are
compared; a trial that was stopped early, as far as it went.
"""

import random
import shlex
import shutil
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.accounts import violations
from benchmarks.command_line import Parser, exit_code, not_negative, positive
from benchmarks.growing_table import GrowingTable
from benchmarks.mishaps import MISHAPS, Chance, Outcome
from benchmarks.typed_study import STUDY, TypedStudy
from datasets.typed_paths import typed_path
from record.state import StudyState, fold

EARLIEST, LATEST = 0.1, 0.95
"""Share of the undisturbed study after which something happens."""


def undisturbed(folder: Path) -> tuple[float, StudyState | None, list[str]]:
    """A study to compare with: its seconds, what it came to, and what is wrong with it."""
    begun = time.monotonic()
    study = TypedStudy(folder, "none")
    if wrong := study.end_well(study.start()):
        return time.monotonic() - begun, None, [wrong]
    seconds = time.monotonic() - begun
    return seconds, fold(study.events()), violations(study)


def struck(name: str, chance: Chance) -> tuple[Outcome, float, float]:
    """One run, with the moment and its seconds; again and earlier, while it had ended before, or
    had no such part any more."""
    while True:
        begun = time.monotonic()
        outcome = MISHAPS[name](chance)
        seconds = time.monotonic() - begun
        if outcome.struck:
            return outcome, chance.moment, seconds
        shutil.rmtree(chance.folder)
        anew = chance.folder.with_name(f"{chance.folder.name}-again")
        chance = replace(chance, folder=anew, moment=0.7 * min(chance.moment, seconds))


def main(argv: Sequence[str]) -> int:
    """Prints the table; returns 1 if anything was lost."""
    typed = _parsed(argv)
    with tempfile.TemporaryDirectory() as scratch:
        base = typed.keep or Path(scratch)
        base.mkdir(parents=True, exist_ok=True)
        lost = run(base, typed.runs, typed.seed, typed.only)
    return 1 if lost else 0


def run(base: Path, runs: int, seed: int, only: str | None) -> int:
    """Makes all runs, and prints a table of them; returns the number of violations.

    Args:
        base: Folder for everything.
        runs: How many.
        seed: Seeds the moments.
        only: What is struck each time; None: they take turns.
    """
    usual, known, wrong = undisturbed(base / "whole")
    print(f"undisturbed: {usual:.0f} s; {shlex.join(STUDY)}; {wrong or 'in order'}")
    header = ("run", "struck", "how many", "after s", "scheduler", "starts", "s", "violations")
    table = GrowingTable(header)
    lost = len(wrong)
    for number in range(runs):
        dice = random.Random(f"{seed} {number}")
        name = only or [*MISHAPS][number % len(MISHAPS)]
        scheduler = dice.choice(["none", "asha"])
        moment = dice.uniform(EARLIEST, LATEST) * usual
        chance = Chance(base / f"run-{number:03d}", scheduler, moment, dice)
        outcome, moment, seconds = struck(name, chance)
        study = outcome.study
        found = [*outcome.violations, *violations(study, known, outcome.deleted)]
        lost += len(found)
        how = [str(outcome.struck), f"{moment:.1f}", scheduler, str(study.starts)]
        table.add([str(number), name, *how, f"{seconds:.0f}", "; ".join(found) or "0"])
    print(f"{lost} violations in {runs} runs")
    return lost


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_defaulting("--runs", positive, 30, "studies that are disturbed")
    parser.add_defaulting("--seed", not_negative, 0, "seeds the moments")
    parser.add_argument("--only", choices=MISHAPS, help="always strike this one")
    parser.add_argument("--keep", type=typed_path, help="keep what was lost here, to be looked at")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
