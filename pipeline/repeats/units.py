"""Step three of units: which documents, paragraphs, lines and sentences of a shard are exact duplicates.

The score table beside the documents, with `line`, `para` and `sent` for the kinds that are counted:

    <alias>_copies                        int64, how often the whole document occurs; NULL if it has no word
    <alias>_later                         bool, an equal document stands before this one
    <alias>_lines, _paras, _sents         int64, units of the document
    <alias>_line_mass, _line_excess       float32, share of them that occur more than once; that are later copies
    <alias>_line_mass_chars, ...          float32, the same, each unit weighing its characters

With `against`: `_copies` in the other corpora, 0 if none; `_mass` is the share of units found there; no `_excess`, no
`_later`. A share is NULL if the document has no such unit. For the report: units.parquet and unit_counts.parquet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.execute import Counts, Job
from pipeline.repeats import examples
from pipeline.repeats.cover import Answers, ledgered, place_of, publish
from pipeline.repeats.emit import Sources, UnitBatch, give_back
from pipeline.repeats.report import Spectrum, table_of, write, write_examples
from pipeline.repeats.settings import UnitSettings
from pipeline.shards import check_shard
from pipeline.storage import Store
from scorers.repetition.counting import LATER
from scorers.repetition.coverage import Stretches, summed
from scorers.repetition.unit_records import KINDS
from scorers.repetition.windows import SOURCES

SHORT = {"paragraph": "para", "line": "line", "sentence": "sent"}
"""Of a kind, in names of columns."""
UNITS = pa.schema(
    [
        ("corpus", pa.string()),
        ("source", pa.string()),
        ("kind", pa.string()),
        *((name, pa.int64()) for name in ("units", "repeated", "later", "chars", "repeated_chars", "later_chars")),
    ]
)
"""units.parquet: what occurs more than once (with `against`: what is found there), by source and kind."""
UNIT_COUNTS = pa.schema(
    [("kind", pa.string()), *((name, pa.int64()) for name in ("multiplicity", "distinct", "units", "chars"))]
)
"""unit_counts.parquet: units by how often they occur; `distinct` of them (with `against`: NULL)."""


def schema_of(alias: str, settings: UnitSettings) -> pa.Schema:
    """The columns of the score table, without id."""
    fields: list[tuple[str, pa.DataType]] = []
    if "document" in settings.kinds:
        fields += [("copies", pa.int64())] + ([] if settings.against else [("later", pa.bool_())])
    measures = ("mass", "mass_chars") if settings.against else ("mass", "mass_chars", "excess", "excess_chars")
    for kind, short in SHORT.items():
        if kind in settings.kinds:
            fields += [(f"{short}s", pa.int64()), *((f"{short}_{measure}", pa.float32()) for measure in measures)]
    return pa.schema([(f"{alias}_{name}", type_) for name, type_ in fields])


def cover_units(job: Job) -> dict[str, Counts | Exception]:
    """Write the duplicates of a shard's documents."""
    give_back()
    store, task = job.workspace.store, job.task
    settings: UnitSettings = task.reader.settings
    check_shard(store, task.documents, task.size)
    reader = Answers(store, task)
    least = 1 if settings.against else 2
    sums = np.zeros((SOURCES * len(KINDS), 6), np.int64)
    documents = np.zeros(SOURCES, np.int64)
    counts = np.zeros((0, 4), np.int64)
    kept: dict[int, examples.Span] = {}
    ids: list[pa.Array] = []
    columns: list[list[pa.Array]] = []
    size = 0
    for batch in task.reader.batches(store, task.documents):
        answered = reader.answered(batch)
        units = batch.units
        times = answered.occurrences.astype(np.int64)
        repeated, later = times >= least, (answered.sets & LATER) != 0
        if not settings.against:
            times = np.maximum(times, 1)
        measured = np.stack(
            [np.ones_like(times), repeated, later, units.chars, repeated * units.chars, later * units.chars]
        )
        place = units.document * len(KINDS) + units.kind
        num = batch.table.num_rows
        by_document = np.stack([_added(place, values, num * len(KINDS)) for values in measured])
        columns.append(_columns(settings, by_document.reshape(6, num, len(KINDS)), batch, times, later))
        of_source = batch.sources[units.document].astype(np.int64) * len(KINDS) + units.kind
        sums += np.stack([_added(of_source, values, len(sums)) for values in measured], axis=1)
        documents += np.bincount(batch.sources, minlength=SOURCES)
        keys, numbers, chars = summed(np.column_stack([units.kind, times]), np.ones_like(times), units.chars)
        rows = np.concatenate([counts, np.column_stack([keys, numbers, chars])])
        counts = np.column_stack(summed(rows[:, :2], rows[:, 2], rows[:, 3]))
        _remember(kept, task.reader, batch, answered.documents, times, repeated)
        ids += batch.table.column("id").chunks
        size += batch.texts.num_bytes
    reader.check_end()
    part = {"sums": sums.tolist(), "counts": counts.tolist(), "spans": list(kept.values())}
    part["words"], part["documents"] = task.records.words, int(documents.sum())
    facts = {"bytes_in": size, "sources": ledgered(task.reader, documents)}
    return publish(job, ids, schema_of(task.alias, settings), columns, orjson.dumps(part), facts)


