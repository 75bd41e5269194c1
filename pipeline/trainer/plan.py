"""Which pieces of which documents make up each row of training: a plan that is computed, never stored.

A document of n tokens has n - 1 inputs: input j predicts token j + 1, so that a cut costs no token its loss. An epoch
permutes the documents, cuts those with more inputs than a row holds, packs the chunks into rows by best fit
(decreasing, a window of chunks at a time: long documents are cut, none is dropped) and permutes the rows. Where that
leaves too much padding, as with documents of more than half a row, the emptiest rows are taken apart again and their
chunks cut to fill the gaps of the others. All of it
follows from lengths, weights, context, seed and epoch alone, so the place of a run in its data is one number: how many
rows it has seen.

    plan = plan_epoch(packed.lengths, None, context=1024, seed=0, epoch=0)
    rows = Rows(packed.lengths, context=1024, seed=0)       # goes on through the epochs
    rows.rows(first, last)                                  # a Plan of just these rows
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorers.jit import kernel

WINDOW = 10_000
"""Chunks that are packed together, at least."""
WINDOW_ROWS = 256
"""Rows that a window fills, at least: its last rows stay part empty."""
SPARED = 0.005
"""Share of padding up to which no chunk is cut to fill a gap."""
RESAMPLE, DOCUMENTS, ROWS = range(3)
"""The streams of random numbers of an epoch."""
KEPT = 2
"""Epochs whose plans are held in memory."""


@dataclass(frozen=True)
class Plan:
    """Rows of pieces. Row r has the pieces ``row_offsets[r]`` up to ``row_offsets[r + 1]``.

    documents: int32 (p,), the document of each piece.
    starts, lengths: int32 (p,), its first input and how many inputs it has.
    row_offsets: int64 (rows + 1,).
    context: inputs that a row holds.
    """

    documents: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    row_offsets: np.ndarray
    context: int

    @property
    def num_rows(self) -> int:
        """Rows, empty ones included."""
        return len(self.row_offsets) - 1

    @property
    def num_inputs(self) -> int:
        """Inputs of all pieces."""
        return int(self.lengths.sum(dtype=np.int64))

    @property
    def padding(self) -> float:
        """Share of the rows' places that no input fills."""
        return 1 - self.num_inputs / max(self.num_rows * self.context, 1)

    def row_inputs(self) -> np.ndarray:
        """int64 (rows,): the inputs of each row."""
        ends = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])
        return np.diff(ends[self.row_offsets])

    def rows(self, first: int, last: int) -> Plan:
        """The rows first..last-1 alone."""
        begin, end = int(self.row_offsets[first]), int(self.row_offsets[last])
        pieces = slice(begin, end)
        offsets = self.row_offsets[first : last + 1] - begin
        return Plan(self.documents[pieces], self.starts[pieces], self.lengths[pieces], offsets, self.context)


def plan_epoch(lengths: np.ndarray, weights: np.ndarray | None, context: int, seed: int, epoch: int) -> Plan:
    """The plan of one epoch.

    lengths: int64 (n,), tokens of each document; one with fewer than two has no input and no piece.
    weights: float (n,); document i appears floor(w) times and once more with the chance of the rest. None: once each.
    context: inputs of a row. seed, epoch: 0 to 2^64 - 1.
    """
    assert context > 0, context
    assert len(lengths) < 2**31, len(lengths)
    inputs = np.maximum(np.asarray(lengths, np.int64) - 1, 0)
    times = (inputs > 0).astype(np.int64)
    if weights is not None:
        whole = np.floor(np.asarray(weights, np.float64))
        chance = _draws(seed, epoch, RESAMPLE, len(inputs)) < (np.asarray(weights, np.float64) - whole)
        times *= whole.astype(np.int64) + chance
    documents = np.repeat(np.arange(len(inputs), dtype=np.int32), times)
    documents = documents[_order(seed, epoch, DOCUMENTS, len(documents))]
    chunks = -(-inputs[documents] // context)
    firsts = np.concatenate([[0], np.cumsum(chunks)])
    owner = np.repeat(np.arange(len(documents)), chunks)
    starts = (np.arange(len(owner)) - firsts[owner]) * context
    documents = documents[owner]
    sizes = np.minimum(inputs[documents] - starts, context).astype(np.int32)
    chunk, begin, sizes, row_of = _packed(sizes, context)
    # The rows in a random order, their pieces in the order in which they were placed: the longest first.
    row_count = int(row_of.max(initial=-1)) + 1
    new_name = np.empty(row_count, np.int64)
    new_name[_order(seed, epoch, ROWS, row_count)] = np.arange(row_count)
    named = new_name[row_of]
    order = np.lexsort((np.arange(len(sizes)), -sizes, named))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(named, minlength=row_count))]).astype(np.int64)
    documents, starts = documents[chunk], (starts[chunk] + begin).astype(np.int32)
    return Plan(documents[order], starts[order], sizes[order], offsets, context)


