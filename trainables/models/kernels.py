"""Sums over neighbours as loops that Numba compiles: the path of a CPU.

Written with tensors, such a sum writes an array with a row an edge for each of its factors, far
more than the caches hold; a loop keeps the row of one node and its neighbour in them. Each is
compiled when first called and kept on disk. The same sums written with tensors
are in `trainables.models.neighbours`.

Node i owns the edges ``offsets[i]`` to ``offsets[i + 1]``; edge e leads to ``target[e]``, belongs
to pair ``pair[e]`` and has its way back in edge ``reverse[e]``. Shapes: nodes N, edges E, pairs
P = E / 2, heads H, width W. Arrays named last, before which no value is named, are written.
"""

import numpy as np

from datasets.compiled import compiled

# Sums may be reordered to use vector instructions; infinities and NaN keep their meaning.
kernel = compiled(error_model="numpy", fastmath={"reassoc", "contract"})

EPSILON = 1e-7
"""Added to messages, as in GENConv."""

SLOPE = 0.2
"""Of the leaky ReLU in the scores of attention, as in GAT."""


@kernel
def summed(own, x, offsets, target, out):
    """``out_i = sum_j x_j``, with x_i itself if `own`: (N, W)."""
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
    """``out_i = sum_j x_j * f_ij``, with x_i itself if `own`: x (N, W), f (P, W)."""
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
    """Of `filtered`, given that of its sum: ``g_i * x_j + g_j * x_i``."""
    nodes, width = x.shape
    for i in range(nodes):
        for e in range(offsets[i], offsets[i + 1]):
            j, p = target[e], pair[e]
            if i < j:
                for w in range(width):
                    of_filters[p, w] = gradient[i, w] * x[j, w] + gradient[j, w] * x[i, w]


@kernel
def softened_exponents(x, of_pairs, temperature, offsets, target, pair, exponents):
    """``t m_ij`` less the largest of each node's and feature's, so that exp does not overflow.

    As arguments of `softened`; exponents (E, W). Vectorised, exp is left to PyTorch.
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
    """``out_i = sum_j softmax_j(t m_ij) m_ij`` in each feature, ``m_ij = relu(x_j + e_ij) + eps``.

    Args:
        x: (N, W).
        of_pairs: e, (P, W).
        weights: exp of `softened_exponents`; becomes the softmax, (E, W).
        out: (N, W).
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
    """Of both, given that of the sum: those of x, e and t; t, (1,), multiplies as in GENConv."""
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
    """``out_i = sum_j u_ij (x) e_ij``: u (P, 3) from the lower to the higher node, e (P, W).

    `out` is (N, 3, W); the way back points the other way.
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
    """``out_i = a_ii x_i + sum_j a_ij x_j * f_ij``, a the softmax over i and its neighbours.

    Args:
        x: (N, H, W).
        filters: (P, W), shared by the heads.
        to_own: The scores' part of i: (N, H).
        to_neighbour: That of j: (N, H); the score of i to itself has both of i.
        to_pair: That of the pair: (P, H).
        own: a_ii, (N, H).
        attention: a_ij, (E, H).
        out: As x.
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
    """Of `attended`, given that of its sum: those of the first six arguments of it but `gradient`.

    What is written is of the shape of what it is the gradient of.
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
