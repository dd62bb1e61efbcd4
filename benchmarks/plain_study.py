"""Trials an hour: this project's study beside the plain way that the documentation teaches.

    python benchmarks/plain_study.py                                     # some minutes
    python benchmarks/plain_study.py --trials 16 --molecules 4096 --epochs 15   # the default study
    python benchmarks/plain_study.py --configurations searched --scheduler none

One side is ``studies/gnn_sweep.py``, the other `benchmarks/plain_way.py`: function trainable,
`DataLoader`, `OptunaSearch`, `MLflowLoggerCallback`. Each runs in a process of its own, one after
the other, from launch to exit; trials an hour are those over that wall time. Alike on both sides:
molecules, split, space, seed, epochs, networks (shown to predict the same before anything runs),
optimiser and schedule, trials at once, one core a trial, a checkpoint after every epoch, the rungs
of successive halving, which spare the default of each family. The molecules have been made and
prepared before; ours also scores the test split and draws the figures at the end.

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
from statistics import fmean, median
from typing import Any

import torch

from analysis.markdown import table
from benchmarks import spans
from benchmarks.breakdown import PARTS, Run
from benchmarks.inputs import Inputs, add_options, open_inputs
from benchmarks.rounds import (
    Disagreement,
    Parser,
    exit_code,
    machine,
    pick_device,
    positive,
    ratios,
    spread,
    verdict,
)
from benchmarks.stock import mirrored, mirrored_space
from benchmarks.stock_data import as_data
from benchmarks.training_step import sides
from datasets.errors import InputError
from datasets.machine import cores
from datasets.splits import Split
from engine.search_memory import SearchMemory
from trainables.models.gnn import GNNConfig

WANTED = 2.0
"""Times the trials an hour of the plain way that the project asks of itself."""

WISHED = 5.0
"""Times of which the project wants to know what they would take."""

HERE = Path(__file__).resolve().parent
CHECKED = 64
"""Molecules on which every network is compared."""

HOUR = 3600.0

CORES = cores()


@dataclass(frozen=True)
class Plan:
    """What both sides are to do.

    Attributes:
        configs: The configurations, if they are the same; else the defaults of the families.
        points: The same as Optuna's parameters.
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


def ours(arguments: Namespace, folder: Path) -> list[str]:
    """The study's command."""
    data = ["--dataset", arguments.dataset, "--data-dir", str(arguments.data_dir.resolve())]
    if arguments.molecules is not None:
        data += ["--molecules", str(arguments.molecules)]
    sampler = "random" if arguments.configurations == "same" else "tpe"
    how = ["--split", "random", "--sampler", sampler, "--name", "benchmark"]
    how += ["--family", *mirrored(), "--finalists", "0"]  # of the others the other side has none
    return ["measured_study.py", *data, *_common(arguments), *how, "--runs-dir", str(folder)]


def theirs(arguments: Namespace, data: Path, points: Path, folder: Path) -> list[str]:
    """The plain way's command."""
    files = ["--data", str(data), "--points", str(points), "--folder", str(folder)]
    return ["plain_way.py", *files, *_common(arguments)]


def _common(arguments: Namespace) -> list[str]:
    names = ("trials", "epochs", "seed", "scheduler", "max_concurrent")
    flags = ((f"--{n.replace('_', '-')}", str(getattr(arguments, n))) for n in names)
    return [word for flag in flags for word in flag]


