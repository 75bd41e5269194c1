"""What differs between counts of spans and of units: how records are made, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

import scorers.sentences
import scorers.words
from pipeline.execute import Work
from pipeline.repeats import cover, report, steps, units
from pipeline.repeats.emit import Reader, Sources, SpanReader, UnitReader
from pipeline.repeats.settings import CountSettings, SpanSettings, UnitSettings
from scorers.abbreviations import abbreviation_keys
from scorers.repetition import counting, coverage, fingerprints, items, unit_records, windows
from scorers.repetition.sieve import Sieve
from scorers.texts import Texts

COMMON = (steps, counting, coverage, fingerprints, scorers.words)


@dataclass(frozen=True)
class Method:
    """One kind of count. scorer: what its score stages say they are made by."""

    scorer: str
    versions: tuple[int, ...]
    most_documents: int
    cover: Work
    schema_of: Callable[[str, Any], pa.Schema]
    write_tables: Callable[..., dict[str, Any]]


SPANS = Method(
    "repeats",
    tuple(module.VERSION for module in (*COMMON, windows, items)),
    windows.MOST_DOCUMENTS,
    cover.cover_shard,
    cover.schema_of,
    report.write_tables,
)
UNITS = Method(
    "units",
    tuple(module.VERSION for module in (*COMMON, unit_records, scorers.sentences)),
    unit_records.MOST_DOCUMENTS,
    units.cover_units,
    units.schema_of,
    units.write_tables,
)


def method_of(settings: CountSettings) -> Method:
    """The kind of count that settings are for."""
    return UNITS if isinstance(settings, UnitSettings) else SPANS


def reader_of(settings: CountSettings, corpus: str, sources: Sources, tokenizer: str | None) -> Reader:
    """How records are made of a corpus. tokenizer: hash of its content."""
    if isinstance(settings, UnitSettings):
        return UnitReader(corpus, sources, settings)
    assert isinstance(settings, SpanSettings)
    named = (settings.tokenizer, tokenizer) if settings.tokenizer and tokenizer else None
    return SpanReader(corpus, sources, settings, named)


def warm() -> None:
    """Compile and cache the kernels once in the main process."""
    texts = Texts.from_arrow(pa.array(["a a a a"], pa.large_string()))
    words = texts.words
    flags = scorers.sentences.unit_ends(texts.data, texts.offsets, words, abbreviation_keys("en"))
    unit_records.units_of(texts, flags)
    found = windows.windows_of(words.doc_offsets, words.hashes, 2)
    windows.thinned(found, 0.5)
    windows.winnowed(found, 2)
    sift = Sieve.for_records(len(found))
    sift.add(found.records)
    sift.passes(found.records)
    routed = np.empty_like(found.records)
    counting.route(found.records, 0, routed)
    table = counting.Table(0)
    slab = counting.Slab.of(routed, 0)
    table.add(slab)
    table.seal()
    answers = table.answers(slab)
    answered = coverage.Answered(*(np.zeros(len(found), np.uint32) for _ in range(3)))
    rows = np.stack([answers.places.astype(np.uint32), answers.occurrences, answers.documents, answers.sets], axis=1)
    bounds = np.array([0, len(rows)], np.int64)
    cursor = coverage.Cursor(np.zeros(1, np.int64), bounds[:1].copy(), bounds[1:], rows)
    cursor.take(found.records[:, 0], 0, answered, 0)
    coverage.cover(words, found, answered, 2, (2,), np.zeros(1, np.uint8), table.sets)
    coverage.stretches(found, answered, 2)
