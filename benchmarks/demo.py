"""`make demo` in a fresh clone of HEAD, on two cores, once each: from nothing, kernels cold, all warm, nothing to do.

From nothing: no environment and no package cache, so the download of the packages counts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, line, measured_cores, say


def measure() -> dict[str, Any]:
    """Wall seconds of each. Raises CalledProcessError if the demo fails."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="tamis-demo-") as place:
        clone = Path(place) / "tamis"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("TAMIS_", "VIRTUAL_ENV"))}
        for name, folder in (("UV_CACHE_DIR", "uv"), ("PIP_CACHE_DIR", "pip"), ("XDG_CACHE_HOME", "cache")):
            environment[name] = str(Path(place) / folder)
        workspace = clone / "demo-workspace"
        lines.append(_timed("from nothing, environment included", clone, environment))
        shutil.rmtree(workspace)
        for cache in (clone / "scorers").rglob("__pycache__"):
            shutil.rmtree(cache)
        lines.append(_timed("environment there, kernels compiled", clone, environment))
        shutil.rmtree(workspace)
        lines.append(_timed("environment and kernels there", clone, environment))
        lines.append(_timed("nothing left to do", clone, environment))
    return {"lines": lines, "about": "One run each, on two cores.\n"}


def _timed(what: str, clone: Path, environment: dict[str, str]) -> dict[str, Any]:
    cores = measured_cores(2)
    begun = time.perf_counter()
    subprocess.run(
        ["make", "demo"],
        cwd=clone,
        env=environment,
        check=True,
        stdout=sys.stderr,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    seconds = time.perf_counter() - begun
    say(f"demo, {what}: {seconds:.1f} s")
    return line(what, "s", [seconds])
