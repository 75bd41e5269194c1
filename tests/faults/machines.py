"""Faults of machines: processes that die, disks that are full or read-only, two runs at once.

A run begins with an empty workspace (but for the trained classifier, which takes a second each time); it is disturbed,
what is visible is checked, and it is resumed.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.lab import Lab
from tests.faults.outcomes import LOST
from tests.faults.processes import SECONDS, cluster
from tests.faults.recover import Trial, resumed


def killed(victim: str) -> Trial:
    """SIGKILL at a random moment of the run process, a worker, the scheduler, or all at once."""

    def trial(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
        workspace = lab.begun(folder)
        after = rng.uniform(0.1, 1 + lab.seconds)
        with cluster() as one:
            running = one.run(lab.given / "run.yaml", workspace)
            running.process.join(after)
            if victim in ("run", "machine"):
                running.process.kill()
            if victim in ("scheduler", "machine"):
                one.scheduler.kill()
            if victim in ("worker", "machine"):
                for process in one.workers if victim == "machine" else [rng.choice(one.workers)]:
                    process.kill()
            code, said = running.end()
        what = f"SIGKILL of {victim} after {after:.1f} s: {code}"
        expected = {"worker": ("0",), "scheduler": ("0", "1", "2"), "run": ("0", "killed"), "machine": ("0", "killed")}
        needed = {"1": "went away", "2": "no answer of a Dask scheduler"}  # 2: killed before the run had found it
        if code not in expected[victim] or needed.get(code, "") not in said:
            return what, LOST, said
        what, outcome, later = resumed(lab, workspace, what)
        return what, outcome, said or later

    return trial


def started_again(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
    """SIGKILL of the run on a cluster that lives on, and the same run there at once: two generations of tasks."""
    workspace = lab.begun(folder)
    after = rng.uniform(0.1, 1 + lab.seconds)
    with cluster() as one:
        running = one.run(lab.given / "run.yaml", workspace)
        running.process.join(after)
        running.process.kill()
        running.end()
        code, said = one.run(lab.given / "run.yaml", workspace).end()
    what = f"SIGKILL of the run after {after:.1f} s, and again: {code}"
    if code != "0":
        return what, LOST, said
    return resumed(lab, workspace, what)


def two_at_once(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
    """Two runs on one workspace: one is refused, or comes second."""
    workspace = lab.begun(folder)
    with cluster() as one:
        first = one.run(lab.given / "run.yaml", workspace)
        time.sleep(rng.uniform(0.0, 1 + lab.seconds))
        second = one.run(lab.given / "run.yaml", workspace)
        ends = [first.end(), second.end()]
    codes = [code for code, _ in ends]
    said = next((words for _, words in ends if "is in use by" in words), "")
    what = f"two runs: {' and '.join(codes)}"
    if "0" not in codes or set(codes) - {"0", "2"} or ("2" in codes and not said):
        return what, LOST, str(ends)
    what, outcome, later = resumed(lab, workspace, what)
    return what, outcome, said or later


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own, of some size, while the block runs."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def can_mount() -> bool:
    """Whether this user may mount file systems here."""
    return os.geteuid() == 0 and subprocess.run(["mount", "--help"], capture_output=True, check=False).returncode == 0


def full(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
    """The disk is full at some point; then there is room."""
    size = rng.randrange(100, 2500)
    with small_disk(folder / "disk", "100m") as disk:
        workspace = lab.begun(disk)
        used = sum(file.stat().st_size for file in workspace.rglob("*") if file.is_file()) >> 10
        subprocess.run(["mount", "-o", f"remount,size={used + size}k", str(disk)], check=True)
        said = lab.attempt(lab.given / "run.yaml", workspace) or ""
        subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
        what, outcome, later = resumed(lab, workspace, f"room for {size} KB")
    return what, outcome, said or later


def read_only(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
    """The disk is read-only from the start, or becomes so under a run; then it can be written again."""
    after = rng.uniform(0, lab.seconds) if rng.random() < 0.8 else None
    with small_disk(folder / "disk", "1g") as disk:
        workspace = lab.begun(disk)
        process = None
        if after is None:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        else:
            # A file system with a file open for writing refuses to become read-only: again until it does.
            script = f"sleep {after}; for i in $(seq 200); do mount -o remount,ro {disk} 2>/dev/null && break; done"
            process = subprocess.Popen(["bash", "-c", script])
        said = lab.attempt(lab.given / "run.yaml", workspace) or ""
        if process is not None:
            process.wait(SECONDS)
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        how = "from the start" if after is None else f"after {after:.1f} s"
        if "Read-only file system" not in said and said:
            return f"read-only {how}", LOST, said
        what, outcome, later = resumed(lab, workspace, f"read-only {how}")
    return what, outcome, said or later


KINDS: dict[str, Trial] = {
    "main process killed": killed("run"),
    "worker killed": killed("worker"),
    "scheduler killed": killed("scheduler"),
    "whole machine lost": killed("machine"),
    "run killed and started again on its cluster": started_again,
    "two runs at once": two_at_once,
}
if can_mount():
    KINDS |= {"disk full": full, "disk read-only": read_only}
