"""Sums over neighbours on a CPU, as loops compiled by Numba.

With tensor operations, each factor of such a sum becomes an array with one row for each edge, far
more than the caches hold; a loop keeps the rows of one node and its neighbour in the cache. Each
function is compiled at its first call and cached on disk. The same sums with tensor operations
are in `trainables.models.neighbours`.

Edges e from ``offsets[i]`` to ``offsets[i + 1] - 1`` have node i as their source; each has the
target ``target[e]``, belongs to pair ``pair[e]`` and has the opposite edge ``reverse[e]``. Shapes:
nodes N, edges E, pairs P = E / 2, heads H, width W. The public functions return nothing; they
write their results to their last arguments.
"""

import numpy as np

from datasets.compiled import compiled

# Sums may be reordered to use vector instructions; infinities and NaN keep their meaning.
kernel = compiled(error_model="numpy", fastmath={"reassoc", "contract"})

EPSILON = 1e-7
"""Constant added to each message of the softmax aggregation, as in GENConv."""

SLOPE = 0.2
"""Negative slope of the leaky ReLU on attention scores, as in GAT."""


@kernel
def summed(own, x, offsets, target, out):
    """Sums over the neighbours j of each node i: ``out_i = sum_j x_j``, plus x_i if `own`.

    Args:
        own: Whether to add x_i.
        x: Node features, (N, W).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        out: Written, (N, W).
    """
    nodes, width = x.shape
    for i in range(nodes):
        for w in range(width):
            out[i, w] = x[i, w] if own else 0
        for e in range(offsets[i], offsets[i + 1]):
            j = target[e]
            for w in range(width):
                out[i, w] += x[j, w]


@kernel
def filtered(own, x, filters, offsets, target, pair, out):
    """Sums over neighbours through filters: ``out_i = sum_j x_j * f_ij``, plus x_i if `own`.

    Args:
        own: Whether to add x_i.
        x: Node features, (N, W).
        filters: f, (P, W).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        out: Written, (N, W).
    """
    nodes, width = x.shape
    for i in range(nodes):
        for w in range(width):
            out[i, w] = x[i, w] if own else 0
        for e in range(offsets[i], offsets[i + 1]):
            j, p = target[e], pair[e]
            for w in range(width):
                out[i, w] += filters[p, w] * x[j, w]


@kernel
def filter_gradient(gradient, x, offsets, target, pair, of_filters):
    """Computes the gradient of `filtered` with respect to the filters, ``g_i * x_j + g_j * x_i``.

    Args:
        gradient: g, the gradient with respect to the sum, (N, W).
        x: Node features, (N, W).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        of_filters: Written, (P, W).
    """
    nodes, width = x.shape
    for i in range(nodes):
        for e in range(offsets[i], offsets[i + 1]):
            j, p = target[e], pair[e]
            if i < j:
                for w in range(width):
                    of_filters[p, w] = gradient[i, w] * x[j, w] + gradient[j, w] * x[i, w]


@kernel
def softened_exponents(x, of_pairs, temperature, offsets, target, pair, exponents):
    """Computes the exponents of the softmax in `softened`, ``t m_ij - max_j t m_ij``.

    The maximum over the neighbours of each node, in each feature, is subtracted so that exp does
    not overflow. exp itself is left to PyTorch, which vectorises it.

    Args:
        x: Node features, (N, W).
        of_pairs: e, (P, W).
        temperature: t, (1,).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        exponents: Written, (E, W).
    """
    nodes, width = x.shape
    most = np.empty_like(x[0])
    for i in range(nodes):
        edges = range(offsets[i], offsets[i + 1])
        most[:] = -np.inf
        for e in edges:
            j, p = target[e], pair[e]
            for w in range(width):
                message = max(x[j, w] + of_pairs[p, w], x.dtype.type(0)) + x.dtype.type(EPSILON)
                exponents[e, w] = temperature[0] * message
                most[w] = max(most[w], exponents[e, w])
        for e in edges:
            for w in range(width):
                exponents[e, w] -= most[w]


