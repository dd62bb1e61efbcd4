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
def attention_exponents(
    x,
    own,
    neighbour,
    to_pair,
    offsets,
    target,
    pair,
    to_own,
    to_neighbour,
    of_itself,
    of_neighbours,
):
    """Computes the exponents of the softmax in `attended`: scores minus the largest of a node.

    The score of neighbour j is ``leaky_relu(to_own_i + to_neighbour_j + to_pair_ij)``, that of i
    itself ``leaky_relu(to_own_i + to_neighbour_i)``. exp itself is left to PyTorch, which
    vectorises it.

    Args:
        x: Node features, (N, H, W).
        own: Weights of a node's own features in its scores, (H, W).
        neighbour: Weights of a neighbour's features, (H, W).
        to_pair: Contribution of the pair, (P, H).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        to_own: Written: contribution of node i to its scores, ``own . x_i``, (N, H).
        to_neighbour: Written: contribution of node j to the scores of its neighbours,
            ``neighbour . x_j``, (N, H).
        of_itself: Written, (N, H).
        of_neighbours: Written, (E, H).
    """
    nodes, heads, width = x.shape
    most = np.empty(heads, x.dtype)
    for i in range(nodes):
        for h in range(heads):
            here = there = x.dtype.type(0)
            for w in range(width):
                here += own[h, w] * x[i, h, w]
                there += neighbour[h, w] * x[i, h, w]
            to_own[i, h], to_neighbour[i, h] = here, there
    for i in range(nodes):
        edges = range(offsets[i], offsets[i + 1])
        for h in range(heads):
            most[h] = of_itself[i, h] = _leaky(to_own[i, h] + to_neighbour[i, h])
        for e in edges:
            j, p = target[e], pair[e]
            for h in range(heads):
                score = _leaky(to_own[i, h] + to_neighbour[j, h] + to_pair[p, h])
                of_neighbours[e, h] = score
                most[h] = max(most[h], score)
        for h in range(heads):
            of_itself[i, h] -= most[h]
            for e in edges:
                of_neighbours[e, h] -= most[h]


@kernel
def attended(x, filters, offsets, target, pair, itself, attention, out):
    """Aggregates by attention: ``out_i = a_ii x_i + sum_j a_ij x_j * f_ij``.

    Args:
        x: Node features, (N, H, W).
        filters: f, (P, W), shared by the heads.
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        itself: exp of `of_itself` in `attention_exponents`; overwritten by the softmax a_ii,
            (N, H).
        attention: exp of `of_neighbours` there; overwritten by the softmax a_ij, (E, H).
        out: Written, (N, H, W).
    """
    nodes, heads, width = x.shape
    total = np.empty(heads, x.dtype)
    for i in range(nodes):
        edges = range(offsets[i], offsets[i + 1])
        total[:] = itself[i]
        for e in edges:
            for h in range(heads):
                total[h] += attention[e, h]
        for h in range(heads):
            itself[i, h] /= total[h]
            for w in range(width):
                out[i, h, w] = itself[i, h] * x[i, h, w]
        for e in edges:
            j, p = target[e], pair[e]
            for h in range(heads):
                weight = attention[e, h] / total[h]
                attention[e, h] = weight
                for w in range(width):
                    out[i, h, w] += weight * filters[p, w] * x[j, h, w]


@kernel
def attended_gradients(
    gradient,
    x,
    filters,
    offsets,
    target,
    pair,
    reverse,
    itself,
    attention,
    of_itself,
    of_attention,
    of_x,
    of_filters,
):
    """Computes the gradients of `attended` with respect to x, f and the attention.

    Args:
        gradient: Gradient with respect to the sum, (N, H, W).
        x: Node features, (N, H, W).
        filters: f, (P, W).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        reverse: Opposite edge of each edge, (E,).
        itself: a_ii from `attended`, (N, H).
        attention: a_ij from `attended`, (E, H).
        of_itself: Written, the gradient with respect to a_ii, (N, H).
        of_attention: Written, the gradient with respect to a_ij, (E, H).
        of_x: Written, (N, H, W), without the part that goes through the attention.
        of_filters: Written, (P, W).
    """
    nodes, heads, width = x.shape
    for i in range(nodes):
        for h in range(heads):
            product = attention.dtype.type(0)
            for w in range(width):
                product += gradient[i, h, w] * x[i, h, w]
                of_x[i, h, w] = itself[i, h] * gradient[i, h, w]
            of_itself[i, h] = product
    for i in range(nodes):
        for e in range(offsets[i], offsets[i + 1]):
            j, p, back = target[e], pair[e], reverse[e]
            if i < j:
                of_filters[p] = 0
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


