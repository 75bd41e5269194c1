"""The documents of a search, numbered: corpora in their order, shards in theirs, rows in theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.errors import UserError
from pipeline.workspace import Corpus, Workspace

MOST = 2**32 - 1
"""Documents of one search: a pair of numbers is one 64-bit value."""


@dataclass(frozen=True)
class Part:
    """One document shard: where it lies, and the number of its first document."""

    corpus: str
    shard: str
    documents: str
    """its file"""
    keys: str
    """the file of its band keys"""
    base: int
    rows: int
    size: int
    """bytes of the documents' file, as the ledger says"""


@dataclass(frozen=True)
class Documents:
    """All shards of a search, in order."""

    workspace: Workspace
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """Documents in all."""
        return self.parts[-1].base + self.parts[-1].rows if self.parts else 0

    @cached_property
    def bases(self) -> np.ndarray:
        """int64, the number of each part's first document."""
        return np.array([part.base for part in self.parts], np.int64)

    def corpus_of(self, numbers: np.ndarray) -> list[str]:
        """The corpus of each document."""
        places = np.searchsorted(self.bases, numbers, side="right") - 1
        return [self.parts[place].corpus for place in places.tolist()]


def documents(corpora: Sequence[Corpus], folders: Sequence[str], limit: int | None = None) -> Documents:
    """The shards to search. folders: of the signatures of each corpus. Raises UserError if a shard is missing."""
    parts: list[Part] = []
    base = 0
    for corpus, folder in zip(corpora, folders, strict=True):
        shards = corpus.shards[:limit]
        lost = [shard for shard in shards if shard not in corpus.done]
        if lost:
            raise UserError(f"corpus {corpus.name!r} lacks {len(lost)} shards ({lost[0]}); run its ingest again")
        for shard in shards:
            row = corpus.done[shard]
            keys = f"{folder}/{shard}.keys"
            parts.append(Part(corpus.name, shard, corpus.file(shard), keys, base, row.rows_out, row.size))
            base += row.rows_out
    if base > MOST:
        raise UserError(f"{base:,} documents; one search takes at most {MOST:,}: search parts of the corpora")
    return Documents(corpora[0].workspace, tuple(parts))
