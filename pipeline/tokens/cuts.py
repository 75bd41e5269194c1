"""Exact cuts over all shards: which key the last kept token has, for all tokens or for each batch.

    cut = global_cut(pool, shards, settings, control=False)     # the same whatever the shards and workers

Workers answer with histograms of 65,536 bins, never with tokens. Batches of samples are dealt out by a permutation of
all samples that take part, from the seed alone; their tokens are brought together some batches at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.execute import Pool
from pipeline.select.spread import answers
from pipeline.tokens.ranking import Ranked, ranked
from pipeline.tokens.settings import SelectTokensSettings
from pipeline.tokens.table import TokenTable
from scorers.sstoken.choose import (
    BINS,
    DIGITS,
    NOTHING,
    Cut,
    Search,
    cut_of,
    cuts_of_batches,
    digit_counts,
    narrowed,
    share,
)

TOKENS_AT_ONCE = 1 << 25
"""Of batches that are looked at together."""


@dataclass(frozen=True)
class Reader:
    """Reads a shard of a token table, and ranks its tokens."""

    table: TokenTable
    settings: SelectTokensSettings
    columns: tuple[str, ...]

    def __call__(self, shard: str) -> Ranked:
        return ranked(self.table.read(shard, list(self.columns)), self.settings)


@dataclass(frozen=True)
class _Size:
    reader: Reader

    def __call__(self, shard: str) -> tuple[str, int, int]:
        """(shard, samples that take part, tokens that compete)."""
        found = self.reader(shard)
        return shard, int((found.counts > 0).sum()), int(found.offsets[-1])


@dataclass(frozen=True)
class Sizes:
    """Samples and tokens of each shard, in order."""

    samples: np.ndarray
    tokens: np.ndarray


def sizes(pool: Pool, reader: Reader) -> Sizes:
    """What takes part, shard by shard."""
    found = {shard: rest for shard, *rest in answers(pool, _Size(reader), list(reader.table.shards))}
    table = np.array([found[shard] for shard in reader.table.shards], np.int64).reshape(-1, 2)
    return Sizes(table[:, 0], table[:, 1])


@dataclass(frozen=True)
class _Count:
    reader: Reader
    search: Search
    control: bool

    def __call__(self, shard: str) -> np.ndarray:
        found = self.reader(shard)
        if self.control:
            return digit_counts(np.zeros(len(found.ties), np.uint32), found.control, self.search)
        return digit_counts(found.orders, found.ties, self.search)


def global_cut(pool: Pool, reader: Reader, total: int, control: bool) -> Cut:
    """The cut that keeps the share of all tokens. control: in the random order."""
    settings = reader.settings
    wanted = share(total, settings.rho, settings.rounded)
    if wanted == 0:
        return NOTHING
    search = Search()
    while len(search.digits) < DIGITS:
        counts = np.zeros(BINS, np.int64)
        for answer in answers(pool, _Count(reader, search, control), list(reader.table.shards)):
            counts += answer
        search, wanted, whole = narrowed(search, counts, wanted)
        if whole:
            break
    return cut_of(search)


def batches_of(found: Sizes, settings: SelectTokensSettings) -> list[np.ndarray]:
    """The batch of each sample that takes part, int64, shard by shard."""
    count = int(found.samples.sum())
    order = np.random.Generator(np.random.Philox(settings.seed)).permutation(count)
    batch = np.empty(count, np.int64)
    batch[order] = np.arange(count) // settings.batch
    return np.split(batch, np.cumsum(found.samples)[:-1])


@dataclass(frozen=True)
class _Batches:
    reader: Reader
    batches: tuple[np.ndarray, ...]

    def __call__(self, wanted: tuple[int, int]) -> tuple[dict[int, Cut], dict[int, Cut]]:
        """Cuts of the batches first..last-1, by score and by chance."""
        parts = []
        for shard, batch in zip(self.reader.table.shards, self.batches, strict=True):
            inside = (batch >= wanted[0]) & (batch < wanted[1])
            if inside.any():
                found = self.reader(shard)
                of_token = np.repeat(batch, found.counts[found.counts > 0])
                chosen = (of_token >= wanted[0]) & (of_token < wanted[1])
                parts.append([a[chosen] for a in (found.orders, found.ties, found.control, of_token)])
        own, tie, control, batch = (np.concatenate(part) for part in zip(*parts, strict=True))
        settings = self.reader.settings
        return (
            cuts_of_batches(own, tie, batch, settings.rho, settings.rounded),
            cuts_of_batches(np.zeros_like(own), control, batch, settings.rho, settings.rounded),
        )


def batch_cuts(
    pool: Pool, reader: Reader, found: Sizes, batches: Sequence[np.ndarray]
) -> tuple[dict[int, Cut], dict[int, Cut]]:
    """{batch: cut} by score and by chance."""
    count = -(-int(found.samples.sum()) // reader.settings.batch)
    groups = max(1, -(-int(found.tokens.sum()) // TOKENS_AT_ONCE))
    edges = np.unique(np.linspace(0, count, groups + 1).astype(int))
    by_score: dict[int, Cut] = {}
    by_chance: dict[int, Cut] = {}
    pairs = [(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    for own, control in answers(pool, _Batches(reader, tuple(batches)), pairs):
        by_score |= own
        by_chance |= control
    return by_score, by_chance