@kernel
def softened(x, of_pairs, offsets, target, pair, weights, out):
    """Aggregates messages by softmax: ``out_i = sum_j softmax_j(t m_ij) m_ij`` in each feature.

    The messages are ``m_ij = relu(x_j + e_ij) + eps``.

    Args:
        x: Node features, (N, W).
        of_pairs: e, (P, W).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        weights: exp of the result of `softened_exponents`; overwritten by the softmax, (E, W).
        out: Written, (N, W).
    """
    nodes, width = x.shape
    total = np.empty_like(x[0])
    for i in range(nodes):
        edges = range(offsets[i], offsets[i + 1])
        total[:] = 0
        out[i] = 0
        for e in edges:
            for w in range(width):
                total[w] += weights[e, w]
        for e in edges:
            j, p = target[e], pair[e]
            for w in range(width):
                message = max(x[j, w] + of_pairs[p, w], x.dtype.type(0)) + x.dtype.type(EPSILON)
                weights[e, w] /= total[w]
                out[i, w] += weights[e, w] * message


@kernel
def softened_gradients(
    gradient,
    x,
    of_pairs,
    temperature,
    offsets,
    target,
    pair,
    weights,
    out,
    to_x,
    to_pairs,
    to_temperature,
):
    """Computes the gradients of `softened` with respect to x, e and t.

    Args:
        gradient: Gradient with respect to the sum, (N, W).
        x: Node features, (N, W).
        of_pairs: e, (P, W).
        temperature: t, (1,); it multiplies the messages, as in GENConv.
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        weights: Softmax from `softened`, (E, W).
        out: Sum from `softened`, (N, W).
        to_x: Written, (N, W).
        to_pairs: Written, (P, W).
        to_temperature: Written, (1,).
    """
    nodes, width = x.shape
    to_x[:] = 0
    to_pairs[:] = 0
    of_temperature = 0.0
    for i in range(nodes):
        for e in range(offsets[i], offsets[i + 1]):
            j, p = target[e], pair[e]
            for w in range(width):
                heard = x[j, w] + of_pairs[p, w]
                message = max(heard, x.dtype.type(0)) + x.dtype.type(EPSILON)
                apart = message - out[i, w]
                weighed = gradient[i, w] * weights[e, w]
                of_temperature += weighed * message * apart
                passed = weighed * (1 + temperature[0] * apart) * (heard > 0)
                to_x[j, w] += passed
                to_pairs[p, w] += passed
    to_temperature[0] = of_temperature


@kernel
def moments(directions, weights, offsets, target, pair, out):
    """Sums outer products over neighbours: ``out_i = sum_j u_ij (x) e_ij``.

    Args:
        directions: u from the lower to the higher node of each pair, (P, 3); the opposite edge has
            -u.
        weights: e, (P, W).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        out: Written, (N, 3, W).
    """
    nodes, axes, width = out.shape
    for i in range(nodes):
        out[i] = 0
        for e in range(offsets[i], offsets[i + 1]):
            p = pair[e]
            for axis in range(axes):
                u = directions[p, axis] if i < target[e] else -directions[p, axis]
                for w in range(width):
                    out[i, axis, w] += u * weights[p, w]


@kernel
def attended(
    x, filters, to_own, to_neighbour, to_pair, offsets, target, pair, own, attention, out
):
    """Aggregates by attention: ``out_i = a_ii x_i + sum_j a_ij x_j * f_ij``.

    The attention a is the softmax of scores over i and its neighbours j. The score of j is
    ``leaky_relu(to_own_i + to_neighbour_j + to_pair_ij)``, that of i itself
    ``leaky_relu(to_own_i + to_neighbour_i)``.

    Args:
        x: Node features, (N, H, W).
        filters: f, (P, W), shared by the heads.
        to_own: Contribution of node i to its scores, (N, H).
        to_neighbour: Contribution of node j to the scores of its neighbours, (N, H).
        to_pair: Contribution of the pair, (P, H).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        own: Written: a_ii, (N, H).
        attention: Written: a_ij, (E, H).
        out: Written, (N, H, W).
    """
    nodes, heads, width = x.shape
    for i in range(nodes):
        edges = range(offsets[i], offsets[i + 1])
        for h in range(heads):
            own[i, h] = _leaky(to_own[i, h] + to_neighbour[i, h])
            most = own[i, h]
            for e in edges:
                score = _leaky(to_own[i, h] + to_neighbour[target[e], h] + to_pair[pair[e], h])
                attention[e, h] = score
                most = max(most, score)
            own[i, h] = np.exp(own[i, h] - most)
            total = own[i, h]
            for e in edges:
                attention[e, h] = np.exp(attention[e, h] - most)
                total += attention[e, h]
            own[i, h] /= total
            for w in range(width):
                out[i, h, w] = own[i, h] * x[i, h, w]
            for e in edges:
                attention[e, h] /= total
                weight, j, p = attention[e, h], target[e], pair[e]
                for w in range(width):
                    out[i, h, w] += weight * filters[p, w] * x[j, h, w]


