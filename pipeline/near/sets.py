"""The n-grams of the candidates, out of the text: a second pass that reads documents and keeps what verifying needs.

    near/<alias>-<hash8>/sets/part-00003.parquet     block, doc, root (uint32), prefer (int32), rank (float64),
                                                     words (uint32), id, source (string), grams (list<uint64>)

One file per shard, by block and document, a row group per block, so that a block is one read in each file.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ShardsFailed
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.near.blocks import label_file
from pipeline.near.documents import Documents, Part
from pipeline.near.keys import read_words
from pipeline.near.ranks import Ranks
from pipeline.shards import batches, check_shard, file_facts, open_parquet, read_narrow
from pipeline.storage import Store
from scorers.near.grams import GramSets, gram_sets, joined
from scorers.near.minhash import words_of
from scorers.texts import Texts

LIGHT = pa.schema(
    [
        ("block", pa.uint32()),
        ("doc", pa.uint32()),
        ("root", pa.uint32()),
        ("prefer", pa.int32()),
        ("rank", pa.float64()),
        ("words", pa.uint32()),
        ("id", pa.string()),
        ("source", pa.string()),
    ]
)
SCHEMA = LIGHT.append(pa.field("grams", pa.list_(pa.field("element", pa.uint64(), nullable=False))))


@dataclass(frozen=True)
class _Task:
    part: Part
    labels: str
    ranks: Ranks
    ngram: int
    fold: bool


def make_sets(documents: Documents, folder: str, ranks: Ranks, ngram: int, fold: bool, pool: Pool, label: str) -> None:
    """Write the sets of every shard. Raises ShardsFailed."""
    shards = [f"part-{number:05d}" for number in range(len(documents.parts))]
    jobs = []
    for shard, attempt in pending(documents.workspace, f"{folder}/sets", shards):
        number = shards.index(shard)
        task = _Task(documents.parts[number], label_file(folder, number), ranks, ngram, fold)
        jobs.append(Job(documents.workspace, shard, ((f"{folder}/sets", attempt),), task))
    rows = pool.run(jobs, _gather, f"n-grams {label}")
    if failed := {row.shard: row.error or "" for row in rows if not row.done}:
        raise ShardsFailed(f"n-grams {label}", failed, len(rows))


def _gather(job: Job) -> dict[str, Counts | Exception]:
    """The sets of one shard's candidates."""
    store = job.workspace.store
    task: _Task = job.task
    [(folder, _)] = job.outputs
    check_shard(store, task.part.documents, task.part.size)
    labels = read_narrow(store, task.labels)
    by_row = labels.take(pc.sort_indices(labels.column("row")))
    rows = by_row.column("row").to_numpy()
    ids, sources, sets, start, bytes_in = [], [], [], 0, 0
    if len(rows):
        for batch in batches(store, task.part.documents, ["id", "source", "text"]):
            mine = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + batch.num_rows)] - start
            start += batch.num_rows
            chosen = batch.take(pa.array(mine))
            texts = Texts.from_arrow(chosen.column("text"))
            bytes_in += texts.num_bytes
            sets.append(gram_sets(words_of(texts, task.fold), task.ngram))
            ids += chosen.column("id").chunks
            sources += chosen.column("source").chunks
    words = read_words(store, task.part.keys)
    prefer, rank = task.ranks.of(store, task.part, rows, words)
    light = pa.table(
        [
            by_row.column("block"),
            (rows + np.uint32(task.part.base)).astype(np.uint32),
            by_row.column("root"),
            prefer,
            rank,
            words[rows],
            pa.chunked_array(ids, pa.string()),
            pa.chunked_array(sources, pa.string()),
        ],
        schema=LIGHT,
    )
    with store.writing(f"{folder}/{job.shard}.parquet") as path:
        _write(path, light, joined(sets))
        facts = file_facts(path)
    return {folder: Counts(len(rows), len(rows), bytes_in=bytes_in, **facts)}


def _write(path: str, light: pa.Table, sets: GramSets) -> None:
    order = np.argsort(light.column("block").to_numpy(), kind="stable")
    blocks = light.column("block").to_numpy()[order]
    edges = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(order)]
    # The n-grams are hashes: nothing to be gained by packing them.
    narrow = dict.fromkeys(LIGHT.names, "zstd") | {"grams.list.element": "none"}
    with pq.ParquetWriter(path, SCHEMA, compression=narrow, use_dictionary=["source"]) as writer:
        for start, stop in itertools.pairwise(edges):
            rows = order[start:stop]
            own = sets.take(rows)
            grams = pa.ListArray.from_arrays(
                pa.array(own.offsets.astype(np.int32)), pa.array(own.grams), type=SCHEMA.field("grams").type
            )
            table = light.take(pa.array(rows)).append_column(SCHEMA.field("grams"), grams)
            writer.write_table(table, row_group_size=max(stop - start, 1))


def read_block(
    store: Store, files: list[str], block: int, wanted: np.ndarray | None = None
) -> tuple[pa.Table, GramSets]:
    """(light columns, sets) of a block, by document. wanted: documents to be read, ascending; None: all."""
    tables, sets = [LIGHT.empty_table()], []
    for name in files:
        with open_parquet(store, name) as file:
            for group in groups_between(file, "block", block, block):
                table = file.read_row_group(group, use_threads=False)
                if wanted is not None:
                    table = table.filter(pc.is_in(table.column("doc"), pa.array(wanted, pa.uint32())))
                tables.append(table.select(LIGHT.names))
                sets += [_sets(chunk) for chunk in table.column("grams").chunks]
    return pa.concat_tables(tables).combine_chunks(), joined(sets)


def read_light(store: Store, files: list[str], first: int, last: int) -> pa.Table:
    """The light columns of some blocks, by document."""
    tables = [LIGHT.empty_table()]
    for name in files:
        with open_parquet(store, name) as file:
            groups = groups_between(file, "block", first, last)
            tables.append(file.read_row_groups(groups, LIGHT.names, use_threads=False))
    return pa.concat_tables(tables).sort_by("doc").combine_chunks()


def groups_between(file: pq.ParquetFile, column: str, first: int, last: int) -> list[int]:
    """Row groups that have values of a column between two, both included, by their statistics."""
    place = file.schema_arrow.get_field_index(column)
    found = []
    for group in range(file.num_row_groups):
        statistics = file.metadata.row_group(group).column(place).statistics
        if statistics is None or not statistics.has_min_max or (statistics.max >= first and statistics.min <= last):
            found.append(group)
    return found


def _sets(chunk: pa.ListArray) -> GramSets:
    offsets = chunk.offsets.to_numpy().astype(np.int64)
    grams = chunk.values.to_numpy()[offsets[0] : offsets[-1]]
    return GramSets(offsets - offsets[0], grams)
