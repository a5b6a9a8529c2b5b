"""The inner loops of `graph`, `spanning` and `hierarchy`, written as plain Python functions on arrays.

`compiled` turns one of them into machine code with numba, once per process and from a cache on disk after the first
run; small inputs call the plain function instead, so that a library of a few hundred faces never waits for numba's
import. Each kernel is self-contained (it calls no other), works in place, and releases the GIL when compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]


@cache
def compiled(kernel: Callable[P, R]) -> Callable[P, R]:
    """Return the machine code of `kernel` (numba, nopython, cached on disk).

    Floating-point sums may be reassociated, so that they use vector registers; the code is the same for every pair of
    rows, so that a distance does not depend on where its rows stand.
    """
    import numba

    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})(kernel))


def offer(  # noqa: C901, PLR0912 (a kernel calls no other function)
    products: FloatArray,
    rows: IndexArray,
    columns: IndexArray,
    row_names: IndexArray,
    column_names: IndexArray,
    row_norms: FloatArray,
    column_norms: FloatArray,
    indices: IndexArray,
    squares: FloatArray,
    diagonal: int,
    sides: int,
) -> None:
    """Offer every pair of a tile to the neighbour lists of both its points, or of its row points only.

    Parameters
    ----------
    products
        (a, b) minus twice the dot products of row points and column points.
    rows, columns
        (a,), (b,) which lists are theirs; `columns` is not used for one side.
    row_names, column_names
        (a,), (b,) the numbers by which the lists name these points; no point is offered to itself.
    row_norms, column_norms
        (a,), (b,) squared norms.
    indices, squares
        (lists, k) nearest first: neighbours (-1 where there is none yet) and squared distances (inf there). A pair
        that is already listed is not listed again.
    diagonal
        Column c is offered to row r only if c > r + diagonal; with -a or less all pairs are.
    sides
        2 offers to both lists, 1 to those of the rows only.
    """
    last = indices.shape[1] - 1
    chunk = 32
    width = products.shape[1]
    limits = np.empty(width, dtype=np.float32)
    limits[:] = -np.inf
    if sides == 2:
        for c in range(width):
            limits[c] = squares[columns[c], last]
    for r in range(len(rows)):
        i = rows[r]
        name = row_names[r]
        own = squares[i, last]
        square = row_norms[r]
        for block in range(max(0, r + diagonal + 1), width, chunk):
            end = min(block + chunk, width)
            # Views that start at zero: only then does the compiler use vector registers.
            part, part_norms, part_limits = products[r, block:end], column_norms[block:end], limits[block:end]
            hits = np.int32(0)
            for c in range(end - block):
                hits += np.int32(square + part_norms[c] + part[c] <= max(own, part_limits[c]))
            if hits == 0:
                continue
            for c in range(end - block):
                d = square + part_norms[c] + part[c]
                if not d <= max(own, part_limits[c]):
                    continue
                other = column_names[block + c]
                if other == name:
                    continue
                for side in range(sides):
                    p, q = (i, other) if side == 0 else (columns[block + c], name)
                    if d > (own if side == 0 else part_limits[c]):
                        continue
                    if d == squares[p, last] and q >= indices[p, last] >= 0:
                        continue
                    listed = False
                    for t in range(last + 1):
                        listed = listed or indices[p, t] == q
                    if listed:
                        continue
                    t = last
                    while t > 0 and (squares[p, t - 1] > d or (squares[p, t - 1] == d and indices[p, t - 1] > q)):
                        squares[p, t] = squares[p, t - 1]
                        indices[p, t] = indices[p, t - 1]
                        t -= 1
                    squares[p, t] = d
                    indices[p, t] = q
                    if side == 0:
                        own = squares[i, last]
                    else:
                        part_limits[c] = squares[p, last]


def combine(
    indices: IndexArray,
    squares: FloatArray,
    points: IndexArray,
    others: IndexArray,
    other_squares: FloatArray,
    newer: NDArray[np.bool_],
) -> None:
    """Bring what the lists `others` (one for each of `points`) know into the lists `indices` (of all points).

    All are (lists, k), sorted by distance, then index. Where they are the `newer` ones, they know all that the lists
    of all points do.
    """
    last = indices.shape[1] - 1
    for r in range(len(points)):
        i = points[r]
        if newer[r]:
            for t in range(last + 1):
                indices[i, t] = others[r, t]
                squares[i, t] = other_squares[r, t]
            continue
        for u in range(last + 1):
            q = others[r, u]
            d = other_squares[r, u]
            if q < 0 or d > squares[i, last] or (d == squares[i, last] and q >= indices[i, last] >= 0):
                break
            listed = False
            for t in range(last + 1):
                listed = listed or indices[i, t] == q
            if listed:
                continue
            t = last
            while t > 0 and (squares[i, t - 1] > d or (squares[i, t - 1] == d and indices[i, t - 1] > q)):
                squares[i, t] = squares[i, t - 1]
                indices[i, t] = indices[i, t - 1]
                t -= 1
            squares[i, t] = d
            indices[i, t] = q


def explore(
    X: FloatArray,
    norms: FloatArray,
    rows: IndexArray,
    known: IndexArray,
    near: IndexArray,
    seen: IndexArray,
    indices: IndexArray,
    squares: FloatArray,
) -> None:
    """Offer to each of some points the near neighbours of its near ones (the step of NN-descent, Dong et al. 2011).

    Parameters
    ----------
    X, norms
        (n, d), (n,) the points and their squared norms.
    rows
        Which points' lists are to be improved.
    known
        (n, k) neighbours at the beginning, not written to.
    near
        (n,) how many of them, from the first on, are near.
    seen
        (n,) below 0, or left from other rows: a scratch pad of this thread.
    indices, squares
        (n, k) the lists to be improved.
    """
    last = indices.shape[1] - 1
    for r in range(len(rows)):
        i = rows[r]
        seen[i] = i
        for t in range(last + 1):
            if indices[i, t] >= 0:
                seen[indices[i, t]] = i
        for a in range(near[i]):
            via = known[i, a]
            for b in range(near[via]):
                q = known[via, b]
                if seen[q] == i:
                    continue
                seen[q] = i
                product = np.float32(0)
                for c in range(X.shape[1]):
                    product += X[i, c] * X[q, c]
                d = norms[i] + norms[q] - np.float32(2) * product
                if d > squares[i, last] or (d == squares[i, last] and q >= indices[i, last] >= 0):
                    continue
                t = last
                while t > 0 and (squares[i, t - 1] > d or (squares[i, t - 1] == d and indices[i, t - 1] > q)):
                    squares[i, t] = squares[i, t - 1]
                    indices[i, t] = indices[i, t - 1]
                    t -= 1
                squares[i, t] = d
                indices[i, t] = q


def polish(X: FloatArray, rows: IndexArray, indices: IndexArray, distances: FloatArray) -> None:
    """Replace the distances of the rows by exact ones, and sort each list by distance, then index."""
    k = indices.shape[1]
    for r in range(len(rows)):
        i = rows[r]
        for t in range(k):
            j = indices[i, t]
            if j < 0:
                continue
            total = 0.0
            for c in range(X.shape[1]):
                difference = np.float64(X[i, c]) - np.float64(X[j, c])
                total += difference * difference
            d = np.float32(np.sqrt(total))
            u = t
            while u > 0 and (distances[i, u - 1] > d or (distances[i, u - 1] == d and indices[i, u - 1] > j)):
                distances[i, u] = distances[i, u - 1]
                indices[i, u] = indices[i, u - 1]
                u -= 1
            distances[i, u] = d
            indices[i, u] = j


def below(
    products: FloatArray,
    row_squares: FloatArray,
    column_squares: FloatArray,
    row_limits: FloatArray,
    column_limits: FloatArray,
    row_reach: FloatArray,
    column_reach: FloatArray,
    first: int,
    out: IndexArray,
) -> tuple[int, int]:
    """List the pairs of a tile whose squared distance is between the greater reach and the greater limit of the two.

    Parameters
    ----------
    products, row_squares, column_squares
        As for `offer`.
    row_limits, column_limits, row_reach, column_reach
        (a,), (b,) squared.
    first
        The row to begin with.
    out
        (capacity, 2) receives row and column of each pair; capacity at least b.

    Returns
    -------
    The number of pairs written, and the first row that was not looked at since `out` might have overflowed.
    """
    count = 0
    width = products.shape[1]
    chunk = 32
    for r in range(first, products.shape[0]):
        if count + width > out.shape[0]:
            return count, r
        limit = row_limits[r]
        square = row_squares[r]
        reach = row_reach[r]
        for block in range(0, width, chunk):
            end = min(block + chunk, width)
            part, part_squares = products[r, block:end], column_squares[block:end]
            part_limits = column_limits[block:end]
            hits = np.int32(0)
            for c in range(end - block):
                hits += np.int32(square + part_squares[c] + part[c] < max(limit, part_limits[c]))
            if hits == 0:
                continue
            for c in range(block, end):
                d = square + column_squares[c] + products[r, c]
                if d < max(limit, column_limits[c]) and d >= reach and d >= column_reach[c]:
                    out[count, 0] = r
                    out[count, 1] = c
                    count += 1
    return count, products.shape[0]


def reach(indices: IndexArray, distances: FloatArray, core: FloatArray, edges: IndexArray, weights: FloatArray) -> int:
    """List the pairs of a neighbour graph (n, k), -1 for no neighbour, by their mutual reachability distance.

    Fills in `edges` (n * k, 2), the smaller number first, and `weights` (n * k,); returns how many there are.
    """
    count = 0
    for i in range(indices.shape[0]):
        for t in range(indices.shape[1]):
            j = indices[i, t]
            if j >= 0:
                edges[count, 0], edges[count, 1] = min(i, j), max(i, j)
                weights[count] = max(distances[i, t], core[i], core[j])
                count += 1
    return count


def link(
    edges: IndexArray,
    order: NDArray[np.int64],
    n: int,
    kept: IndexArray,
    children: IndexArray,
    sizes: IndexArray,
    following: IndexArray,
    joint: IndexArray,
) -> int:
    """Join points along edges, in the order given; an edge within a component is passed over (Kruskal).

    Parameters
    ----------
    edges
        (m, 2).
    order
        (m,) the rows of `edges` in the order in which they are looked at.
    n
        Number of points.
    kept
        (n - 1,) receives the rows of the edges that join, in that order.
    children
        (n - 1, 2) receives the two nodes that each kept edge joins, into node n + its position (SciPy's numbering).
    sizes
        (n - 1,) receives the number of points of each new node.
    following
        (n,) receives the point after each in an order in which every node's points stand together; -1 at the ends.
    joint
        (n,) receives the position, among the kept edges, of the one that brought each point and its following one
        together.

    Returns
    -------
    The number of edges kept; n - 1 when the edges connect all points.
    """
    parent = np.arange(2 * n).astype(np.int32)
    head = parent.copy()
    tail = parent.copy()
    size = np.ones(2 * n, dtype=np.int32)
    following[:] = -1
    count = 0
    for e in order:
        a = edges[e, 0]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        b = edges[e, 1]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a == b:
            continue
        node = n + count
        parent[a] = node
        parent[b] = node
        size[node] = size[a] + size[b]
        following[tail[a]] = head[b]
        joint[tail[a]] = count
        head[node] = head[a]
        tail[node] = tail[b]
        kept[count] = e
        children[count, 0] = min(a, b)
        children[count, 1] = max(a, b)
        sizes[count] = size[node]
        count += 1
        if count == n - 1:
            break
    return count


def condense(  # noqa: C901, PLR0912 (a kernel calls no other function)
    children: NDArray[np.int64],
    heights: DoubleArray,
    sizes: NDArray[np.int64],
    min_cluster_size: int,
    point_cluster: NDArray[np.int64],
    point_lambda: DoubleArray,
    parent: NDArray[np.int64],
    birth: DoubleArray,
    size: NDArray[np.int64],
) -> int:
    """Walk a linkage from its root and note where clusters of at least `min_cluster_size` split and where points leave.

    Merges at one height are one merge of all their parts. Outputs, in place: `point_cluster`, `point_lambda` (n,) the
    cluster that each point leaves and at what 1 / distance; `parent`, `birth`, `size` (n,) of each cluster, parents
    first.

    Returns
    -------
    The number of clusters; cluster 0 is the root.
    """
    n = len(heights) + 1
    # Where each node's points stand in the order of the leaves.
    start = np.zeros(2 * n - 1, dtype=np.int64)
    for node in range(2 * n - 2, n - 1, -1):
        left = children[node - n, 0]
        start[left] = start[node]
        start[children[node - n, 1]] = start[node] + (sizes[left - n] if left >= n else 1)
    order = np.empty(n, dtype=np.int64)
    for i in range(n):
        order[start[i]] = i

    cluster = np.full(2 * n - 1, -1, dtype=np.int64)  # of each node that still carries one
    cluster[2 * n - 2] = 0
    parent[0] = -1
    birth[0] = 0.0
    size[0] = n
    count = 1
    stack = np.empty(n, dtype=np.int64)
    parts = np.empty(n, dtype=np.int64)
    for top in range(2 * n - 2, n - 1, -1):
        own = cluster[top]
        if own < 0:
            continue
        height = heights[top - n]
        value = 1.0 / height if height > 0 else np.inf
        depth = 1
        stack[0] = top
        found = 0
        large = 0
        while depth > 0:
            depth -= 1
            node = stack[depth]
            for side in range(2):
                child = children[node - n, side]
                if child >= n and heights[child - n] == height:
                    stack[depth] = child
                    depth += 1
                else:
                    parts[found] = child
                    found += 1
                    if (sizes[child - n] if child >= n else 1) >= min_cluster_size:
                        large += 1
        for p in range(found):
            child = parts[p]
            number = sizes[child - n] if child >= n else 1
            if number < min_cluster_size:
                for position in range(start[child], start[child] + number):
                    point_cluster[order[position]] = own
                    point_lambda[order[position]] = value
            elif large == 1:
                cluster[child] = own
            else:
                cluster[child] = count
                parent[count] = own
                birth[count] = value
                size[count] = number
                count += 1
    return count
