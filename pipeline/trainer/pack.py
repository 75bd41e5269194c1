"""Documents tokenised once and for all: packs/<name>-<hash8>/, an Arrow file per input file.

    packed = pack(workspace, "best", DataSettings(paths=["exports/best"], tokenizer="tokenizer.json"), pool)

The hash is over settings, tokenizer (its special tokens and template too) and the content of every input file, in
order: what has changed is packed anew. Rows are conserved; what cannot be trained on is kept beside the shards, with a
reason, as rejects/<shard>.parquet.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, jobs_to_do
from pipeline.ingest.shard import RejectWriter, reason_counts, source_counts
from pipeline.shards import file_facts
from pipeline.stage import Stage, saved
from pipeline.trainer.data import DataSettings
from pipeline.trainer.documents import Packing, PackTask
from pipeline.trainer.encode import Tokenizing, tokenizing
from pipeline.trainer.packed import Packed, open_packed, shard_schema
from pipeline.trainer.read import DataFile, count, digest_of, find
from pipeline.workspace import Workspace, checked_name, shard_name

VERSION = 1
"""Raised whenever the same settings give other bytes."""


@dataclass(frozen=True)
class _Planned:
    stage: Stage
    how: Tokenizing
    tasks: list[PackTask]


def pack_stage(workspace: Workspace, name: str, data: DataSettings) -> Stage:
    """The stage that a pack is. Hashes the tokenizer and the input files. Raises UserError for what is not there."""
    return _planned(workspace, name, data).stage


def pack(workspace: Workspace, name: str, data: DataSettings, pool: Pool | None) -> Packed:
    """Pack what is not packed yet, and open it. The caller holds the lock; pool None: it must be there already.

    Raises ShardsFailed after all other files are done, UserError if no document is left.
    """
    planned = _planned(workspace, name, data)
    stage, store = planned.stage, workspace.store
    shards = [shard_name(i, len(planned.tasks)) for i in range(len(planned.tasks))]
    todo = jobs_to_do(workspace.rows(stage.folder), shards, store.sizes(stage.folder), "{shard}.arrow")
    if todo and pool is not None:
        store.sweep(stage.folder)
        if saved(store, stage.folder) is None:
            how = planned.how
            stage.save(store, num_shards=len(shards), vocabulary=how.vocabulary, bos=how.bos, eos=how.eos)
        tasks = dict(zip(shards, planned.tasks, strict=True))
        jobs = [Job(workspace, shard, ((stage.folder, attempt),), tasks[shard]) for shard, attempt in todo]
        failed = {r.shard: r.error or "" for r in pool.run(jobs, pack_file, stage.label) if not r.done}
        if failed:
            raise ShardsFailed(stage.label, failed, len(jobs))
    _report(workspace, stage)
    return open_packed(workspace, stage.folder)


def _planned(workspace: Workspace, name: str, data: DataSettings) -> _Planned:
    how = tokenizing(data)
    files = find(workspace, data)
    shares = (
        [*((file, None) for file in files)] if data.limit_documents is None else _shares(files, data.limit_documents)
    )
    fields: dict[str, Any] = {
        "version": VERSION,
        "settings": data.model_dump(mode="json", exclude={"paths", "tokenizer", "weight_as", "bos", "eos"}),
        "tokenizer": how.digest,
        "bos": how.bos,
        "eos": how.eos,
        "template": None if how.template is None else hashlib.sha256(how.template.encode()).hexdigest(),
        "files": [[file.name, file.digest] for file, _ in shares],
    }
    info = {"paths": data.paths, "tokenizer": data.tokenizer}
    stage = Stage("pack", checked_name(name, "pack"), "packs", fields, info)
    return _Planned(stage, how, [PackTask(data, how, file, limit) for file, limit in shares])


def _shares(files: list[DataFile], limit: int | None) -> list[tuple[DataFile, int | None]]:
    """The files that hold the first `limit` rows, and how many of them each gives (None: all)."""
    if limit is None:
        return [(file, None) for file in files]
    shares: list[tuple[DataFile, int | None]] = []
    for file in files:
        if limit > 0:
            found = count(file, limit)
            shares.append((file, found))
            limit -= found
    return shares


def _report(workspace: Workspace, stage: Stage) -> None:
    """Say what was rejected. Raises UserError if that was everything."""
    done = [row for row in workspace.rows(stage.folder).values() if row.done]
    reasons: Counter[str] = Counter()
    for item in (item for row in done for item in row.reasons):
        reasons[item["reason"]] += item["rows"]
    if not reasons:
        return
    shown = ", ".join(f"{rows:,} {reason}" for reason, rows in sorted(reasons.items()))
    if not any(row.rows_out for row in done):
        raise UserError(f"{stage.label}: no document is left ({shown}); see rejects in {stage.folder}")
    print(f"{stage.label}: rejected {shown}", file=sys.stderr)


def pack_file(job: Job) -> dict[str, Counts | Exception]:
    """Pack one file. A row that cannot be trained on becomes a reject."""
    task: PackTask = job.task
    [(folder, _)] = job.outputs
    if digest_of(task.file) != task.file.digest:
        raise UserError(f"{task.file.url} changed while it was packed; run the same command again")
    store = job.workspace.store
    schema = shard_schema(task.how.vocabulary or 1 << 32)
    with (
        store.writing(f"{folder}/rejects/{job.shard}.parquet") as beside,
        store.writing(f"{folder}/{job.shard}.arrow") as path,
    ):
        rejects = RejectWriter(beside)
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            packing = Packing(task, schema, rejects, writer)
            packing.run()
        rejects.close()
        facts = file_facts(path)
    counts = packing.counts
    assert counts["in"] == counts["out"] + packing.rejected.total(), (counts, packing.rejected)
    return {
        folder: Counts(
            rows_in=counts["in"],
            rows_out=counts["out"],
            rejected=packing.rejected.total(),
            bytes_in=counts["bytes"],
            sources=source_counts(packing.rows_in, packing.rejected),
            reasons=reason_counts(packing.reasons),
            **facts,
        )
    }
