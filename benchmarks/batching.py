"""Batches a second: this project's flat store beside PyG's `DataLoader`.

    python benchmarks/batching.py
    python benchmarks/batching.py --dataset FILE.parquet --molecules 10000

Both cut the train split's molecules, in an order drawn anew for each pass, into the same batches
of the same tensors: node features, positions, edges with their type, targets. The loader is
``DataLoader(list_of_Data, batch_size, shuffle=True)``, each `Data` holding one molecule with
float features, as PyG's own QM9 does. Whether both give the same batch is checked first, tensor by
tensor; if not, nothing is timed.

Edges are the bonds, or all pairs of atoms within the cutoff, which on a CPU the store finds in
each batch anew while the loader has them precomputed. The loader works in this process
(``num_workers=0``), as the store does: a worker process would have to send each batch over, and in
a study every core has a trial already. On a GPU the store, here that of large molecules, lies
there and the loader's batches are brought there.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from analysis.markdown import table
from benchmarks.command_line import Parser, exit_code
from benchmarks.inputs import add_graphs_option, add_options, open_inputs
from benchmarks.rounds import Disagreement, machine, ratios, spread, take_turns, verdict
from benchmarks.stock_data import Pairs, as_data
from datasets.graphs import NO_BOND, GraphBatch, Graphs, GraphStore, Selection
from datasets.stores import listed_store

WANTED = 8.0
"""Times the batches a second of the loader that the project asks of itself, at `AT`."""

AT = 128
"""Molecules a batch at which the project asks that of itself."""

CUTOFF = 4.0
"""Cutoff of the pairs, in Angstrom; the study's default."""


def difference(ours: GraphBatch, stock: Data) -> str | None:
    """The first tensor in which a batch of the store is not that of the loader; None: none.

    The order of the edges does not matter.
    """
    assert stock.edge_index is not None and stock.edge_attr is not None
    one_hot = torch.nn.functional.one_hot(ours.edge_types.long(), NO_BOND + 1)[:, :NO_BOND]
    edges, kinds = _sorted(ours.edge_index, one_hot)
    stock_edges, stock_kinds = _sorted(stock.edge_index, stock.edge_attr)
    pairs = {
        "node features": (ours.node_features, stock.x),
        "positions": (ours.positions, stock.pos),
        "graph of the nodes": (ours.graph, stock.batch),
        "edges": (edges, stock_edges),
        "edge types": (kinds, stock_kinds),
        "targets": (ours.targets, stock.y),
    }
    return next((n for n, (a, b) in pairs.items() if b is None or not torch.equal(a, b)), None)


def _sorted(edge_index: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """The edges by source, then target, (2, E), and their one-hot types, (E, 4)."""
    nodes = int(edge_index.max()) + 1
    order = (edge_index[0] * nodes + edge_index[1]).argsort()
    return edge_index[:, order], kinds[order].float()


def check(store: GraphStore, data: Sequence[Data], places: Tensor, size: int) -> None:
    """Compares one batch of each side.

    Args:
        store: Has all molecules.
        data: The molecules of the train split, in the order of `places`.
        places: (train,) int64, where the store has them.
        size: Molecules in the batch.

    Raises:
        Disagreement: If they differ.
    """
    batch = next(iter(DataLoader(list(data[:size]), batch_size=size))).to(places.device)
    name = difference(store.select(places[:size].cpu()), batch)
    if name is not None:
        raise Disagreement(f"the store and the loader differ in the {name}: nothing is timed")


def ours(store: GraphStore, places: Tensor, size: int) -> float:
    """Batches a second over one pass of the store."""
    _wait(places.device)
    begun = time.perf_counter()
    count = 0
    order = places.cpu()[torch.randperm(len(places))]
    for part in Selection.of(order, places.device).split(size):
        store.batch(part)
        count += 1
    _wait(places.device)
    return count / (time.perf_counter() - begun)


def theirs(loader: DataLoader, device: torch.device) -> float:
    """Batches a second over one pass of the loader."""
    _wait(device)
    begun = time.perf_counter()
    count = 0
    for batch in loader:
        batch.to(device)
        count += 1
    _wait(device)
    return count / (time.perf_counter() - begun)


def _wait(device: torch.device) -> None:
    """Waits until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(
    graphs: Graphs, places: Tensor, cutoff: float | None, sizes: Sequence[int], rounds: int
) -> dict[int, dict[str, list[float]]]:
    """Batches a second of both sides at each batch size, after a check that they agree.

    Args:
        graphs: With bonds as edges.
        places: (train,) int64, the molecules that are batched, on the device.
        cutoff: Of the pairs, in Angstrom; None: the bonds stay.
        sizes: Molecules a batch.
        rounds: Passes of each side.
    """
    store = listed_store(graphs, places.device, cutoff)
    data = as_data(graphs, places.tolist())
    if cutoff is not None:
        data = [Pairs(cutoff)(molecule) for molecule in data]
    check(store, data, places, max(sizes))
    measured = {}
    for size in sizes:
        loader = DataLoader(data, batch_size=size, shuffle=True)
        sides: Mapping[str, Callable[[], float]] = {
            "store": partial(ours, store, places, size),
            "loader": partial(theirs, loader, places.device),
        }
        measured[size] = take_turns(sides, rounds)
    return measured


def main(argv: Sequence[str]) -> None:
    """Prints the table.

    Raises:
        InputError: If the options make no sense.
        Disagreement: If the sides do not give the same batch.
    """
    arguments = _parsed(argv)
    device = arguments.device
    torch.set_num_threads(1)  # as in a trial of a study
    torch.manual_seed(arguments.seed)
    inputs = open_inputs(arguments)
    places = torch.from_numpy(inputs.split.train).to(device)
    print(f"{machine(device)}; {inputs.title}, {len(places):,} to train on")
    rows, verdicts = [], []
    for kind, cutoff in (("bonds", None), ("pairs", CUTOFF)):
        measured = compare(inputs.graphs, places, cutoff, arguments.sizes, arguments.rounds)
        for size, sides in measured.items():
            ratio = ratios(sides["store"], sides["loader"])
            rows.append([kind, str(size), *(spread(r) for r in (*sides.values(), ratio))])
            if size == AT:
                verdicts.append(verdict(f"batches of {AT} with {kind}", median(ratio), WANTED))
    print(f"batches a second, median (smallest..largest) of {arguments.rounds} passes each\n")
    print(table(("edges", "batch", "GraphStore.select", "DataLoader", "ratio"), rows), end="\n\n")
    print("\n".join(verdicts))


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    add_options(parser)
    add_graphs_option(parser)
    parser.add_numbers("--sizes", [32, 64, 128, 256], "molecules a batch")
    parser.add_rounds(9, "how often the two take turns")
    parser.add_device()
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
