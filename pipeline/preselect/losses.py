"""The losses of every model of a panel on every token of a sample: losses/<corpus>/<model>-<hash8>/.

    losses = make_losses(sample, panel, pool)      # {model name: folder}

One table per model and sample shard, aligned with the sample:

    id               string
    tokens           int32, scored tokens: the BOS has no loss
    begin, finish    int32, the characters that were scored
    bytes            int64, of those characters in UTF-8
    loss             float64, sum of the token losses in nats
    values           list<float32>, the token losses
    widths           list<int32>, characters that each token completes

A model runs over all its shards before the next one is opened, so that one is in memory at a time. Its batches depend
on the shard alone; dtype, device kind, attention kernel, versions and threads are in the hash, and a rerun gives the
same bytes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.errors import ShardsFailed
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.extras import needed
from pipeline.preselect.panel import check_tokenizers, context_of, folder, identity
from pipeline.preselect.sample import Sample
from pipeline.preselect.settings import PanelModel, PanelSettings
from pipeline.resident import check_gpu, close_model, on_gpu, resident
from pipeline.shards import file_facts, write_narrow
from pipeline.stage import Stage, saved

VERSION = 1
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("tokens", pa.int32()),
        ("begin", pa.int32()),
        ("finish", pa.int32()),
        ("bytes", pa.int64()),
        ("loss", pa.float64()),
        ("values", pa.list_(pa.float32())),
        ("widths", pa.list_(pa.int32())),
    ]
)
PROBED = 20
"""Documents on which tokenizers are compared before any model runs."""


@dataclass(frozen=True)
class _Task:
    sample: Sample
    place: str
    settings: PanelSettings
    context: int
    threads: int | None


def losses_stage(sample: Sample, panel: PanelSettings, one: PanelModel, place: Path, context: int) -> Stage:
    """The stage of one model. Hashes its files; opens nothing."""
    import scorers.lm
    from scorers.lm.model import engine_record

    return Stage(
        kind="losses",
        name=one.name,
        parent=f"losses/{sample.corpus}",
        fields={
            "sample": sample.hash,
            "version": [VERSION, scorers.lm.VERSION],
            "model": identity(place, panel.trust_remote_code),
            "context": context,
            "overlap": panel.overlap,
            "token_budget": panel.token_budget,
            "trust_remote_code": panel.trust_remote_code,
            "engine": engine_record(panel.dtype, panel.device, panel.attention),
            "threads": _threads(panel),
        },
        info={"model": one.model, "revision": one.revision},
    )


def losses_stages(sample: Sample, panel: PanelSettings) -> dict[str, tuple[Stage, Path]]:
    """{model name: its stage and its folder}, in the panel's order. Fetches models that are on the hub."""
    needed("a panel", "lm", "torch", "transformers")
    places = [folder(one, panel) for one in panel.models]
    context = context_of(panel, places)
    return {
        one.name: (losses_stage(sample, panel, one, place, context), place)
        for one, place in zip(panel.models, places, strict=True)
    }


def make_losses(sample: Sample, panel: PanelSettings, pool: Pool) -> dict[str, Stage]:
    """Run what is not run yet. The caller holds the lock. Raises ShardsFailed once every model had its turn."""
    workspace, store = sample.workspace, sample.workspace.store
    stages = losses_stages(sample, panel)
    texts = sample.table(sample.shards[0], ["text"]).column("text").slice(0, PROBED).to_pylist()
    check_tokenizers(panel, [place for _, place in stages.values()], texts)
    failed: dict[str, str] = {}
    total = 0
    for name, (stage, place) in stages.items():
        todo = pending(workspace, stage.folder, sample.shards)
        if not todo:
            continue
        if on_gpu(panel.device):
            check_gpu(pool)
        store.sweep(stage.folder)
        if saved(store, stage.folder) is None:
            stage.save(store)
        task = _Task(sample, str(place), panel, stage.fields["context"], _threads(panel))
        jobs = [Job(workspace, shard, ((stage.folder, attempt),), task) for shard, attempt in todo]
        gpu = {"GPU": 1.0} if on_gpu(panel.device) else None
        rows = pool.run(jobs, run_shard, f"losses {name}", resources=gpu, slow=True)
        failed |= {f"{name}/{row.shard}": row.error or "" for row in rows if not row.done}
        total += len(rows)
    if total:
        pool.client.run(close_model)
    if failed:
        raise ShardsFailed("preselect losses", failed, total)
    return {name: stage for name, (stage, _) in stages.items()}


def _threads(panel: PanelSettings) -> int | None:
    return None if on_gpu(panel.device) else panel.threads or os.cpu_count() or 1


def run_shard(job: Job) -> dict[str, Counts | Exception]:
    """Losses of one model on one sample shard."""
    from scorers.lm.losses import token_losses

    store, task = job.workspace.store, job.task
    [(target, _)] = job.outputs
    documents = task.sample.table(job.shard, ["id", "text"])
    texts = documents.column("text").to_pylist()
    settings = task.settings
    with resident(
        task.place,
        settings.dtype,
        settings.device,
        settings.attention,
        settings.trust_remote_code,
        task.threads,
    ) as model:
        found = token_losses(
            model,
            texts,
            context=task.context,
            overlap=settings.overlap,
            token_budget=settings.token_budget,
        )
    widths = np.diff(found.ends, prepend=0)
    starts = found.offsets[:-1][found.tokens > 0]
    widths[starts] = found.ends[starts] - found.begins[found.tokens > 0]
    offsets = pa.array(found.offsets, pa.int32())
    arrays = [
        documents.column("id").combine_chunks(),
        pa.array(found.tokens, pa.int32()),
        pa.array(found.begins, pa.int32()),
        pa.array(found.finishes, pa.int32()),
        pa.array(found.bytes),
        pa.array(found.sums),
        pa.ListArray.from_arrays(offsets, pa.array(found.values)),
        pa.ListArray.from_arrays(offsets, pa.array(widths, pa.int32())),
    ]
    with store.writing(f"{target}/{job.shard}.parquet") as path:
        write_narrow(path, pa.table(arrays, schema=SCHEMA))
        facts = file_facts(path)
    size = sum(len(text.encode()) for text in texts)
    return {target: Counts(rows_in=len(texts), rows_out=len(texts), bytes_in=size, **facts)}
