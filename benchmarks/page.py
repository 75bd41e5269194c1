"""`tamis report` on a large corpus: what it takes, how large the page is, and what a person waits for.

The corpus is that of benchmarks.repeats (the manuals in as many alphabets as it takes), scored by lengths, the
classifier and repetition, with a selection and a random control of the same budget. Timed is the whole command, start
of Python included, on two cores; peak is what the system says of that process (ru_maxrss).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import repeats as spans
from benchmarks.common import DATA, MODEL, line, measured_cores, needed, pinned, say

PARTS = re.compile(r"^report: (.+): ([\d.]+) s$", re.MULTILINE)


def measure(megabytes: float, repeats: int) -> dict[str, Any]:
    """Make the workspace unless it is there, and the page at most three times."""
    needed(MODEL, "bench-model")
    folder = DATA / f"page-{megabytes:.0f}"
    made = make(folder, megabytes)
    runs = [_timed(folder) for _ in range(min(repeats, 3))]
    lines = [
        line("documents", "", [made["documents"]]),
        line("tamis report, whole command", "s", [run["seconds"] for run in runs]),
        line("peak memory", "MB", [run["peak_mb"] for run in runs]),
        line("size of the page", "MB", [run["page_mb"] for run in runs]),
    ]
    names = [name for name, seconds in runs[0]["parts"].items() if seconds >= 0.5]
    lines += [line(f"of it: {name}", "s", [run["parts"][name] for run in runs]) for name in names]
    lines.append(line("tamis inspect ID", "s", [_inspected(folder, made["id"]) for _ in runs]))
    lines.append(line("tamis inspect --where", "s", [_inspected(folder, "--where", "words > 100") for _ in runs]))
    about = f"{made['bytes'] / 1e6:.0f} MB in {made['documents']:,} documents and {made['shards']} shards.\n"
    return {"megabytes": made["bytes"] / 1e6, "lines": lines, "runs": runs, "about": about}


def make(folder: Path, megabytes: float) -> dict[str, Any]:
    """folder/workspace with corpus, scores and selections, unless it is there; what it holds."""
    done = folder / "done.json"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        spans.write_copies(folder / "input", megabytes)
        say(f"reading and scoring {megabytes:.0f} MB")
        done.write_text(json.dumps(pinned("benchmarks.page", measured_cores(2), {"folder": str(folder)})))
        shutil.rmtree(folder / "input")
    return json.loads(done.read_text())


def _tamis(folder: Path, *words: str) -> tuple[float, float, str]:
    """(seconds, MB at most, what it said on stderr) of one command, on two cores."""
    command = [sys.executable, "-m", "cli.main", *words, "-w", str(folder / "workspace")]
    cores = measured_cores(2)
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, preexec_fn=lambda: os.sched_setaffinity(0, cores)
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        said.seek(0)
        text = said.read()
    if status:
        raise RuntimeError(f"tamis {' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}:\n{text}")
    return seconds, usage.ru_maxrss * 1024 / 1e6, text


def _timed(folder: Path) -> dict[str, Any]:
    """One page. The peak is what the command itself reaches: it starts no worker."""
    page = folder / "report.html"
    seconds, peak, said = _tamis(folder, "report", "-o", str(page))
    parts = {name: float(value) for name, value in PARTS.findall(said)}
    say(f"report: {seconds:.1f} s, {peak:.0f} MB")
    return {"seconds": seconds, "peak_mb": peak, "page_mb": page.stat().st_size / 1e6, "parts": parts}


def _inspected(folder: Path, *words: str) -> float:
    return _tamis(folder, "inspect", *words)[0]


def _child(request: dict[str, Any]) -> dict[str, Any]:
    from pipeline.workspace import Workspace

    folder = Path(request["folder"])
    workspace = Workspace(str(folder / "workspace"))
    from pipeline.execute import Compute, Pool
    from pipeline.ingest import IngestSettings, ingest
    from pipeline.score import ScoreSpec, score
    from pipeline.select import SelectSettings, select
    from pipeline.sql import query

    specs = [ScoreSpec.of("lengths"), ScoreSpec.of("preselect", model=str(MODEL)), ScoreSpec.of("repetition")]
    with Pool(Compute(workers=2), workspace) as pool:
        ingest(workspace, "big", IngestSettings(sources=[str(folder / "input" / "*.parquet")]), pool)
        big = workspace.corpus("big")
        score(workspace, [big], specs, pool)
        for name, how in (("best", {"by": "preselect_score", "gopher": "later"}), ("control", {"random": 1})):
            select(workspace, name, SelectSettings.model_validate({"budget": "10% chars", **how}), pool)
    return {
        "documents": sum(row.rows_out for row in big.done.values()),
        "bytes": sum(row.bytes_in for row in big.done.values()),
        "shards": len(big.shards),
        "id": query(workspace, "SELECT id FROM documents ORDER BY hash(id) LIMIT 1").column(0)[0].as_py(),
    }


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]))))
