"""Verify the candidates of a group, and settle its clusters: who is like whom, and who stays.

    near/<alias>-<hash8>/verdicts/group-00003.parquet     one row per document of a cluster, by document (SCHEMA)

Candidates are compared by their n-gram sets; pairs that are alike make clusters (connected components), and
scorers/near/choice.py says who of a cluster is kept. A heavy component lies in several blocks: each pair of blocks is
read to compare, then clusters are settled as many at a time as fit, a cluster too large for that in order of
preference from block to block. Two blocks and the kept documents are all that is ever held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ShardsFailed
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.near.blocks import Blocks
from pipeline.near.documents import Documents
from pipeline.near.pairs import halves
from pipeline.near.sets import groups_between, read_block, read_light
from pipeline.shards import NARROW_ROWS, file_facts, open_parquet
from scorers.near.choice import Choice, alike
from scorers.near.grams import GramSets, common
from scorers.near.union import flatten, unite

SCHEMA = pa.schema(
    [
        ("doc", pa.uint32()),
        ("cluster", pa.uint32()),
        ("size", pa.int32()),
        ("of", pa.uint32()),
        ("cluster_id", pa.string()),
        ("of_id", pa.string()),
        ("containment", pa.float32()),
        ("jaccard", pa.float32()),
        ("words", pa.uint32()),
        ("source", pa.string()),
    ]
)


@dataclass(frozen=True)
class _Task:
    documents: Documents
    folder: str
    first: int
    count: int
    runs: tuple[str, ...]
    jaccard: bool
    threshold: float
    budget: int
    """bytes of n-grams that are settled at a time"""


def make_verdicts(
    documents: Documents,
    blocks: Blocks,
    folder: str,
    jaccard: bool,
    threshold: float,
    buffer: int,
    pool: Pool,
    label: str,
) -> list[str]:
    """Settle every group; the files of the verdicts. Raises ShardsFailed."""
    shards = [f"group-{number:05d}" for number in range(len(blocks.groups))]
    jobs = []
    for shard, attempt in pending(documents.workspace, f"{folder}/verdicts", shards):
        first, count = blocks.groups[shards.index(shard)]
        task = _Task(documents, folder, first, count, blocks.runs, jaccard, threshold, buffer // 4)
        jobs.append(Job(documents.workspace, shard, ((f"{folder}/verdicts", attempt),), task))
    rows = pool.run(jobs, _settle, f"verify {label}", "groups")
    if failed := {row.shard: row.error or "" for row in rows if not row.done}:
        raise ShardsFailed(f"verify {label}", failed, len(rows))
    return [f"{folder}/verdicts/{shard}.parquet" for shard in shards]


def _settle(job: Job) -> dict[str, Counts | Exception]:
    """The verdicts of one group."""
    store = job.workspace.store
    task: _Task = job.task
    [(folder, _)] = job.outputs
    files = [f"{task.folder}/sets/part-{number:05d}.parquet" for number in range(len(task.documents.parts))]
    blocks = range(task.first, task.first + task.count)
    group = _Group(task, files, read_light(store, files, blocks[0], blocks[-1]))
    only = _Read(*read_block(store, files, blocks[0])) if task.count == 1 else None
    group.verify(only)
    table = group.verdicts(only)
    with store.writing(f"{folder}/{job.shard}.parquet") as path:
        pq.write_table(table, path, compression="zstd", row_group_size=NARROW_ROWS)
        facts = file_facts(path)
    alone = group.light.num_rows - table.num_rows
    return {folder: Counts(group.light.num_rows, table.num_rows, alone, **facts)}


class _Read:
    """A block in memory."""

    def __init__(self, light: pa.Table, sets: GramSets):
        self.docs = light.column("doc").to_numpy().astype(np.int64)
        self.sets = sets


class _Group:
    """The documents of a group, and which of them are alike."""

    def __init__(self, task: _Task, files: list[str], light: pa.Table):
        self.task, self.files, self.light = task, files, light
        self.store = task.documents.workspace.store
        self.docs = light.column("doc").to_numpy().astype(np.int64)
        self.parents = np.arange(len(self.docs))

    def verify(self, only: _Read | None) -> None:
        """Compare the candidates; what is alike is united."""
        last = self.task.first + self.task.count
        for low in range(self.task.first, last):
            one = only or _Read(*read_block(self.store, self.files, low))
            for high in range(low, last):
                first, second = self._pairs(low, high)
                if not len(first):
                    continue
                two = one if low == high else _Read(*read_block(self.store, self.files, high))
                # A pair's smaller document may lie in either block.
                turned = ~np.isin(first, one.docs)
                first, second = np.where(turned, second, first), np.where(turned, first, second)
                a, b = np.searchsorted(one.docs, first), np.searchsorted(two.docs, second)
                shared = common(one.sets, two.sets, a, b)
                good = alike(shared, one.sets.sizes[a], two.sets.sizes[b], self.task.jaccard, self.task.threshold)
                unite(self.parents, *(np.searchsorted(self.docs, side[good]) for side in (first, second)))
        flatten(self.parents)

    def _pairs(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """The distinct candidates between two blocks."""
        found = [np.zeros(0, np.uint64)]
        for name in self.task.runs:
            with open_parquet(self.store, name) as file:
                for group in groups_between(file, "low", low, low):
                    table = file.read_row_group(group, use_threads=False)
                    found.append(table.column("pair").to_numpy()[table.column("high").to_numpy() == high])
        return halves(np.unique(np.concatenate(found)))

    def verdicts(self, only: _Read | None) -> pa.Table:
        """One row per document of a cluster of two or more."""
        num = len(self.docs)
        sizes = np.bincount(self.parents, minlength=num)
        members = np.flatnonzero(sizes[self.parents] > 1)
        kept = np.empty(num, np.int64)
        shared, of_size, own = (np.zeros(num, np.int64) for _ in range(3))
        prefer, rank = (self.light.column(name).to_numpy() for name in ("prefer", "rank"))
        order = members[np.lexsort((self.docs[members], rank[members], prefer[members], self.parents[members]))]
        for batch in self._batches(order):
            clusters, place = np.unique(self.parents[batch], return_inverse=True)
            number = np.full(num, -1, np.int64)
            number[batch] = place
            choice = Choice(self.task.jaccard, self.task.threshold, len(clusters))
            for block in range(self.task.first, self.task.first + self.task.count):
                if only is not None:
                    read, mine = only, batch
                else:
                    here = batch[self.light.column("block").to_numpy()[batch] == block]
                    read, mine = _Read(*read_block(self.store, self.files, block, np.sort(self.docs[here]))), here
                at = np.searchsorted(self.docs, read.docs)
                spots = np.searchsorted(read.docs, self.docs[mine])
                leader, both, other = choice.settle(read.docs, number[at], spots, read.sets, last=only is not None)
                rows = at[spots]
                kept[rows], shared[rows], of_size[rows] = leader[spots], both[spots], other[spots]
                own[rows] = read.sets.sizes[spots]
        best = np.empty(num, np.int64)
        heads = np.flatnonzero(np.diff(self.parents[order], prepend=-1))
        best[self.parents[order[heads]]] = order[heads]
        rows = members
        head, of = best[self.parents[rows]], np.searchsorted(self.docs, kept[rows])
        removed = of != rows
        ids = self.light.column("id")
        union = own[rows] + of_size[rows] - shared[rows]
        return pa.table(
            [
                self.docs[rows].astype(np.uint32),
                self.docs[head].astype(np.uint32),
                sizes[self.parents[rows]].astype(np.int32),
                self.docs[of].astype(np.uint32),
                ids.take(pa.array(head)),
                ids.take(pa.array(of)),
                pa.array((shared[rows] / np.maximum(own[rows], 1)).astype(np.float32), mask=~removed),
                pa.array((shared[rows] / np.maximum(union, 1)).astype(np.float32), mask=~removed),
                self.light.column("words").take(pa.array(rows)),
                self.light.column("source").take(pa.array(rows)),
            ],
            schema=SCHEMA,
        )

    def _batches(self, order: np.ndarray) -> list[np.ndarray]:
        """Whole clusters, as many at a time as fit; a cluster that does not fit comes alone."""
        if not len(order) or self.task.count == 1:
            return [order] if len(order) else []
        weight = np.cumsum(self.light.column("words").to_numpy()[order].astype(np.int64) * 8)
        edges = [*(np.flatnonzero(np.diff(self.parents[order])) + 1).tolist(), len(order)]
        batches, start, end = [], 0, 0
        for edge in edges:
            if end > start and weight[edge - 1] - (weight[start - 1] if start else 0) > self.task.budget:
                batches.append(order[start:end])
                start = end
            end = edge
        return [*batches, order[start:]]
