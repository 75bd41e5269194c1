"""From the text of a shard to its windows: the same windows in the same order in both passes."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import models
from pipeline.errors import UserError
from pipeline.repeats.settings import SpanSettings
from pipeline.shards import batches
from pipeline.storage import Store
from pipeline.workspace import Corpus
from scorers.lengths import load_tokenizer
from scorers.repetition.items import items_of
from scorers.repetition.windows import SOURCES, Windows, thinned, windows_of, winnowed
from scorers.texts import Texts
from scorers.words import Words

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


@dataclass(frozen=True)
class Reader:
    """How windows are made of a corpus: pickled to the workers."""

    corpus: str
    settings: SpanSettings
    tokenizer: tuple[str, str] | None
    """path or URL, content hash"""
    sources: Sources


@dataclass(frozen=True)
class Batch:
    """Documents with their items and windows. total: windows, those that were not drawn included."""

    table: pa.Table
    texts: Texts
    items: Words
    sources: np.ndarray
    windows: Windows
    total: int


def windows_in(store: Store, file: str, reader: Reader) -> Iterator[Batch]:
    """The windows of a document shard, batch by batch."""
    settings = reader.settings
    tokenizer = _tokenizer(*reader.tokenizer) if reader.tokenizer else None
    first = 0
    for table in batches(store, file, ["id", "source", "text"]):
        texts = Texts.from_arrow(table.column("text"))
        items = items_of(texts, settings.split, tokenizer)
        codes = reader.sources.codes(reader.corpus, table.column("source"))
        windows = windows_of(items.doc_offsets, items.hashes, settings.window, codes, first)
        total = len(windows)
        if settings.sample is not None:
            windows = thinned(windows, settings.sample, settings.seed)
        if settings.winnow is not None:
            windows = winnowed(windows, settings.winnow)
        yield Batch(table, texts, items, codes, windows, total)
        first += table.num_rows


@functools.lru_cache(maxsize=2)
def _tokenizer(value: str, digest: str) -> Any:
    """The tokenizer, loaded once per process."""
    path = models.local_file(value, "tokenizer")
    if models.content_hash(path) != digest:
        raise UserError(f"tokenizer {value} changed while the run was under way; run again to count with the new one")
    return load_tokenizer(str(path))


def check_unchanged(store: Store, file: str, size: int) -> None:
    """Raises UserError if a document shard is not the one that the ledger speaks of."""
    found = store.fs.size(store.path(file))
    if found != size:
        raise UserError(f"{store.shown(file)} has {found} bytes, the ledger says {size}: it was changed after ingest")
