"""Training on one GPU: beside the documented PyG loop, and with many trials on the card.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --dataset FILE.parquet --molecules 100000 --max-concurrent 1 4 16
    python benchmarks/gpu.py --graphs FOLDER --config gcn gat

The default configuration of each family of graph neural networks, and the default world model with
each core. First, one trial at a time. Molecules come in padded batches, as in every trial on a
GPU, with the kernels of a step launched together (`trainables.captured`) and one by one; as lists
of edges, which is how molecules of more than 32 atoms come; and through the loop that PyG's
documentation teaches (`benchmarks/training_step.py --device cuda` shows that both sides compute
the same). Then many trials on the card, each a process with its share of the memory: what
all of them train in a second, with and without NVIDIA's MPS. Validation is left out. Ray and
MLflow are not needed.

Every process trains an epoch that warms up, waits for the others, and trains ``--rounds`` more.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any, Protocol, get_args

import torch
from torch_geometric.loader import DataLoader

from analysis.markdown import table
from benchmarks.command_line import Parser, exit_code, positive
from benchmarks.inputs import Inputs, add_graphs_option, add_options, open_inputs
from benchmarks.rounds import machine
from benchmarks.stock import prepared
from benchmarks.stock_data import as_data
from benchmarks.stock_loop import StockFit
from benchmarks.training_step import stock_model
from datasets.driving import Drives, DrivingOptions, open_drives
from datasets.sources import MoleculeSet
from datasets.stores import listed_store
from engine.mps import mps
from trainables.config import FitConfig
from trainables.device import give_back_memory, memory_gib, ran_out_of_memory
from trainables.device import pick_device as trial_device
from trainables.driving import DrivingTask
from trainables.fit import SupervisedLearner, TaskFactory, fit
from trainables.models.families import FAMILIES
from trainables.models.gnn import GNNConfig
from trainables.models.world_model import Core, WorldModelConfig
from trainables.molecules import MoleculeTask

OURS = "this project's"
ONE_BY_ONE = f"{OURS}, one by one"

KEYS = [family.key for family in FAMILIES]
CORES: tuple[Core, ...] = get_args(Core)

PATIENCE = 300.0
"""Seconds that a process waits for the others to have warmed up."""

Epochs = Callable[[torch.device], Iterator[float]]
"""Trains on a device, epoch by epoch; gives the seconds of each."""


@dataclass(frozen=True)
class Load:
    """A load that a trial trains.

    Attributes:
        config: Its configuration.
        way: Whose loop trains it, and how batches come.
        count: Molecules or frames in an epoch.
        epochs: Trains it; picklable.
    """

    config: FitConfig
    way: str
    count: int
    epochs: Epochs


@dataclass(frozen=True)
class Ours:
    """Epochs of this project's loop."""

    config: FitConfig
    make_task: TaskFactory

    def __call__(self, device: torch.device) -> Iterator[float]:
        """Trains on a device; gives the seconds of each epoch."""
        task = self.make_task(self.config, device)
        for epoch in fit(task, self.config, device):
            yield epoch.metrics["train/seconds"]


@dataclass(frozen=True)
class OneByOne:
    """Epochs of this project's loop whose kernels are launched one by one."""

    config: FitConfig
    make_task: TaskFactory

    def __call__(self, device: torch.device) -> Iterator[float]:
        """Trains on a device; gives the seconds of each epoch."""
        learner = SupervisedLearner(self.make_task(self.config, device), self.config, device)
        learner.learned.possible = False
        for number in range(1, self.config.epochs + 1):
            yield learner.advance(number)["train/seconds"]


@dataclass(frozen=True)
class Documented:
    """Epochs of the loop that PyG's documentation teaches."""

    config: GNNConfig
    data: MoleculeSet

    def __call__(self, device: torch.device) -> Iterator[float]:
        """Trains on a device; gives the seconds of each epoch."""
        task = MoleculeTask(self.data, self.config, device)
        places = self.data.split.train.tolist()
        molecules = prepared(as_data(self.data.graphs, places), self.config)
        loader = DataLoader(molecules, batch_size=self.config.batch_size, shuffle=True)
        plain = StockFit(stock_model(task), self.config, len(loader), task.scale.std, device)
        for _ in range(self.config.epochs):
            begun = time.perf_counter()
            plain.train_epoch(loader)
            yield time.perf_counter() - begun


