"""Files of records on their way from shards to partitions, and of answers on their way back.

A file of records holds the windows of one shard, in runs of `layout.run`, each sorted by partition; a file of answers
holds what one partition knows of each such stretch. Both end with an index, so that either side reads just its own
part of every file. Numbers are little-endian and 8 bytes wide, those of an answer 4.

    records: [run 0: partition 0, 1, ...] [run 1: ...] ... index int64 (partitions + 1, runs), tail
    answers: [file 0 run 0] [file 0 run 1] ... sets, spectrum, index int64 (stretches + 1), tail
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from pipeline.repeats.settings import Layout
from pipeline.storage import Store
from scorers.repetition.counting import RECORD_BYTES, route

MAGIC = 0x5441_4D49_5352_4550
_TAIL = 11
"""Numbers at the end of either file."""


class RecordsWriter:
    """Write the records of one shard to an open file."""

    def __init__(self, file: BinaryIO, layout: Layout):
        self._file, self._layout = file, layout
        self._run = np.empty((layout.run, 2), np.uint64)
        self._routed = np.empty((layout.run, 2), np.uint64)
        self._filled = self.records = 0
        self._begins: list[np.ndarray] = []

    def add(self, records: np.ndarray) -> None:
        """Records in text order: uint64 of shape (n, 2)."""
        done = 0
        while done < len(records):
            part = records[done : done + self._layout.run - self._filled]
            self._run[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            done += len(part)
            if self._filled == self._layout.run:
                self._flush()

    def _flush(self) -> None:
        routed = self._routed[: self._filled]
        self._begins.append(route(self._run[: self._filled], self._layout.bits, routed) + self.records)
        self._file.write(routed.data)
        self.records += self._filled
        self._filled = 0

    def close(self, documents: int, numbers: int, short: int, words: int, windows: int, drawn: int) -> None:
        """Write what waits, and the index. numbers: of documents in the records, all below this; short: documents
        that have none; windows: all, drawn: without those that a sample left out; both with those that a sieve did."""
        if self._filled:
            self._flush()
        index = np.zeros((self._layout.partitions + 1, len(self._begins)), np.int64)
        for run, begins in enumerate(self._begins):
            index[:, run] = begins
        self._file.write(index.tobytes())
        layout = [MAGIC, self._layout.bits, self._layout.run, len(self._begins)]
        tail = [*layout, self.records, documents, numbers, short, words, windows, drawn]
        self._file.write(np.array(tail, np.int64).tobytes())


@dataclass(frozen=True)
class RecordsFile:
    """A finished file of records, as a task needs it."""

    name: str
    size: int
    runs: int
    records: int
    documents: int
    numbers: int
    short: int
    words: int
    windows: int
    drawn: int

    @classmethod
    def of(cls, store: Store, name: str, size: int) -> RecordsFile:
        """Read the tail. Raises ValueError for a file that is no such file."""
        with _ranges(store, name) as read:
            tail = read(size - 8 * _TAIL, size).view(np.int64) if size >= 8 * _TAIL else np.zeros(_TAIL, np.int64)
        if tail[0] != MAGIC:
            raise ValueError(f"{store.shown(name)} is damaged; remove it and run again")
        return cls(name, size, *(int(value) for value in tail[3:11]))

    def bounds(self, store: Store, partition: int) -> np.ndarray:
        """Where the records of a partition begin and end in each run: int64 of shape (2, runs)."""
        rows = self.records * RECORD_BYTES + 8 * self.runs * partition
        with _ranges(store, self.name) as read:
            return read(rows, rows + 16 * self.runs).view(np.int64).reshape(2, self.runs)

    @contextmanager
    def opened(self, store: Store) -> Iterator[Callable[[int, np.ndarray], None]]:
        """A function that fills uint64 of shape (n, 2) with the records from a number on."""
        with _into(store, self.name) as fill:
            yield lambda begin, out: fill(begin * RECORD_BYTES, out)


class AnswersWriter:
    """Write the answers of one partition, which lies in so many stretches, to an open file."""

    def __init__(self, file: BinaryIO, stretches: int):
        self._file = file
        self._counts = np.zeros(stretches, np.int64)

    def add(self, answers: np.ndarray, stretches: np.ndarray) -> None:
        """Answers in the order of their records: uint32 of shape (n, 4), places in the stretch first. stretches:
        int64, that of each."""
        self._file.write(np.ascontiguousarray(answers).data)
        self._counts += np.bincount(stretches, minlength=len(self._counts))

    def close(self, sets: np.ndarray, spectrum: np.ndarray) -> None:
        """Write the sets (uint64 of shape (m, 2)), the spectrum (int64 of shape (m, 3)) and the index."""
        begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._counts)])
        for array in (sets.astype(np.uint64), spectrum.astype(np.int64), begins):
            self._file.write(array.tobytes())
        tail = [MAGIC, int(begins[-1]), len(sets), len(spectrum), len(self._counts), 0, 0, 0, 0, 0, 0]
        self._file.write(np.array(tail, np.int64).tobytes())


@dataclass(frozen=True)
class AnswersFile:
    """A finished file of answers."""

    name: str
    size: int
    answers: int
    num_sets: int
    num_spectrum: int
    stretches: int

    @classmethod
    def of(cls, store: Store, name: str, size: int) -> AnswersFile:
        """Read the tail. Raises ValueError for a file that is no such file."""
        with _ranges(store, name) as read:
            tail = read(size - 8 * _TAIL, size).view(np.int64) if size >= 8 * _TAIL else np.zeros(_TAIL, np.int64)
        if tail[0] != MAGIC:
            raise ValueError(f"{store.shown(name)} is damaged; remove it and run again")
        return cls(name, size, *(int(value) for value in tail[1:5]))

    def sets(self, store: Store) -> np.ndarray:
        """uint64 of shape (m, 2)."""
        return self._after(store, 0, 16 * self.num_sets).view(np.uint64).reshape(-1, 2)

    def spectrum(self, store: Store) -> np.ndarray:
        """int64 of shape (m, 3): occurrences, documents, distinct."""
        return self._after(store, 16 * self.num_sets, 24 * self.num_spectrum).view(np.int64).reshape(-1, 3)

    def begins(self, store: Store, first: int, count: int) -> np.ndarray:
        """Where ``count`` stretches from ``first`` on begin, and where the last of them ends."""
        skipped = 16 * self.num_sets + 24 * self.num_spectrum + 8 * first
        return self._after(store, skipped, 8 * (count + 1)).view(np.int64)

    def read(self, store: Store, begin: int, out: np.ndarray) -> None:
        """Fill uint32 of shape (n, 4) with the answers from a number on."""
        with _into(store, self.name) as fill:
            fill(16 * begin, out)

    def _after(self, store: Store, skipped: int, size: int) -> np.ndarray:
        begin = 16 * self.answers + skipped
        with _ranges(store, self.name) as read:
            return read(begin, begin + size)


@contextmanager
def _ranges(store: Store, name: str) -> Iterator[Callable[[int, int], np.ndarray]]:
    """A function that reads bytes begin .. end of a file as uint8."""
    with _into(store, name) as fill:

        def read(begin: int, end: int) -> np.ndarray:
            found = np.empty(end - begin, np.uint8)
            fill(begin, found)
            return found

        yield read


@contextmanager
def _into(store: Store, name: str) -> Iterator[Callable[[int, np.ndarray], None]]:
    """A function that fills a contiguous array with the bytes of a file from a place on."""
    if not store.is_local:

        def fetch(begin: int, out: np.ndarray) -> None:
            if out.nbytes:
                data = store.read_range(name, begin, begin + out.nbytes)
                out.reshape(-1).view(np.uint8)[:] = np.frombuffer(data, np.uint8)

        yield fetch
        return
    with open(store.path(name), "rb", buffering=0) as file:

        def fill(begin: int, out: np.ndarray) -> None:
            bytes_out = memoryview(out.reshape(-1).view(np.uint8).data)
            while len(bytes_out):  # one call reads 2 GB at most
                count = os.preadv(file.fileno(), [bytes_out], begin)
                if not count:
                    raise ValueError(f"{store.shown(name)} is cut short; remove it and run again")
                bytes_out, begin = bytes_out[count:], begin + count

        yield fill
