"""Step three: the second pass over the text, where each window learns how often it occurs.

Two outputs per shard: the score table beside the documents, and a small JSON with what the report adds up.

    <alias>_words (or _tokens)      int64, words of the document
    <alias>_words_2, _10, ...       int64, of them, those covered by spans that occur at least 2, 10, ... times
    <alias>_chars, _chars_2, ...    int64, the same in characters of the words
    <alias>_docs_2, ...             int64, words covered by spans that are in at least 2, ... documents
    <alias>_cover_2, ...            float32, _words_2 / _words; NULL if the document is shorter than a span
    <alias>_later                   int64, words covered by second and later copies; not with `against`
    <alias>_elsewhere               int64, words covered by spans that another source has too
    <alias>_most                    int64, occurrences of its most frequent span (against: 0 if none is there); NULL
                                    if it is shorter than a span
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.execute import Counts, Job
from pipeline.repeats import examples
from pipeline.repeats.emit import Batch, SpanBatch, give_back
from pipeline.repeats.records import AnswersFile, RecordsFile
from pipeline.repeats.settings import Layout, SpanSettings
from pipeline.repeats.steps import read_sieve
from pipeline.shards import check_shard, file_facts, write_narrow
from pipeline.storage import Store
from scorers.repetition.counting import LATER
from scorers.repetition.coverage import Answered, Coverage, Cursor, Stretches, cover, stretches, summed

SUMS = ("documents", "short", "words", "chars")
"""What the report adds up per source, before the levels."""


@dataclass(frozen=True)
class CoverTask:
    """Step three on one shard. stretch: number of its first run in the files of answers."""

    reader: Any
    alias: str
    documents: str
    size: int
    layout: Layout
    records: RecordsFile
    stretch: int
    answers: tuple[AnswersFile, ...]
    table: str
    part: str
    sieve: str | None = None


def schema_of(alias: str, settings: SpanSettings) -> pa.Schema:
    """The columns of the score table, without id."""
    unit = "tokens" if settings.tokenizer else "words"
    names = [unit, *(f"{unit}_{k}" for k in settings.levels), "chars", *(f"chars_{k}" for k in settings.levels)]
    names += [f"docs_{k}" for k in settings.levels]
    fields = [(f"{alias}_{name}", pa.int64()) for name in names]
    fields += [(f"{alias}_cover_{k}", pa.float32()) for k in settings.levels]
    rest = ["elsewhere", "most"] if settings.against else ["later", "elsewhere", "most"]
    return pa.schema(fields + [(f"{alias}_{name}", pa.int64()) for name in rest])


def cover_shard(job: Job) -> dict[str, Counts | Exception]:
    """Write the coverage of a shard's documents."""
    give_back()
    store, task = job.workspace.store, job.task
    check_shard(store, task.documents, task.size)
    reader = Answers(store, task)
    report = _Report(task)
    ids: list[pa.Array] = []
    columns: list[list[pa.Array]] = []
    size = 0
    for batch in task.reader.batches(store, task.documents):
        answered = reader.answered(batch)
        found = cover(
            batch.items,
            batch.windows,
            answered,
            task.reader.settings.window,
            task.reader.settings.levels,
            batch.sources,
            reader.sets,
            not task.reader.settings.against,
        )
        columns.append(_columns(task.reader.settings, batch, found))
        report.add(batch, found, stretches(batch.windows, answered, task.reader.settings.window))
        ids += batch.table.column("id").chunks
        size += batch.texts.num_bytes
    reader.check_end()
    schema = schema_of(task.alias, task.reader.settings)
    facts = {"bytes_in": size, "sources": report.per_source()}
    return publish(job, ids, schema, columns, orjson.dumps(report.value()), facts)


def _columns(settings: SpanSettings, batch: SpanBatch, found: Coverage) -> list[pa.Array]:
    """In the order of schema_of."""
    total = np.diff(batch.items.doc_offsets)
    short = total < settings.window
    values = [total, *found.words, _chars(batch), *found.chars, *found.documents]
    arrays = [pa.array(value) for value in values]
    shares = found.words / np.maximum(total, 1)
    arrays += [pa.array(share.astype(np.float32), mask=short) for share in shares]
    if not settings.against:
        arrays.append(pa.array(found.later))
    return [*arrays, pa.array(found.elsewhere), pa.array(found.most, mask=short)]


