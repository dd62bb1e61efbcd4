"""A generated citation graph with Cora's published statistics, which needs no download.

It is a degree-corrected stochastic block model (Karrer and Newman 2011) with words as features:
2,708 nodes in 7 classes of Cora's sizes, 5,278 edges of which 81 % join nodes of one class,
degrees with a heavy tail, and 1,433 words. `TOPIC`, `STRAY` and `BORDER` are set so that a network
without the graph, a graph network and label propagation are about as good on it as on Cora.
"""

from collections.abc import Callable

import numpy as np
from scipy import sparse

from datasets.node_graph import NodeGraph
from datasets.undirected import both_ways

CLASSES = (351, 217, 418, 818, 426, 298, 180)
"""Nodes of each class of Cora."""

EDGES = 5_278
"""Undirected edges of Cora."""

WORDS = 1_433
"""Words of Cora's vocabulary."""

TAIL = 2.0
"""Exponent of the propensities' Pareto distribution."""

HEAVIEST = 150.0
"""Largest propensity."""

COMMUNITY = 12
"""Nodes of a community, about."""

NEAR = 0.9
"""Share of a class's edges that stay in a community."""

BORDER = 0.26
"""Share of the nodes that have edges to other classes: decides how far label propagation gets."""

TOPIC = 0.74
"""Share of the words that come from a topic: decides how far a network without the graph gets."""

STRAY = 0.21
"""Share of the communities whose words come from the topic of another class, so that a network
misjudges all of a neighbourhood at once: decides how much the graph adds to the words."""

RARITY = 0.3
"""Shape of the gamma distribution of a topic's preferences: small values make them sparse."""

HOMOPHILY = 0.81
"""Share of the edges that join two nodes of one class."""


def block_model(seed: int) -> NodeGraph:
    """Generates a graph with Cora's statistics.

    Nodes of a class fall into communities. An edge of two nodes of one class mostly stays in a
    community; edges between classes lie among a part of the nodes. Ends are drawn in proportion to
    propensities with a heavy tail, after one edge for each node. A node's words come from the
    topic of its class, or for a stray community from that of another one, or from all words.

    Args:
        seed: Seed of everything.
    """
    random = np.random.default_rng(seed)
    nodes = sum(CLASSES)
    labels = random.permutation(np.repeat(np.arange(len(CLASSES)), CLASSES))
    community = _communities(labels, random)
    propensity = np.minimum(random.pareto(TAIL, nodes) + 0.5, HEAVIEST)
    first = [random.permutation(nodes)]

    def alike(count: int) -> np.ndarray:
        source = first.pop() if first else _ends(propensity, count, random)
        near = _drawn(community, propensity, community[source], random)
        far = _drawn(labels, propensity, labels[source], random)
        return np.stack([source, np.where(random.random(len(source)) < NEAR, near, far)])

    border = propensity * (random.random(nodes) < BORDER)

    def apart(count: int) -> np.ndarray:
        pairs = _ends(border, 4 * count, random).reshape(2, -1)
        return pairs[:, labels[pairs[0]] != labels[pairs[1]]]

    inside = round(HOMOPHILY * EDGES)
    edges = [_collected(inside, alike, random), _collected(EDGES - inside, apart, random)]
    words = _words(labels, community, random)
    return NodeGraph(words, both_ways(np.hstack(edges)), labels.astype(np.int64))


def _communities(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Divides each class into communities of about `COMMUNITY` nodes; (N,) int64."""
    community, begun = np.empty(len(labels), np.int64), 0
    for nodes in (np.flatnonzero(labels == each) for each in range(len(CLASSES))):
        count = max(1, round(len(nodes) / COMMUNITY))
        community[random.permutation(nodes)] = begun + np.arange(len(nodes)) % count
        begun += count
    return community


def _ends(weights: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Draws nodes in proportion to weights, (count,)."""
    return random.choice(len(weights), count, p=weights / weights.sum())


def _drawn(
    groups: np.ndarray, weights: np.ndarray, wanted: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Draws for each wanted group one of its members, in proportion to weights.

    Args:
        groups: (members,) int64, from 0; none is empty.
        weights: (members,).
        wanted: (draws,) int64.
    """
    order = np.argsort(groups, kind="stable")
    ends = np.cumsum(weights[order])
    bounds = np.r_[0, ends][np.searchsorted(groups[order], np.arange(groups.max() + 2))]
    low, high = bounds[wanted], bounds[wanted + 1]
    found = np.searchsorted(ends, low + (high - low) * random.random(len(wanted)), side="right")
    return order[np.minimum(found, len(order) - 1)]


def _collected(
    count: int, draw: Callable[[int], np.ndarray], random: np.random.Generator
) -> np.ndarray:
    """Draws pairs until there are so many different ones, without loops; (2, count)."""
    found = np.empty((2, 0), np.int64)
    while found.shape[1] < count:
        new = draw(count - found.shape[1])
        new = np.sort(new[:, new[0] != new[1]], axis=0)
        found = np.unique(np.hstack([found, new]), axis=1)
    return found[:, np.sort(random.permutation(found.shape[1])[:count])]


def _words(
    labels: np.ndarray, community: np.ndarray, random: np.random.Generator
) -> sparse.csr_matrix:
    """Draws the words of each node, (N, `WORDS`) of ones."""
    classes = len(CLASSES)
    every = random.lognormal(0, 1.1, WORDS)
    rare = random.gamma(RARITY, 1 / RARITY, (classes, WORDS))
    weights = np.vstack([every * rare, every])
    weights /= weights.sum(axis=1, keepdims=True)
    length = np.maximum(1, np.rint(random.normal(18.2, 5.7, len(labels)))).astype(np.int64)
    node = np.repeat(np.arange(len(labels)), length)
    groups = community.max() + 1
    shift = np.where(random.random(groups) < STRAY, random.integers(1, classes, groups), 0)
    theme = (labels + shift[community]) % classes
    topic = np.where(random.random(len(node)) < TOPIC, theme[node], classes)
    of_topic = np.repeat(np.arange(classes + 1), WORDS)
    word = _drawn(of_topic, weights.ravel(), topic, random) % WORDS
    places = np.unique(np.stack([node, word]), axis=1)
    ones = np.ones(places.shape[1], np.float32)
    return sparse.csr_matrix((ones, (places[0], places[1])), (len(labels), WORDS))