def _added(place: np.ndarray, values: np.ndarray, num: int) -> np.ndarray:
    total = np.zeros(num, np.int64)
    np.add.at(total, place, values)
    return total


def _columns(
    settings: UnitSettings, found: np.ndarray, batch: UnitBatch, times: np.ndarray, later: np.ndarray
) -> list[pa.Array]:
    """In the order of schema_of. found: of shape (6, documents, kinds)."""
    arrays = []
    if "document" in settings.kinds:
        whole = batch.units.kind == 0
        copies, second = np.zeros(found.shape[1], np.int64), np.zeros(found.shape[1], np.bool_)
        copies[batch.units.document[whole]] = times[whole]
        second[batch.units.document[whole]] = later[whole]
        none = found[0, :, 0] == 0
        arrays.append(pa.array(copies, mask=none))
        if not settings.against:
            arrays.append(pa.array(second, mask=none))
    for kind in SHORT:
        if kind not in settings.kinds:
            continue
        units, repeated, second, chars, repeated_chars, later_chars = found[:, :, KINDS.index(kind)]
        arrays.append(pa.array(units))
        pairs = [(repeated, units), (repeated_chars, chars)]
        if not settings.against:
            pairs += [(second, units), (later_chars, chars)]
        for part, total in pairs:
            arrays.append(pa.array((part / np.maximum(total, 1)).astype(np.float32), mask=units == 0))
    return arrays


def _remember(
    kept: dict[int, examples.Span],
    reader: Any,
    batch: UnitBatch,
    spread: np.ndarray,
    times: np.ndarray,
    repeated: np.ndarray,
) -> None:
    """Add the repeated units of a batch to the examples."""
    units, words = batch.units, batch.texts.words
    places = np.flatnonzero(repeated)

    def describe(i: int) -> tuple[str, int, Any]:
        unit = places[i]
        doc, first = int(units.document[unit]), int(units.first[unit])
        data = batch.texts.data[batch.texts.offsets[doc] : batch.texts.offsets[doc + 1]].tobytes()
        last = first + int(units.words[unit]) - 1
        begin, end = (len(data[:at].decode()) for at in (int(words.starts[first]), int(words.ends[last])))
        text = data.decode()[begin:end]
        return examples.shortened(text), end - begin, place_of(reader, batch, doc, begin, end)

    chosen = (units.document, units.first, units.words, times, spread.astype(np.int64), units.records[:, 0])
    found = Stretches(*(values[places] for values in chosen))
    examples.gathered(kept, found, reader.settings.examples, describe, units.kind[places])


def write_tables(
    store: Store, folder: str, settings: UnitSettings, sources: Sources, spectrum: Spectrum, parts: Iterable[bytes]
) -> dict[str, Any]:
    """Write the tables of a count; its totals: {kind: units, repeated, ...}."""
    sums = np.zeros((SOURCES * len(KINDS), 6), np.int64)
    counts = np.zeros((0, 4), np.int64)
    spans: dict[int, examples.Span] = {}
    words = 0
    for data in parts:
        part = orjson.loads(data)
        words += part["words"]
        sums += np.array(part["sums"], np.int64)
        rows = np.concatenate([counts, np.array(part["counts"], np.int64).reshape(-1, 4)])
        counts = np.column_stack(summed(rows[:, :2], rows[:, 2], rows[:, 3]))
        for span in part["spans"]:
            examples.add(spans, span)
        examples.prune(spans, settings.examples)
    there = np.flatnonzero(sums[:, 0]).tolist()
    named = [(*sources.label(i // len(KINDS)), KINDS[i % len(KINDS)], *sums[i].tolist()) for i in there]
    write(store, f"{folder}/units.parquet", table_of(UNITS, named))
    distinct = [
        (KINDS[kind], times, None if settings.against else number // times, number, chars)
        for kind, times, number, chars in counts.tolist()
    ]
    write(store, f"{folder}/unit_counts.parquet", table_of(UNIT_COUNTS, distinct))
    write_examples(store, folder, spans, settings.examples)
    by_kind = sums.reshape(SOURCES, len(KINDS), 6).sum(axis=0)
    totals: dict[str, Any] = {"words": words}
    for kind in settings.kinds:
        totals[kind] = dict(zip(UNITS.names[3:], by_kind[KINDS.index(kind)].tolist(), strict=True))
    return totals
