"""The parts of `make scale`, each in a process of its own: python -m benchmarks.scale_parts PART [...]

tasks: TASKS tasks that do nothing through a scheduler and two workers, a window at a time as Tamis submits them, and
    AT_ONCE of them all at once as it does not, their results unfetched: seconds, the scheduler's processor and memory.
ledger: attempts of a stage: one written with its sync, many read, gathered and read again.
workspace N: status, SQL and a selection with an exact budget over N shards of ROWS rows of drawn scores each.
throughput: the benchmark's text scored by one worker and by two, on loopback and in network namespaces.

The last line of stdout is the result as JSON; megabytes are 10^6 bytes.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.common import DATA, JSONL, needed, say

TASKS, AT_ONCE = 100_000, 10_000
ROWS = 10_000
LEDGER = (1_000, 10_000, 100_000)
SYNCED = 500
SHARD_MB, COPIES, TURNS = 8.0, 4, 3


def highest() -> float:
    """Megabytes of this process at its largest since `forget_highest`, or ever."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("no VmHWM")


def forget_highest() -> None:
    """Begin `highest` anew."""
    Path("/proc/self/clear_refs").write_text("5")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result)."""
    begun = time.perf_counter()
    found = work()
    return time.perf_counter() - begun, found


def worked(work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds of the processor in all threads of this process, result): what else the machine does is not in it."""
    begun = time.process_time()
    found = work()
    return time.process_time() - begun, found


def children() -> float:
    """Seconds of the processor of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder on the benchmark's disk, gone afterwards."""
    folder = DATA / f"scale-{name}-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def nothing(item: int) -> int:
    """What a task does whose cost is that of being a task."""
    return item


def tasks() -> dict[str, Any]:
    """The cost of a task."""
    from distributed import Client, wait

    from benchmarks.scale_cluster import cluster
    from pipeline.execute import Compute, Pool
    from pipeline.workspace import Workspace

    made: dict[str, Any] = {"tasks": TASKS}
    with cluster(2) as two, Pool(Compute(scheduler=two.address), Workspace("memory://tasks")) as pool:
        pool.client.submit(nothing, 0).result()
        idle, used = two.scheduler_rss(), two.scheduler_seconds()
        memory = []

        def windowed() -> int:
            count = 0
            for _ in pool.map(nothing, range(TASKS)):
                count += 1
                if count % 10_000 == 0:
                    memory.append(round(two.scheduler_rss(), 1))
            return count

        seconds, count = timed(windowed)
        assert count == TASKS
        made |= {
            "seconds": seconds,
            "scheduler_seconds": two.scheduler_seconds() - used,
            "scheduler_mb_idle": idle,
            "scheduler_mb": memory,
            "client_mb": highest(),
        }
    with cluster(2) as two, Client(two.address) as client:
        client.submit(nothing, 0).result()
        used = two.scheduler_seconds()

        def at_once() -> float:
            futures = client.map(nothing, range(AT_ONCE), pure=False)
            wait(futures)
            return two.scheduler_rss()

        seconds, memory_mb = timed(at_once)
        at_once_seconds = two.scheduler_seconds() - used
        made["at_once"] = {
            "tasks": AT_ONCE,
            "seconds": seconds,
            "scheduler_seconds": at_once_seconds,
            "scheduler_mb": memory_mb,
        }
    return made


def ledger_of_many() -> dict[str, Any]:
    """The cost of a row."""
    import orjson

    from pipeline import ledger
    from pipeline.storage import Store

    made: dict[str, Any] = {"rows": []}
    with scratch("ledger") as folder:
        store = Store(str(folder))
        sources = [{"source": "web", "rows_in": ROWS, "rows_out": ROWS, "rejected": 0}]

        def row(stage: str, number: int) -> ledger.Row:
            shard = f"part-{number:06d}"
            return ledger.Row(stage, shard, 1, "done", rows_in=ROWS, rows_out=ROWS, size=1, sources=sources)

        seconds, _ = timed(lambda: [ledger.write(store, row("synced", i)) for i in range(SYNCED)])
        made["write_seconds"] = seconds / SYNCED
        for count in LEDGER:
            stage = f"many-{count}"
            place = folder / ledger.folder(stage)
            place.mkdir(parents=True)
            for i in range(count):
                one = row(stage, i)
                (place / f"{one.shard}.1.json").write_bytes(orjson.dumps(asdict(one)))
            loose, _ = timed(lambda stage=stage: ledger.read(store, stage))
            compacting, _ = timed(lambda stage=stage: ledger.compact(store, stage))
            gathered, found = timed(lambda stage=stage: ledger.read(store, stage))
            assert len(found) == count
            made["rows"].append({"count": count, "read_loose": loose, "compact": compacting, "read": gathered})
            del found
            say(f"scale: ledger: {made['rows'][-1]}")
    return made | {"peak_mb": highest()}


