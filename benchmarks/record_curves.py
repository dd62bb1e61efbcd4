"""Records the learning curves of many configurations of the GNN study, for benchmarks/search.py.

    python benchmarks/record_curves.py

The configurations are those that `studies/gnn_sweep.py --sampler random` would try: the default of
each family, then random ones; besides, the defaults with a cosine schedule. Each is trained to its
end with one seed, on the study's default molecules, and the first ones with a second seed
too, on one core each. What the file has already is not trained again. A training that is complete
is kept beside the file (FILE.parts.jsonl) until all are, and then becomes part of it; so the same
command goes on after an interruption. 405 trainings take about two core hours.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import learning_curves
from benchmarks.command_line import Parser, exit_code, not_negative, positive
from benchmarks.learning_curves import Curve
from datasets.cache import Cache
from datasets.tools import Tools
from datasets.typed_paths import typed_path
from engine.search_memory import SearchMemory
from engine.space import Space
from record.trial import Searched
from studies.gnn_sweep import STUDY
from trainables.config import TrialConfig
from trainables.device import pick_device
from trainables.learner import Diverged
from trainables.models.gnn import GNNConfig
from trainables.problem import Context, Problem

SEED = 0
"""Seed of the drawn configurations and of the split; that of the first training of each."""

COSINE = 10_000
"""Number of the first default with a cosine schedule instead of the constant learning rate."""

problem: Problem[Any]
"""The molecules, in each process of the pool."""

Asked = tuple[int, TrialConfig]
"""Number of a configuration, and the configuration with the seed to train."""


def main(argv: Sequence[str]) -> None:
    """Records what is missing, and writes the file once nothing is."""
    typed = _parsed(argv)
    asked = _asked(typed)
    parts = typed.file.with_suffix(".parts.jsonl")
    before = learning_curves.read(typed.file) if typed.file.is_file() else []
    known = (*before, *learning_curves.read_lines(parts))
    done = {(curve.number, curve.seed): curve for curve in known}
    missing = [each for each in asked if (each[0], each[1].seed) not in done]
    parts.parent.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(asked), initial=len(asked) - len(missing), unit=" trainings") as bar:
        for curve in _recorded(missing, typed):
            with parts.open("a", encoding="utf-8") as lines:
                lines.write(f"{curve.line()}\n")
            done[curve.number, curve.seed] = curve
            bar.update()
    learning_curves.write(done.values(), typed.file)
    parts.unlink(missing_ok=True)
    print(f"{typed.file}: {len(done)} trainings")


def _parsed(argv: Sequence[str]) -> Namespace:
    line = Parser(__doc__)
    line.add_defaulting("--configurations", positive, 300, "how many are trained")
    line.add_defaulting("--twice", not_negative, 100, "how many of them with a second seed")
    line.add_defaulting("--processes", positive, 1, "trainings at the same time")
    line.add_argument("--molecules", type=positive, help="how many (default: the study's)")
    line.add_argument("--epochs", type=positive, help="of a training (default: the study's)")
    what = "the Parquet file (default: the one in docs/results)"
    line.add_argument("--file", type=typed_path, default=learning_curves.FILE, help=what)
    line.add_data_dir()
    return line.parse_args(argv)


def space() -> Space:
    """Returns the search space of the GNN study."""
    return Space.of(GNNConfig, STUDY.group_by, {})


def drawn(count: int) -> list[TrialConfig]:
    """Returns the configurations of a random search, the defaults first."""
    memory = SearchMemory(space(), "random", SEED, STUDY.objective)
    return [memory.ask().config for _ in range(count)]


def _asked(typed: Namespace) -> list[Asked]:
    """Returns what is to be trained: all configurations, then the first ones with another seed."""
    fixed = {} if typed.epochs is None else {"epochs": typed.epochs}
    first = [replace(config, seed=SEED, **fixed) for config in drawn(typed.configurations)]
    again = [replace(config, seed=SEED + 1) for config in first[: typed.twice]]
    defaults = first[: len(space().first())]
    cosine = [replace(config, schedule="cosine") for config in defaults]
    return [*enumerate(cosine, start=COSINE), *enumerate(first), *enumerate(again)]


def _recorded(asked: Sequence[Asked], typed: Namespace) -> Iterator[Curve]:
    """Yields the curves as their trainings end."""
    begin = partial(_open, typed.molecules, typed.data_dir)
    with ProcessPoolExecutor(typed.processes, get_context("spawn"), begin) as pool:
        under_way = [pool.submit(_train, number, config) for number, config in asked]
        try:
            for future in as_completed(under_way):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _open(molecules: int | None, data_dir: Path) -> None:
    """Opens the molecules in a process of the pool."""
    global problem
    options = replace(STUDY.data_options(), molecules=molecules)
    problem = STUDY.open(options, SEED, Tools(Cache(data_dir), notify=lambda _: None))
    pick_device(gpus=0, cpus=1)


def _train(number: int, config: TrialConfig) -> Curve:
    """Trains a configuration to its end, or until it diverges."""
    learner = problem.learner(config, Searched(number), Context(torch.device("cpu"), cores=1))
    fields = {name: value for name, value in asdict(config).items() if name != "seed"}
    curve = Curve(number, config.seed, fields, [], [])
    with suppress(Diverged):
        for epoch in range(1, config.epochs + 1):
            begun = time.process_time()
            metrics = learner.advance(epoch)
            curve.seconds.append(time.process_time() - begun)
            curve.objective.append(metrics[STUDY.objective])
    return curve


if __name__ == "__main__":
    sys.exit(exit_code(main))
