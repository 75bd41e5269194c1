"""The verdicts as score tables, one row per document: scores/<corpus>/<alias>-<hash8>/.

    near_cluster             string, the id of the document that is kept first of its cluster; null outside clusters
    near_cluster_corpus      string, where that document is
    near_size                int32, documents of the cluster; 1 outside clusters
    near_kept                bool, false for a near-duplicate
    near_of, near_of_corpus  string, the kept document that this one is a near-duplicate of; null if it is kept
    near_containment         float32, the share of its distinct n-grams that the kept document has; null if it is kept
    near_jaccard             float32, Jaccard similarity of the two; null if it is kept

Under another alias the columns start with `<alias>_`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.errors import ShardsFailed
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.near.clusters import SCHEMA
from pipeline.near.documents import Documents, Part
from pipeline.near.sets import groups_between
from pipeline.score import rows_by_source
from pipeline.shards import file_facts, open_parquet, read_narrow, write_narrow
from pipeline.storage import Store


def schema_for(alias: str) -> pa.Schema:
    """The columns, without `id`."""
    names = {
        "cluster": pa.string(),
        "cluster_corpus": pa.string(),
        "size": pa.int32(),
        "kept": pa.bool_(),
        "of": pa.string(),
        "of_corpus": pa.string(),
        "containment": pa.float32(),
        "jaccard": pa.float32(),
    }
    return pa.schema([(f"{alias}_{name}", kind) for name, kind in names.items()])


@dataclass(frozen=True)
class _Task:
    documents: Documents
    part: Part
    verdicts: tuple[str, ...]
    alias: str


def make_tables(documents: Documents, verdicts: list[str], folders: dict[str, str], alias: str, pool: Pool) -> None:
    """Write the tables of every corpus. folders: {corpus: folder}. Raises ShardsFailed."""
    workspace = documents.workspace
    jobs = []
    for corpus, folder in folders.items():
        parts = {part.shard: part for part in documents.parts if part.corpus == corpus}
        for shard, attempt in pending(workspace, folder, list(parts)):
            task = _Task(documents, parts[shard], tuple(verdicts), alias)
            jobs.append(Job(workspace, shard, ((folder, attempt),), task))
    rows = pool.run(jobs, _write, f"write {alias}")
    if failed := {row.shard: row.error or "" for row in rows if not row.done}:
        raise ShardsFailed(f"write {alias}", failed, len(rows))


def _write(job: Job) -> dict[str, Counts | Exception]:
    """The table of one shard."""
    store = job.workspace.store
    task: _Task = job.task
    [(folder, _)] = job.outputs
    part = task.part
    table = read_narrow(store, part.documents, ["id", "source"])
    found = _between(store, task.verdicts, part.base, part.base + part.rows - 1)
    rows = found.column("doc").to_numpy().astype(np.int64) - part.base
    place = np.full(part.rows, -1, np.int64)
    place[rows] = np.arange(len(rows))
    take = pa.array(place, mask=place < 0)
    of, cluster = (found.column(name).to_numpy().astype(np.int64) for name in ("of", "cluster"))
    kept = pa.array(of == rows + part.base)
    removed_of = pa.array(np.arange(len(rows)), mask=kept.to_numpy(zero_copy_only=False))
    where_cluster, where_of = (pa.array(task.documents.corpus_of(numbers), pa.string()) for numbers in (cluster, of))
    columns = [
        found.column("cluster_id"),
        where_cluster,
        found.column("size"),
        kept,
        found.column("of_id").take(removed_of),
        where_of.take(removed_of),
        found.column("containment"),
        found.column("jaccard"),
    ]
    schema = schema_for(task.alias)
    spread = [_spread(column, take) for column in columns]
    spread[2] = spread[2].fill_null(pa.scalar(1, pa.int32()))
    spread[3] = spread[3].fill_null(True)
    whole = pa.table([table.column("id"), *spread], schema=pa.schema([pa.field("id", pa.string()), *schema]))
    with store.writing(f"{folder}/{job.shard}.parquet") as path:
        write_narrow(path, whole)
        facts = file_facts(path)
    sources = rows_by_source([table.column("source")])
    return {folder: Counts(whole.num_rows, whole.num_rows, sources=sources, **facts)}


def _spread(column: pa.Array | pa.ChunkedArray, take: pa.Array) -> pa.Array:
    """Values at their rows, null elsewhere."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.take(take)


def _between(store: Store, names: tuple[str, ...], first: int, last: int) -> pa.Table:
    """The verdicts about some documents, by document."""
    tables = [SCHEMA.empty_table()]
    for name in names:
        with open_parquet(store, name) as file:
            groups = groups_between(file, "doc", first, last)
            if groups:
                table = file.read_row_groups(groups, use_threads=False)
                docs = table.column("doc").to_numpy()
                tables.append(table.filter(pa.array((docs >= first) & (docs <= last))))
    return pa.concat_tables(tables).sort_by("doc").combine_chunks()
