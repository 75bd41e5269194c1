"""One slice of the input into one shard: documents, rejects with their reasons, and counts that add up.

Every piece of the slice is read by the reader of its format, which hands kept rows and rejects to an `Output`. With an
id column the shard is staged, with a hash of each id beside it, until all slices are there and duplicates are known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from pipeline.execute import Counts, Job
from pipeline.ingest.chat import Message
from pipeline.ingest.cut import Slice
from pipeline.ingest.layout import Layout
from pipeline.ingest.settings import IngestSettings
from pipeline.ingest.sources import InputFile
from pipeline.shards import NARROW_ROWS, DocumentWriter, file_facts
from pipeline.workspace import Workspace

REJECTS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("path", pa.string()),
        ("position", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("sample", pa.string()),
    ]
)
IDS = pa.schema(
    [
        ("hi", pa.uint64()),
        ("lo", pa.uint64()),
        ("slice", pa.int32()),
        ("row", pa.int32()),
        ("piece", pa.int32()),
        ("position", pa.int64()),
    ]
)
SAMPLE = 200
"""Characters of a reject's row that are kept."""


@dataclass(frozen=True)
class SliceTask:
    """What a worker needs to know to make one shard. `files` are those that the slice names."""

    index: int
    pieces: Slice
    files: dict[str, InputFile]
    form: str
    layout: Layout
    settings: IngestSettings
    default_source: str
    folder: str
    """where documents and rejects go: the corpus, or the staging folder"""
    staged: bool


def make_shard(job: Job) -> dict[str, Counts | Exception]:
    """Read one slice and write its shard. Raises ValueError or OSError that names the file that cannot be read.

    A staged slice that cannot be read for what is in its file, or who may read it, gets a verdict beside it: duplicates
    are decided without it. Other trouble may pass, and then the slice must have its place in the order.
    """
    task: SliceTask = job.task
    try:
        return _made(job, task)
    except (ValueError, PermissionError, FileNotFoundError):
        for file in task.files.values():
            file.check()
        if task.staged:
            job.workspace.store.write_bytes(verdict(task.folder, job.shard), b"")
        raise


def verdict(folder: str, shard: str) -> str:
    """Name of the file that says that a staged slice cannot be read."""
    return f"{folder}/unreadable/{shard}"


def _made(job: Job, task: SliceTask) -> dict[str, Counts | Exception]:
    from pipeline.ingest import rows, tables

    read = tables.read_piece if task.form in ("parquet", "hf") else rows.read_piece
    with ExitStack() as stack:
        output = Output(job.workspace, job.shard, task, stack)
        for number, piece in enumerate(task.pieces):
            output.piece = number
            read(output, piece)
            task.files[piece.path].check()
        counts = output.close()
    return {folder: counts for folder, _ in job.outputs}


