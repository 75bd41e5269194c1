"""How much a text of a language model repeats itself, by the measures that papers on degeneration use. On token ids.

rep_n    1 - distinct n-grams / n-grams, n = 1..4 (Welleck et al., arXiv 1908.04319; DITTO, arXiv 2206.02369)
rep_w    share of tokens from the second on that are among the w before them, w = 16 (Fu et al., arXiv 2012.14660)
rep_r    share of tokens that lie in a bigram which occurs twice or more (Fu et al.)

All are shares, NaN for a text that is too short to have any. What a paper reports is the mean over texts; `pooled` is
the other convention for rep_n, counts summed over texts first.

Under teacher forcing, with the model's first choice at every position of a real text (rep/l of Welleck et al.):

rep/l        the choice is among the l tokens before it
wrep/l       and is not the token that follows
human_rep/l  the token that follows is among the l before it
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scorers.jit import kernel

SIZES = (1, 2, 3, 4)
WINDOW = 16
SPANS = (16, 32, 128, 512)


def rep_n(tokens: np.ndarray, n: int) -> float:
    """1 - distinct / all n-grams."""
    every, distinct = _grams(tokens, n)
    return 1 - distinct / every if every else float("nan")


def pooled(texts: Sequence[np.ndarray], n: int) -> float:
    """Repeated n-grams of all texts by all their n-grams; n-grams of different texts are different."""
    counts = np.array([_grams(tokens, n) for tokens in texts]).reshape(-1, 2).sum(axis=0)
    return float(1 - counts[1] / counts[0]) if counts[0] else float("nan")


def rep_w(tokens: np.ndarray, window: int = WINDOW) -> float:
    """Share of the tokens from the second on that are among the `window` before them."""
    if len(tokens) < 2:
        return float("nan")
    return float((distances(tokens, tokens, np.array([0, len(tokens)]))[1:] <= window).mean())


def rep_r(tokens: np.ndarray) -> float:
    """Share of the tokens in a bigram that occurs twice or more."""
    if len(tokens) < 2:
        return float("nan")
    pairs = np.stack([tokens[:-1], tokens[1:]], axis=1)
    _, which, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    again = counts[which.reshape(-1)] > 1
    inside = np.append(again, False) | np.append(False, again)
    return float(inside.mean())


def text_measures(tokens: np.ndarray) -> dict[str, float]:
    """All measures of one text."""
    return {f"rep_{n}": rep_n(tokens, n) for n in SIZES} | {"rep_w": rep_w(tokens), "rep_r": rep_r(tokens)}


def forced_measures(
    targets: np.ndarray, choices: np.ndarray, offsets: np.ndarray, spans: Sequence[int] = SPANS
) -> dict[str, float]:
    """Measures under teacher forcing over all documents together.

    targets, choices: int64 (tokens,), the token at each position and the model's first choice for it; offsets: int64
    (documents + 1,). A choice of -1 (a first token, which nothing predicts) is not counted, but is before the others.
    """
    counted = choices >= 0
    if not counted.any():
        return {}
    chosen = distances(targets, choices, offsets)[counted]
    real = distances(targets, targets, offsets)[counted]
    wrong = (choices != targets)[counted]
    found = {"accuracy": float(1 - wrong.mean())}
    for span in spans:
        found[f"rep/{span}"] = float((chosen <= span).mean())
        found[f"wrep/{span}"] = float(((chosen <= span) & wrong).mean())
        found[f"human_rep/{span}"] = float((real <= span).mean())
    return found


def distances(targets: np.ndarray, queries: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int64 (tokens,): how many places before each position its query last stood among the targets of its document.

    Larger than any document where it did not.
    """
    size = int(max(targets.max(initial=0), queries.max(initial=0))) + 1
    found = np.empty(len(targets), np.int64)
    _distances(
        np.ascontiguousarray(targets, np.int64),
        np.ascontiguousarray(queries, np.int64),
        np.ascontiguousarray(offsets, np.int64),
        np.full(size, -1, np.int64),
        found,
    )
    return found


@kernel
def _distances(targets, queries, offsets, last, found):
    for doc in range(len(offsets) - 1):
        for i in range(offsets[doc], offsets[doc + 1]):
            place = last[queries[i]] if queries[i] >= 0 else -1
            # Places of documents before this one are forgotten by their number.
            found[i] = i - place if place >= offsets[doc] else 1 << 62
            last[targets[i]] = i


def _grams(tokens: np.ndarray, n: int) -> tuple[int, int]:
    """How many n-grams, and how many distinct ones."""
    if len(tokens) < n:
        return 0, 0
    grams = np.lib.stride_tricks.sliding_window_view(np.asarray(tokens), n)
    return len(grams), len(np.unique(grams, axis=0))
