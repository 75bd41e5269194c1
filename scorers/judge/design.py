"""Which documents a judge sees together, and in which order.

A round shows every document once. Over the rounds a document moves through the positions of a prompt in equal steps, so
that a preference of the judge for some position meets all documents alike; whom it is shown with is drawn anew each
round. Anchors, a few documents that come back in group after group, put all groups on one scale.

    groups = design(10_000, size=8, rounds=4, anchors=1, seed=0)
    groups.members      # int32 (prompts, 8), rows of the sample
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ANCHORS = 16
"""Documents that serve as anchors, where there are so many."""


@dataclass(frozen=True)
class Groups:
    """Documents of each prompt, in the order in which they are shown.

    members: int32 (prompts, size), document numbers. rounds: int32 (prompts,), from 0.
    """

    members: np.ndarray
    rounds: np.ndarray

    def __len__(self) -> int:
        return len(self.members)


def design(
    documents: int,
    size: int,
    rounds: int,
    anchors: int = 0,
    seed: int = 0,
    chosen: np.ndarray | None = None,
    first_round: int = 0,
) -> Groups:
    """Groups in which each of the documents, or each of the `chosen`, is shown at least once a round.

    Where the documents do not fill the last groups of a round, some are shown twice; no group holds a document twice.
    anchors: slots of each group that anchors take, on top of the round's own documents.
    first_round: number of the first round; another one gives other groups and moves the positions on.
    ValueError for sizes that do not fit.
    """
    shown = np.arange(documents, dtype=np.int32) if chosen is None else np.asarray(chosen, np.int32)
    own = size - anchors
    if size < 2 or own < 1 or rounds < 1:
        raise ValueError(f"groups of {size} with {anchors} anchors, {rounds} rounds: expected room for a document")
    if documents < size:
        raise ValueError(f"{documents} documents; a group of {size} needs as many")
    if len(shown) == 0:
        return Groups(np.empty((0, size), np.int32), np.empty(0, np.int32))
    order = np.random.default_rng([seed, 0]).permutation(len(shown))
    pool = np.random.default_rng([seed, 1]).permutation(documents)[: max(ANCHORS, size)].astype(np.int32)
    parts = [
        _round(shown[order], own, anchors, pool, documents, number, rounds, seed)
        for number in range(first_round, first_round + rounds)
    ]
    members = np.concatenate(parts)
    return Groups(members, np.repeat(np.arange(first_round, first_round + rounds, dtype=np.int32), len(parts[0])))


def _round(
    shown: np.ndarray, own: int, anchors: int, pool: np.ndarray, documents: int, number: int, rounds: int, seed: int
) -> np.ndarray:
    """Groups of one round. A document's base slot is its place in `shown` modulo `own`; rounds move all slots on."""
    rng = np.random.default_rng([seed, 2, number])
    count = -(-len(shown) // own)
    base = np.arange(len(shown)) % own
    shift = (number * own) // rounds if own >= rounds else number
    groups = np.full((count, own), -1, np.int32)
    for slot in range(own):
        mine = shown[base == slot]
        groups[: len(mine), (slot + shift) % own] = rng.permutation(mine)
    # Rows are filled from above, so the empty places of a slot are at its end; other rows get them by a shuffle below.
    size = own + anchors
    whole = np.full((count, size), -1, np.int32)
    for row in range(count):
        group = groups[row]
        taken = {int(d) for d in group if d >= 0}
        for slot in np.flatnonzero(group < 0).tolist():
            group[slot] = _other(rng, documents, taken)
        places = {(row + number + step * size // anchors) % size for step in range(anchors)} if anchors else set()
        free = [slot for slot in range(size) if slot not in places]
        whole[row, free] = group
        start = (row * max(anchors, 1) + number) % len(pool)
        fitting = [int(d) for d in np.roll(pool, -start) if int(d) not in taken]
        fitting += [_other(rng, documents, taken | set(fitting)) for _ in range(anchors - len(fitting))]
        whole[row, sorted(places)] = fitting[:anchors]
    return whole[rng.permutation(count)]


def _other(rng: np.random.Generator, documents: int, taken: set[int]) -> int:
    """A document that is not taken, which is then taken."""
    while True:
        found = int(rng.integers(documents))
        if found not in taken:
            taken.add(found)
            return found
