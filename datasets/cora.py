"""Citation graphs whose nodes are to be classified, and the splits to do it on.

There are three sources: Cora from the files that Planetoid published (Yang et al. 2016), a file of
one's own, or a graph that is generated and needs no download.
"""

import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from datasets.block_model import block_model
from datasets.errors import InputError, described
from datasets.node_graph import NodeGraph
from datasets.planetoid import open_cora
from datasets.splits import Split
from datasets.tools import Tools
from datasets.undirected import both_ways

GENERATED, CORA, PUBLIC = "blocks", "cora", "public"

SUFFIX = ".npz"

DIGITS = re.compile(r"[0-9]{1,9}")

VALIDATION = 500
"""Nodes of the validation split, in every random split."""

SEARCHED = 10
"""Splits on which the trials of a search are compared."""

COPIES = 4
"""Networks that each trial of a search trains on a public split, which is the same for all."""

MASKS = ("train_mask", "val_mask", "test_mask")
DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, IndexError, OverflowError),
    *(zipfile.BadZipFile, zlib.error),
)
"""Exceptions raised on reading a file that is damaged or of another kind."""

ARRAYS = ("x_row", "x_col", "x_shape", "edge_index", "y")

SEED = 0
"""Seed of the generated graph, which is the same for every study."""


@dataclass(frozen=True)
class NodeOptions:
    """Data options of a study of node classification."""

    dataset: str = GENERATED
    """blocks: a generated graph with Cora's statistics; cora: Cora, downloaded; or FILE.npz with
    the arrays x_row, x_col, x_shape, edge_index, y and, for --split public, train_mask, val_mask
    and test_mask."""

    split: str = "random:140"
    """random:N: N labelled nodes, 500 to validate and the rest to test, drawn several times; or
    public: the split that comes with the data."""

    test_splits: int = 20
    """Number of splits on which the finals are trained and tested; the search does not see them.
    With --split public, number of networks that each final trains on the one split."""

    def __post_init__(self) -> None:
        if self.dataset not in (GENERATED, CORA) and Path(self.dataset).suffix != SUFFIX:
            raise InputError(
                f"unknown --dataset {self.dataset}: expected {GENERATED}, {CORA} or the path of "
                f"an {SUFFIX} file"
            )
        if self.test_splits < 2:
            raise InputError(
                f"--test-splits {self.test_splits}: expected 2 or more, as the spread between "
                "splits decides which finalists can be told apart"
            )
        labelled(self.split)


@dataclass(frozen=True)
class NodeSplits:
    """The splits of the nodes that the trials of a study see.

    Attributes:
        search: Splits from which the trials of the search learn and on which they are compared.
        finals: Splits of the finals, which the search never saw.
    """

    search: tuple[Split, ...]
    finals: tuple[Split, ...]


def labelled(split: str) -> int | None:
    """Returns how many nodes of a random split are labelled; None for the public split.

    Raises:
        InputError: If ``--split`` is neither.
    """
    if split == PUBLIC:
        return None
    kind, _, count = split.partition(":")
    if kind != "random" or not DIGITS.fullmatch(count) or int(count) < 1:
        raise InputError(
            f"unknown --split {split}: expected {PUBLIC}, or random:N such as random:140"
        )
    return int(count)


def open_graph(options: NodeOptions, tools: Tools) -> NodeGraph:
    """Generates, downloads or reads the graph that the options name.

    Raises:
        InputError: If it cannot be had; the message says why.
    """
    if options.dataset == GENERATED:
        return block_model(SEED)
    if options.dataset == CORA:
        found = open_cora(tools.cache.folder / CORA, tools.notify)
        return NodeGraph(found.features, found.edges, found.labels, found.split)
    return read_graph(Path(options.dataset))


def splits_of(graph: NodeGraph, options: NodeOptions, seed: int) -> NodeSplits:
    """Draws the splits of search and finals.

    Args:
        graph: The graph.
        options: Kind of the splits, and number of those of the finals.
        seed: Seed of the drawings.

    Raises:
        InputError: If the graph has no public split, or too few nodes are left to test.
    """
    train, tested = labelled(options.split), options.test_splits
    if train is not None:
        splits = _drawn(len(graph), train, SEARCHED + tested, seed)
        return NodeSplits(tuple(splits[:SEARCHED]), tuple(splits[SEARCHED:]))
    if graph.public is None:
        raise InputError(
            f"--split {PUBLIC}: {options.dataset} comes with no split; expected random:N"
        )
    return NodeSplits((graph.public,) * COPIES, (graph.public,) * tested)


def _drawn(nodes: int, train: int, count: int, seed: int) -> list[Split]:
    if nodes < train + 2 * VALIDATION:
        raise InputError(
            f"--split random:{train}: expected at most {max(0, nodes - 2 * VALIDATION)} labelled "
            f"of {nodes} nodes, as {VALIDATION} validate and at least as many test"
        )
    drawn = (np.random.default_rng((seed, number)).permutation(nodes) for number in range(count))
    return [Split(*map(np.sort, np.split(order, (train, train + VALIDATION)))) for order in drawn]


def read_graph(path: Path) -> NodeGraph:
    """Reads a graph from a file of NumPy arrays.

    The features are a sparse matrix of ones: its entries are ``x_row``, ``x_col``, its shape is
    ``x_shape``. ``edge_index`` is (2, edges), ``y`` (nodes,); ``train_mask``, ``val_mask`` and
    ``test_mask``, (nodes,) bool, are the public split, if there is one.

    Raises:
        InputError: If the file does not exist or holds no such graph.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        for name in ARRAYS:
            if arrays[name].dtype.kind not in "iu":
                raise ValueError(f"{name} is {arrays[name].dtype}: expected whole numbers")
        rows, columns = (int(size) for size in arrays["x_shape"])
        entries = (arrays["x_row"].astype(np.int64), arrays["x_col"].astype(np.int64))
        ones = np.ones(len(entries[0]), np.float32)
        features = sparse.csr_matrix((ones, entries), (rows, columns))
        features.sum_duplicates()
        labels = arrays["y"].astype(np.int64)
        edges = arrays["edge_index"]
        if edges.ndim != 2 or len(edges) != 2:
            raise ValueError(f"edge_index is of shape {edges.shape}: expected (2, edges)")
        return NodeGraph(features, both_ways(edges), labels, _public(arrays))
    except KeyError as error:
        raise InputError(f"{path} has no array {error}: expected {', '.join(ARRAYS)}") from None
    except DAMAGE as error:
        raise InputError(f"{path} is no graph: {described(error)}") from error


def _public(arrays: Mapping[str, np.ndarray]) -> Split | None:
    if not {*MASKS} <= arrays.keys():
        return None
    masks = [arrays[name] for name in MASKS]
    fit = all(mask.dtype == bool and mask.shape == arrays["y"].shape for mask in masks)
    if not fit or not all(mask.any() for mask in masks):
        raise ValueError(f"expected {', '.join(MASKS)} to mark some of as many nodes as y has")
    if np.sum(masks, axis=0).max() > 1:
        raise ValueError(f"expected {', '.join(MASKS)} to have no node in common")
    return Split(*map(np.flatnonzero, masks))
