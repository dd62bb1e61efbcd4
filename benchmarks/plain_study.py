"""Trials an hour: this project's study beside the plain way that the documentation teaches.

    python benchmarks/plain_study.py                                     # some minutes
    python benchmarks/plain_study.py --trials 16 --molecules 4096 --epochs 15   # the default study
    python benchmarks/plain_study.py --configurations searched --scheduler none

One side is ``studies/gnn_sweep.py``, the other `benchmarks/plain_way.py`: function trainable,
`DataLoader`, `OptunaSearch`, `MLflowLoggerCallback`. Each runs in a process of its own, one after
the other, from launch to exit; trials an hour are those over that wall time. Alike on both sides:
molecules, split, space, seed, epochs, networks (shown to predict the same before anything runs),
optimiser and schedule, trials at once, one core a trial, a checkpoint after every epoch,
successive halving, which spares the default of each family; the study looks for the first time
after two epochs of 15, the plain way after three. The molecules have been made and prepared
before; ours also scores the test split and draws the figures at the end.

Where the time of ours goes is read off the study's own log, which nothing is added to; the plain
way notes its own.

What a search proposes depends on what its trials reported, and a large network takes ten times as
long as a small one. By default, therefore, both sides run the very same configurations: the
defaults of the families, then random draws with the seed, which `OptunaSearch` is given as points
to evaluate. ``--configurations searched`` lets each search by itself. With ``--scheduler none``
every trial trains to its end, and both do exactly the same work; with ``asha``, the default
study's, who is stopped depends on who came first, so epochs an hour are told as well.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.breakdown import StudyRun, of_log, of_notes
from benchmarks.command_line import Parser, device, exit_code, positive
from benchmarks.inputs import Inputs, add_options, open_inputs
from benchmarks.plain_notes import NOTES
from benchmarks.rounds import Disagreement, machine
from benchmarks.stock import mirrored, mirrored_space
from benchmarks.stock_data import as_data
from benchmarks.study_tables import report
from benchmarks.training_step import sides
from datasets.errors import InputError
from datasets.machine import cores
from datasets.splits import Split
from engine.search_memory import SearchMemory
from record.folder import StudyFolder
from record.log import FileLog
from trainables.models.gnn import GNNConfig

ROOT = Path(__file__).resolve().parent.parent
NAME = "benchmark"
CHECKED = 64
"""Molecules on which every network is compared."""

CORES = cores()


@dataclass(frozen=True)
class Plan:
    """A plan of what both sides are to do.

    Attributes:
        configs: The configurations, if they are the same; else the defaults of the families.
        points: These configurations as Optuna's parameters.
    """

    configs: list[GNNConfig]
    points: list[dict[str, Any]]

    @classmethod
    def of(cls, arguments: Namespace) -> "Plan":
        """Draws what the study will, with its own search: equal seeds give equal draws."""
        space = mirrored_space(arguments.epochs)
        number = arguments.trials
        if arguments.configurations == "searched":
            number = min(number, len(space.compared))
        memory = SearchMemory(space, "random", arguments.seed, "validation/r2")
        draws = [memory.ask() for _ in range(number)]
        configs: list[Any] = [draw.config for draw in draws]
        return cls(configs, [dict(draw.drawn) for draw in draws])


def check(plan: Plan, inputs: Inputs) -> None:
    """Shows that every network of the plan predicts the same on both sides.

    Raises:
        Disagreement: If one does not.
    """
    few = Split(inputs.split.train[:CHECKED], inputs.split.validation, inputs.split.test)
    for config in plan.configs:
        sides(replace(inputs, split=few), config, torch.device("cpu"))


def ours(arguments: Namespace) -> list[str]:
    """Gives the study's command, but for its folder."""
    data = ["--dataset", arguments.dataset, "--data-dir", str(arguments.data_dir.resolve())]
    if arguments.molecules is not None:
        data += ["--molecules", str(arguments.molecules)]
    sampler = "random" if arguments.configurations == "same" else "tpe"
    how = ["--split", "random", "--sampler", sampler, "--name", NAME]
    how += ["--family", *mirrored(), "--finalists", "0"]  # of the others the other side has none
    return [str(ROOT / "studies" / "gnn_sweep.py"), *data, *how, *_common(arguments)]


def theirs(arguments: Namespace, data: Path, points: Path) -> list[str]:
    """Gives the plain way's command, but for its folder."""
    files = ["--data", str(data), "--points", str(points)]
    return [str(ROOT / "benchmarks" / "plain_way.py"), *files, *_common(arguments)]


def _common(arguments: Namespace) -> list[str]:
    """Gives the options that both sides have."""
    names = ("trials", "epochs", "seed", "scheduler", "max_concurrent")
    flags = ((f"--{n.replace('_', '-')}", str(getattr(arguments, n))) for n in names)
    return [word for flag in flags for word in flag]


