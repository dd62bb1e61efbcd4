"""Training molecules a second: this project's step beside the plain loop of PyG's examples.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --dataset FILE.parquet --molecules 10000 --config best

Whole epochs over the train split, the two sides in turn, epoch by epoch, from the same initial
weights: same network, loss, optimiser, schedule and batch size. Ours is `trainables.fit` on
`MoleculeTask`, its time the ``train/seconds`` that it reports; it trains a second time with the
pairs found anew in each batch instead of kept (`trainables.models.kept_pairs`). The other side is
what PyG's
documentation teaches (`benchmarks.stock`): `Data` objects whose edges and edge features a
transform computed beforehand, `DataLoader`, `MessagePassing` layers; for ``gin``, the published
homework's preset, PyG's own `GIN` with `Adam`. Validation is left out on both sides. Each side
has a process of its own, so that what ours asks of the memory allocator is ours alone.

Before anything is timed, both predict the same molecules and take the gradient of the same loss
from the same weights; if they differ, nothing is timed.

A trial of a study trains with one thread; two show what one fit alone makes of two cores.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from multiprocessing import get_context
from statistics import median

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from analysis.markdown import table
from benchmarks.command_line import Parser, exit_code
from benchmarks.gnn_results import champion, read_rows
from benchmarks.inputs import Inputs, add_graphs_option, add_options, open_inputs
from benchmarks.rounds import Disagreement, machine, ratios, spread, take_turns, verdict
from benchmarks.stock import (
    HomeworkGIN,
    StockGNN,
    copy_weights,
    mirrored,
    prepared,
    under_stock_names,
)
from benchmarks.stock_data import as_data
from benchmarks.stock_loop import StockFit
from datasets.sources import MoleculeSet
from datasets.stores import store_of
from trainables.device import pick_device as trial_device
from trainables.fit import fit
from trainables.models.gnn import GNNConfig, homework
from trainables.molecules import MoleculeTask

_rates: Iterator[float]
"""Molecules a second of each epoch of this process's side; see `_begin`."""

SIDES = ("ours", "pairs anew", "stock")

WANTED = 1.5
"""Times the molecules a second of the plain loop that the project asks of itself."""

CONFIGURATIONS = {
    "gin": GNNConfig(**homework("gin")),
    "best": champion(read_rows()),
    **{f"default-{family}": GNNConfig(family=family) for family in mirrored()},
}

PREDICTION_TOLERANCE = 1e-9
"""Relative difference of predictions in 64 bits: sums in another order."""

GRADIENT_TOLERANCE = 1e-7
"""Relative difference of gradients, which add up every edge of the batch."""

CHECKED = 256
"""Molecules on which the sides have to agree."""


@dataclass(frozen=True)
class Stock:
    """The plain side of a configuration.

    Attributes:
        model: The network, on the device.
        data: The molecules of the train split as the configuration has them.
        std: What errors are divided by in the loss, in the unit of the target.
    """

    model: nn.Module
    data: list[Data]
    std: float


def stock_model(task: MoleculeTask) -> nn.Module:
    """The plain network of a task of ours; PyG's own where it has the whole of it."""
    preset = replace(CONFIGURATIONS["gin"], epochs=task.config.epochs, seed=task.config.seed)
    if task.config == preset:
        model = HomeworkGIN(task.config)
    else:
        model = StockGNN(task.config, task.scale.mean, task.scale.std)
    return model.to(task.store.device)


def sides(inputs: Inputs, config: GNNConfig, device: torch.device) -> tuple[MoleculeTask, Stock]:
    """Both sides of a configuration, from the weights that `fit` begins with.

    Raises:
        Disagreement: If they do not compute the same.
    """
    molecules = MoleculeSet(
        inputs.graphs, inputs.split, unit="D", digest="", dropped=0, lists_bonds=False
    )
    task = MoleculeTask(molecules, config, device)
    data = prepared(as_data(inputs.graphs, inputs.split.train.tolist()), config)
    stock = Stock(stock_model(task), data, task.scale.std)
    same_weights(task, stock)
    # Without dropout, of which the two draw their own; and in 64 bits from the positions on, since
    # rounding that puts an edge on the other side of a ReLU changes a gradient in its third digit.
    still = MoleculeTask(molecules, replace(config, dropout=0.0), device)
    few = as_data(inputs.graphs, inputs.split.train[:CHECKED].tolist())
    few = prepared([molecule.apply(_double) for molecule in few], config)
    check(still, Stock(stock_model(still).double(), few, still.scale.std))
    return task, stock


def same_weights(task: MoleculeTask, stock: Stock) -> nn.Module:
    """Gives the stock model the weights that `fit` begins with; returns our model with them."""
    torch.manual_seed(task.config.seed)
    model = task.model().to(task.store.device)
    copy_weights(model, stock.model)
    return model


