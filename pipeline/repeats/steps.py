"""Steps over all text: windows of a shard, counts of a partition; coverage of a shard is in cover.py.

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
from scorers.repetition.sieve import Sieve

VERSION = 1


@dataclass(frozen=True)
class EmitTask:
    """Step one on one shard."""

    reader: Reader
    documents: str
    size: int
    layout: Layout
    target: str
    sieve: str | None = None
    """file of what is in the corpora that are counted against; nothing else is written"""


def emit_shard(job: Job) -> dict[str, Counts | Exception]:
    """Write the records of all windows of a shard."""
    give_back()
    store, task = job.workspace.store, job.task
    check_shard(store, task.documents, task.size)
    sieve = read_sieve(store, task.sieve)
    documents = short = words = total = drawn = size = 0
    with store.writing(task.target) as path:
        with open(path, "wb") as file:
            writer = RecordsWriter(file, task.layout)
            for batch in task.reader.batches(store, task.documents):
                records = batch.records
                writer.add(records if sieve is None else records[sieve.passes(records)])
                drawn += len(records)
                documents += batch.table.num_rows
                short += batch.short
                words += batch.num_words
                total += batch.total
                size += batch.texts.num_bytes
            writer.close(documents, documents << task.reader.document_bits, short, words, total, drawn)
        facts = file_facts(path)
    [(folder, _)] = job.outputs
    return {folder: Counts(rows_in=documents, rows_out=documents, bytes_in=size, **facts)}


@dataclass(frozen=True)
class SieveTask:
    """What all of the corpora that are counted against is in, for a search that writes less."""

    files: tuple[RecordsFile, ...]
    layout: Layout
    target: str


def fill_sieve(job: Job) -> dict[str, Counts | Exception]:
    """Write the sieve of some files of records."""
    give_back()
    store, task = job.workspace.store, job.task
    records = sum(file.records for file in task.files)
    sieve = Sieve.for_records(records)
    for file in task.files:
        with file.opened(store) as fill:
            for begin in range(0, file.records, task.layout.slab):
                part = np.empty((min(file.records - begin, task.layout.slab), 2), np.uint64)
                fill(begin, part)
                sieve.add(part)
    with store.writing(task.target) as path:
        sieve.bits.tofile(path)
        facts = file_facts(path)
    [(folder, _)] = job.outputs
    return {folder: Counts(rows_in=records, rows_out=records, **facts)}


def read_sieve(store: Store, name: str | None) -> Sieve | None:
    """The sieve in a file."""
    return None if name is None else Sieve(np.frombuffer(bytearray(store.read_bytes(name)), np.uint64))


@dataclass(frozen=True)
class CountTask:
    """Step two on one partition.

    files: all of step one; against: how many of them, from the first, are only counted, the others only looked up;
    references: the numbers of their documents.
    """

    number: int
    layout: Layout
    files: tuple[RecordsFile, ...]
    against: int
    references: int | None
    target: str


def count_partition(job: Job) -> dict[str, Counts | Exception]:
    """Count the records of one partition, and write what is known of each record that is repeated."""
    give_back()
    store, task = job.workspace.store, job.task
    partition = _Partition(store, task)
    counted = len(task.files) if task.references is None else task.against
    expected = partition.records(0, counted)
    table = Table(task.layout.bits, task.references, min(expected, task.layout.slab * 4))
    only: list[tuple[int, Slab]] = []
    for begin, records in partition.slabs(0, counted):
        slab = Slab.of(records, task.layout.bits)
        table.add(slab)
        only = [(begin, slab)] if begin == 0 and task.references is None else []
    assert table.counted == expected, f"partition {task.number}: {expected} windows in, {table.counted} counted"
    table.seal()
    # What fitted at once is still there, in its buckets.
    again = partition.slabs(task.against, len(task.files))
    slabs = only or ((begin, Slab.of(records, task.layout.bits)) for begin, records in again)
    with store.writing(task.target) as path:
        with open(path, "wb") as file:
            writer = AnswersWriter(file, partition.stretches)
            for begin, slab in slabs:
                partition.write(table, slab, begin, writer)
            pairs, distinct = table.spectrum()
            writer.close(table.sets, np.column_stack([pairs, distinct]))
        facts = file_facts(path)
    [(folder, _)] = job.outputs
    everything = partition.records(0, len(task.files))
    return {folder: Counts(rows_in=everything, rows_out=everything, **facts)}


class _Partition:
    """The records of one partition over all files, and the stretches they lie in: one per file and run."""

    def __init__(self, store: Store, task: CountTask):
        self._store, self._files = store, task.files
        self._slab = task.layout.slab
        self._bounds = [file.bounds(store, task.number) for file in task.files]
        lengths = [ends - begins for begins, ends in self._bounds]
        self._starts = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
        self.stretches = len(self._starts) - 1
        self._begins = self._starts[np.cumsum([0] + [len(of_file) for of_file in lengths])].tolist()

    def records(self, first: int, stop: int) -> int:
        """How many there are in some of the files."""
        return self._begins[stop] - self._begins[first]

    def slabs(self, first_file: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """(position in the partition, records), with documents numbered over all files. The array is used again."""
        slab = np.empty((min(self._slab, max(self.records(first_file, stop), 1)), 2), np.uint64)
        begin, filled = self._begins[first_file], 0
        base = sum(file.numbers for file in self._files[:first_file])
        for file, bounds in zip(self._files[first_file:stop], self._bounds[first_file:stop], strict=True):
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
