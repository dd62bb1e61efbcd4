"""Cora, a citation graph, from the eight files that Planetoid published.

Cora has 2,708 papers in 7 classes, 5,278 citations between them, taken as undirected, and for each
paper which of 1,433 words it has. The files, `ind.cora.*`, and their split are those of Yang,
Cohen and Salakhutdinov 2016 (arXiv:1603.08861): 140 nodes to train, 20 of each class, 500 to
validate and 1,000 to test. ``allx`` and ``ally`` are features and labels of all nodes but those
that test, in their order; ``tx`` and ``ty`` those of the nodes that ``test.index`` lists, in the
order of that list; ``x`` and ``y`` those of the nodes that train, the first ones. Nodes, features,
labels and masks are those of ``torch_geometric.datasets.Planetoid``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from datasets.downloads import Download, PublishedFile, check_present, complete
from datasets.errors import InputError, described
from datasets.planetoid_pickles import ADVICE, read_labels, read_matrix, read_neighbours
from datasets.splits import Split
from datasets.undirected import both_ways

ADDRESS = "https://github.com/kimiyoung/planetoid/raw/master/data"

PREFIX = "ind.cora."

TEST = "test.index"

# The host publishes no checksums. These are recorded for the same files in skygazer42/sky-vgl, of
# the host's commit af6abf4, and in ModSSC/ModSSC. Those of y, ty and ally are also what Cora's
# labels give when they are written as Python 2 did, in the order of test.index.
CHECKSUMS = {
    "x": "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab",
    "tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
    "allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
    "y": "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
    "ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
    "ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
    "graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
    TEST: "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
}
"""What follows `PREFIX` in a file's name -> its SHA-256."""

FILES = [PublishedFile(f"{PREFIX}{name}", None, digest) for name, digest in CHECKSUMS.items()]

DOWNLOADS = [Download(f"{ADDRESS}/{file.name}", file.name, [file]) for file in FILES]


@dataclass(frozen=True)
class Counts:
    """How much there is in a graph and in its split."""

    nodes: int
    edges: int
    """Undirected ones, without loops, each once."""
    words: int
    classes: int
    train: int
    validation: int
    test: int


CORA = Counts(
    nodes=2_708, edges=5_278, words=1_433, classes=7, train=140, validation=500, test=1_000
)


@dataclass(frozen=True)
class PlanetoidGraph:
    """A citation graph with its published split.

    Attributes:
        features: (N, F) float32, sparse: 1 where a paper has a word.
        edges: (2, E) int64: each undirected edge in both directions, no loops.
        labels: (N,) int64, from 0.
        split: The published split.
    """

    features: sparse.csr_matrix
    edges: np.ndarray
    labels: np.ndarray
    split: Split


def open_cora(folder: Path, notify: Callable[[str], None]) -> PlanetoidGraph:
    """Reads Cora from a folder, after what is missing there was downloaded.

    Raises:
        InputError: If a file cannot be downloaded, or is not as published.
    """
    download(folder, notify)
    return read_planetoid(folder)


def download(folder: Path, notify: Callable[[str], None]) -> None:
    """Downloads those of the files that are not in a folder, and checks those that are.

    Raises:
        InputError: If one cannot be downloaded, or is not as published.
    """
    complete(DOWNLOADS, folder, notify, "or use --dataset blocks, which needs no download")
    check_present(DOWNLOADS, folder)


def read_planetoid(folder: Path, counts: Counts = CORA) -> PlanetoidGraph:
    """Reads the eight files, without running what is in them.

    Args:
        folder: Where they are.
        counts: How much is to be in them.

    Raises:
        InputError: If a file is missing or damaged, or if they hold another number of anything.
    """
    _check_files(folder)
    order = _order(folder, counts)
    place = np.argsort(order)
    features, labels = _nodes(folder, counts)
    return PlanetoidGraph(
        features=features[place],
        edges=_edges(folder, counts),
        labels=labels[place],
        split=_split(counts),
    )


def _path(folder: Path, name: str) -> Path:
    return folder / f"{PREFIX}{name}"


def _check_files(folder: Path) -> None:
    missing = [_path(folder, name) for name in CHECKSUMS if not _path(folder, name).is_file()]
    if missing:
        names = ", ".join(path.name for path in missing)
        raise InputError(
            f"{folder} lacks {names}: save what {ADDRESS} has under these names there"
        )


def _order(folder: Path, counts: Counts) -> np.ndarray:
    """Returns the node that each row of the features and labels belongs to, (N,) int64."""
    first = np.arange(counts.nodes - counts.test)
    path = _path(folder, TEST)
    try:
        listed = [int(line) for line in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no list of nodes: {described(error)}: {ADVICE}") from None
    if sorted(listed) != list(range(len(first), counts.nodes)):
        raise InputError(
            f"{path}: expected each of the nodes {len(first)} to {counts.nodes - 1} once, got "
            f"{len(listed)} numbers that are not these: {ADVICE}"
        )
    return np.r_[first, listed]


def _nodes(folder: Path, counts: Counts) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Returns features and labels of all nodes, a row each as `_order` has them."""
    features, labels = [], []
    for prefix, rows in _rows(counts).items():
        path = _path(folder, f"{prefix}x")
        features.append(read_matrix(path))
        _check_shape(path, features[-1].shape, (rows, counts.words))
        path = _path(folder, f"{prefix}y")
        found, classes = read_labels(path)
        labels.append(found)
        _check_shape(path, (len(found), classes), (rows, counts.classes))
    return sparse.csr_matrix(sparse.vstack(features[1:])), np.concatenate(labels[1:])


def _rows(counts: Counts) -> dict[str, int]:
    """Returns how many rows the files have; those whose names begin with nothing repeat the first
    ones of ``all``."""
    return {"": counts.train, "all": counts.nodes - counts.test, "t": counts.test}


def _check_shape(path: Path, found: tuple[int, ...], expected: tuple[int, int]) -> None:
    if found != expected:
        raise InputError(
            f"{path}: expected {expected[0]:,} rows of {expected[1]:,} columns, got {found[0]:,} "
            f"of {found[1]:,}: {ADVICE}"
        )


def _edges(folder: Path, counts: Counts) -> np.ndarray:
    path = _path(folder, "graph")
    edges = both_ways(read_neighbours(path, counts.nodes))
    if edges.shape[1] != 2 * counts.edges:
        raise InputError(
            f"{path}: expected {counts.edges:,} pairs of different nodes that are neighbours, got "
            f"{edges.shape[1] // 2:,}: {ADVICE}"
        )
    return edges


def _split(counts: Counts) -> Split:
    train, test = counts.train, counts.nodes - counts.test
    return Split(
        np.arange(train),
        np.arange(train, train + counts.validation),
        np.arange(test, counts.nodes),
    )