def check(task: MoleculeTask, stock: Stock) -> None:
    """Compares prediction and gradient on the first molecules of the train split.

    Args:
        task: Ours.
        stock: In 64 bits, of these molecules only.

    Raises:
        Disagreement: If they differ.
    """
    model, theirs = same_weights(task, stock).double(), stock.model
    data = next(iter(DataLoader(stock.data, batch_size=CHECKED))).to(task.store.device)
    batch = task.store.select(task.train[:CHECKED])
    batch = replace(
        batch,
        node_features=batch.node_features.double(),
        positions=batch.positions.double(),
        targets=batch.targets.double(),
    )
    predictions = model(batch), theirs(data)
    # Beside the size of the targets, a small prediction has no digits.
    apart = _apart(*predictions, least=1e-2 * float(batch.targets.norm()))
    if not apart <= PREDICTION_TOLERANCE:
        raise Disagreement(f"predictions differ by {apart:.1e} (relative): nothing is timed")
    task.loss(model, batch).backward()
    ((predictions[1] - data.y) / stock.std).square().mean().backward()
    named = under_stock_names(_gradients(model), theirs)
    gradients = _gradients(theirs)
    # Nor has a small gradient beside the others: that of a bias before batch normalisation is 0.
    least = 1e-2 * float(torch.cat([g.flatten() for g in gradients.values()]).norm())
    apart = max(_apart(named[name], g, least) for name, g in gradients.items())
    if not apart <= GRADIENT_TOLERANCE:
        raise Disagreement(f"gradients differ by {apart:.1e} (relative): nothing is timed")


def _double(tensor: Tensor) -> Tensor:
    """A tensor in 64 bits, if it holds no whole numbers."""
    return tensor.double() if tensor.is_floating_point() else tensor


def _gradients(model: nn.Module) -> dict[str, Tensor]:
    """Name of a parameter -> its gradient, where there is one."""
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _apart(ours: Tensor, theirs: Tensor, least: float) -> float:
    """Norm of the difference over the norm, or over `least` if that is larger; dimensionless."""
    return float((ours - theirs).detach().norm() / theirs.detach().norm().clamp(min=least))


@contextmanager
def measures(
    inputs: Inputs, config: GNNConfig, device: torch.device, threads: int
) -> Iterator[dict[str, Callable[[], float]]]:
    """Name of a side -> trains an epoch in that side's process, returns the molecules a second.

    Raises:
        Disagreement: If the two sides do not compute the same.
    """
    with ExitStack() as pools:
        epochs: dict[str, Callable[[], float]] = {}
        for side in SIDES:
            pool = pools.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
            pool.submit(_begin, side, inputs, config, device, threads).result()
            epochs[side] = lambda pool=pool: pool.submit(_epoch).result()
        yield epochs


def _begin(
    side: str, inputs: Inputs, config: GNNConfig, device: torch.device, threads: int
) -> None:
    """Makes `_epoch` that of a side; in its process, whose settings no other has."""
    task, stock = sides(inputs, config, device)
    if side == "pairs anew":
        task.store = store_of(inputs.graphs, device, config.pair_cutoff)
    global _rates  # a pool's process keeps nothing else from one call to the next
    if side != "stock":
        trial_device(int(device.type == "cuda"), threads)
        seconds = (epoch.metrics["train/seconds"] for epoch in fit(task, config, device))
    else:
        torch.set_num_threads(threads)
        loader = DataLoader(stock.data, batch_size=config.batch_size, shuffle=True)
        plain = StockFit(stock.model, config, len(loader), stock.std, device)
        seconds = (_seconds_of(partial(plain.train_epoch, loader)) for _ in count())
    _rates = (len(stock.data) / spent for spent in seconds)


def _epoch() -> float:
    """Trains an epoch of this process's side; returns the molecules a second."""
    return next(_rates)


def _seconds_of(work: Callable[[], object]) -> float:
    """Does something, and returns how long it took."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main(argv: Sequence[str]) -> None:
    """Prints the table.

    Raises:
        InputError: If the options make no sense.
        Disagreement: If the sides do not compute the same.
    """
    arguments = _parsed(argv)
    device = arguments.device
    inputs = open_inputs(arguments)
    print(f"{machine(device)}; {inputs.title}, {len(inputs.split.train):,} to train on")
    rows, verdicts = [], []
    for name in arguments.config:
        config = replace(CONFIGURATIONS[name], seed=arguments.seed, epochs=arguments.rounds + 1)
        for threads in arguments.threads if device.type == "cpu" else arguments.threads[:1]:
            with measures(inputs, config, device, threads) as epochs:
                measured = take_turns(epochs, arguments.rounds)
            ratio = ratios(measured["ours"], measured["stock"])
            cells = [spread(rates) for rates in (*measured.values(), ratio)]
            rows.append([name, config.title, str(config.batch_size), str(threads), *cells])
            what = f"{name}, {threads} thread(s)"
            verdicts.append(verdict(what, median(ratio), WANTED))
    print(
        "training molecules a second, median (smallest..largest) of "
        f"{arguments.rounds} epochs each\n"
    )
    what = ("configuration", "what it is", "batch", "threads")
    header = (*what, "ours", "pairs anew", "stock PyG loop", "ours to stock")
    print(table(header, rows), end="\n\n")
    print("\n".join(verdicts))


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    add_options(parser)
    add_graphs_option(parser)
    parser.add_argument(
        "--config",
        nargs="+",
        choices=CONFIGURATIONS,
        default=["gin", "best"],
        help="gin: the homework's preset; best: the best of docs/results-gnn.md; or a family's "
        "default (default: gin best)",
    )
    parser.add_numbers("--threads", [1, 2], "threads of torch, on a CPU")
    parser.add_rounds(5, "epochs that are timed")
    parser.add_device()
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
