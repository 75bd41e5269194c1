"""Scoring a corpus that is already Parquet, reading and writing included: one core and two, and the memory it takes.

The corpus is 20 times the usual text: the documents in 20 orders, joined and cut anew each time, so that no two
documents are the same, though their lines are. Whole call: from `score()` to its return, loading the model in the main
process and in each worker included; starting the cluster and compiling the kernels not. Settled: the median shard,
without each worker's first, which loads the model.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import corpus, model
from benchmarks.common import DATA, DOCUMENTS, MODEL, line, measured_cores, needed, pinned, say

COPIES = 20
CASES = {"fastText": ["preselect"], "fastText + repetition": ["preselect", "repetition"]}
SHARD_MB = 64


def measure(megabytes: float, repeats: int) -> dict[str, Any]:
    """Each case on one core and on two, alternating; at most three times, since one round takes minutes."""
    needed(DOCUMENTS, "bench-data")
    needed(MODEL, "bench-model")
    repeats = min(repeats, 3)
    folder = DATA / f"pass-{megabytes:.0f}"
    _make_corpus(folder, megabytes)
    runs = []
    for _ in range(repeats):
        for case, scorers in CASES.items():
            for workers in (1, 2):
                shutil.rmtree(folder / "workspace" / "scores", ignore_errors=True)
                shutil.rmtree(folder / "workspace" / "ledger" / "scores", ignore_errors=True)
                request = {"folder": str(folder), "scorers": scorers, "workers": workers}
                run = pinned("benchmarks.scoring", measured_cores(workers), request)
                runs.append({"case": case, "workers": workers, **run})
                say(f"{case}, {workers} workers: {run['mb_per_s']:.1f} MB/s, peak {max(run['peak_mb']):.0f} MB")
    lines = []
    for case in CASES:
        one, two = ([run for run in runs if (run["case"], run["workers"]) == (case, n)] for n in (1, 2))
        lines.append(line(f"{case}: one core, whole call", "MB/s", [run["mb_per_s"] for run in one]))
        lines.append(line(f"{case}: one core, settled", "MB/s", [run["settled"] for run in one]))
        lines.append(line(f"{case}: two cores, whole call", "MB/s", [run["mb_per_s"] for run in two]))
        pairs = [b["mb_per_s"] / a["mb_per_s"] for a, b in zip(one, two, strict=True)]
        lines.append(line(f"{case}: two cores against one", "times", pairs))
        lines.append(line(f"{case}: peak memory of a worker", "MB", [max(run["peak_mb"]) for run in one + two]))
        lines.append(line(f"{case}: of it not the model file's pages", "MB", [max(r["own_mb"]) for r in one + two]))
    size = runs[0]["bytes"]
    about = (
        f"{size / 1e6:.0f} MB in {runs[0]['documents']} documents and {runs[0]['shards']} shards, {repeats} runs of "
        "each. Peak: VmHWM of the worker, in 10^6 bytes; pages of a model file that is mapped count in it until the "
        "system wants them back, so the second line gives RssAnon at the end.\n"
    )
    return {"megabytes": size / 1e6, "model": model.facts(), "lines": lines, "runs": runs, "about": about}


def _make_corpus(folder: Path, megabytes: float) -> None:
    """folder/workspace with the corpus `big`, unless it is there."""
    if (folder / "done").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "input").mkdir(parents=True)
    table = corpus.first_megabytes(megabytes / COPIES)
    say(f"making {megabytes:.0f} MB: the same text cut anew {COPIES} times")
    for copy in range(COPIES):
        pq.write_table(_cut_anew(table, copy), folder / "input" / f"copy-{copy:02d}.parquet", compression="zstd")
    pinned("benchmarks.scoring", measured_cores(2), {"folder": str(folder), "scorers": [], "workers": 2})
    shutil.rmtree(folder / "input")
    (folder / "done").touch()


def _cut_anew(table: pa.Table, copy: int) -> pa.Table:
    """The documents in another order, joined, and cut into documents again."""
    draw = random.Random(copy)
    order = list(range(table.num_rows))
    draw.shuffle(order)
    shuffled = pc.cast(table.column("text").take(pa.array(order)), pa.large_binary()).to_pylist()
    lines = (piece for text in shuffled for piece in (text + b"\n").splitlines(keepends=True))
    texts = list(corpus.cut(lines, draw))
    ids = [f"{copy:02d}-{number:06d}" for number in range(len(texts))]
    column = pa.array(texts, pa.large_binary()).cast(pa.large_string())
    return pa.table([ids, column, [f"copy-{copy:02d}"] * len(texts)], schema=corpus.SCHEMA)


def _child(request: dict[str, Any]) -> dict[str, Any]:
    from pipeline.execute import Compute, Pool
    from pipeline.ingest import IngestSettings, ingest
    from pipeline.score import ScoreSpec, score
    from pipeline.workspace import Workspace
    from scorers import scorer_module
    from scorers.texts import Texts

    folder = Path(request["folder"])
    workspace = Workspace(str(folder / "workspace"))
    with Pool(Compute(workers=request["workers"]), workspace) as pool:
        if not request["scorers"]:
            sources = [str(folder / "input" / "*.parquet")]
            ingest(workspace, "big", IngestSettings(sources=sources, shard_mb=SHARD_MB), pool)
            return {}
        specs = [
            ScoreSpec.of(name, model=str(MODEL)) if name == "preselect" else ScoreSpec.of(name)
            for name in request["scorers"]
        ]
        there = pool.client.run(_memory)
        for spec in specs:
            scorer = scorer_module(spec.scorer).load(spec.settings, spec.files(), spec.alias)
            scorer.score(Texts.from_arrow(pa.array(["Compile. Compile.", ""], pa.large_string())))
        del scorer
        begun = time.perf_counter()
        rows = score(workspace, [workspace.corpus("big")], specs, pool)
        wall = time.perf_counter() - begun
        memory = list(pool.client.run(_memory).values())
    assert len(memory) == len(there) == request["workers"], "a worker was lost on the way"
    shards = {row.shard: row for row in rows}  # the rows of one pass tell the same bytes and seconds
    size = sum(row.bytes_in for row in shards.values())
    first = {min((row.started, row.shard) for row in shards.values() if row.pid == pid)[1] for pid in _pids(shards)}
    settled = [row.bytes_in / 1e6 / row.seconds for name, row in shards.items() if name not in first]
    return {
        "bytes": size,
        "documents": sum(row.rows_out for row in shards.values()),
        "shards": len(shards),
        "wall": wall,
        "mb_per_s": size / 1e6 / wall,
        "settled": sorted(settled)[len(settled) // 2] if settled else size / 1e6 / wall,
        "peak_mb": [peak for peak, _ in memory],
        "own_mb": [own for _, own in memory],
    }


def _pids(shards: dict[str, Any]) -> set[int]:
    return {row.pid for row in shards.values()}


def _memory() -> tuple[float, float]:
    """(peak, anonymous now) of this process, MB."""
    fields = dict(text.split(":", 1) for text in Path("/proc/self/status").read_text().splitlines())
    peak, own = (int(fields[key].split()[0]) * 1024 / 1e6 for key in ("VmHWM", "RssAnon"))
    return peak, own


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]))))
