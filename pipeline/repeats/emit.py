"""From the text of a shard to its records: the same records in the same order in both passes."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import models
from pipeline.errors import UserError
from pipeline.repeats.settings import SpanSettings, UnitSettings
from pipeline.shards import batches
from pipeline.storage import Store
from pipeline.workspace import Corpus
from scorers.abbreviations import abbreviation_keys
from scorers.lengths import load_tokenizer
from scorers.repetition.items import items_of
from scorers.repetition.unit_records import KIND_BITS, Units, units_of
from scorers.repetition.windows import SOURCES, Windows, thinned, windows_of, winnowed
from scorers.sentences import unit_ends
from scorers.texts import Texts
from scorers.words import Words

BUFFER = 1 << 20
GIVE_BACK_BYTES = 32 << 20
"""Text after which freed memory goes back to the system."""
OTHERS = SOURCES - 1
"""Code of all sources that are too small for one of their own."""


@dataclass(frozen=True)
class Sources:
    """Sources by code: the largest of all corpora together, then the others. names: (corpus, source)."""

    names: tuple[tuple[str, str | None], ...]

    @classmethod
    def of(cls, corpora: list[Corpus]) -> Sources:
        """Of finished corpora, by the documents that the ledger counts."""
        rows: dict[tuple[str, str | None], int] = {}
        for corpus in corpora:
            for row in corpus.done.values():
                for item in row.sources:
                    key = corpus.name, item["source"]
                    rows[key] = rows.get(key, 0) + item["rows_out"]
        largest = sorted(rows, key=lambda key: (-rows[key], key[0], key[1] or ""))
        return cls(tuple(sorted(largest[:OTHERS], key=lambda key: (key[0], key[1] or ""))))

    def codes(self, corpus: str, column: pa.ChunkedArray) -> np.ndarray:
        """uint8 per document."""
        known = pa.array([name for of, name in self.names if of == corpus], pa.string())
        codes = np.array([code for code, (of, _) in enumerate(self.names) if of == corpus] + [OTHERS], np.uint8)
        found = pc.index_in(column.cast(pa.string()), value_set=known).fill_null(len(known))
        return codes[found.to_numpy()]

    def label(self, code: int) -> tuple[str | None, str | None]:
        """(corpus, source) of a code; both None for the others."""
        return self.names[code] if code < len(self.names) else (None, None)


def give_back() -> None:
    """Return freed memory to the system: what is scattered over the heap is in the way of what comes next."""
    _give_back_text()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _give_back_text() -> None:
    """Return what Arrow's allocator keeps: three times what reading a shard really takes."""
    pa.default_memory_pool().release_unused()


class Batch(Protocol):
    """Documents with their records, in text order. total: records, those that were not drawn included."""

    @property
    def table(self) -> pa.Table:
        """id, source and text."""
        ...

    @property
    def texts(self) -> Texts:
        """The texts of the table."""
        ...

    @property
    def total(self) -> int:
        """See above."""
        ...

    @property
    def records(self) -> np.ndarray:
        """uint64 of shape (n, 2)."""
        ...

    @property
    def num_words(self) -> int:
        """Words (or tokens) of the documents."""
        ...

    @property
    def short(self) -> int:
        """Documents that are too short to have a record."""
        ...


class Reader(Protocol):
    """How records are made of a corpus: pickled to the workers."""

    @property
    def corpus(self) -> str:
        """Its name."""
        ...

    @property
    def sources(self) -> Sources:
        """Codes of the sources."""
        ...

    @property
    def document_bits(self) -> int:
        """By how many the number of a document is shifted in its records."""
        ...

    def batches(self, store: Store, file: str) -> Iterator[Any]:
        """The records of a document shard, batch by batch."""
        ...


@dataclass(frozen=True)
class SpanBatch:
    """Documents with their items and windows."""

    table: pa.Table
    texts: Texts
    items: Words
    sources: np.ndarray
    windows: Windows
    total: int
    short: int

    @property
    def records(self) -> np.ndarray:
        """Of the windows."""
        return self.windows.records

    @property
    def num_words(self) -> int:
        """Items."""
        return len(self.items)


@dataclass(frozen=True)
class SpanReader:
    """Windows of words or tokens."""

    corpus: str
    sources: Sources
    settings: SpanSettings
    tokenizer: tuple[str, str] | None
    """path or URL, content hash"""
    document_bits: int = 0

    def batches(self, store: Store, file: str) -> Iterator[SpanBatch]:
        """The windows of a document shard."""
        settings = self.settings
        tokenizer = _tokenizer(*self.tokenizer) if self.tokenizer else None
        first = bytes_seen = 0
        for table in batches(store, file, ["id", "source", "text"], BUFFER):
            texts = Texts.from_arrow(table.column("text"))
            items = items_of(texts, settings.split, tokenizer)
            codes = self.sources.codes(self.corpus, table.column("source"))
            windows = windows_of(items.doc_offsets, items.hashes, settings.window, codes, first)
            total, short = len(windows), int(np.count_nonzero(np.diff(windows.offsets) == 0))
            if settings.sample is not None:
                windows = thinned(windows, settings.sample, settings.seed)
            if settings.winnow is not None:
                windows = winnowed(windows, settings.winnow)
            yield SpanBatch(table, texts, items, codes, windows, total, short)
            first += table.num_rows
            _give_back_text()
            if (bytes_seen := bytes_seen + texts.num_bytes) >= GIVE_BACK_BYTES:
                bytes_seen = 0
                give_back()


@dataclass(frozen=True)
class UnitBatch:
    """Documents with their units."""

    table: pa.Table
    texts: Texts
    sources: np.ndarray
    units: Units

    @property
    def records(self) -> np.ndarray:
        """Of the units."""
        return self.units.records

    @property
    def total(self) -> int:
        """Units."""
        return len(self.units)

    @property
    def num_words(self) -> int:
        """Words."""
        return len(self.texts.words)

    @property
    def short(self) -> int:
        """Documents without a unit."""
        return int(np.count_nonzero(np.diff(self.units.offsets) == 0))


@dataclass(frozen=True)
class UnitReader:
    """Documents, paragraphs, lines and sentences."""

    corpus: str
    sources: Sources
    settings: UnitSettings
    document_bits: int = KIND_BITS

    def batches(self, store: Store, file: str) -> Iterator[UnitBatch]:
        """The units of a document shard."""
        settings = self.settings
        keys = abbreviation_keys(settings.language, settings.abbreviations)
        first = 0
        for table in batches(store, file, ["id", "source", "text"], BUFFER):
            texts = Texts.from_arrow(table.column("text"))
            codes = self.sources.codes(self.corpus, table.column("source"))
            flags = unit_ends(texts.data, texts.offsets, texts.words, keys)
            yield UnitBatch(
                table, texts, codes, units_of(texts, flags, settings.kinds, settings.least_words, codes, first)
            )
            first += table.num_rows
            _give_back_text()


@functools.lru_cache(maxsize=2)
def _tokenizer(value: str, digest: str) -> Any:
    """The tokenizer, loaded once per process."""
    path = models.local_file(value, "tokenizer")
    if models.content_hash(path) != digest:
        raise UserError(f"tokenizer {value} changed while the run was under way; run again to count with the new one")
    return load_tokenizer(str(path))