class Output:
    """The files of one shard while they are written."""

    def __init__(self, workspace: Workspace, shard: str, task: SliceTask, stack: ExitStack):
        store = workspace.store
        self.task = task
        self.workspace = workspace
        self.piece = 0
        self.rows_in: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._path = stack.enter_context(store.writing(f"{task.folder}/{shard}.parquet"))
        self._documents = DocumentWriter(self._path, task.layout.schema)
        self._rejects = RejectWriter(stack.enter_context(store.writing(f"{task.folder}/rejects/{shard}.parquet")))
        self._ids: pq.ParquetWriter | None = None
        if task.staged:
            self._ids = pq.ParquetWriter(stack.enter_context(store.writing(f"{task.folder}/ids/{shard}.parquet")), IDS)

    @property
    def path(self) -> str:
        """Name of the file that is being read."""
        return self.task.pieces[self.piece].path

    @property
    def file(self) -> InputFile:
        """The file that is being read."""
        return self.task.files[self.path]

    @property
    def file_source(self) -> str:
        """Source of rows that name none: the top folder, else the corpus."""
        if self.file.dataset is not None:
            return self.path or self.task.default_source
        top, slash, _ = self.path.partition("/")
        return top if slash else self.task.default_source

    def reject(
        self, position: int, reason: str, detail: str, sample: bytes | str, source: str, id: str | None = None
    ) -> None:
        """Record a row that is no document."""
        self.rows_in[source] += 1
        self.rejected[source] += 1
        self.reasons[reason] += 1
        self._rejects.add((id, source, self.path, position, reason, printable(detail), printable(sample)))

    def keep(
        self,
        positions: Sequence[int],
        ids: list[str] | None,
        texts: pa.Array,
        sources: list[str],
        messages: list[list[Message]] | None,
        others: dict[str, pa.Array],
        prefix: str = "",
    ) -> None:
        """Write checked rows, all lists of one length. ids None: made of the file's name and the positions."""
        if not len(texts):
            return
        if ids is None:
            start = f"{self.path}\0{prefix}".encode()
            ids = [xxhash.xxh3_128_hexdigest(start + b"%d" % position) for position in positions]
        columns = {"id": pa.array(ids, pa.string()), "text": texts, "source": pa.array(sources, pa.string())}
        columns["held_out"] = held_out(ids, sources, self.task.settings)
        schema = self.task.layout.schema
        if messages is not None:
            columns["messages"] = pa.array(messages, schema.field("messages").type)
        columns |= others
        if self._ids is not None:
            self._write_ids(ids, positions)
        self._documents.write(pa.table([columns[name] for name in schema.names], schema=schema))
        self.rows_in.update(sources)

    def _write_ids(self, ids: list[str], positions: Sequence[int]) -> None:
        assert self._ids is not None
        words = (
            np.frombuffer(b"".join([xxhash.xxh3_128_digest(id.encode()) for id in ids]), ">u8")
            .reshape(-1, 2)
            .astype(np.uint64)
        )
        count = len(ids)
        first = self._documents.num_rows
        columns = [
            pa.array(words[:, 0]),
            pa.array(words[:, 1]),
            pa.array(np.full(count, self.task.index, np.int32)),
            pa.array(np.arange(first, first + count, dtype=np.int32)),
            pa.array(np.full(count, self.piece, np.int32)),
            pa.array(np.asarray(positions, np.int64)),
        ]
        self._ids.write_table(pa.table(columns, schema=IDS))

    def close(self) -> Counts:
        """Finish the files; what they hold."""
        self._documents.close()
        self._rejects.close()
        if self._ids is not None:
            self._ids.close()
        return Counts(
            rows_in=self.rows_in.total(),
            rows_out=self._documents.num_rows,
            rejected=self.rejected.total(),
            bytes_in=self._documents.num_bytes,
            **file_facts(self._path),
            sources=source_counts(self.rows_in, self.rejected),
            reasons=reason_counts(self.reasons),
        )


class RejectWriter:
    """Rejects of one shard, written a row group at a time: a shard may be nothing but rejects."""

    def __init__(self, path: str):
        self._writer = pq.ParquetWriter(path, REJECTS, compression="zstd", write_page_index=True)
        self._waiting: list[tuple[Any, ...]] = []

    def add(self, row: tuple[Any, ...]) -> None:
        """One reject, in the order of the schema."""
        self._waiting.append(row)
        if len(self._waiting) == NARROW_ROWS:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._waiting, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, REJECTS, strict=True)]
        self._writer.write_table(pa.table(arrays, schema=REJECTS), row_group_size=NARROW_ROWS)
        self._waiting = []

    def close(self) -> None:
        """Write what waits and the footer."""
        if self._waiting:
            self._flush()
        self._writer.close()


def source_counts(rows_in: Counter[str], rejected: Counter[str]) -> list[dict[str, Any]]:
    """As the ledger has them, by name."""
    return [
        {"source": s, "rows_in": n, "rows_out": n - rejected[s], "rejected": rejected[s]}
        for s, n in sorted(rows_in.items())
    ]


def reason_counts(reasons: Counter[str]) -> list[dict[str, Any]]:
    """As the ledger has them, by name."""
    return [{"reason": reason, "rows": n} for reason, n in sorted(reasons.items())]


def held_out(ids: list[str], sources: list[str], settings: IngestSettings) -> pa.Array:
    """Whether xxh64(id, seed) is below the fraction (of its source) of 2^64; bool."""
    fractions = settings.held_out
    if not fractions:
        return pa.array(np.zeros(len(ids), np.bool_))
    if isinstance(fractions, dict):
        bounds = {source: int(fraction * 2**64) for source, fraction in fractions.items()}
        limits = [bounds.get(source, 0) for source in sources]
    else:
        limits = [int(fractions * 2**64)] * len(ids)
    seed = settings.seed
    return pa.array(
        [xxhash.xxh64_intdigest(i.encode(), seed) < limit for i, limit in zip(ids, limits, strict=True)], pa.bool_()
    )


def printable(value: bytes | str) -> str:
    """The first characters of anything, as a terminal and Parquet can hold them."""
    text = value[: 4 * SAMPLE].decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    text = text[:SAMPLE]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