class EdgeListTask(MoleculeTask):
    """Molecules as lists of edges, whatever their size."""

    def __init__(self, data: MoleculeSet, config: GNNConfig, device: torch.device) -> None:
        super().__init__(data, config, device)
        self.store = listed_store(data.graphs, device, config.pair_cutoff)


def molecule_loads(inputs: Inputs, families: Sequence[str], epochs: int) -> list[Load]:
    """Lists what trials of some families train, each in four ways, or three where a family is not
    written with PyG's own layers."""
    data = MoleculeSet(
        inputs.graphs, inputs.split, unit="D", digest="", dropped=0, lists_bonds=False
    )
    loads = []
    for family in families:
        config = GNNConfig(family=family, epochs=epochs)
        ways: dict[str, Epochs] = {
            OURS: Ours(config, partial(MoleculeTask, data)),
            ONE_BY_ONE: OneByOne(config, partial(MoleculeTask, data)),
            f"{OURS}, lists of edges": Ours(config, partial(EdgeListTask, data)),
        }
        if config.chosen.stock is not None:
            ways["PyG's loop"] = Documented(config, data)
        loads += [Load(config, way, len(data.split.train), ways[way]) for way in ways]
    return loads


def drive_loads(data: Drives, cores: Sequence[Core], epochs: int) -> list[Load]:
    """Lists what trials of world models train, with each of some cores, in two ways."""
    loads = []
    for core in cores:
        config = WorldModelConfig(core=core, epochs=epochs)
        task = partial(DrivingTask, data)
        frames = task(config, torch.device("cpu")).predictions_per_epoch()
        ways: dict[str, Epochs] = {OURS: Ours(config, task), ONE_BY_ONE: OneByOne(config, task)}
        loads += [Load(config, way, frames, ways[way]) for way in ways]
    return loads


class Barrier(Protocol):
    """A place where processes wait for each other."""

    def wait(self, timeout: float | None = None) -> int:
        """Returns when all have come."""
        ...

    def abort(self) -> None:
        """Has the others wait no longer."""
        ...


def measure(load: Load, device: torch.device, barrier: Barrier | None) -> tuple[float, float]:
    """Trains as one of several at once.

    Returns:
        Molecules or frames a second, and the GiB that it took.
    """
    epochs = load.epochs(device)
    try:
        next(epochs)
        if barrier is not None:
            barrier.wait(PATIENCE)
        seconds = [*epochs]
    except BaseException:
        if barrier is not None:
            barrier.abort()  # nobody waits for this one
        raise
    return load.count * len(seconds) / sum(seconds), memory_gib(device)


def _begin(barrier: Barrier, share: float) -> None:
    """Makes a process of a pool one that trains as a trial does.

    Args:
        barrier: Where it waits for the others.
        share: Of the GPU; 0 trains on the CPU.
    """
    global _barrier  # a pool's process keeps nothing else
    _barrier = barrier
    trial_device(share, 1)


