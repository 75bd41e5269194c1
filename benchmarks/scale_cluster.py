"""A real cluster of processes of their own: a scheduler and workers, on loopback or each in a network of its own.

With `separate` every worker runs in its own network namespace, joined to the scheduler's by a virtual cable and a
bridge, as machines on one switch are: no loopback, other addresses, packets through the kernel. That needs root
and iproute2.

    with cluster(workers=2) as made:
        made.address, made.scheduler_rss(), made.scheduler_seconds()
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import ONE_THREAD, ROOT

BRIDGE, NETWORK = "tamis0", "10.203.0"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs. pid: of the scheduler."""

    address: str
    pid: int

    def scheduler_rss(self) -> float:
        """Megabytes (10^6 bytes) of the scheduler."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024 / 1e6
        raise RuntimeError("no VmRSS")

    def scheduler_seconds(self) -> float:
        """Seconds of the processor that the scheduler has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def can_separate() -> bool:
    """Whether this machine lets us make network namespaces."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", "tamis-probe"], capture_output=True, check=False).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", "tamis-probe"], check=False)
    return made


@contextlib.contextmanager
def cluster(workers: int, separate: bool = False, log: Path | None = None) -> Iterator[Cluster]:
    """Scheduler and single-threaded workers, until the block ends."""
    from distributed import Client

    # As the workers of a run without --scheduler: none looks at its stack a hundred times a second.
    quiet = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
    environment = {**os.environ, **ONE_THREAD, **quiet, "PYTHONPATH": str(ROOT)}
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(open(log or os.devnull, "w"))
        host = f"{NETWORK}.1" if separate else "127.0.0.1"
        if separate:
            stack.enter_context(_network(workers))

        def start(*words: str, inside: str | None = None) -> subprocess.Popen[bytes]:
            prefix = ["ip", "netns", "exec", inside] if inside else []
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "dask", *words], env=environment, stdout=out, stderr=out
            )
            stack.callback(_ended, process)
            return process

        scheduler = start("scheduler", "--host", host, "--port", "18786", "--no-dashboard")
        address = f"tcp://{host}:18786"
        for number in range(workers):
            inside = f"tamis-w{number}" if separate else None
            start("worker", address, "--nworkers", "1", "--nthreads", "1", "--no-dashboard", inside=inside)
        with Client(address, timeout="120s", set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)
        yield Cluster(address, scheduler.pid)


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _network(workers: int) -> Iterator[None]:
    """A bridge, and a namespace per worker with an address on it."""

    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, capture_output=not check)

    def remove() -> None:
        for number in range(workers):
            ip("netns", "del", f"tamis-w{number}", check=False)
            ip("link", "del", f"tamis-v{number}", check=False)
        ip("link", "del", BRIDGE, check=False)

    remove()
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for number in range(workers):
            space, outer, inner = f"tamis-w{number}", f"tamis-v{number}", f"tamis-i{number}"
            ip("netns", "add", space)
            ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            ip("link", "set", outer, "master", BRIDGE)
            ip("link", "set", outer, "up")
            ip("link", "set", inner, "netns", space)
            ip("-n", space, "addr", "add", f"{NETWORK}.{10 + number}/24", "dev", inner)
            ip("-n", space, "link", "set", inner, "up")
            ip("-n", space, "link", "set", "lo", "up")
        time.sleep(1)
        yield
    finally:
        remove()