def _chars(batch: SpanBatch) -> np.ndarray:
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(batch.items.chars, dtype=np.int64)])
    return np.diff(ends[batch.items.doc_offsets])


class Answers:
    """The answers to a shard's windows, run by run; those of a few runs are read at once."""

    def __init__(self, store: Store, task: CoverTask):
        self._store, self._task = store, task
        begins = [file.begins(store, task.stretch, task.records.runs) for file in task.answers]
        self._begins = np.stack(begins)  # (partitions, runs + 1)
        sets = [file.sets(store) for file in task.answers]
        # Every partition numbers its sets by itself; here they get numbers for all, 0 for windows without an answer.
        self.sets, number = np.unique(np.concatenate([np.zeros((1, 2), np.uint64), *sets]), axis=0, return_inverse=True)
        self._number = number.ravel().astype(np.uint32)
        self._first_set = np.cumsum([1] + [len(one) for one in sets]).astype(np.uint32)
        self._sieve = read_sieve(store, task.sieve)
        self._run = self._done = self._drawn = self._left = self._read = 0
        self._answers = np.zeros((0, 4), np.uint32)
        self._cursor: Cursor | None = None

    def answered(self, batch: Batch) -> Answered:
        """One batch after the other, as step one went over them."""
        self._drawn += len(batch.records)
        if self._sieve is None:
            return self._next(batch.records)
        passed = self._sieve.passes(batch.records)
        there = self._next(batch.records[passed])
        found = Answered(*(np.zeros(len(batch.records), np.uint32) for _ in range(3)))
        for values, some in zip(_columns_of(found), _columns_of(there), strict=True):
            values[passed] = some
        return found

    def _next(self, records: np.ndarray) -> Answered:
        num = len(records)
        out = Answered(*(np.empty(num, np.uint32) for _ in range(3)))
        begin = 0
        while begin < num:
            if self._left == 0:
                self._open()
            assert self._cursor is not None
            count = min(num - begin, self._left)
            keys = records[begin : begin + count, 0]
            self._cursor.take(keys, self._task.layout.bits, out, begin)
            begin += count
            self._left -= count
            self._done += count
        return out

    def _open(self) -> None:
        """Go on to the answers of the next run, of every partition."""
        self._check_run()
        if self._run == self._read:
            self._read_runs()
        begins, ends = self._offsets[:, self._run], self._offsets[:, self._run + 1]
        self._cursor = Cursor(np.zeros(len(begins), np.int64), begins.copy(), ends, self._answers)
        self._left = self._task.layout.run
        self._run += 1

    def _read_runs(self) -> None:
        """Read the answers of as many runs as fit into memory."""
        first, runs = self._run, self._task.records.runs
        totals = self._begins.sum(axis=0)
        # A batch of text and its coverage lie in memory beside them.
        most = self._task.layout.slab // 4
        stop = int(np.searchsorted(totals, totals[first] + most, side="right")) - 1
        stop = min(max(stop, first + 1), runs)
        counts = self._begins[:, stop] - self._begins[:, first]
        places = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        self._answers = answers = np.empty((int(places[-1]), 4), np.uint32)
        for number in np.flatnonzero(counts).tolist():
            part = answers[places[number] : places[number + 1]]
            self._task.answers[number].read(self._store, int(self._begins[number, first]), part)
            part[:, 3] += self._first_set[number]
        answers[:, 3] = self._number[answers[:, 3] & ~LATER] | answers[:, 3] & LATER
        self._offsets = self._begins - self._begins[:, first : first + 1] + places[:-1, None]
        self._read = stop

    def _check_run(self) -> None:
        if self._cursor is not None:
            assert self._cursor.is_through, f"run {self._run - 1} of {self._task.documents}: answers without a window"

    def check_end(self) -> None:
        """Every window of step one has come by again, and every answer has found its own."""
        self._check_run()
        for expected, found in ((self._task.records.records, self._done), (self._task.records.drawn, self._drawn)):
            assert found == expected, f"{self._task.documents}: {expected} windows counted, {found} covered"


def _columns_of(answered: Answered) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return answered.occurrences, answered.documents, answered.sets


