"""From logits to probabilities, one function per loss of fastText.

One-vs-all and negative sampling read the sigmoid from a table of 513 steps between -8 and 8, so a logit that falls on
the other side of a step moves the probability by up to 0.0078. ``near_step`` finds the documents for which the
folded sum is too close to tell; their logits are then made again in the library's own order of float32 sums.
"""

from __future__ import annotations

import numpy as np

from scorers.fasttext.model import MOST_LABELLED
from scorers.jit import kernel

_STEPS, _LIMIT = 512, 8
LIBRARY_EPSILON = 1e-5  # the library adds it inside every logarithm, and so reports p + 1e-5

_SIGMOID = (1 / (1 + np.exp(-(np.arange(_STEPS + 1) * 2 * _LIMIT / _STEPS - _LIMIT)))).astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) in float64, without overflow."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Along the last axis, in float64."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def stepped_sigmoid(logits: np.ndarray) -> np.ndarray:
    """The library's table: 0 below -8, 1 above 8, constant over steps of 1/32 in between."""
    # In float32 as the library does it: just below a step, logit + 8 rounds up to the step.
    above = np.clip(logits, -_LIMIT, _LIMIT).astype(np.float32) + np.float32(_LIMIT)
    index = above * np.float32(_STEPS / (2 * _LIMIT))
    inside = _SIGMOID[index.astype(np.int64)].astype(np.float64)
    return np.where(logits < -_LIMIT, 0.0, np.where(logits > _LIMIT, 1.0, inside))


def near_step(logits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Whether a document has a logit within rounding of a step: bool (n,).

    The library adds ``counts`` rows in float32; its error grows at most in proportion to their number.
    """
    margin = (4e-5 + 1e-7 * counts)[:, None] * np.maximum(1, np.abs(logits))
    scaled = logits * (_STEPS / (2 * _LIMIT))
    close = np.abs(scaled - np.rint(scaled)) <= margin * (_STEPS / (2 * _LIMIT))
    return (close & (np.abs(logits) <= _LIMIT + margin)).any(axis=1)


def tree(counts: np.ndarray) -> np.ndarray:
    """Children of the inner nodes of the Huffman tree: int64 (labels - 1, 2), node i of the tree at row i - labels.

    Labels are nodes 0..L-1 (counts descending, as in the file); of two candidates a label is taken only if it is rarer.
    """
    num = len(counts)
    weights = [int(count) for count in counts] + [MOST_LABELLED] * (num - 1)
    children = np.zeros((max(num - 1, 0), 2), np.int64)
    leaf, inner = num - 1, num
    for node in range(num, 2 * num - 1):
        pair = []
        for _ in range(2):
            if leaf >= 0 and weights[leaf] < weights[inner]:
                pair.append(leaf)
                leaf -= 1
            else:
                pair.append(inner)
                inner += 1
        weights[node] = weights[pair[0]] + weights[pair[1]]
        children[node - num] = pair
    return children


def hierarchical(logits: np.ndarray, children: np.ndarray) -> np.ndarray:
    """Probabilities of the labels from the logits of the inner nodes, (n, labels - 1) -> (n, labels).

    The library adds 1e-5 at every node on the way to a label; what it reports is that product, and the probability
    here is the report less 1e-5 as for every other loss (never below 0), so that one rule compares all of them.
    """
    num = len(children) + 1
    product = np.ones((2 * num - 1, len(logits)))
    for node in range(2 * num - 2, num - 1, -1):
        right = sigmoid(logits[:, node - num])
        product[children[node - num, 0]] = product[node] * (1 - right + LIBRARY_EPSILON)
        product[children[node - num, 1]] = product[node] * (right + LIBRARY_EPSILON)
    if num == 1:
        return np.ones((len(logits), 1))
    return np.clip(product[:num].T - LIBRARY_EPSILON, 0, 1)


@kernel
def multiply_output(hidden, counts, rows, logits):
    """logits[i, k] = B[k] . (hidden[i] / counts[i]) in the library's order: float32, one term after the other.

    ``rows`` is B as kernel.Rows (dense or quantised); logits float64 (n, outputs). ``hidden`` becomes the mean.
    """
    for i in range(len(hidden)):
        scale = np.float32(1.0 / counts[i]) if counts[i] > 0 else np.float32(0)
        for d in range(rows.width):
            hidden[i, d] *= scale
        for k in range(logits.shape[1]):
            total = np.float32(0)
            if rows.groups == 0:
                first = k * rows.width
                for d in range(rows.width):
                    total += rows.table[first + d] * hidden[i, d]
            else:
                for group in range(rows.groups):
                    begin = group * rows.group_width
                    size = min(rows.group_width, rows.width - begin)
                    centroid = begin * 256 + np.int64(rows.codes[k * rows.groups + group]) * size
                    for d in range(size):
                        total += hidden[i, begin + d] * rows.centroids[centroid + d]
                if len(rows.norm_codes) > 0:
                    total *= rows.norm_centroids[rows.norm_codes[k]]
            logits[i, k] = total