def workspace(shards: int, only: str = "") -> dict[str, Any]:
    """The cost of many shards. only: "make" the workspace, "look" at it, or "select" from it."""
    from benchmarks.scale_workspace import make
    from pipeline.errors import UserError
    from pipeline.execute import Compute, Pool
    from pipeline.lock import held
    from pipeline.select import SelectSettings, select
    from pipeline.sql import query
    from pipeline.status import status

    place = DATA / f"scale-workspace-{shards}"
    made: dict[str, Any] = {"shards": shards, "rows": shards * ROWS}
    if not (place / "whole").exists():
        shutil.rmtree(place, ignore_errors=True)
        make(str(place), shards, ROWS)
        (place / "whole").touch()
    if only == "make":
        return made
    from pipeline.workspace import Workspace

    found = Workspace(str(place))
    shutil.rmtree(place / "selections", ignore_errors=True)
    shutil.rmtree(place / "ledger" / "selections", ignore_errors=True)
    made["bytes"] = sum(file.stat().st_size for file in place.rglob("*.parquet"))
    if only != "select":
        made["status_seconds"], _ = worked(lambda: status(found))
        counting = "SELECT source, count(*) AS n, avg(preselect_score) AS mean FROM scored GROUP BY ALL"
        try:
            made["sql_seconds"], answer = worked(lambda: query(found, counting))
            assert sum(answer.column("n").to_pylist()) == shards * ROWS
            del answer
        except UserError as error:
            # DuckDB may have half of the machine's memory and nothing on the disk.
            made["sql_error"] = str(error)
        made["sql_mb"] = highest()
    if only == "look":
        return made

    def selected() -> dict[str, Any]:
        with held(found.store), Pool(Compute(workers=2), found) as pool:
            chosen = select(found, "best", SelectSettings(by="preselect_score", budget="10% tokens"), pool)
            made["worker_mb"] = max(pool.client.run(highest).values())
            return chosen

    before, begun = children(), time.perf_counter()
    forget_highest()
    made["select_main_seconds"], chosen = worked(selected)
    made["select_worker_seconds"] = children() - before
    made["select_seconds"] = time.perf_counter() - begun
    kept = sum(one["kept_units"] for sources in chosen["sources"].values() for one in sources.values())
    assert 0.999 * chosen["budget"] <= kept <= chosen["budget"]
    return made | {"select_mb": highest(), "kept_tokens": kept}


def throughput() -> dict[str, Any]:
    """Megabytes of text a second, with one worker and two, on loopback and in networks of their own, in turns."""
    from benchmarks.scale_cluster import can_separate, cluster
    from pipeline.execute import Compute, Pool
    from pipeline.ingest import IngestSettings, ingest
    from pipeline.lock import held
    from pipeline.score import ScoreSpec, score
    from pipeline.workspace import Workspace

    source = needed(JSONL, "bench-data")
    ways = [(workers, separate) for separate in (False, True) for workers in (1, 2) if not separate or can_separate()]
    made: dict[str, Any] = {"runs": []}
    with scratch("throughput") as folder:
        copies = [folder / f"copy-{i}.jsonl.zst" for i in range(COPIES)]
        for copy in copies:
            copy.symlink_to(source)
        found = Workspace(str(folder / "w"))
        with held(found.store), Pool(Compute(workers=2), found) as pool:
            ingest(found, "web", IngestSettings(sources=[str(copy) for copy in copies], shard_mb=SHARD_MB), pool)
        corpus = found.corpus("web")
        for turn in range(TURNS):
            for number, (workers, separate) in enumerate(ways):
                aliases = [f"{name}_{turn}_{number}" for name in ("lengths", "repetition")]
                specs = [ScoreSpec.of(alias.partition("_")[0], alias) for alias in aliases]
                with (
                    held(found.store),
                    cluster(workers, separate) as those,
                    Pool(Compute(scheduler=those.address), found) as pool,
                ):
                    score(found, [corpus], [ScoreSpec.of("repetition", f"warm_{turn}_{number}")], pool, workers * 4)
                    used = those.scheduler_seconds()
                    rows = score(found, [corpus], specs, pool)
                    used = those.scheduler_seconds() - used
                begins = [datetime.datetime.fromisoformat(row.started).timestamp() for row in rows]
                made["runs"].append(
                    {
                        "workers": workers,
                        "separate": separate,
                        "seconds": max(b + row.seconds for b, row in zip(begins, rows, strict=True)) - min(begins),
                        "task_seconds": sum(row.seconds for row in rows) / len(specs),
                        "scheduler_seconds": used,
                    }
                )
                say(f"scale: {made['runs'][-1]}")
        made |= {
            "shards": len(corpus.shards),
            "megabytes": sum(row.bytes_in for row in corpus.done.values()) / 1e6,
            "documents": sum(row.rows_out for row in corpus.done.values()),
            "documents_mb": sum(row.size for row in corpus.done.values()) / 1e6,
            "scores_mb": sum(row.size for row in rows) / 1e6,
        }
    return made


def main() -> None:
    """The part that the command line names."""
    name, *more = sys.argv[1:]
    if name == "tasks":
        made = tasks()
    elif name == "ledger":
        made = ledger_of_many()
    elif name == "workspace":
        made = workspace(int(more[0]), *more[1:])
    else:
        made = throughput()
    print(json.dumps(made))


if __name__ == "__main__":
    main()