def measure(command: Sequence[str], folder: Path, slots: int) -> Run:
    """Runs a side to its end.

    Raises:
        RuntimeError: If it fails; the message is the end of what it printed.
    """
    noted = folder / "spans"
    noted.mkdir(parents=True)
    root = str(HERE.parent)
    environment = {
        **os.environ,
        spans.FOLDER: str(noted),
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        "RAY_AUTH_TOKEN": uuid.uuid4().hex,  # else Ray writes one into the home folder
    }
    environment.pop("MLFLOW_TRACKING_URI", None)  # both record in their own folder
    script, *rest = command
    launched = time.time()
    done = subprocess.run(
        [sys.executable, str(HERE / script), *rest],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    ended = time.time()
    if done.returncode != 0:
        raise RuntimeError(f"{script} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return Run(launched, ended, slots, spans.read(noted))


def check_same(plan: Plan, runs: Iterable[Run]) -> None:
    """Makes sure that every side has run every configuration of the plan.

    Raises:
        Disagreement: If it has not.
    """
    expected = sorted(map(str, map(asdict, plan.configs)))
    for run in runs:
        if sorted(str(trial.config) for trial in run.trials) != expected:
            raise Disagreement("the two sides did not run the same configurations")


def apart(ours: Run, plain: Run) -> list[float]:
    """Differences in R² of the same configuration after its whole budget on both sides."""
    budget = max(len(trial.r2) for trial in (*ours.trials, *plain.trials))
    final = {str(t.config): t.r2[-1] for t in plain.trials if len(t.r2) == budget}
    return [
        abs(trial.r2[-1] - final[str(trial.config)])
        for trial in ours.trials
        if len(trial.r2) == budget and str(trial.config) in final
    ]


def quantities(run: Run, molecules: int) -> dict[str, float]:
    """What is compared of a study.

    Args:
        run: One side's.
        molecules: In the train split.
    """
    budget = max(len(trial.r2) for trial in run.trials)
    training = run.slots * run.parts()["training"]
    return {
        "wall time (s)": run.wall,
        "trials": len(run.trials),
        "of them stopped early": sum(len(trial.r2) < budget for trial in run.trials),
        "epochs": run.epochs,
        "trials an hour": HOUR * len(run.trials) / run.wall,
        "epochs an hour": HOUR * run.epochs / run.wall,
        "molecules trained a second": molecules * run.epochs / run.wall,
        "the same, of a slot that trains": molecules * run.epochs / training,
    }


def rates_table(ours: Sequence[dict[str, float]], plain: Sequence[dict[str, float]]) -> str:
    """Each of the `quantities`, with the ratio of the two sides round by round."""
    rows = []
    for name in ours[0]:
        both = [[quantity[name] for quantity in side] for side in (ours, plain)]
        ratio = spread(ratios(*both)) if " a" in name else ""
        rows.append([name, *map(spread, both), ratio])
    return table(("a study", "ours", "plain way", "ratio"), rows)


def breakdown_table(ours: Sequence[Run], plain: Sequence[Run]) -> str:
    """Where the wall time went, means of the rounds, and the ratio if ours had none of a part."""
    walls = [fmean(run.wall for run in side) for side in (ours, plain)]
    rows = []
    for name in PARTS:
        seconds = [fmean(run.parts()[name] for run in side) for side in (ours, plain)]
        without = walls[1] / (walls[0] - seconds[0])
        rows.append([name, *map(_seconds, seconds), f"{without:.2f}"])
    rows.append(["wall time", *map(_seconds, walls), f"{walls[1] / walls[0]:.2f}"])
    for name in ours[0].driver():
        seconds = [fmean(run.driver()[name] for run in side) for side in (ours, plain)]
        rows.append([f"of it, the driver busy with {name}", *map(_seconds, seconds), ""])
    header = ("seconds of wall time", "ours", "plain way", "ratio without ours")
    return table(header, rows)


def outlook(ours: Sequence[Run], plain: Sequence[Run]) -> str:
    """What it would take to be `WISHED` times as fast."""
    allowed = fmean(run.wall for run in plain) / WISHED
    wall = fmean(run.wall for run in ours)
    training = fmean(run.parts()["training"] for run in ours)
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
    return f"{value:.1f}"


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
        f"{machine(pick_device('auto'))}; {inputs.title}, {len(split.train):,} to train on; "
        f"{arguments.trials} trials of {arguments.epochs} epochs, {arguments.max_concurrent} at "
        f"once, scheduler {arguments.scheduler}, configurations {arguments.configurations}, "
        f"seed {arguments.seed}"
    )
    runs = run_both(arguments, inputs, plan)
    if arguments.configurations == "same":
        check_same(plan, [*runs["ours"], *runs["plain"]])
    told = report(runs["ours"], runs["plain"], len(split.train), arguments.epochs)
    print(f"\n{told}")


def report(ours: Sequence[Run], plain: Sequence[Run], molecules: int, epochs: int) -> str:
    """All that is said of the runs; `molecules` are in the train split."""
    measured = [[quantities(run, molecules) for run in side] for side in (ours, plain)]
    parts = [rates_table(*measured), breakdown_table(ours, plain)]
    differences = [d for each in zip(ours, plain, strict=True) for d in apart(*each)]
    if differences:
        parts.append(
            f"validation R² of the same configuration after {epochs} epochs differs by "
            f"{median(differences):.3f} in the median, at most {max(differences):.3f}"
        )
    hourly = ratios(*([quantity["trials an hour"] for quantity in side] for side in measured))
    parts += [verdict("trials an hour", median(hourly), WANTED), outlook(ours, plain)]
    return "\n\n".join(parts)


def run_both(arguments: Namespace, inputs: Inputs, plan: Plan) -> dict[str, list[Run]]:
    """Runs the two sides in turns, in alternating order: side -> a run a round."""
    runs: dict[str, list[Run]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data, points = folder / "molecules.pt", folder / "points.json"
        parts = {"train": inputs.split.train, "validation": inputs.split.validation}
        torch.save({name: as_data(inputs.graphs, part) for name, part in parts.items()}, data)
        points.write_text(json.dumps(plan.points), encoding="utf-8")
        commands = {
            "ours": partial(ours, arguments),
            "plain": partial(theirs, arguments, data, points),
        }
        for number in range(arguments.rounds):
            for side in list(commands)[:: -1 if number % 2 else 1]:
                place = folder / f"{side}-{number}"
                run = measure(commands[side](place), place, arguments.max_concurrent)
                runs[side].append(run)
    return runs


def _parsed(argv: Sequence[str]) -> Namespace:
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
    parser.set_defaults(molecules=1024)
    parser.add_argument("--trials", type=positive, default=8, help="(default: %(default)s)")
    parser.add_argument("--epochs", type=positive, default=5, help="(default: %(default)s)")
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
    parser.add_argument(
        "--rounds", type=positive, default=1, help="the two take turns this often (default: 1)"
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
