"""Faults of machines: processes that die, disks that are full or read-only, two runs at once, inputs that change.

An injection starts a run of a config in a workspace of its own, disturbs it, and says how.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.end_to_end.conftest import command
from tests.end_to_end.test_kill import children

Injection = Callable[[Path, Path, random.Random], str]
SECONDS = 240


def killed(victim: str) -> Injection:
    """SIGKILL after a random time: the main process, one of its workers, or all at once."""

    def inject(config: Path, workspace: Path, rng: random.Random) -> str:
        after = rng.uniform(1.0, 8.0)
        process = _started(config, workspace)
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
        return f"SIGKILL of {victim} after {after:.1f} s"

    return inject


def _started(config: Path, workspace: Path) -> subprocess.Popen[bytes]:
    arguments = command("run", config, "-w", workspace, "--workers", 2)
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


def full(config: Path, workspace: Path, rng: random.Random) -> str:
    """The disk is full at some point; then there is room."""
    size = rng.randrange(300, 6000)
    with small_disk(workspace.with_name("disk"), f"{size}k") as disk:
        _started(config, disk / "workspace").wait(SECONDS)
        subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
        subprocess.run(["cp", "-a", str(disk / "workspace"), str(workspace)], check=True)
    return f"a disk of {size} KB"


def read_only(config: Path, workspace: Path, rng: random.Random) -> str:
    """The disk becomes read-only under a run."""
    after = rng.uniform(1.0, 6.0)
    with small_disk(workspace.with_name("disk"), "1g") as disk:
        process = _started(config, disk / "workspace")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=False)
        process.wait(SECONDS)
        if (disk / "workspace").exists():
            subprocess.run(["cp", "-a", str(disk / "workspace"), str(workspace)], check=True)
    return f"read-only after {after:.1f} s"


def two_at_once(config: Path, workspace: Path, rng: random.Random) -> str:
    """Two runs on one workspace: one is refused, or comes second."""
    first = _started(config, workspace)
    time.sleep(rng.uniform(0.0, 5.0))
    arguments = command("run", config, "-w", workspace, "--workers", 1)
    second = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert second.returncode in (0, 2), second.stderr
    first.wait(SECONDS)
    assert (first.returncode, second.returncode).count(0) >= 1, second.stderr
    return f"two runs: {first.returncode} and {second.returncode}"


KINDS: dict[str, Injection] = {
    "main process killed": killed("main"),
    "worker killed": killed("worker"),
    "whole machine lost": killed("machine"),
    "two runs at once": two_at_once,
}
if can_mount():
    KINDS |= {"disk full": full, "disk read-only": read_only}
