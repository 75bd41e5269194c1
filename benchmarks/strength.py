"""Predictive strength of a million documents under six models, on one core: `python -m benchmarks.run strength`.

*Kernel*: scorers.preselect.strength over arrays in memory, one estimator at a time, and the statistics of paired token
differences that `noise` and the standard error need. *Pairing*: pipeline.preselect.matrix.make_pairs, which `tamis
preselect losses` does once for a panel, a shard at a time on all workers: it reads the losses of every token and
leaves a few numbers per document; its cost grows with the tokens. *Stage*: pipeline.preselect.strength.make_strength
from these numbers on disk to strengths and report.json on disk, with the paper's estimator alone and with the
defaults. Loss tables are written here: random losses that fall from model to model, TOKENS tokens a document. They
are in the page cache when they are read.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.common import DATA, line, measured_cores, pinned

DOCUMENTS = 1_000_000
TRIAL = 50_000
MODELS = 6
TOKENS = 32
SHARD = 4096
DOMAINS = 3000


def measure(full: bool, repeats: int) -> dict[str, Any]:
    """Seconds of every kernel and of the stage. full: False for a trial of fewer documents."""
    folder = DATA / f"strength-{os.getpid()}"
    documents = DOCUMENTS if full else TRIAL
    try:
        run = pinned(
            "benchmarks.strength",
            measured_cores(1),
            {"folder": str(folder), "documents": documents, "repeats": repeats},
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = [line(what, "s", values) for what, values in run["seconds"].items()]
    about = (
        f"{documents:,} documents of {TOKENS} tokens, {MODELS} models, {run['shards']} shards, "
        f"{run['bytes'] / 1e9:.2f} GB of loss tables, {run['paired_bytes'] / 1e9:.2f} GB of pairs; "
        f"most memory of the process {run['memory_gb']:.1f} GB.\n"
    )
    return {"lines": lines, "documents": documents, "about": about}


def _child(request: dict[str, Any]) -> dict[str, Any]:
    import resource

    from pipeline.preselect.matrix import make_pairs, read_pairs
    from pipeline.preselect.settings import PanelSettings, StrengthSettings
    from pipeline.preselect.strength import make_strength
    from pipeline.workspace import Workspace
    from scorers.preselect.pairs import pair_statistics
    from scorers.preselect.strength import strength

    pa.set_cpu_count(1)
    workspace = Workspace(request["folder"])
    sample, losses = _written(workspace, request["documents"])
    entries = [{"name": name, "model": name, "scores": {"quiz": float(i)}} for i, name in enumerate(losses)]
    panel = PanelSettings.model_validate({"models": entries})
    benchmark = np.arange(MODELS, dtype=float)
    seconds: dict[str, list[float]] = {}

    def timed(what: str, work: Any) -> None:
        begun = time.perf_counter()
        work()
        seconds.setdefault(what, []).append(time.perf_counter() - begun)
        print(f"{what}: {seconds[what][-1]:.2f} s", file=sys.stderr, flush=True)

    make_pairs(sample, panel, losses)
    for _ in range(request["repeats"]):
        for place in ("pairs", "ledger/pairs"):
            shutil.rmtree(Path(request["folder"]) / place, ignore_errors=True)
        timed("pairing, once for a panel", lambda: make_pairs(sample, panel, losses))
    paired = make_pairs(sample, panel, losses)
    found = read_pairs(sample, paired)
    random = np.random.default_rng(1)
    tokens = random.normal(3, 1, (MODELS, request["documents"] * TOKENS // 10)).astype(np.float32)
    offsets = np.arange(request["documents"] // 10 + 1) * TOKENS
    pair_statistics(tokens[:, :TOKENS], offsets[:2])
    for estimator in ("preselect", "spearman", "margin", "noise"):
        pairs = found.pairs if estimator == "noise" else None
        strength(found.losses[:2], benchmark, estimator, pairs=_first(found.pairs))
        for _ in range(request["repeats"]):
            timed(f"kernel, {estimator}", lambda e=estimator, p=pairs: strength(found.losses, benchmark, e, pairs=p))
    for _ in range(request["repeats"]):
        timed("kernel, statistics of token differences, a tenth", lambda: pair_statistics(tokens, offsets))
    for what, chosen in {"the paper's estimator": ["preselect"], "all four": None}.items():
        settings = StrengthSettings() if chosen is None else StrengthSettings.model_validate({"estimators": chosen})
        make_strength(sample, panel, losses, settings)
        for _ in range(request["repeats"]):
            for place in ("strengths", "ledger/strengths"):
                shutil.rmtree(Path(request["folder"]) / place, ignore_errors=True)
            timed(f"stage, {what}", lambda s=settings: make_strength(sample, panel, losses, s))
    return {
        "seconds": seconds,
        "shards": len(sample.shards),
        "bytes": sum(row.size or 0 for stage in losses.values() for row in workspace.rows(stage.folder).values()),
        "paired_bytes": sum(row.size or 0 for row in workspace.rows(paired.folder).values()),
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def _first(pairs: Any) -> Any:
    """Statistics of the first two documents, to compile with."""
    return type(pairs)(pairs.difference[:2], pairs.error[:2], pairs.tokens[:2])


def _written(workspace: Any, documents: int) -> tuple[Any, dict[str, Any]]:
    """A sample and the losses of every model on it, as their stages would have left them."""
    from pipeline.preselect import losses, sample
    from pipeline.stage import Stage, saved
    from pipeline.workspace import shard_name

    count = -(-documents // SHARD)
    drawn = Stage("sample", "web", "samples", {"corpus": "", "documents": documents})
    drawn.save(workspace.store, num_shards=count)
    stages = {f"m{i}": Stage("losses", f"m{i}", "losses/web", {"model": i}) for i in range(MODELS)}
    for stage in stages.values():
        stage.save(workspace.store)
    random = np.random.default_rng(0)
    for index in range(count):
        shard = shard_name(index, count)
        rows = min(SHARD, documents - index * SHARD)
        ids = pa.array([f"{index:05d}-{row:05d}" for row in range(rows)])
        domains = random.integers(DOMAINS, size=rows)
        columns = [ids, pa.array([""] * rows), pa.array(["web"] * rows), pa.array([f"{d}.org" for d in domains])]
        _write(workspace, drawn.folder, shard, pa.table([*columns, np.ones(rows)], sample.SCHEMA.names))
        hard, slope = random.normal(3, 0.5, (rows, TOKENS)), random.normal(0, 0.1, (rows, 1))
        widths = np.full(rows * TOKENS, 4, np.int32)
        offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * TOKENS)
        whole = np.full(rows, TOKENS, np.int32)
        for number, stage in enumerate(stages.values()):
            values = np.maximum(hard - slope * number + random.normal(0, 0.3, hard.shape), 0).astype(np.float32)
            arrays = [
                ids,
                whole,
                0 * whole,
                4 * whole,
                4 * whole.astype(np.int64),
                values.sum(axis=1, dtype=np.float64),
            ]
            lists = [pa.ListArray.from_arrays(offsets, pa.array(flat)) for flat in (values.ravel(), widths)]
            table = pa.table([*map(pa.array, arrays), *lists], schema=losses.SCHEMA)
            _write(workspace, stage.folder, shard, table)
    record = saved(workspace.store, drawn.folder)
    assert record is not None
    return sample.Sample(workspace, "web", drawn.folder, record), stages


def _write(workspace: Any, folder: str, shard: str, table: pa.Table) -> None:
    from pipeline.execute import Counts, write_row
    from pipeline.shards import file_facts, write_narrow

    with workspace.store.writing(f"{folder}/{shard}.parquet") as path:
        write_narrow(path, table)
        facts = file_facts(path)
    counts = Counts(rows_in=table.num_rows, rows_out=table.num_rows, **facts)
    write_row(workspace, folder, shard, 1, time.time(), counts)


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]))))