def _measure(load: Load, device: torch.device) -> tuple[float, float]:
    """Calls `measure` in a process of a pool, with the memory of the load before given back."""
    give_back_memory(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    return measure(load, device, _barrier)


Found = tuple[float, float] | None
"""Molecules or frames a second of all trials, and the most GiB that one took; None if there was
not memory enough."""


@contextmanager
def trials_at_once(device: torch.device, trials: int) -> Iterator[Callable[[Load], Found]]:
    """Begins so many processes, which train load after load: each time all of them the same."""
    context = get_context("spawn")
    share = 1 / trials if device.type == "cuda" else 0.0
    barrier: Any = context.Barrier(trials)
    with ProcessPoolExecutor(trials, context, _begin, (barrier, share)) as pool:

        def train(load: Load) -> Found:
            under_way = [pool.submit(_measure, load, device) for _ in range(trials)]
            errors = [error for each in under_way if (error := each.exception()) is not None]
            barrier.reset()  # one that failed has broken it
            if any(map(ran_out_of_memory, errors)):
                return None
            if errors:
                raise errors[0]
            rates, memory = zip(*(each.result() for each in under_way), strict=True)
            return sum(rates), max(memory)

        yield train


def _cells(found: Found) -> list[str]:
    """Rate and memory, in a table."""
    return ["no memory", "—"] if found is None else [f"{found[0]:,.0f}", f"{found[1]:.2f}"]


def one_at_a_time(loads: Sequence[Load], device: torch.device) -> str:
    """A table of single trials."""
    with trials_at_once(device, 1) as train:
        rows = [[load.config.title, load.way, *_cells(train(load))] for load in loads]
    return table(["configuration", "loop", "a second", "GiB"], rows)


def at_once(
    loads: Sequence[Load], device: torch.device, counts: Sequence[int], served: Sequence[bool]
) -> str:
    """A table of many trials.

    Args:
        loads: What they train.
        device: Where.
        counts: How many at once.
        served: Whether by MPS.
    """
    kinds = [(n, by_mps) for n in counts for by_mps in (served if n > 1 else served[:1])]
    found: dict[tuple[int, bool], list[Found]] = {}
    for trials, by_mps in kinds:
        server: AbstractContextManager[None] = mps(print) if by_mps else nullcontext()
        with server, trials_at_once(device, trials) as train:
            found[trials, by_mps] = [train(load) for load in loads]
    rows = []
    for number, load in enumerate(loads):
        first = found[kinds[0]][number]
        for trials, by_mps in kinds:
            each = found[trials, by_mps][number]
            times = f"{each[0] / first[0]:.2f}" if each and first else "—"
            cells = [str(trials), "yes" if by_mps else "no", *_cells(each), times]
            rows.append([load.config.title, *cells])
    beside = f"times {counts[0]} trial{'s' * (counts[0] > 1)}"
    return table(["configuration", "trials", "MPS", "a second", "GiB each", beside], rows)


def main(argv: Sequence[str]) -> None:
    """Prints the tables.

    Raises:
        InputError: If the options make no sense.
    """
    arguments = _parsed(argv)
    device = arguments.device
    print(machine(device))
    served = [False] if arguments.no_mps or device.type == "cpu" else [False, True]
    epochs = arguments.rounds + 1
    families = [family for family in KEYS if family in arguments.config]
    cores: list[Core] = [core for core in CORES if core in arguments.config]
    if families:
        inputs = open_inputs(arguments)
        loads = molecule_loads(inputs, families, epochs)
        print(f"\n{inputs.title}: molecules, one trial at a time\n")
        print(one_at_a_time(loads, device), flush=True)
        print("\nmolecules, several trials at once\n")
        padded = [load for load in loads if load.way == OURS]
        print(at_once(padded, device, arguments.max_concurrent, served), flush=True)
    if cores:
        options = DrivingOptions(episodes=arguments.episodes)
        drives = open_drives(options, arguments.seed, arguments.data_dir)
        loads = drive_loads(drives, cores, epochs)
        print(f"\n{len(drives.recordings)} episodes: frames, one trial at a time\n")
        print(one_at_a_time(loads, device), flush=True)
        print("\nframes, several trials at once\n")
        together = [load for load in loads if load.way == OURS]
        print(at_once(together, device, arguments.max_concurrent, served))


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    add_options(parser)
    add_graphs_option(parser)
    parser.add_numbers("--max-concurrent", [1, 4, 16], "trials at once")
    parser.add_argument(
        "--config",
        nargs="+",
        choices=(*KEYS, *CORES),
        default=(*KEYS, *CORES),
        help="families of graph neural networks, and cores of world models (default: all)",
    )
    parser.add_defaulting("--episodes", positive, 64, "drives")
    parser.add_argument("--no-mps", action="store_true", help="never start NVIDIA's MPS")
    parser.add_rounds(3, "epochs that are timed")
    parser.add_device()
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