@kernel
def score_gradients(
    x,
    own,
    neighbour,
    to_pair,
    offsets,
    target,
    pair,
    to_own,
    to_neighbour,
    itself,
    attention,
    of_itself,
    of_attention,
    of_x,
    of_own,
    of_neighbour,
    of_pair,
):
    """Computes the gradients that go through the scores of `attention_exponents`.

    Args:
        x: Node features, (N, H, W).
        own: Weights of a node's own features in its scores, (H, W).
        neighbour: Weights of a neighbour's features, (H, W).
        to_pair: Contribution of the pair, (P, H).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        to_own: From `attention_exponents`, (N, H).
        to_neighbour: From `attention_exponents`, (N, H).
        itself: a_ii from `attended`, (N, H).
        attention: a_ij from `attended`, (E, H).
        of_itself: Gradient with respect to a_ii, (N, H).
        of_attention: Gradient with respect to a_ij, (E, H).
        of_x: Added to, (N, H, W).
        of_own: Written, (H, W).
        of_neighbour: Written, (H, W).
        of_pair: Written, (P, H).
    """
    nodes, heads, width = x.shape
    mean = np.empty(heads, x.dtype)
    of_to_own, of_to_neighbour = np.zeros_like(to_own), np.zeros_like(to_own)
    of_own[:], of_neighbour[:], of_pair[:] = 0, 0, 0
    for i in range(nodes):
        edges = range(offsets[i], offsets[i + 1])
        for h in range(heads):
            mean[h] = itself[i, h] * of_itself[i, h]
            for e in edges:
                mean[h] += attention[e, h] * of_attention[e, h]
            slope = _slope(to_own[i, h] + to_neighbour[i, h])
            of_score = itself[i, h] * (of_itself[i, h] - mean[h]) * slope
            of_to_own[i, h] += of_score
            of_to_neighbour[i, h] += of_score
        for e in edges:
            j, p = target[e], pair[e]
            for h in range(heads):
                slope = _slope(to_own[i, h] + to_neighbour[j, h] + to_pair[p, h])
                of_score = attention[e, h] * (of_attention[e, h] - mean[h]) * slope
                of_to_own[i, h] += of_score
                of_to_neighbour[j, h] += of_score
                of_pair[p, h] += of_score
    for i in range(nodes):
        for h in range(heads):
            here, there = of_to_own[i, h], of_to_neighbour[i, h]
            for w in range(width):
                of_x[i, h, w] += here * own[h, w] + there * neighbour[h, w]
                of_own[h, w] += here * x[i, h, w]
                of_neighbour[h, w] += there * x[i, h, w]


