"""Windows over long documents, and batches of windows of nearly the same length.

A document of m + 1 tokens (BOS included) needs m inputs: input j predicts token j + 1, so its last token is never run.
If m is more than the context, the inputs are cut in windows; every later window runs the last ``overlap`` inputs of
the one before again, as context only. So each token is scored once, and tokens run / tokens scored is at most
1 + overlap / (context - overlap): 1.067 with the default overlap of a sixteenth of the context.

Windows are sorted by length over one shard, and a batch ends before its padding would pass 5 %. What is in a batch
depends on the shard and the settings alone, hence so do the losses to the last bit.

>>> cut = cut_windows(np.array([10]), np.array([1]), context=6, overlap=2)
>>> list(zip(cut.starts, cut.stops, cut.fresh))  # run [0, 6) and [4, 10); the second scores from input 6 on
[(0, 6, 0), (4, 10, 6)]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_PADDING = 0.05


@dataclass(frozen=True)
class Windows:
    """w windows in the order of the documents; all positions count inputs of the document, from 0.

    docs: int64 (w,), the document.
    starts, stops: int64 (w,), the inputs that are run.
    fresh: int64 (w,), the first input whose prediction is scored here; those before it are context.
    """

    docs: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    fresh: np.ndarray

    def __len__(self) -> int:
        return len(self.docs)

    @property
    def lengths(self) -> np.ndarray:
        return self.stops - self.starts


@dataclass(frozen=True)
class Work:
    """What a pass cost, in tokens: scored, run through the model, and run as padding on top of that."""

    scored: int
    run: int
    padding: int

    @property
    def overhead(self) -> float:
        """Tokens run for each token scored (1 if nothing was scored)."""
        return self.run / self.scored if self.scored else 1.0

    @property
    def padded_share(self) -> float:
        """The share of padding in what the model computed."""
        return self.padding / (self.run + self.padding) if self.run else 0.0


def default_overlap(context: int) -> int:
    """A sixteenth of the context."""
    return context // 16


def cut_windows(sizes: np.ndarray, leads: np.ndarray, context: int, overlap: int) -> Windows:
    """Windows over documents of ``sizes`` tokens, BOS included, of which the first ``leads`` have no loss.

    Documents without a token to score have no window. Raises ValueError unless 0 <= overlap < context.
    """
    if context < 1 or not 0 <= overlap < context:
        raise ValueError(f"windows of {context} tokens with an overlap of {overlap}: expected 0 <= overlap < context")
    rows: list[tuple[int, int, int, int]] = []
    for doc in np.flatnonzero(sizes > leads):
        inputs, fresh, start = int(sizes[doc]) - 1, int(leads[doc]) - 1, 0
        assert fresh >= 0, "a document's first token has no loss"
        while True:
            stop = min(start + context, inputs)
            if fresh < stop:  # not so only if the leading tokens fill a window
                rows.append((int(doc), start, stop, fresh))
                fresh = stop
            if stop == inputs:
                break
            start = stop - overlap
    table = np.array(rows, np.int64).reshape(-1, 4)
    return Windows(table[:, 0], table[:, 1], table[:, 2], table[:, 3])


def make_batches(lengths: np.ndarray, token_budget: int) -> list[np.ndarray]:
    """Indices of windows per batch, the longest first (what does not fit in memory then fails at once).

    A batch holds at most ``token_budget`` tokens with its padding (more only if one window alone is longer), and at
    most MAX_PADDING of them are padding.
    """
    if token_budget < 1:
        raise ValueError(f"a token budget of {token_budget} per batch; expected at least 1")
    order = np.argsort(-lengths, kind="stable")
    batches: list[np.ndarray] = []
    first = real = 0
    for i, window in enumerate(order):
        longest = int(lengths[order[first]])
        computed = (i + 1 - first) * longest
        real += int(lengths[window])
        if i > first and (computed > token_budget or computed - real > MAX_PADDING * computed):
            batches.append(order[first:i])
            first, real = i, int(lengths[window])
    if len(order):
        batches.append(order[first:])
    return batches


def pack_rows(lengths: np.ndarray, capacity: int) -> list[np.ndarray]:
    """Indices of sequences per row of at most ``capacity`` tokens: each, the longest first, goes into the first row
    that has room for it."""
    rows: list[list[int]] = []
    free = np.zeros(len(lengths), np.int64)
    for one in np.argsort(-lengths, kind="stable"):
        room = np.flatnonzero(free[: len(rows)] >= lengths[one])
        if not len(room):
            free[len(rows)] = capacity
            rows.append([])
        row = int(room[0]) if len(room) else len(rows) - 1
        rows[row].append(int(one))
        free[row] -= lengths[one]
    return [np.array(row, np.int64) for row in rows]


def measure(windows: Windows, batches: list[np.ndarray]) -> Work:
    """The tokens scored, run and padded by these batches."""
    lengths = windows.lengths
    computed = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    run = int(lengths.sum())
    return Work(scored=int((windows.stops - windows.fresh).sum()), run=run, padding=computed - run)