def _draws(seed: int, epoch: int, stream: int, count: int) -> np.ndarray:
    """float64 (count,) in [0, 1). Raw bits of a counter-based generator: no numpy release changes them."""
    bits: Any = np.random.Philox(key=np.array([seed, epoch], np.uint64), counter=[0, 0, 0, stream])
    return (bits.random_raw(count) >> np.uint64(11)) * 2.0**-53


def _order(seed: int, epoch: int, stream: int, count: int) -> np.ndarray:
    """A random permutation of range(count)."""
    return np.argsort(_draws(seed, epoch, stream, count), kind="stable")


def _packed(sizes: np.ndarray, context: int) -> tuple[np.ndarray, ...]:
    """(chunk, where it begins in the chunk, size, row) of each piece."""
    mean = float(sizes.mean()) if len(sizes) else 1.0
    windows = max(int(len(sizes) // max(WINDOW, WINDOW_ROWS * context / mean)), 1)
    parts = []
    count = 0
    for chunks in np.array_split(np.arange(len(sizes)), windows):
        chunks = chunks[np.argsort(-sizes[chunks], kind="stable")]
        rows, used = best_fit(sizes[chunks], context)
        piece, begin, size, row, used = _filled(sizes[chunks], rows, used, context)
        parts.append((chunks[piece], begin, size.astype(np.int32), row + count))
        count += used
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _filled(sizes: np.ndarray, rows: np.ndarray, used: int, context: int) -> tuple[Any, ...]:
    """(chunk, begin, size, row) of each piece, and rows used, once chunks of the emptiest rows fill the gaps.

    As many rows are taken apart as the gaps of the others can hold; the longest gaps are filled first, and those below
    a 128th of a row stay. Nothing is cut where the padding is small already.
    """
    free = context - np.bincount(rows, sizes, used).astype(np.int64)
    nothing = np.zeros(len(sizes), np.int64)
    if free.sum() <= SPARED * used * context:
        return np.arange(len(sizes)), nothing, sizes, rows, used
    usable = np.where(free >= max(context // 128, 1), free, 0)
    emptiest = np.argsort(-free, kind="stable")
    holds = usable.sum() - np.cumsum(usable[emptiest])
    apart = int((np.cumsum(context - free[emptiest]) <= holds).sum())
    gaps = emptiest[apart:]
    gaps = gaps[usable[gaps] > 0]
    loose = np.isin(rows, emptiest[:apart])
    moved = np.flatnonzero(loose)
    # Chunks and gaps, each laid end to end: a piece lies between two neighbouring ends of either.
    chunk_ends, gap_ends = np.cumsum(sizes[moved], dtype=np.int64), np.cumsum(usable[gaps])
    total = int(chunk_ends[-1]) if len(moved) else 0
    ends = np.unique(np.concatenate([chunk_ends, gap_ends[gap_ends < total]]))
    begins = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
    of_chunk = np.searchsorted(chunk_ends, begins, side="right")
    kept = np.flatnonzero(~loose)
    piece = np.concatenate([kept, moved[of_chunk]])
    begin = np.concatenate([nothing[kept], begins - (chunk_ends - sizes[moved])[of_chunk]])
    row = np.concatenate([rows[kept], gaps[np.searchsorted(gap_ends, begins, side="right")]])
    _, row = np.unique(row, return_inverse=True)
    return piece, begin, np.concatenate([sizes[kept], ends - begins]), row, used - apart


@kernel
def best_fit(sizes: Any, capacity: int) -> Any:
    """(int64 (n,) row of each size, rows used): each goes where it leaves the least room, or opens a row.

    Rows wait in a list per number of free places; a binary tree above the lists tells which of them are not empty.
    """
    leaves = 1
    while leaves < capacity + 1:
        leaves *= 2
    there = np.zeros(2 * leaves, np.bool_)
    head = np.full(capacity + 1, -1, np.int64)
    after = np.empty(len(sizes), np.int64)
    rows = np.empty(len(sizes), np.int64)
    used = 0
    for i in range(len(sizes)):
        node = leaves + sizes[i]
        if not there[node]:  # the nearest list to the right: up to the first right neighbour, down its left side
            while node > 1 and (node & 1 or not there[node + 1]):
                node >>= 1
            if node > 1:
                node += 1
                while node < leaves:
                    node = 2 * node if there[2 * node] else 2 * node + 1
        if node > 1:
            free = node - leaves
            row = head[free]
            head[free] = after[row]
            if head[free] < 0:
                there[node] = False
                while node > 1 and not there[node ^ 1]:
                    node >>= 1
                    there[node] = False
        else:
            free = capacity
            row = used
            used += 1
        free -= sizes[i]
        rows[i] = row
        if free > 0:
            after[row] = head[free]
            head[free] = row
            node = leaves + free
            while node > 0 and not there[node]:
                there[node] = True
                node >>= 1
    return rows, used


@dataclass(frozen=True)
class Cut:
    """Where an exact budget of inputs ends: after `inputs` inputs of the last of `rows` rows."""

    rows: int
    inputs: int


class Rows:
    """The rows of all epochs, numbered through: row 0 is the first of epoch 0. Plans are made when they are needed.

    weights: expected repeats of each document in an epoch, or None. end: nothing comes after it; None: no end.
    Raises ValueError if no document could ever give an input.
    """

    def __init__(
        self, lengths: np.ndarray, context: int, seed: int, weights: np.ndarray | None = None, end: Cut | None = None
    ):
        able = lengths > 1 if weights is None else (lengths > 1) & (weights > 0)
        if not able.any():
            raise ValueError(f"none of {len(lengths)} documents has two tokens and a weight above 0; nothing to train")
        self.lengths, self.context, self.seed, self.weights, self.end = lengths, context, seed, weights, end
        self._firsts = [0]
        self._plans: dict[int, Plan] = {}

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_plans": {}}  # another process makes its own; how long the epochs are goes along

    @property
    def resampled(self) -> bool:
        """Whether the documents' weights are in the plan, and so no longer in the loss."""
        return self.weights is not None

    def epoch(self, number: int) -> Plan:
        """The plan of an epoch."""
        if number not in self._plans:
            while len(self._plans) >= KEPT:
                del self._plans[min(self._plans)]
            self._plans[number] = plan_epoch(self.lengths, self.weights, self.context, self.seed, number)
        return self._plans[number]

    def first(self, epoch: int) -> int:
        """The number of an epoch's first row. Needs the plans of all epochs before it once."""
        while len(self._firsts) <= epoch:
            self._firsts.append(self._firsts[-1] + self.epoch(len(self._firsts) - 1).num_rows)
        return self._firsts[epoch]

    def place(self, row: int) -> tuple[int, int]:
        """(epoch, row of that epoch)."""
        while self._firsts[-1] <= row:
            self.first(len(self._firsts))
        epoch = bisect.bisect_right(self._firsts, row) - 1
        return epoch, row - self._firsts[epoch]

    def rows(self, first: int, last: int) -> Plan:
        """The rows first..last-1. Rows after the end are empty."""
        stop = last if self.end is None else max(min(last, self.end.rows), first)
        parts, at = [], first
        while at < stop:
            epoch, inner = self.place(at)
            plan = self.epoch(epoch)
            count = min(stop - at, plan.num_rows - inner)
            parts.append(plan.rows(inner, inner + count))
            at += count
        found = joined(parts, self.context)
        if self.end is not None and first < self.end.rows <= last:
            found = _shortened(found, self.end.inputs)
        empty = np.full(last - stop, found.row_offsets[-1])
        offsets = np.concatenate([found.row_offsets, empty])
        return Plan(found.documents, found.starts, found.lengths, offsets, self.context)

    def cut(self, tokens: int) -> Cut:
        """Where `tokens` inputs, padding not counted, have been run."""
        assert tokens > 0, tokens
        left, number = tokens, 0
        while True:
            plan = self.epoch(number)
            if plan.num_inputs >= left:
                break
            left -= plan.num_inputs
            number += 1
        ends = np.cumsum(plan.row_inputs())
        row = int(np.searchsorted(ends, left))
        before = int(ends[row - 1]) if row else 0
        return Cut(self.first(number) + row + 1, left - before)

    def until(self, end: Cut) -> Rows:
        """The same rows, but none after `end`."""
        made = Rows(self.lengths, self.context, self.seed, self.weights, end)
        made._firsts, made._plans = self._firsts, self._plans
        return made


def joined(parts: Sequence[Plan], context: int) -> Plan:
    """The rows of several plans, one after the other."""
    none = np.zeros(0, np.int32)
    counts = [np.diff(part.row_offsets) for part in parts]
    return Plan(
        np.concatenate([none, *(part.documents for part in parts)]),
        np.concatenate([none, *(part.starts for part in parts)]),
        np.concatenate([none, *(part.lengths for part in parts)]),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate([np.zeros(0, np.int64), *counts]))]),
        context,
    )


def _shortened(plan: Plan, inputs: int) -> Plan:
    """A plan whose last row ends after so many inputs."""
    begin = int(plan.row_offsets[-2])
    ends = np.cumsum(plan.lengths[begin:])
    pieces = int(np.searchsorted(ends, inputs)) + 1
    lengths = plan.lengths[: begin + pieces].copy()
    lengths[-1] -= ends[pieces - 1] - inputs
    offsets = plan.row_offsets.copy()
    offsets[-1] = begin + pieces
    return Plan(plan.documents[: begin + pieces], plan.starts[: begin + pieces], lengths, offsets, plan.context)
