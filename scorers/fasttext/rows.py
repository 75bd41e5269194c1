"""What is summed over the features of a document: folded tables, or the rows of the input matrix themselves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scorers.fasttext.intrinsics import load_f32, prefetch
from scorers.jit import kernel

SCALAR, FOLDED, DENSE, QUANTISED = 0, 1, 2, 3  # what a row is: see Rows
AHEAD = 6  # rows fetched ahead of the one being added


class Rows(NamedTuple):
    """What is summed. SCALAR and FOLDED use ``table``: float32, ``width`` per feature, a row of zeros at the end. DENSE
    uses the float32 rows at byte ``offset`` of ``data``, QUANTISED the codes. ``skipped`` is a row that counts as a
    feature but adds nothing, or -1.
    """

    table: np.ndarray
    width: int
    data: np.ndarray
    offset: int
    groups: int
    group_width: int
    codes: np.ndarray
    centroids: np.ndarray
    norm_codes: np.ndarray
    norm_centroids: np.ndarray
    skipped: int


@kernel
def sum_scalars(ids, start, stop, table):
    """Sum of table[ids[start:stop]]; four sums side by side, since each waits for its own last addition only."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = start + ((stop - start) & ~3)
    for i in range(start, whole, 4):  # unsigned numbers: as indices they need no check for counting from the end
        a += table[np.uint32(ids[i])]
        b += table[np.uint32(ids[i + 1])]
        c += table[np.uint32(ids[i + 2])]
        d += table[np.uint32(ids[i + 3])]
    for i in range(whole, stop):
        a += table[np.uint32(ids[i])]
    return (a + b) + (c + d)


@kernel
def sum_rows(ids, count, rows, mode, sums, hidden):
    """Add the rows ``ids[:count]``: folded ones to ``sums`` (float64), raw ones to ``hidden`` (float32, in order)."""
    if mode == SCALAR:
        sums[0] += sum_scalars(ids, 0, count, rows.table)
    elif mode == FOLDED:
        width = rows.width
        for i in range(count):
            first = np.int64(ids[i]) * width
            for k in range(width):
                sums[k] += rows.table[first + k]
    elif mode == DENSE:
        for i in range(count):
            if i + AHEAD < count:
                first = rows.offset + np.int64(ids[i + AHEAD]) * rows.width * 4
                for k in range(0, rows.width * 4, 64):
                    prefetch(rows.data, first + k)
            if ids[i] != rows.skipped:
                first = rows.offset + np.int64(ids[i]) * rows.width * 4
                for k in range(rows.width):
                    hidden[k] += load_f32(rows.data, first + 4 * k)
    else:
        for i in range(count):
            row = np.int64(ids[i])
            if row == rows.skipped:
                continue
            norm = np.float32(1)
            if len(rows.norm_codes) > 0:
                norm = rows.norm_centroids[rows.norm_codes[row]]
            for group in range(rows.groups):
                begin = group * rows.group_width
                size = min(rows.group_width, rows.width - begin)
                centroid = begin * 256 + np.int64(rows.codes[row * rows.groups + group]) * size
                for k in range(size):
                    hidden[begin + k] += norm * rows.centroids[centroid + k]