def our_run(command: Sequence[str], folder: Path, slots: int) -> StudyRun:
    """Runs the study; its own log tells where the time went."""
    launched, ended = measure([*command, "--runs-dir", str(folder)], folder)
    asked, trials = of_log([*FileLog(StudyFolder(folder, NAME).log).read()])
    return StudyRun(launched, asked, ended, slots, trials)


def their_run(command: Sequence[str], folder: Path, slots: int) -> StudyRun:
    """Runs the plain way, which notes where the time goes."""
    launched, ended = measure([*command, "--folder", str(folder)], folder)
    asked, trials = of_notes(folder / NOTES)
    return StudyRun(launched, asked, ended, slots, trials)


def measure(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Runs a side to its end; returns ``time.time()`` when it was launched and when it was gone.

    Raises:
        RuntimeError: If it fails; the message is the end of what it printed.
    """
    folder.mkdir(parents=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "RAY_AUTH_TOKEN": uuid.uuid4().hex,  # else Ray writes one into the home folder
    }
    environment.pop("MLFLOW_TRACKING_URI", None)  # both record in their own folder
    launched = time.time()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    ended = time.time()
    if done.returncode != 0:
        printed = f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        raise RuntimeError(f"{command[0]} failed:\n{printed}")
    return launched, ended


def check_same(plan: Plan, runs: Iterable[StudyRun]) -> None:
    """Makes sure that every side has run every configuration of the plan.

    Raises:
        Disagreement: If it has not.
    """
    expected = sorted(json.dumps(asdict(config), sort_keys=True) for config in plan.configs)
    for run in runs:
        if sorted(trial.key for trial in run.trials) != expected:
            raise Disagreement("the two sides did not run the same configurations")


def main(argv: Sequence[str]) -> None:
    """Prints the tables.

    Raises:
        InputError: If the options make no sense.
        Disagreement: If the sides do not do the same.
    """
    arguments = _parsed(argv)
    inputs = open_inputs(arguments)
    split = inputs.split
    plan = Plan.of(arguments)
    check(plan, inputs)
    print(
        f"{machine(device('auto'))}; {inputs.title}, {len(split.train):,} to train on; "
        f"{arguments.trials} trials of {arguments.epochs} epochs, {arguments.max_concurrent} at "
        f"once, scheduler {arguments.scheduler}, configurations {arguments.configurations}, "
        f"seed {arguments.seed}"
    )
    runs = run_both(arguments, inputs, plan)
    if arguments.configurations == "same":
        check_same(plan, [*runs["ours"], *runs["plain"]])
    print(f"\n{report(runs['ours'], runs['plain'], len(split.train), arguments.epochs)}")


def run_both(arguments: Namespace, inputs: Inputs, plan: Plan) -> dict[str, list[StudyRun]]:
    """Runs the two sides in turns, in alternating order: side -> a run a round."""
    runs: dict[str, list[StudyRun]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data, points = folder / "molecules.pt", folder / "points.json"
        parts = {"train": inputs.split.train, "validation": inputs.split.validation}
        torch.save({name: as_data(inputs.graphs, part) for name, part in parts.items()}, data)
        points.write_text(json.dumps(plan.points), encoding="utf-8")
        sides = {
            "ours": partial(our_run, ours(arguments)),
            "plain": partial(their_run, theirs(arguments, data, points)),
        }
        for number in range(arguments.rounds):
            for side in list(sides)[:: -1 if number % 2 else 1]:
                place = folder / f"{side}-{number}"
                runs[side].append(sides[side](place, arguments.max_concurrent))
    return runs


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line.

    Raises:
        InputError: If more trials are to run at once than there are cores.
    """
    parser = Parser(__doc__)
    add_options(parser)
    _add_study_options(parser)
    arguments = parser.parse_args(argv)
    if arguments.max_concurrent > CORES:
        raise InputError(
            f"--max-concurrent {arguments.max_concurrent}: expected at most {CORES}, the cores "
            "that this process may use"
        )
    if arguments.dataset.endswith(".parquet"):
        arguments.dataset = str(Path(arguments.dataset).resolve())
    return arguments


def _add_study_options(parser: Parser) -> None:
    """Adds the options that are those of a study."""
    parser.set_defaults(molecules=1024)
    parser.add_defaulting("--trials", positive, 8)
    parser.add_defaulting("--epochs", positive, 5, "epochs of each trial")
    parser.add_argument(
        "--configurations",
        choices=("same", "searched"),
        default="same",
        help="the same on both sides, or what each side's search proposes (default: %(default)s)",
    )
    parser.add_argument(
        "--scheduler",
        choices=("asha", "none"),
        default="asha",
        help="whether unpromising trials are stopped early (default: %(default)s)",
    )
    parser.add_argument(
        "--max-concurrent",
        type=positive,
        default=torch.cuda.device_count() or CORES,
        help="trials at once (default: as many as there are GPUs or, without, cores)",
    )
    parser.add_rounds(1, "how often the two take turns")


if __name__ == "__main__":
    sys.exit(exit_code(main))
