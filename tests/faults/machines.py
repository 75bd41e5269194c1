"""Faults of machines: processes that die, disks that are full or read-only, two runs at once.

Each starts `tamis run` as a process of its own in an empty workspace, disturbs it, and resumes.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.end_to_end.conftest import command
from tests.end_to_end.test_kill import children
from tests.faults.lab import Lab
from tests.faults.outcomes import LOST
from tests.faults.recover import Trial, resumed

SECONDS = 240


def killed(victim: str) -> Trial:
    """SIGKILL after a random time: the main process, one of its workers, or all at once."""

    def trial(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
        workspace = folder / "workspace"
        after = rng.uniform(1.0, 4.0 + 3 * lab.seconds)
        process = started(lab, workspace, "--workers", 2)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        below = children(process.pid) if process.poll() is None else []
        if victim == "main" or not below:
            targets = [process.pid]
        else:
            targets = [rng.choice(below)] if victim == "worker" else [*below, process.pid]
        for target in targets:
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, signal.SIGKILL)
        process.wait(SECONDS)
        return resumed(lab, workspace, f"SIGKILL of {victim} after {after:.1f} s")

    return trial


def started(lab: Lab, workspace: Path, *options: object) -> subprocess.Popen[bytes]:
    """`tamis run`, in a process group of its own."""
    arguments = command("run", lab.given / "run.yaml", "-w", workspace, *options)
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


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
    size = rng.randrange(300, 6000)
    with small_disk(folder / "disk", f"{size}k") as disk:
        workspace = disk / "workspace"
        said = lab.attempt(lab.given / "run.yaml", workspace) or ""
        subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
        what, outcome, later = resumed(lab, workspace, f"a disk of {size} KB")
    return what, outcome, said or later


def read_only(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
    """The disk is read-only from the start, or becomes so under a run; then it can be written again."""
    after = rng.uniform(0, lab.seconds) if rng.random() < 0.8 else None
    with small_disk(folder / "disk", "1g") as disk:
        workspace = disk / "workspace"
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


def two_at_once(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
    """Two runs on one workspace: one is refused, or comes second."""
    workspace = folder / "workspace"
    first = started(lab, workspace, "--workers", 1)
    time.sleep(rng.uniform(0.0, 2 + lab.seconds))
    arguments = command("run", lab.given / "run.yaml", "-w", workspace, "--workers", 1)
    second = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS, check=False)
    first.wait(SECONDS)
    codes = first.returncode, second.returncode
    said = next((line for line in second.stderr.splitlines() if "is in use by" in line), "")
    what = f"two runs: {codes[0]} and {codes[1]}"
    if codes.count(0) < 1 or any(code not in (0, 2) for code in codes) or (codes[1] == 2 and not said):
        return what, LOST, second.stderr[-500:]
    what, outcome, later = resumed(lab, workspace, what)
    return what, outcome, said or later


KINDS: dict[str, Trial] = {
    "main process killed": killed("main"),
    "worker killed": killed("worker"),
    "whole machine lost": killed("machine"),
    "two runs at once": two_at_once,
}
if can_mount():
    KINDS |= {"disk full": full, "disk read-only": read_only}
