"""The three steps over all text: windows of a shard, counts of a partition, coverage of a shard.

Each is a job with a ledger row after its file, so that a killed run goes on where it stopped; each checks that what
came out of the one before has arrived in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.execute import Counts, Job
from pipeline.repeats.emit import Reader, give_back
from pipeline.repeats.records import AnswersWriter, RecordsFile, RecordsWriter
from pipeline.repeats.settings import Layout
from pipeline.shards import check_shard, file_facts
from pipeline.storage import Store
from scorers.repetition.counting import Slab, Table

VERSION = 1


@dataclass(frozen=True)
class EmitTask:
    """Step one on one shard."""

    reader: Reader
    documents: str
    size: int
    layout: Layout
    target: str


def emit_shard(job: Job) -> dict[str, Counts | Exception]:
    """Write the records of all windows of a shard."""
    give_back()
    store, task = job.workspace.store, job.task
    check_shard(store, task.documents, task.size)
    documents = short = words = total = size = 0
    with store.writing(task.target) as path:
        with open(path, "wb") as file:
            writer = RecordsWriter(file, task.layout)
            for batch in task.reader.batches(store, task.documents):
                writer.add(batch.records)
                documents += batch.table.num_rows
                short += batch.short
                words += batch.num_words
                total += batch.total
                size += batch.texts.num_bytes
            writer.close(documents, documents << task.reader.document_bits, short, words, total)
        facts = file_facts(path)
    [(folder, _)] = job.outputs
    return {folder: Counts(rows_in=documents, rows_out=documents, bytes_in=size, **facts)}


@dataclass(frozen=True)
class CountTask:
    """Step two on one partition.

    files: all of step one, those of `against` first; references: the numbers of their documents.
    """

    number: int
    layout: Layout
    files: tuple[RecordsFile, ...]
    references: int | None
    target: str


def count_partition(job: Job) -> dict[str, Counts | Exception]:
    """Count the records of one partition, and write what is known of each record that is repeated."""
    give_back()
    store, task = job.workspace.store, job.task
    partition = _Partition(store, task)
    table = Table(task.layout.bits, task.references, min(partition.expected, task.layout.slab * 4))
    only: list[tuple[int, Slab]] = []
    seen = 0
    for begin, records in partition.slabs():
        slab = Slab.of(records, task.layout.bits)
        table.add(slab)
        seen += len(records)
        only = [(begin, slab)] if begin == 0 else []
    assert seen == partition.expected, f"partition {task.number}: {partition.expected} windows in, {seen} counted"
    assert task.references is not None or table.counted == seen
    table.seal()
    # What fitted at once is still there, in its buckets.
    slabs = only or ((begin, Slab.of(records, task.layout.bits)) for begin, records in partition.slabs())
    with store.writing(task.target) as path:
        with open(path, "wb") as file:
            writer = AnswersWriter(file, partition.stretches)
            for begin, slab in slabs:
                partition.write(table, slab, begin, writer)
            pairs, distinct = table.spectrum()
            writer.close(table.sets, np.column_stack([pairs, distinct]))
        facts = file_facts(path)
    [(folder, _)] = job.outputs
    return {folder: Counts(rows_in=seen, rows_out=seen, **facts)}


class _Partition:
    """The records of one partition over all files, and the stretches they lie in: one per file and run."""

    def __init__(self, store: Store, task: CountTask):
        self._store, self._files = store, task.files
        self._slab = task.layout.slab
        self._bounds = [file.bounds(store, task.number) for file in task.files]
        lengths = [ends - begins for begins, ends in self._bounds]
        self._starts = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
        self.expected = int(self._starts[-1])
        self.stretches = len(self._starts) - 1

    def slabs(self) -> Iterator[tuple[int, np.ndarray]]:
        """(position in the partition, records), with documents numbered over all files. The array is used again."""
        slab = np.empty((min(self._slab, max(self.expected, 1)), 2), np.uint64)
        filled = begin = base = 0
        for file, bounds in zip(self._files, self._bounds, strict=True):
            with file.opened(self._store) as fill:
                for first, end in bounds.T.tolist():
                    while first < end:
                        piece = slab[filled : filled + end - first]
                        fill(first, piece)
                        if base:
                            piece[:, 1] += np.uint64(base)
                        first += len(piece)
                        filled += len(piece)
                        if filled == len(slab):
                            yield begin, slab
                            begin += filled
                            filled = 0
            base += file.numbers
        if filled:
            yield begin, slab[:filled]

    def write(self, table: Table, slab: Slab, begin: int, writer: AnswersWriter) -> None:
        """Hand the answers of a slab to the writer, with the stretches they belong to."""
        found = table.answers(slab)
        places = found.places + begin
        which = np.searchsorted(self._starts, places, side="right") - 1
        answers = np.empty((len(places), 4), np.uint32)
        columns = places - self._starts[which], found.occurrences, found.documents, found.sets
        for i, values in enumerate(columns):
            answers[:, i] = values
        writer.add(answers, which)
