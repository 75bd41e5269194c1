"""Where a budget ends, exactly, over all shards, in the memory of a histogram.

The order of documents is 128 bits (score, then hash of the id) and then the id. A round of tasks sums the unit over
16 of these bits; the first bin whose running sum exceeds the budget holds the boundary, and the next round looks only
into that bin. Once few enough rows are left they are fetched and sorted. Twenty million equal scores cost a few more
rounds, not memory.

    cuts = find_cuts(look_round, lambda: {"wiki": 10**9, None: 4 * 10**9}, ["wiki", None])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.select.rank import FIRST, LAST, Ranked, Ranking, hashes, number_of

BITS = 16
LEVELS = 128 // BITS
FETCH_ROWS = 200_000
"""Rows of a bin that are fetched and sorted in the main process."""

Group = str | None
"""A source with a budget of its own; None: all other sources together"""


class Place(NamedTuple):
    """A place in the ranking: that of the first document that does not fit. A tuple: 200,000 of them are sorted."""

    key: int
    tie: int
    id: str
    corpus: str


@dataclass(frozen=True)
class Focus:
    """The part of the ranking that a round looks into: the documents whose first `level * 16` bits are `prefix`."""

    level: int = 0
    prefix: int = 0
    fetch: bool = False
    settled: bool = False
    """The group's cut is known: nothing of it is looked for."""


@dataclass
class Found:
    """What a round found of one group: sums and counts by bin, or the documents themselves."""

    sums: np.ndarray
    counts: np.ndarray
    bins: np.ndarray
    documents: list[tuple[Place, int]] = field(default_factory=list)


Round = Callable[[Mapping[Group, Focus]], Iterable[Mapping[Group, Found]]]
"""Looks into all shards; one answer per shard, in any order"""


