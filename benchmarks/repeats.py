"""Counting repeated spans: both passes over the text, on one core, under a limit of memory, at four sizes.

The text is the documents of the benchmark in as many alphabets as it takes: in copy n every ASCII letter is the n-th
after it. So a copy repeats itself exactly as real text does, and no copy repeats another; word lengths, spaces, lines
and other scripts stay (text without an ASCII letter is the same in every copy). A copy is a
shard; a smaller size is the first shards.

Whole call: from `count_repeats()` to its return, the estimate, all ledger rows and syncs included; starting the cluster
and compiling the kernels not. The worker's limit is enforced by Dask, which kills what goes over it.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import corpus
from benchmarks.common import DATA, DOCUMENTS, line, measured_cores, needed, pinned, say

SIZES = (2, 4, 8, 16)
"""Shards of each size. A shard is one copy of the text."""
MEMORY = "512MB"
LETTERS = b"abcdefghijklmnopqrstuvwxyz"


def measure(megabytes: float, repeats: int) -> dict[str, Any]:
    """Every size, in turn, at most three times. megabytes: of the largest."""
    needed(DOCUMENTS, "bench-data")
    folder = DATA / f"repeats-{megabytes:.0f}"
    make_corpus(folder, megabytes)
    runs = [one(folder, shards) for _ in range(min(repeats, 3)) for shards in SIZES]
    return summary(runs, megabytes)


def one(folder: Path, shards: int) -> dict[str, Any]:
    """One count of the first shards."""
    shutil.rmtree(folder / "workspace" / "repeats", ignore_errors=True)
    shutil.rmtree(folder / "workspace" / "scores", ignore_errors=True)
    for kind in ("repeats", "scores"):
        shutil.rmtree(folder / "workspace" / "ledger" / kind, ignore_errors=True)
    run = pinned("benchmarks.repeats", measured_cores(1), {"folder": str(folder), "shards": shards})
    say(f"{run['bytes'] / 1e6:.0f} MB: {run['mb_per_s']:.1f} MB/s, peak {run['peak_mb']:.0f} MB")
    return run


def summary(runs: list[dict[str, Any]], megabytes: float) -> dict[str, Any]:
    """Medians per size, and the cost of each size against the smallest, run by run."""
    lines = []
    sizes = sorted({run["shards"] for run in runs})
    by_size = {size: [run for run in runs if run["shards"] == size] for size in sizes}
    for size in sizes:
        some = by_size[size]
        shown = f"{some[0]['bytes'] / 1e6:,.0f} MB"
        lines.append(line(f"{shown}: both passes, one core", "MB/s", [run["mb_per_s"] for run in some]))
        lines.append(line(f"{shown}: of the core's time", "MB/s", [run["bytes"] / 1e6 / run["cpu"] for run in some]))
        # What it lacks to 1 it waited for the disk, or for others who had the core.
        lines.append(line(f"{shown}: share of the core that it had", "", [run["cpu"] / run["wall"] for run in some]))
        if size != sizes[0]:
            pairs = zip(some, by_size[sizes[0]], strict=False)
            ratios = [a["wall"] / a["bytes"] / (b["wall"] / b["bytes"]) for a, b in pairs]
            lines.append(line(f"{shown}: cost of a byte against the smallest", "times", ratios))
        lines.append(line(f"{shown}: peak memory of the worker", "MB", [run["peak_mb"] for run in some]))
        lines.append(line(f"{shown}: most disk while it ran", "times the text", [r["disk"] / r["bytes"] for r in some]))
    last = by_size[sizes[-1]][0]
    about = (
        f"One worker, limit {MEMORY}. {last['windows']:,} spans of 50 words in the largest, {last['covered']:.1%} of "
        f"its words in repeated ones; {len(runs)} runs. Peak: VmHWM of the worker, in 10^6 bytes.\n"
    )
    return {"megabytes": megabytes, "lines": lines, "runs": runs, "about": about}


def make_corpus(folder: Path, megabytes: float) -> None:
    """folder/workspace with the corpus `big`, unless it is there."""
    if (folder / "done").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    write_copies(folder / "input", megabytes)
    pinned("benchmarks.repeats", measured_cores(2), {"folder": str(folder), "shards": 0})
    shutil.rmtree(folder / "input")
    (folder / "done").touch()


def write_copies(folder: Path, megabytes: float) -> None:
    """The text in as many alphabets as it takes, a Parquet file a copy."""
    folder.mkdir(parents=True)
    table = corpus.first_megabytes(1e9)
    size = pc.sum(pc.binary_length(table.column("text"))).as_py() / 1e6
    copies = -(-megabytes // size)
    say(f"making {megabytes:.0f} MB: the text in {copies:.0f} alphabets")
    left = megabytes
    for copy in range(int(copies)):
        part = table if left >= size else corpus.first_megabytes(left)
        pq.write_table(_shifted(part, copy), folder / f"copy-{copy:02d}.parquet", compression="zstd")
        left -= size


def _shifted(table: pa.Table, copy: int) -> pa.Table:
    """The documents in another order, each letter moved on."""
    moved = LETTERS[copy:] + LETTERS[:copy]
    change = bytes.maketrans(LETTERS + LETTERS.upper(), moved + moved.upper())
    order = list(range(table.num_rows))
    random.Random(copy).shuffle(order)
    texts = pc.cast(table.column("text").take(pa.array(order)), pa.large_binary()).to_pylist()
    column = pa.array([text.translate(change) for text in texts], pa.large_binary()).cast(pa.large_string())
    ids = [f"{copy:02d}-{number:06d}" for number in range(len(texts))]
    return pa.table([ids, column, table.column("source").take(pa.array(order))], schema=corpus.SCHEMA)


def _child(request: dict[str, Any]) -> dict[str, Any]:
    from pipeline.execute import Compute, Pool
    from pipeline.ingest import IngestSettings, ingest
    from pipeline.repeats import SpanSettings, count_repeats
    from pipeline.repeats.methods import warm
    from pipeline.workspace import Workspace

    folder = Path(request["folder"])
    workspace = Workspace(str(folder / "workspace"))
    if not request["shards"]:
        with Pool(Compute(workers=2), workspace) as pool:
            ingest(workspace, "big", IngestSettings(sources=[str(folder / "input" / "*.parquet")], shard_mb=130), pool)
        return {}
    warm()
    with Pool(Compute(workers=1, memory=MEMORY), workspace) as pool:
        begun, busy = time.perf_counter(), _busy(pool)
        with _watched(folder / "workspace" / "repeats") as disk:
            result = count_repeats(workspace, "repeats", SpanSettings(), pool, request["shards"])
        wall, cpu = time.perf_counter() - begun, _busy(pool) - busy
        (peak,) = pool.client.run(_peak).values()
    big = workspace.corpus("big")
    size = sum(big.done[shard].bytes_in for shard in big.shards[: request["shards"]])
    return {
        "shards": request["shards"],
        "bytes": size,
        "wall": wall,
        "cpu": cpu,
        "mb_per_s": size / 1e6 / wall,
        "peak_mb": peak,
        "disk": max(disk),
        "windows": result["windows"],
        "covered": result["totals"]["words_2"] / result["words"],
    }


def _peak() -> float:
    """Peak memory of this process, MB."""
    fields = dict(text.split(":", 1) for text in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024 / 1e6


def _busy(pool: Any) -> float:
    """Seconds of the core that the worker and this process have had."""
    return time.process_time() + sum(pool.client.run(time.process_time).values())


@contextlib.contextmanager
def _watched(folder: Path) -> Iterator[list[int]]:
    """Bytes in a folder, twice a second."""
    sizes, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            with contextlib.suppress(OSError):  # a file that goes while it is looked at
                sizes.append(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield sizes
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]))))
