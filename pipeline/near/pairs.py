"""Candidates: pairs of documents that share a band key, found partition by partition of the keys.

A partition reads its range of keys from every shard's file and sorts it; its size follows from the memory setting, its
content does not. Up to PAIRWISE documents of one key are paired each with each; of more, each with the first and with
the one before it, so that a large group costs no square. Pairs are distinct within a partition; the smaller number is
the upper half of a pair's 64 bits.

    near/<alias>-<hash8>/pairs/part-00003-of-00016.parquet        pair: uint64, ascending
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import ledger
from pipeline.errors import ShardsFailed
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.near.documents import Documents
from pipeline.near.keys import BUCKETS, num_records, read_keys
from pipeline.shards import NARROW_ROWS, file_facts, open_parquet
from pipeline.storage import Store
from pipeline.workspace import shard_name
from scorers.near.candidates import pairs_of_runs

PAIRWISE = 8
BYTES_PER_RECORD = 64
"""Key, document and their sorted copies, and the pairs they make, at the peak."""
SCHEMA = pa.schema([("pair", pa.uint64())])


@dataclass(frozen=True)
class _Task:
    documents: Documents
    first: int
    stop: int


def partitions(documents: Documents, buffer: int) -> int:
    """How many partitions keep each within the buffer: keys are hashes, so that they are of equal size."""
    wanted = -(-records(documents) * BYTES_PER_RECORD // buffer)
    return min(max(1, wanted), BUCKETS)


def records(documents: Documents) -> int:
    """Keys of all documents."""
    store = documents.workspace.store
    return sum(num_records(store, part.keys, part.rows) for part in documents.parts)


def make_pairs(documents: Documents, folder: str, count: int, pool: Pool, label: str) -> list[str]:
    """Find the candidates of every partition; their files. Raises ShardsFailed."""
    shards = [shard_name(i, count) for i in range(count)]
    jobs = []
    for shard, attempt in pending(documents.workspace, folder, shards):
        number = shards.index(shard)
        first, stop = (BUCKETS * n // count for n in (number, number + 1))
        jobs.append(Job(documents.workspace, shard, ((folder, attempt),), _Task(documents, first, stop)))
    rows = pool.run(jobs, _pair, f"candidates {label}", "partitions")
    if failed := {row.shard: row.error or "" for row in rows if not row.done}:
        raise ShardsFailed(f"candidates {label}", failed, len(rows))
    found = sum(row.rows_in for row in documents.workspace.rows(folder).values())
    if found != (expected := records(documents)):
        documents.workspace.store.remove(ledger.folder(folder))
        raise ValueError(
            f"candidates {label}: {found} of {expected} keys were read: a file of signatures is damaged; remove "
            f"{', '.join(sorted({part.keys.rpartition('/')[0] for part in documents.parts}))} and run again"
        )
    return [f"{folder}/{shard}.parquet" for shard in shards]


def _pair(job: Job) -> dict[str, Counts | Exception]:
    """The candidates of one partition."""
    store = job.workspace.store
    task: _Task = job.task
    [(folder, _)] = job.outputs
    keys, numbers = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint32)]
    for part in task.documents.parts:
        found, rows = read_keys(store, part.keys, task.first, task.stop)
        keys.append(found)
        numbers.append((rows + np.uint32(part.base)).astype(np.uint32))
    merged, owners = np.concatenate(keys), np.concatenate(numbers)
    del keys, numbers
    count = len(merged)
    order = np.argsort(merged, kind="stable")  # runs that are sorted already are merged; documents stay in order
    pairs = np.unique(pairs_of_runs(merged[order], owners[order].astype(np.int64), PAIRWISE))
    with store.writing(f"{folder}/{job.shard}.parquet") as path:
        write_pairs(path, pa.table([pairs], schema=SCHEMA))
        facts = file_facts(path)
    return {folder: Counts(count, count, **facts)}


def write_pairs(path: str, table: pa.Table) -> None:
    """Write pairs; ascending numbers pack well as differences."""
    pq.write_table(
        table,
        path,
        compression="zstd",
        use_dictionary=False,
        column_encoding={"pair": "DELTA_BINARY_PACKED"},
        row_group_size=NARROW_ROWS,
    )


def read_pairs(store: Store, names: list[str], at_once: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(first, second) of all pairs, int64, so many at a time."""
    for name in names:
        with open_parquet(store, name) as file:
            for batch in file.iter_batches(at_once, columns=["pair"], use_threads=False):
                yield halves(batch.column(0).to_numpy())


def halves(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two documents of each pair."""
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
