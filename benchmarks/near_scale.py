"""Near-duplicates among 10 million documents, with the memory it takes: all steps of `tamis repeats near`.

Documents are drawn words (30 to 45, out of 50,000), in shards of 50,000. Every tenth document is one of the shard
before with one word changed; and one text stands in the corpus 20,000 times, a templated page. So it is known
what is to be found.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.common import DATA, line, measured_cores, pinned, say

SHARD, WORDS, TEMPLATED = 50_000, 50_000, 20_000
SHORTEST, LONGEST = 30, 45
BUFFER_MB = 512


def measure(full: bool) -> dict[str, Any]:
    """One search over 10 million documents (a trial: 200,000) on two cores."""
    request = {"folder": str(DATA / "near-scale"), "shards": 200 if full else 4}
    try:
        run = pinned("benchmarks.near_scale", measured_cores(2), request)
    finally:
        shutil.rmtree(request["folder"], ignore_errors=True)
    lines = [line("documents", "", [run["documents"]]), line("text", "MB", [run["megabytes"]])]
    lines += [line(f"time: {name}", "s", [seconds]) for name, seconds in run["seconds"].items()]
    lines.append(line("peak memory of a worker", "MB", [max(run["peak_mb"])]))
    lines.append(line("peak memory of the main process", "MB", [run["main_mb"]]))
    lines.append(line("planted near-duplicates found", "share", [run["found"]]))
    lines.append(line("the same, to be expected of 20 bands of 6 rows", "share", [run["likely"]]))
    lines.append(line("documents named near-duplicates that are none", "documents", [run["wrong"]]))
    about = (
        f"Two workers with buffer_mb {BUFFER_MB}; peak: VmHWM in 10^6 bytes, pages of the libraries included. "
        f"{run['clusters']:,} clusters, the largest of {run['largest']:,}.\n"
    )
    return {"megabytes": run["megabytes"], "lines": lines, "run": run, "about": about}


def _child(request: dict[str, Any]) -> dict[str, Any]:
    import pyarrow.parquet as pq

    from benchmarks.scoring import _memory
    from pipeline.execute import Compute, Pool
    from pipeline.near import NearSettings, near
    from pipeline.workspace import Workspace

    folder, shards = Path(request["folder"]), request["shards"]
    shutil.rmtree(folder, ignore_errors=True)
    workspace = Workspace(str(folder / "workspace"))
    begun = time.perf_counter()
    size, planted, likely = _make(workspace, shards)
    say(f"{shards * SHARD:,} documents written in {time.perf_counter() - begun:.0f} s")
    settings = NearSettings(alarm_cluster=1.0, alarm_source=1.0, buffer_mb=BUFFER_MB)
    begun = time.perf_counter()
    with Pool(Compute(workers=2), workspace) as pool:
        result = near(workspace, "near", settings, pool)
        seconds = {"all steps": time.perf_counter() - begun}
        memory = list(pool.client.run(_memory).values())
    found = wrong = 0
    for number in range(shards):
        shard = workspace.corpus("big").shards[number]
        path = workspace.store.path(f"{result['folders']['big']}/{shard}.parquet")
        kept = pq.read_table(path, columns=["near_kept"]).column(0).to_numpy(zero_copy_only=False)
        wanted = planted[number]
        found += int((~kept & wanted).sum())
        wrong += int((~kept & ~wanted).sum())
    planted[0, 5] = False  # the first of the templated pages stays
    pairs = int(planted.sum())
    return {
        "documents": shards * SHARD,
        "megabytes": size / 1e6,
        "seconds": seconds,
        "peak_mb": [peak for peak, _ in memory],
        "main_mb": _memory()[0],
        "found": found / pairs,
        "likely": likely,
        "wrong": wrong,
        "clusters": result["clusters"],
        "largest": result["largest"][0]["size"],
    }


def _make(workspace: Any, shards: int) -> tuple[int, np.ndarray, float]:
    """Write the corpus `big`; (bytes of text, which documents copy an earlier one, the share likely found)."""
    from pipeline import ledger
    from pipeline.execute import Counts, write_row
    from pipeline.shards import DocumentWriter, file_facts
    from pipeline.stage import Stage
    from pipeline.workspace import shard_name
    from scorers.near.minhash import probability

    draw = np.random.default_rng(1)
    letters = draw.integers(97, 123, (WORDS, 7), dtype=np.uint8)
    words = pa.array([bytes(row[: 4 + k % 4]).decode() for k, row in enumerate(letters)], pa.string())
    stage = Stage("ingest", "big", "corpora", {"made": "near_scale", "shards": shards})
    stage.save(workspace.store, num_shards=shards)
    copied = np.zeros((shards, SHARD), np.bool_)
    template = draw.integers(0, WORDS, 40)
    before: tuple[np.ndarray, np.ndarray] | None = None
    size, likely = 0, 0.0
    for number in range(shards):
        lengths = draw.integers(SHORTEST, LONGEST + 1, SHARD)
        copies = np.arange(0, SHARD, 10) if before is not None else np.zeros(0, np.int64)
        if before is not None:  # of the next document in the shard before, which is no copy itself
            lengths[copies] = np.diff(before[1])[copies + 1]
        pages = np.arange(5, SHARD, SHARD * shards // TEMPLATED)
        lengths[pages] = len(template)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        chosen = draw.integers(0, WORDS, offsets[-1])
        for row in copies.tolist():
            assert before is not None
            chosen[offsets[row] : offsets[row + 1]] = before[0][before[1][row + 1] : before[1][row + 2]]
            chosen[offsets[row] + lengths[row] // 2] = draw.integers(0, WORDS)
            shingles = int(lengths[row]) - 4
            likely += probability((shingles - 5) / (shingles + 5), 20, 6)
        for row in pages.tolist():
            chosen[offsets[row] : offsets[row + 1]] = template
        copied[number, copies] = True
        copied[number, pages] = True
        lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), words.take(pa.array(chosen)))
        texts = pc.binary_join(lists, " ").cast(pa.large_string())
        ids = pa.array([f"{number:04d}-{row:05d}" for row in range(SHARD)])
        table = pa.table(
            [ids, texts, pa.array(["made"] * SHARD)],
            schema=pa.schema([("id", pa.string()), ("text", pa.large_string()), ("source", pa.string())]),
        )
        shard = shard_name(number, shards)
        with workspace.store.writing(f"{stage.folder}/{shard}.parquet") as path:
            writer = DocumentWriter(path, table.schema)
            writer.write(table)
            writer.close()
            facts = file_facts(path)
        size += writer.num_bytes
        sources = [{"source": "made", "rows_in": SHARD, "rows_out": SHARD, "rejected": 0}]
        counts = Counts(SHARD, SHARD, bytes_in=writer.num_bytes, sources=sources, **facts)
        write_row(workspace, stage.folder, shard, 1, time.time(), counts)
        before = chosen, offsets
    ledger.compact(workspace.store, stage.folder)
    return size, copied, (likely + TEMPLATED) / copied.sum()


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]))))
