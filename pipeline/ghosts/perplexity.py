"""The perplexity of documents and of their lines under a causal language model, for steps that cut by it.

    losses = token_values(workspace, "plain", "models/small", pool)      # {id: Values}
    losses["d1"].perplexity                                              # exp of the mean loss of its tokens
    losses["d1"].between(120, 180)                                       # of the tokens that end in these characters

CCNet's buckets are terciles of such a number, by a 5-gram model per language; here any folder of a Hugging Face model
is taken (extra `lm`), so the order of documents is that model's and no published limit applies.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.extras import needed
from pipeline.resident import close_model, resident
from pipeline.shards import batches, file_facts, read_narrow, write_narrow
from pipeline.workspace import Workspace

SCHEMA = pa.schema([("id", pa.string()), ("values", pa.list_(pa.float32())), ("ends", pa.list_(pa.int64()))])
LEAST_TOKENS = 5
"""Of a line that has a perplexity."""


@dataclass(frozen=True)
class Values:
    """Losses of the tokens of a document in nats, and the characters of it that are whole after each."""

    losses: np.ndarray
    ends: np.ndarray

    @property
    def perplexity(self) -> float:
        """Of the document; NaN without a token."""
        return float(np.exp(self.losses.mean())) if len(self.losses) else float("nan")

    def between(self, begin: int, end: int) -> float:
        """Of the tokens that end in text[begin:end]; NaN if they are fewer than LEAST_TOKENS."""
        first, last = np.searchsorted(self.ends, [begin, end], side="right")
        return float(np.exp(self.losses[first:last].mean())) if last - first >= LEAST_TOKENS else float("nan")


@dataclass(frozen=True)
class _Task:
    documents: str
    ids: pa.Array | None
    model: str
    threads: int


def token_values(
    workspace: Workspace, name: str, model: str, pool: Pool, ids: Collection[str] | None = None
) -> dict[str, Values]:
    """Of these documents [all] of a corpus. Raises ShardsFailed, and UserError where torch is missing."""
    needed("a cut by perplexity", "lm", "torch", "transformers")
    place = Path(model).expanduser().absolute()
    if not (place / "config.json").exists():
        raise UserError(f"language model {model}: expected the folder of a Hugging Face model, with a config.json")
    corpus, folder = workspace.corpus(name), f"perplexity/{name}"
    chosen = None if ids is None else pa.array(sorted(ids), pa.string())
    jobs = []
    for shard, attempt in pending(workspace, folder, corpus.shards):
        task = _Task(corpus.file(shard), chosen, str(place), os.cpu_count() or 1)
        jobs.append(Job(workspace, shard, ((folder, attempt),), task))
    pool.run(jobs, values_shard, f"perplexity {name}")
    rows = workspace.rows(folder)
    if failed := {shard: rows[shard].error or "" for shard in corpus.shards if not rows[shard].done}:
        raise ShardsFailed(f"perplexity {name}", failed, len(corpus.shards))
    found = {}
    for shard in corpus.shards:
        table = read_narrow(workspace.store, f"{folder}/{shard}.parquet")
        for id, losses, ends in zip(*(table.column(c) for c in SCHEMA.names), strict=True):
            found[id.as_py()] = Values(losses.values.to_numpy(), ends.values.to_numpy())
    return found


def closed(pool: Pool) -> None:
    """Let the workers forget the model."""
    pool.client.run(close_model)


def values_shard(job: Job) -> dict[str, Counts | Exception]:
    """One shard."""
    from scorers.lm.losses import token_losses

    task: _Task = job.task
    [(folder, _)] = job.outputs
    parts = [SCHEMA.empty_table()]
    read = 0
    with resident(task.model, "float32", "cpu", "sdpa", False, task.threads) as model:
        for batch in batches(job.workspace.store, task.documents, ["id", "text"]):
            chosen = batch if task.ids is None else batch.filter(pc.is_in(batch.column("id"), task.ids))
            texts = chosen.column("text").to_pylist()
            if texts:
                found = token_losses(model, texts)
                offsets = pa.array(found.offsets, pa.int32())
                lists = [pa.ListArray.from_arrays(offsets, pa.array(a)) for a in (found.values, found.ends)]
                parts.append(pa.table([chosen.column("id"), *lists], schema=SCHEMA))
                read += sum(len(text.encode()) for text in texts)
    table = pa.concat_tables(parts)
    with job.workspace.store.writing(f"{folder}/{job.shard}.parquet") as path:
        write_narrow(path, table)
        facts = file_facts(path)
    return {folder: Counts(table.num_rows, table.num_rows, bytes_in=read, **facts)}
