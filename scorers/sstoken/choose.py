"""The best tokens: of every sample, or those on the better side of a cut that was found over many.

    kept = best_of_samples(orders, ties, offsets, counts)
    kept = beyond(orders, ties, cut)

An exact cut over all shards is found digit by digit: a histogram of the leading 16 bits of all keys says in which of
them the boundary lies, the next one looks at the keys of that bin alone, and so on (`digit_counts`, `Search`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scorers.jit import kernel

Rounding = Literal["ceil", "floor"]
DIGITS = 6
"""Of 16 bits in a key: two of the order, four of the tie."""
BINS = 1 << 16


def share(count: int, rho: float, rounding: Rounding) -> int:
    """How many of `count` tokens a share is. 0.6 of 5 is 3, though 0.6 * 5 is more than 3 in floating point."""
    exact = round(count * rho, 9)
    return min(count, math.ceil(exact) if rounding == "ceil" else math.floor(exact))


def shares(counts: np.ndarray, rho: float, rounding: Rounding) -> np.ndarray:
    """The same of many, int64."""
    exact = np.round(counts * rho, 9)
    return np.minimum(counts, (np.ceil(exact) if rounding == "ceil" else np.floor(exact)).astype(np.int64))


def best_of_samples(orders: np.ndarray, ties: np.ndarray, offsets: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """bool, one per token: of each sample the `counts` tokens that come first."""
    return _best(orders, ties, np.ascontiguousarray(offsets, np.int64), np.ascontiguousarray(counts, np.int64))


@kernel
def _best(orders, ties, offsets, counts):  # type: ignore[no-untyped-def]
    kept = np.zeros(len(orders), np.bool_)
    for sample in range(len(offsets) - 1):
        first, last = offsets[sample], offsets[sample + 1]
        # By tie first and then by order: both sorts keep what is equal as it was.
        by_tie = np.argsort(ties[first:last], kind="mergesort")
        worst = ~orders[first:last][by_tie]
        ranked = by_tie[np.argsort(worst, kind="mergesort")]
        for i in range(counts[sample]):
            kept[first + ranked[i]] = True
    return kept


@dataclass(frozen=True)
class Cut:
    """Kept is what is at least as good as this key."""

    order: int
    tie: int


NOTHING = Cut(1 << 32, 0)
"""The cut of a selection of no token."""


def beyond(orders: np.ndarray, ties: np.ndarray, cut: Cut) -> np.ndarray:
    """bool, one per token."""
    if cut == NOTHING:
        return np.zeros(len(orders), bool)
    order = np.uint32(cut.order)
    return (orders > order) | ((orders == order) & (ties <= np.uint64(cut.tie)))


def beyond_own(orders: np.ndarray, ties: np.ndarray, batches: np.ndarray, cuts: dict[int, Cut]) -> np.ndarray:
    """bool, one per token: each by the cut of its batch."""
    names = np.array(sorted(cuts), np.int64)
    at = np.searchsorted(names, batches)
    order, tie = (np.array([getattr(cuts[n], key) for n in names.tolist()], np.uint64)[at] for key in ("order", "tie"))
    own = orders.astype(np.uint64)
    return (own > order) | ((own == order) & (ties <= tie))


@dataclass(frozen=True)
class Search:
    """Where the search for a cut stands: the leading digits of the key at the boundary, best first."""

    digits: tuple[int, ...] = ()


def digit_counts(orders: np.ndarray, ties: np.ndarray, search: Search) -> np.ndarray:
    """int64 (BINS,): how many keys that begin as the search does have each next digit; digits fall with the rank."""
    inside = np.ones(len(orders), bool)
    for place, digit in enumerate(search.digits):
        inside &= _digit(orders, ties, place) == digit
    return np.bincount(_digit(orders[inside], ties[inside], len(search.digits)), minlength=BINS)


def _digit(orders: np.ndarray, ties: np.ndarray, place: int) -> np.ndarray:
    """The digit of each key, int64, 0 for the best: the orders turned round, the ties as they are."""
    if place < 2:
        return (((~orders) >> np.uint32(16 * (1 - place))) & np.uint32(0xFFFF)).astype(np.int64)
    return ((ties >> np.uint64(16 * (5 - place))) & np.uint64(0xFFFF)).astype(np.int64)


def narrowed(search: Search, counts: np.ndarray, wanted: int) -> tuple[Search, int, bool]:
    """One digit further: (search, how many of its keys are wanted, whether these are all of them)."""
    ends = np.cumsum(counts)
    digit = int(np.searchsorted(ends, wanted))
    inside = wanted - int(ends[digit] - counts[digit])
    return Search((*search.digits, digit)), inside, inside == int(counts[digit])


def cut_of(search: Search) -> Cut:
    """The cut that keeps all keys that begin as the search does, and those before them."""
    digits = search.digits + (BINS - 1,) * (DIGITS - len(search.digits))
    return Cut(
        0xFFFFFFFF ^ (digits[0] << 16 | digits[1]), digits[2] << 48 | digits[3] << 32 | digits[4] << 16 | digits[5]
    )


def cuts_of_batches(
    orders: np.ndarray, ties: np.ndarray, batches: np.ndarray, rho: float, rounding: Rounding
) -> dict[int, Cut]:
    """{batch: the cut that keeps its share}, of all tokens of some batches. batches: int64, of each token."""
    ranked = np.lexsort((ties, ~orders, batches))
    found, firsts = np.unique(batches[ranked], return_index=True)
    cuts = {}
    for batch, first, last in zip(found, firsts, [*firsts[1:], len(ranked)], strict=True):
        wanted = share(int(last - first), rho, rounding)
        at = ranked[first + wanted - 1]
        cuts[int(batch)] = Cut(int(orders[at]), int(ties[at])) if wanted else NOTHING
    return cuts