@kernel
def attended_gradients(
    gradient,
    x,
    filters,
    to_own,
    to_neighbour,
    to_pair,
    offsets,
    target,
    pair,
    reverse,
    own,
    attention,
    of_attention,
    of_x,
    of_filters,
    of_own,
    of_neighbour,
    of_pair,
):
    """Computes the gradients of `attended` with respect to its first five arguments.

    Args:
        gradient: Gradient with respect to the sum, (N, H, W).
        x: Node features, (N, H, W).
        filters: f, (P, W).
        to_own: Contribution of node i to its scores, (N, H).
        to_neighbour: Contribution of node j to the scores of its neighbours, (N, H).
        to_pair: Contribution of the pair, (P, H).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        reverse: Opposite edge of each edge, (E,).
        own: a_ii from `attended`, (N, H).
        attention: a_ij from `attended`, (E, H).
        of_attention: Work space, overwritten, (E, H).
        of_x: Written, (N, H, W).
        of_filters: Written, (P, W).
        of_own: Written, (N, H).
        of_neighbour: Written, (N, H).
        of_pair: Written, (P, H).
    """
    nodes, heads, width = x.shape
    of_filters[:] = 0
    of_neighbour[:] = 0
    of_pair[:] = 0
    for i in range(nodes):
        for h in range(heads):
            for w in range(width):
                of_x[i, h, w] = own[i, h] * gradient[i, h, w]
    for i in range(nodes):
        for e in range(offsets[i], offsets[i + 1]):
            j, p, back = target[e], pair[e], reverse[e]
            if i < j:
                for h in range(heads):
                    there, here = attention[e, h], attention[back, h]
                    of_there = of_here = attention.dtype.type(0)
                    for w in range(width):
                        f = filters[p, w]
                        product = gradient[i, h, w] * x[j, h, w]
                        returned = gradient[j, h, w] * x[i, h, w]
                        of_there += product * f
                        of_here += returned * f
                        of_filters[p, w] += there * product + here * returned
                        of_x[j, h, w] += there * f * gradient[i, h, w]
                        of_x[i, h, w] += here * f * gradient[j, h, w]
                    of_attention[e, h], of_attention[back, h] = of_there, of_here
    for i in range(nodes):
        edges = range(offsets[i], offsets[i + 1])
        for h in range(heads):
            of_itself = attention.dtype.type(0)
            for w in range(width):
                of_itself += gradient[i, h, w] * x[i, h, w]
            mean = own[i, h] * of_itself
            for e in edges:
                mean += attention[e, h] * of_attention[e, h]
            score = to_own[i, h] + to_neighbour[i, h]
            of_score = own[i, h] * (of_itself - mean) * _slope(score)
            of_neighbour[i, h] += of_score
            of_own[i, h] = of_score
            for e in edges:
                j, p = target[e], pair[e]
                score = to_own[i, h] + to_neighbour[j, h] + to_pair[p, h]
                of_score = attention[e, h] * (of_attention[e, h] - mean) * _slope(score)
                of_own[i, h] += of_score
                of_neighbour[j, h] += of_score
                of_pair[p, h] += of_score


@kernel
def _leaky(score):
    return score if score > 0 else SLOPE * score


@kernel
def _slope(score):
    return 1.0 if score > 0 else SLOPE
