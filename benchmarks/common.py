"""What every part of the benchmarks shares: where things lie, the machine's facts, how a result is kept.

A result is one JSON file per comparison. Runs over at least FULL_MB go to `benchmarks/results/` (committed, and the
source of every number in README.md); shorter ones go to `benchmarks/.data/trials/` and never reach the README.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DATA = HERE / ".data"
VENVS = HERE / ".venvs"
RESULTS = HERE / "results"
TRIALS = DATA / "trials"
DOCUMENTS = DATA / "documents.parquet"
JSONL = DATA / "documents.jsonl.zst"
MODEL = DATA / "model.bin"
FULL_MB = 100.0
"""Decompressed text (10^6 bytes of UTF-8) that a run must cover to count as a measurement."""

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "ARROW_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Environment of a side: one core is one thread."""

PACKAGES = [
    "tamis",
    "pyarrow",
    "numpy",
    "numba",
    "llvmlite",
    "fasttext-modern",
    "dask",
    "distributed",
    "duckdb",
    "orjson",
]


class NotReady(Exception):
    """Something that another target makes is missing; the text says which."""


def say(text: str) -> None:
    """Progress, to stderr: stdout carries the tables."""
    print(text, file=sys.stderr, flush=True)


def shown(path: Path) -> str:
    """A path as README and messages name it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def needed(path: Path, target: str) -> Path:
    """The path itself if it is there. Raises NotReady naming the make target that makes it."""
    if not path.exists():
        raise NotReady(f"{shown(path)} is not there; `make {target}` makes it")
    return path


def commit() -> str:
    """Commit of the checkout, with '+' where tracked files of the code measured have changed since."""
    head = _git("rev-parse", "--short=12", "HEAD") or "unknown"
    return head + ("+" if _git("status", "--porcelain", "-uno", "--", "scorers", "pipeline", "cli") else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    return {
        "cpu": _first("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int((_first("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) * 1024 / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def _first(path: str, key: str) -> str | None:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def now() -> dict[str, Any]:
    """Time and load: a result carries this from before and from after the measurement."""
    moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"time": moment, "load": [round(value, 2) for value in os.getloadavg()]}


def result_file(name: str, megabytes: float) -> Path:
    """Where a comparison's result belongs."""
    return (RESULTS if megabytes >= FULL_MB else TRIALS) / f"{name}.json"


def keep(path: Path, name: str, begun: dict[str, Any], values: dict[str, Any]) -> None:
    """Write one result, whole or not at all."""
    whole = {"name": name, "commit": commit(), "begun": begun, "ended": now(), "machine": machine(), **values}
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".tmp")
    half.write_text(json.dumps(whole, indent=1) + "\n")
    half.replace(path)
    say(f"{name}: written to {shown(path)}")


def pinned(module: str, cores: list[int], request: dict[str, Any]) -> dict[str, Any]:
    """Run `python -m MODULE REQUEST` on these cores alone; its answer is the last line of its stdout, as JSON.

    A process of its own, because all its threads and the workers it starts are to inherit the binding.
    Raises RuntimeError if it fails; its words are on stderr by then.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(request)],
        cwd=ROOT,
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if done.returncode:
        raise RuntimeError(f"{module} ended with exit code {done.returncode}; its words are above")
    return json.loads(done.stdout.splitlines()[-1])


def line(what: str, unit: str, values: Sequence[float]) -> dict[str, Any]:
    """One row of a result's table: the median and, from three values on, its bootstrap interval."""
    from benchmarks.statistics import interval, median

    row: dict[str, Any] = {"what": what, "unit": unit, "value": median(values), "values": list(values)}
    if len(values) >= 3:
        row["low"], row["high"] = interval(values)
    return row


def measured_cores(count: int) -> list[int]:
    """The cores to measure on: the last ones, because a machine's own chores tend to run on the first.

    Raises NotReady where the process may not use that many.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < count:
        raise NotReady(f"{count} cores are needed, this process may use {len(cores)}")
    return cores[-count:]