def look(shard: Ranked, ranking: Ranking, candidates: np.ndarray, focus: Mapping[Group, Focus]) -> dict[Group, Found]:
    """One shard's part of a round. candidates: bool, the documents that compete."""
    found = {}
    for group, rows in _by_group(shard, candidates, focus).items():
        at = focus[group]
        if at.settled:
            continue
        ties = None
        if at.level:
            rows = rows[
                shard.key[rows] >> np.uint64(max(64 - BITS * at.level, 0)) == at.prefix >> max(BITS * at.level - 64, 0)
            ]
        if len(rows) and (at.level >= LEVELS // 2 or at.fetch):
            ties = hashes(shard.ids.take(pa.array(rows)), ranking.tie_seed)
            if at.level > LEVELS // 2:
                used = BITS * at.level - 64
                inside = ties >> np.uint64(64 - used) == at.prefix & ((1 << used) - 1)
                rows, ties = rows[inside], ties[inside]
        if not len(rows):
            continue
        if at.fetch:
            assert ties is not None
            ids = shard.ids.take(pa.array(rows)).to_pylist()
            places = map(Place, shard.key[rows].tolist(), ties.tolist(), ids, [shard.corpus] * len(ids))
            amounts = shard.amount[rows].tolist()
            empty = np.zeros(0, np.int64)
            found[group] = Found(empty, empty, empty, list(zip(places, amounts, strict=True)))
            continue
        digits = shard.key[rows] if ties is None else ties
        shift = 64 - BITS * (at.level % (LEVELS // 2) + 1)
        bins, inverse = np.unique((digits >> np.uint64(shift)) & np.uint64(0xFFFF), return_inverse=True)
        sums = np.zeros(len(bins), np.int64)
        np.add.at(sums, inverse, shard.amount[rows])
        found[group] = Found(sums, np.bincount(inverse, minlength=len(bins)), bins.astype(np.int64))
    return found


def _by_group(shard: Ranked, candidates: np.ndarray, focus: Mapping[Group, Focus]) -> dict[Group, np.ndarray]:
    """{group: its rows} of the groups that are looked for."""
    groups: dict[Group, np.ndarray] = {}
    rest = candidates.copy()
    for code, name in enumerate(shard.source_names):
        if name in focus:
            groups[name] = np.flatnonzero(candidates & (shard.sources == code))
            rest[shard.sources == code] = False
    if None in focus:
        groups[None] = np.flatnonzero(rest)
    return groups


def find_cuts(
    look_round: Round, limits: Callable[[], Mapping[Group, int]], groups: Iterable[Group], fetch_rows: int = FETCH_ROWS
) -> dict[Group, Place | None]:
    """{group: the first document that does not fit its limit, None if all fit}.

    limits: called after the first round, when shares of a total can be told.
    """
    open_groups: dict[Group, Focus] = dict.fromkeys(groups, Focus())
    left: dict[Group, int] = {}
    cuts: dict[Group, Place | None] = {}
    while open_groups:
        sums = {g: np.zeros(1 << BITS, np.int64) for g, f in open_groups.items() if not f.fetch}
        counts = {g: np.zeros(1 << BITS, np.int64) for g in sums}
        fetched: dict[Group, list[tuple[Place, int]]] = {g: [] for g, f in open_groups.items() if f.fetch}
        # Settled groups are named too: their documents are not the rest's.
        for answer in look_round(open_groups | dict.fromkeys(cuts, Focus(settled=True))):
            for group, found in answer.items():
                if group in fetched:
                    fetched[group] += found.documents
                else:
                    sums[group][found.bins] += found.sums
                    counts[group][found.bins] += found.counts
        left = left or dict(limits())
        for group, focus in list(open_groups.items()):
            if group in fetched:
                cuts[group] = _first_over(fetched[group], left[group])
                del open_groups[group]
                continue
            running = np.cumsum(sums[group])
            # The first bin whose running sum exceeds what is left holds the first document that does not fit.
            bin_ = int(np.searchsorted(running, left[group], side="right"))
            if bin_ == len(running):
                cuts[group] = None
                del open_groups[group]
                continue
            left[group] -= int(running[bin_ - 1]) if bin_ else 0
            deeper = Focus(focus.level + 1, focus.prefix << BITS | bin_)
            few = counts[group][bin_] <= fetch_rows or deeper.level == LEVELS
            open_groups[group] = Focus(deeper.level, deeper.prefix, fetch=few)
    return cuts


def _first_over(documents: list[tuple[Place, int]], limit: int) -> Place:
    documents.sort()
    total = 0
    for place, amount in documents:
        total += amount
        if total > limit:
            return place
    raise AssertionError("the shards changed between two rounds")


def beyond(shard: Ranked, ranking: Ranking, candidates: np.ndarray, cuts: Mapping[Group, Place | None]) -> np.ndarray:
    """bool: the candidates that do not come before their group's cut. Sources without a group stay."""
    over = np.zeros(len(candidates), bool)
    for group, rows in _by_group(shard, candidates, dict.fromkeys(cuts, Focus())).items():
        cut = cuts[group]
        if cut is None:
            continue
        keys = shard.key[rows]
        over[rows[keys > cut.key]] = True
        equal = rows[keys == cut.key]
        if len(equal):
            taken = shard.ids.take(pa.array(equal))
            ties = hashes(taken, ranking.tie_seed)
            over[equal[ties > cut.tie]] = True
            same = np.flatnonzero(ties == cut.tie)
            for row, identity in zip(equal[same].tolist(), taken.take(pa.array(same)).to_pylist(), strict=True):
                over[row] = (identity, shard.corpus) >= (cut.id, cut.corpus)
    return over


def boundary_score(place: Place | None, ascending: bool) -> float | None:
    """The score of the first document that does not fit; None if all fit or its score is undefined."""
    if place is None or place.key in (int(FIRST), int(LAST)):
        return None
    return number_of(place.key if ascending else place.key ^ (2**64 - 1))
