"""What a count says about whole corpora: small tables beside its stage.json.

repeats/<alias>-<hash8>/
  spectrum.parquet   measure, multiplicity, distinct, spans: by occurrences and by documents
  classes.parquet    corpus, source, multiplicity, words, chars: words by the largest multiplicity over them, from 2 on
  sources.parquet    corpus, source, documents, short, words, chars, words_2 ..., chars_2 ..., docs_2 ..., later, ...
  shared.parquet     corpus, source, other_corpus, other_source, words: of the source that the other has too
  spans.parquet      ranking, rank, kind, words, occurrences, documents, found, chars, text, places
  report.json        the totals, and the proof that no window was lost
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.repeats import examples
from pipeline.repeats.cover import SUMS
from pipeline.repeats.emit import Sources
from pipeline.repeats.settings import SpanSettings
from pipeline.shards import write_narrow
from pipeline.storage import Store
from scorers.repetition.coverage import summed

PLACE = pa.struct(
    [
        ("corpus", pa.string()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("begin", pa.int64()),
        ("end", pa.int64()),
    ]
)
_SOURCE = [("corpus", pa.string()), ("source", pa.string())]
SPECTRUM = pa.schema(
    [("measure", pa.string()), ("multiplicity", pa.int64()), ("distinct", pa.int64()), ("spans", pa.int64())]
)
CLASSES = pa.schema([*_SOURCE, ("multiplicity", pa.int64()), ("words", pa.int64()), ("chars", pa.int64())])
SHARED = pa.schema([*_SOURCE, ("other_corpus", pa.string()), ("other_source", pa.string()), ("words", pa.int64())])
SPANS = pa.schema(
    [
        ("ranking", pa.string()),
        ("rank", pa.int32()),
        ("kind", pa.string()),
        ("words", pa.int64()),
        ("occurrences", pa.int64()),
        ("documents", pa.int64()),
        ("found", pa.int64()),
        ("chars", pa.int64()),
        ("text", pa.string()),
        ("places", pa.list_(PLACE)),
    ]
)


def sources_schema(settings: SpanSettings) -> pa.Schema:
    """Columns of sources.parquet."""
    names = [*SUMS, *(f"{what}_{k}" for what in ("words", "chars", "docs") for k in settings.levels)]
    return pa.schema([*_SOURCE, *((name, pa.int64()) for name in [*names, "later", "elsewhere"])])


@dataclass
class Spectrum:
    """Distinct windows by (occurrences, documents), added up over the partitions."""

    rows: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))

    def add(self, rows: np.ndarray) -> None:
        """int64 of shape (m, 3): occurrences, documents, distinct."""
        both = np.concatenate([self.rows, rows])
        keys, distinct = summed(both[:, :2], both[:, 2])
        self.rows = np.column_stack([keys, distinct])

    @property
    def windows(self) -> int:
        """All that were counted."""
        return int((self.rows[:, 0] * self.rows[:, 2]).sum())

    def table(self) -> pa.Table:
        """By occurrences, and by documents."""
        parts = []
        for name, column in (("occurrences", 0), ("documents", 1)):
            keys = np.column_stack([np.zeros(len(self.rows), np.int64), self.rows[:, column]])
            values, distinct, spans = summed(keys, self.rows[:, 2], self.rows[:, 0] * self.rows[:, 2])
            arrays = [pa.array([name] * len(values), pa.string()), *map(pa.array, (values[:, 1], distinct, spans))]
            parts.append(pa.table(arrays, schema=SPECTRUM))
        return pa.concat_tables(parts)

    def mass(self, level: int, rate: float) -> tuple[float, float]:
        """Windows that occur at least ``level`` times, of which ``rate`` was sampled, and the standard error.

        Whole windows are drawn, each with all its copies: the variance is that of a Bernoulli sample of distinct
        windows, sum m^2 (1 - rate) / rate^2 over those drawn (Horvitz and Thompson).
        """
        rows = self.rows[self.rows[:, 0] >= level].astype(np.float64)
        total = float((rows[:, 0] * rows[:, 2]).sum()) / rate
        variance = float((rows[:, 0] ** 2 * rows[:, 2]).sum()) * (1 - rate) / rate**2
        return total, float(np.sqrt(variance))


def write_tables(
    store: Store, folder: str, settings: SpanSettings, sources: Sources, spectrum: Spectrum, parts: Iterable[bytes]
) -> dict[str, Any]:
    """Write the tables of a full count; its totals."""
    sums = shared = None
    classes = np.zeros((0, 4), np.int64)
    spans: dict[int, examples.Span] = {}
    for data in parts:
        part = orjson.loads(data)
        sums = np.array(part["sums"], np.int64) + (0 if sums is None else sums)
        shared = np.array(part["shared"], np.int64) + (0 if shared is None else shared)
        rows = np.concatenate([classes, np.array(part["classes"], np.int64).reshape(-1, 4)])
        classes = np.column_stack(summed(rows[:, :2], rows[:, 2], rows[:, 3]))
        for span in part["spans"]:
            examples.add(spans, span)
        examples.prune(spans, settings.examples)
    assert sums is not None
    assert shared is not None
    labels = [sources.label(code) for code in range(64)]
    write(store, f"{folder}/spectrum.parquet", spectrum.table())
    named = [(*labels[source], *rest) for source, *rest in classes.tolist()]
    write(store, f"{folder}/classes.parquet", table_of(CLASSES, named))
    there = np.flatnonzero(sums[:, 0]).tolist()
    schema = sources_schema(settings)
    write(store, f"{folder}/sources.parquet", table_of(schema, [(*labels[i], *sums[i].tolist()) for i in there]))
    pairs = [(*labels[a], *labels[b], int(shared[a, b])) for a, b in np.argwhere(shared).tolist()]
    write(store, f"{folder}/shared.parquet", table_of(SHARED, pairs))
    write_examples(store, folder, spans, settings.examples)
    return dict(zip(schema.names[2:], sums.sum(axis=0).tolist(), strict=True))


def table_of(schema: pa.Schema, rows: list[tuple[Any, ...]]) -> pa.Table:
    """Rows as a table of a schema."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def write_examples(store: Store, folder: str, spans: dict[int, examples.Span], most: int) -> None:
    """Write spans.parquet: the best of each ranking."""
    best = [
        (ranking, rank + 1, *(span[name] for name in SPANS.names[2:]))
        for ranking in examples.RANKINGS
        for rank, span in enumerate(examples.ranked(spans.values(), ranking)[:most])
    ]
    write(store, f"{folder}/spans.parquet", table_of(SPANS, best))


def write(store: Store, name: str, table: pa.Table) -> None:
    """A small table, whole or not at all."""
    with store.writing(name) as path:
        write_narrow(path, table)
