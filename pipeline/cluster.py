"""The cluster of a run: how wide it is, where its scheduler is, where Dask's dashboard is looked at; and its TLS.

3 workers on this machine; dashboard: http://127.0.0.1:40123/status
16 workers of tcp://host:8786
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline import events
from pipeline.errors import UserError

if TYPE_CHECKING:
    from distributed import Client

    from pipeline.execute import Compute
    from pipeline.workspace import Workspace


PATIENCE = 30
"""Seconds that a scheduler has to answer."""
ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": 256 << 20,
    "MALLOC_MMAP_THRESHOLD_": 32 << 20,
    "MALLOC_ARENA_MAX": 1,
}
"""glibc in a local worker: keep what a batch has freed for the next one. Dask's own setting hands every array back to
the system, which then clears the same pages anew for each batch: a sixth of the time of scoring repetition."""


def announce(client: Client, scheduler: str | None = None) -> None:
    """Say it once, on stderr and in the log."""
    threads = client.nthreads()
    count, link = len(threads), _link(client, scheduler)
    events.emit("cluster", workers=count, threads=sum(threads.values()), scheduler=scheduler, dashboard=link)
    if not events.is_json():
        where = f"of {scheduler}" if scheduler else "on this machine"
        shown = f"; dashboard: {link}" if link else ""
        print(f"{count} worker{'s' * (count != 1)} {where}{shown}", file=sys.stderr)


def _link(client: Client, scheduler: str | None) -> str | None:
    """The dashboard's address, None if there is none: without bokeh its page only says what is missing."""

    def has_bokeh() -> bool:  # local, so that it is sent by value: a scheduler need not have Tamis
        from importlib.util import find_spec

        return find_spec("bokeh") is not None

    try:
        there = has_bokeh() if scheduler is None else client.run_on_scheduler(has_bokeh)
        return client.dashboard_link if there else None
    except (KeyError, ValueError, OSError):  # a scheduler that was started with --no-dashboard
        return None


def check_address(scheduler: str) -> None:
    """Raises UserError if this is no address of a scheduler: Dask would say so too, but then hang for a minute."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    try:
        scheme, place = parse_address(scheduler)
        get_backend(scheme)
        if scheme in ("tcp", "tls"):
            parse_host_port(place)
    except ValueError as error:
        raise UserError(f"--scheduler {scheduler}: {error}; expected an address such as tcp://host:8786") from None


def check_tls(scheduler: str) -> None:
    """Raises UserError if a tls:// scheduler is to be reached without keys: Dask would only say that it cannot."""
    import dask

    if not scheduler.startswith("tls://"):
        return
    wanted = {"ca-file": "the authority's certificate", "client.cert": "a certificate", "client.key": "its key"}
    for name, what in wanted.items():
        value = dask.config.get(f"distributed.comm.tls.{name}", None)
        variable = f"DASK_DISTRIBUTED__COMM__TLS__{name.replace('.', '__').replace('-', '_').upper()}"
        if value is None:
            raise UserError(f"--scheduler {scheduler}: TLS needs {what}; set {variable} to its file (docs/cluster.md)")
        if not os.path.isfile(str(value)):
            raise UserError(f"--scheduler {scheduler}: {variable} names no file: {value}")


@contextlib.contextmanager
def interrupted_later() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block is through: a cluster half started cannot be closed in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: caught.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        raise KeyboardInterrupt


@contextlib.contextmanager
def connected(compute: Compute, workspace: Workspace) -> Iterator[Client]:
    """A client of the cluster that exists, or of one made for the block."""
    import dask
    from distributed import Client, LocalCluster

    if compute.scheduler:
        check_address(compute.scheduler)
        check_tls(compute.scheduler)
        try:
            client = Client(compute.scheduler, timeout=f"{PATIENCE}s", set_as_default=False)
        except OSError as error:
            raise UserError(
                f"no answer of a Dask scheduler at {compute.scheduler} ({' '.join(str(error).split())}); start one "
                "there, or correct the address, and run the same command again"
            ) from None
        with client:
            yield client
        return
    processes = workspace.store.is_shared_between_processes
    config = {
        "distributed.scheduler.allowed-failures": 2,
        "distributed.scheduler.no-workers-timeout": "300s",
        "distributed.comm.timeouts.connect": "60s",
        # A worker that swaps text in and out helps nobody: tasks return ledger rows, not data.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ALLOCATOR.items()},
        # Looks at the stack, a hundred times a second.
        "distributed.worker.profile.enabled": False,
    }
    with (
        dask.config.set(config),
        LocalCluster(
            n_workers=compute.workers or os.cpu_count() or 1,
            threads_per_worker=1,
            processes=processes,
            memory_limit=compute.memory or "auto",
            resources=compute.resources or {},
            dashboard_address=":0",
            silence_logs=50,
            # Where connections must be encrypted (dask.config), the run makes keys of its own.
            security=True if dask.config.get("distributed.comm.require-encryption", False) else None,
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield client
