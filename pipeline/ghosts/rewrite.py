"""A corpus made of another by editing its texts: same shards, same rows, same columns, other text.

    rows = rewrite(source, "marked", fields, tasks, work, pool, "insert marked")

`work(job)` does one shard with `edited`, which reads the source batch by batch and writes what an editor makes of it.
Documents of a corpus never change: a name that holds a corpus made of something else is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, Work, pending
from pipeline.ledger import Row
from pipeline.shards import DocumentWriter, batches, check_shard, file_facts, open_parquet
from pipeline.stage import Stage, differences, saved
from pipeline.storage import Store
from pipeline.workspace import Corpus, Workspace, checked_name
from scorers.texts import Texts


@dataclass(frozen=True)
class Task:
    """One shard: the file it is made of, its size by the ledger, what the editor needs (kept out of any message)."""

    documents: str
    size: int
    own: Any = field(repr=False)


Editor = Callable[[pa.Table], "tuple[pa.Array, list[dict[str, Any]]]"]
"""Makes of a batch its new texts, and rows for the table of what was done."""


def whole(corpus: Corpus) -> Corpus:
    """The corpus, if all its shards are there. Raises UserError."""
    if lost := [shard for shard in corpus.shards if shard not in corpus.done]:
        raise UserError(f"corpus {corpus.name!r} lacks {len(lost)} shards ({lost[0]}); run its ingest again")
    return corpus


def rewrite_stage(source: Corpus, name: str, made: str, fields: Mapping[str, Any], info: Mapping[str, Any]) -> Stage:
    """The corpus as a stage. Raises UserError if the name holds another one."""
    checked_name(name, "corpus")
    if name == source.name:
        raise UserError(f"corpus {name!r} cannot be made of itself: documents never change; choose another name")
    stage = Stage("ingest", name, "corpora", {"made": made, "of": source.hash, **fields}, {"of": source.name, **info})
    store = source.workspace.store
    old = saved(store, stage.folder)
    if old is not None and old["hash"] != stage.hash:
        changed = "; ".join(differences(old["fields"], stage.fields)[:5])
        raise UserError(
            f"corpus {name!r} was made of something else, and documents never change: choose another name ({changed})"
        )
    return stage


def rewrite(source: Corpus, stage: Stage, own: Callable[[str], Any], work: Work, pool: Pool, label: str) -> list[Row]:
    """Make the shards that are not there yet; the rows of all. `own`: {shard: what its editor needs}.

    The caller holds the lock. Raises ShardsFailed.
    """
    workspace = source.workspace
    store = workspace.store
    if saved(store, stage.folder) is None:
        stage.save(store, num_shards=len(source.shards))
    store.sweep(stage.folder)
    jobs = []
    for shard, attempt in pending(workspace, stage.folder, source.shards):
        task = Task(source.file(shard), source.done[shard].size, own(shard))
        jobs.append(Job(workspace, shard, ((stage.folder, attempt),), task))
    if not jobs:
        print(f"{label}: nothing to do, all {len(source.shards)} shards are there", file=sys.stderr)
    pool.run(jobs, work, label)
    rows = workspace.rows(stage.folder)
    if failed := {shard: rows[shard].error or "" for shard in source.shards if not rows[shard].done}:
        raise ShardsFailed(label, failed, len(source.shards))
    return [rows[shard] for shard in source.shards]


def edited(job: Job, editor: Editor, table: str | None = None, schema: pa.Schema | None = None) -> Counts:
    """Write one shard. table: folder below the corpus for the editor's rows, of that schema."""
    from pipeline.shards import write_narrow

    store: Store = job.workspace.store
    task: Task = job.task
    [(folder, _)] = job.outputs
    check_shard(store, task.documents, task.size)
    with open_parquet(store, task.documents) as file:
        documents = file.schema_arrow
    rows: list[dict[str, Any]] = []
    bytes_in = 0
    per_source: dict[str | None, int] = {}
    with store.writing(f"{folder}/{job.shard}.parquet") as path:
        writer = DocumentWriter(path, documents)
        for batch in batches(store, task.documents, documents.names):
            bytes_in += Texts.from_arrow(batch.column("text")).num_bytes
            for item in batch.column("source").value_counts().to_pylist():
                per_source[item["values"]] = per_source.get(item["values"], 0) + item["counts"]
            texts, more = editor(batch)
            rows += more
            place = batch.schema.get_field_index("text")
            writer.write(batch.set_column(place, documents.field("text"), texts).cast(documents))
        writer.close()
        facts = file_facts(path)
        if table is not None:
            # Before the documents are published: whoever sees them finds what was done to them.
            with store.writing(f"{folder}/{table}/{job.shard}.parquet") as narrow:
                write_narrow(narrow, pa.Table.from_pylist(rows, schema))
    sources = [
        {"source": name, "rows_in": count, "rows_out": count, "rejected": 0}
        for name, count in sorted(per_source.items(), key=lambda item: item[0] or "")
    ]
    return Counts(writer.num_rows, writer.num_rows, bytes_in=bytes_in, sources=sources, **facts)


def made_by(workspace: Workspace, name: str, made: str) -> Corpus:
    """A corpus that was made in that way. Raises UserError."""
    corpus = workspace.corpus(name)
    if corpus.record["fields"].get("made") != made:
        raise UserError(f"corpus {name!r} was not made by `tamis {made}`")
    return whole(corpus)
