"""Ingest of JSONL.zst, one worker and everything around it on one core: no peer does the same checks.

The rows hold id, text, source, url and number; one in a thousand is faulty and becomes a reject. MB are decompressed
text, not JSON. Ids made: the rate within the worker's tasks (as the ledger has it) and over the whole call, which adds
finding files and cutting. Ids given: the whole call, two steps with the search for duplicates over all files between
them. The cluster is started and warmed before.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import zstandard

from benchmarks import corpus
from benchmarks.common import DATA, DOCUMENTS, line, measured_cores, needed, pinned

FILES = 4
FAULTY_EVERY = 1000
FAULTS = [
    b'{"id": "cut off", "text": "this line has no end',
    b'{"id": "a number", "text": 5, "source": "x", "url": "u", "number": 1}',
    b'{"id": "no text", "source": "x", "url": "u", "number": 1}',
    b'{"id": "null", "text": null, "source": "x", "url": "u", "number": 1}',
    b'{"id": "not UTF-8", "text": "caf\xe9 au lait", "source": "x", "url": "u", "number": 1}',
    b'{"id": "lone surrogate", "text": "\\ud800", "source": "x", "url": "u", "number": 1}',
]
CASES: dict[str, str | None] = {"ids made": None, "ids given": "id"}


def measure(megabytes: float, repeats: int) -> dict[str, Any]:
    """Both cases, `repeats` times each, alternating."""
    needed(DOCUMENTS, "bench-data")
    folder = DATA / f"ingest-{os.getpid()}"
    try:
        size, faulty = _write_input(folder / "input", megabytes)
        request = {"folder": str(folder), "repeats": repeats, "size": size, "faulty": faulty}
        runs = pinned("benchmarks.ingest", measured_cores(1), request)["runs"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = []
    for case in CASES:
        mine = [run for run in runs if run["case"] == case]
        if CASES[case] is None:
            lines.append(line(f"{case}: within the tasks", "MB/s", [size / 1e6 / run["seconds"] for run in mine]))
        lines.append(line(f"{case}: the whole call", "MB/s", [size / 1e6 / run["wall"] for run in mine]))
    about = (
        f"{size / 1e6:.0f} MB of text in {FILES} files of JSONL.zst, {faulty} faulty rows among them; one core for "
        f"everything, {repeats} corpora of each kind.\n"
    )
    return {"megabytes": size / 1e6, "lines": lines, "runs": runs, "about": about}


def _write_input(folder: Path, megabytes: float) -> tuple[int, int]:
    """The input files; (bytes of good text, faulty rows)."""
    folder.mkdir(parents=True)
    size = faulty = number = 0
    for index, table in enumerate(corpus.parts(corpus.first_megabytes(megabytes), FILES)):
        with zstandard.open(folder / f"web-{index}.jsonl.zst", "wb", zstandard.ZstdCompressor(level=3)) as out:
            for row in table.to_pylist():
                number += 1
                size += len(row["text"].encode())
                row |= {"id": f"{row['id']}-{number}", "url": f"https://example.org/{row['id']}", "number": number}
                out.write(orjson.dumps(row) + b"\n")
                if number % FAULTY_EVERY == 0:
                    out.write(FAULTS[faulty % len(FAULTS)] + b"\n")
                    faulty += 1
    return size, faulty


def _child(request: dict[str, Any]) -> dict[str, Any]:
    from pipeline.execute import Compute, Pool
    from pipeline.ingest import IngestSettings, ingest
    from pipeline.workspace import Workspace

    folder = Path(request["folder"])
    workspace = Workspace(str(folder / "workspace"))
    sources = [str(folder / "input" / "*.jsonl.zst")]
    runs = []
    with Pool(Compute(workers=1), workspace) as pool:
        ingest(workspace, "warm", IngestSettings(sources=sources, shard_mb=4, limit=1), pool)
        for number in range(request["repeats"]):
            for case, id_column in CASES.items():
                begun = time.perf_counter()
                settings = IngestSettings(sources=sources, shard_mb=32, id=id_column)
                rows = ingest(workspace, f"{case.replace(' ', '_')}_{number}", settings, pool)
                wall = time.perf_counter() - begun
                rejected = sum(row.rejected for row in rows)
                if rejected < request["faulty"]:
                    raise AssertionError(f"{rejected} rejects, {request['faulty']} rows were faulty")
                seconds = sum(row.seconds for row in rows)
                runs.append({"case": case, "wall": wall, "seconds": seconds, "rejected": rejected, "shards": len(rows)})
                print(f"ingest {case}: {request['size'] / 1e6 / seconds:.1f} MB/s", file=sys.stderr, flush=True)
    return {"runs": runs}


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]))))