class _Report:
    """What a shard adds to the report."""

    def __init__(self, task: CoverTask):
        self._task = task
        settings = task.reader.settings
        self._sums = np.zeros((64, len(SUMS) + 3 * len(settings.levels) + 2), np.int64)
        self._shared = np.zeros((64, 64), np.int64)
        self._classes: list[np.ndarray] = []
        self._spans: dict[int, examples.Span] = {}

    def add(self, batch: SpanBatch, found: Coverage, repeated: Stretches) -> None:
        """One batch."""
        settings = self._task.reader.settings
        total = np.diff(batch.items.doc_offsets)
        values = [np.ones_like(total), total < settings.window, total, _chars(batch)]
        values += [*found.words, *found.chars, *found.documents, found.later, found.elsewhere]
        for i, value in enumerate(values):
            np.add.at(self._sums[:, i], batch.sources, value.astype(np.int64))
        self._shared += found.shared
        self._classes.append(np.column_stack([found.classes, found.class_words, found.class_chars]))
        if len(self._classes) > 16:
            self._classes = [self._summed_classes()]
        examples.gathered(self._spans, repeated, settings.examples, lambda i: self._described(batch, repeated, i))

    def _summed_classes(self) -> np.ndarray:
        rows = np.concatenate([np.zeros((0, 4), np.int64), *self._classes])
        return np.column_stack(summed(rows[:, :2], rows[:, 2], rows[:, 3]))

    def _described(self, batch: SpanBatch, repeated: Stretches, i: int) -> tuple[str, int, Any]:
        """Text, characters and place of a stretch."""
        doc, first = int(repeated.document[i]), int(repeated.first[i])
        word = int(batch.items.doc_offsets[doc]) + int(batch.windows.starts[first])
        begin, end = int(batch.items.starts[word]), int(batch.items.ends[word + int(repeated.words[i]) - 1])
        data = batch.texts.data[batch.texts.offsets[doc] : batch.texts.offsets[doc + 1]].tobytes()
        text = data.decode()
        if not self._task.reader.tokenizer:
            begin, end = len(data[:begin].decode()), len(data[:end].decode())
        return examples.shortened(text[begin:end]), end - begin, place_of(self._task.reader, batch, doc, begin, end)

    def per_source(self) -> list[dict[str, Any]]:
        """Rows of each source, as the ledger has them."""
        return ledgered(self._task.reader, self._sums[:, 0])

    def value(self) -> dict[str, Any]:
        """In a form that JSON has."""
        return {
            "sums": self._sums.tolist(),
            "shared": self._shared.tolist(),
            "classes": self._summed_classes().tolist(),
            "spans": list(self._spans.values()),
        }


def place_of(reader: Any, batch: Batch, doc: int, begin: int, end: int) -> dict[str, Any]:
    """Where characters of a document stand, as spans.parquet has it."""
    return {
        "corpus": reader.corpus,
        "id": batch.table.column("id")[doc].as_py(),
        "source": batch.table.column("source")[doc].as_py(),
        "begin": begin,
        "end": end,
    }


def ledgered(reader: Any, documents: np.ndarray) -> list[dict[str, Any]]:
    """Documents of each source, as ledger rows have them. documents: by code of the source."""
    rows: dict[str | None, int] = {}
    for code in np.flatnonzero(documents).tolist():
        name = reader.sources.label(code)[1]
        rows[name] = rows.get(name, 0) + int(documents[code])
    return [
        {"source": name, "rows_in": count, "rows_out": count, "rejected": 0}
        for name, count in sorted(rows.items(), key=lambda item: item[0] or "")
    ]


def publish(
    job: Job, ids: list[pa.Array], schema: pa.Schema, parts: list[list[pa.Array]], report: bytes, facts: dict[str, Any]
) -> dict[str, Counts | Exception]:
    """Write what a shard adds to the report, then its score table. facts: bytes_in and sources of the ledger rows."""
    store, task = job.workspace.store, job.task
    arrays = [pa.chunked_array([part[i] for part in parts], field.type) for i, field in enumerate(schema)]
    whole = pa.schema([pa.field("id", pa.string()), *schema])
    table = pa.table([pa.chunked_array(ids, pa.string()), *arrays], schema=whole)
    with store.writing(task.part) as path:
        with open(path, "wb") as file:
            file.write(report)
        part_facts = file_facts(path)
    with store.writing(task.table) as path:
        write_narrow(path, table)
        table_facts = file_facts(path)
    rows = {"rows_in": table.num_rows, "rows_out": table.num_rows, **facts}
    [(parts_folder, _), (table_folder, _)] = job.outputs
    return {parts_folder: Counts(**rows, **part_facts), table_folder: Counts(**rows, **table_facts)}
