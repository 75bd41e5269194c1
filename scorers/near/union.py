"""Connected components by union-find. The smallest member names its component, so that no order of the pairs shows.

>>> parents = np.arange(6)
>>> unite(parents, np.array([4, 1]), np.array([5, 4]))
>>> flatten(parents)
>>> parents.tolist()
[0, 1, 2, 3, 1, 1]
"""

from __future__ import annotations

import numpy as np

from scorers.bits import inlined
from scorers.jit import kernel


def unite(parents: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """Join the components of each pair. ``parents`` (int64, at first 0, 1, 2, ...) is changed in place."""
    _unite(parents, first, second)


def flatten(parents: np.ndarray) -> None:
    """Make each entry the smallest member of its component."""
    _flatten(parents)


@inlined
def _root(parents, node):
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@kernel
def _unite(parents, first, second):
    for k in range(len(first)):
        a, b = _root(parents, first[k]), _root(parents, second[k])
        if a < b:
            parents[b] = a
        elif b < a:
            parents[a] = b


@kernel
def _flatten(parents):
    for node in range(len(parents)):  # a parent is never larger than its child: it is flat already
        parents[node] = parents[parents[node]]