@kernel
def directed(x, filters, vectors, unit, offsets, target, pair, scalars, directions):
    """Sums scalar and vector messages over the neighbours j of each node i.

    With m_ij = x_j * f_ij, split into three parts a, b and c of width W, and the unit vector u_ij
    from i to j: ``scalars_i = sum_j a_ij``, ``directions_i = sum_j u_ij (x) b_ij + v_j * c_ij``.
    If all v are zero, there is no part c.

    Args:
        x: Node features, (N, 3 W), or (N, 2 W) without c.
        filters: f, (P, 3 W), or (P, 2 W) without c.
        vectors: v, (N, 3, W); (0, 3, W) if all are zero.
        unit: Unit vector from the lower to the higher node of each pair, (P, 3).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        scalars: Written, (N, W).
        directions: Written, (N, 3, W).
    """
    nodes, width = scalars.shape
    moving = len(vectors) > 0
    scalars[:], directions[:] = 0, 0
    for i in range(nodes):
        for e in range(offsets[i], offsets[i + 1]):
            j, p = target[e], pair[e]
            sign = x.dtype.type(1) if i < j else x.dtype.type(-1)
            for w in range(width):
                scalars[i, w] += filters[p, w] * x[j, w]
            for axis in range(3):
                u = sign * unit[p, axis]
                for w in range(width):
                    directions[i, axis, w] += u * filters[p, width + w] * x[j, width + w]
            if moving:
                for axis in range(3):
                    for w in range(width):
                        c = filters[p, 2 * width + w] * x[j, 2 * width + w]
                        directions[i, axis, w] += c * vectors[j, axis, w]


@kernel
def directed_gradients(
    of_scalars,
    of_directions,
    x,
    filters,
    vectors,
    unit,
    offsets,
    target,
    pair,
    of_x,
    of_filters,
    of_vectors,
):
    """Computes the gradients of `directed` with respect to x, f and v.

    Args:
        of_scalars: Gradient with respect to the scalars, (N, W).
        of_directions: Gradient with respect to the directions, (N, 3, W).
        x: Node features, (N, 3 W), or (N, 2 W) without c.
        filters: f, (P, 3 W), or (P, 2 W) without c.
        vectors: v, (N, 3, W); (0, 3, W) if all are zero.
        unit: Unit vector from the lower to the higher node of each pair, (P, 3).
        offsets: Index of each node's first edge, (N + 1,).
        target: Target node of each edge, (E,).
        pair: Pair of each edge, (E,).
        of_x: Written, of the shape of x.
        of_filters: Written, of the shape of f.
        of_vectors: Written, of the shape of v.
    """
    # A loop for each array that is written: of more, the compiler makes no vector instructions.
    nodes, width = of_scalars.shape
    moving = len(vectors) > 0
    product, message = np.empty(width, x.dtype), np.empty(width, x.dtype)
    of_x[:], of_filters[:], of_vectors[:] = 0, 0, 0
    for j in range(nodes):  # whose features are summed by its neighbours i
        for e in range(offsets[j], offsets[j + 1]):
            i, p = target[e], pair[e]
            sign = x.dtype.type(1) if i < j else x.dtype.type(-1)  # of the vector from i to j
            for w in range(width):
                of_x[j, w] += filters[p, w] * of_scalars[i, w]
            for w in range(width):
                of_filters[p, w] += x[j, w] * of_scalars[i, w]
            u, v, z = sign * unit[p, 0], sign * unit[p, 1], sign * unit[p, 2]
            for w in range(width):
                product[w] = (
                    u * of_directions[i, 0, w]
                    + v * of_directions[i, 1, w]
                    + z * of_directions[i, 2, w]
                )
            for w in range(width):
                of_x[j, width + w] += filters[p, width + w] * product[w]
            for w in range(width):
                of_filters[p, width + w] += x[j, width + w] * product[w]
            if moving:
                for w in range(width):
                    product[w] = (
                        vectors[j, 0, w] * of_directions[i, 0, w]
                        + vectors[j, 1, w] * of_directions[i, 1, w]
                        + vectors[j, 2, w] * of_directions[i, 2, w]
                    )
                for w in range(width):
                    message[w] = filters[p, 2 * width + w] * x[j, 2 * width + w]
                for axis in range(3):
                    for w in range(width):
                        of_vectors[j, axis, w] += message[w] * of_directions[i, axis, w]
                for w in range(width):
                    of_x[j, 2 * width + w] += filters[p, 2 * width + w] * product[w]
                for w in range(width):
                    of_filters[p, 2 * width + w] += x[j, 2 * width + w] * product[w]


@kernel
def _leaky(score):
    return max(score, type(score)(SLOPE) * score)


@kernel
def _slope(score):
    return type(score)(1) if score > 0 else type(score)(SLOPE)
