"""A cluster of separate processes and runs on it, cheap enough to be killed by the hundred.

Processes are forked from a server that has imported everything and started nothing (Python's forkserver): a scheduler,
workers and runs are processes of their own, as `dask scheduler`, `dask worker` and `tamis run` are.

    with cluster() as one:
        running = one.run(config, workspace)
        one.scheduler.kill()
        running.join()
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.end_to_end.conftest import free_port

SECONDS = 240
WORKERS = 2


def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.preloaded"])
    return context


def _silent() -> None:
    logging.disable(logging.CRITICAL)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def scheduler(port: int) -> None:
    """A scheduler until it is killed."""
    _silent()

    async def serve() -> None:
        from distributed import Scheduler

        async with Scheduler(host="127.0.0.1", port=port, dashboard=False) as one:
            await one.finished()

    asyncio.run(serve())


def worker(address: str) -> None:
    """A worker with one thread and without a nanny, until it is killed or its scheduler is gone."""
    _silent()

    async def serve() -> None:
        from distributed import Worker

        async with Worker(address, nthreads=1, dashboard=False) as one:
            await one.finished()

    with contextlib.suppress(Exception):
        asyncio.run(serve())


def run(config: str, workspace: str, address: str, said: str) -> None:
    """`tamis run` on a cluster; what it ends with as a line of a file: its exit code and its last words."""
    _silent()
    from cli.main import _exit_code
    from pipeline.config import load
    from pipeline.execute import Compute, Pool
    from pipeline.lock import held
    from pipeline.run import run as run_steps
    from pipeline.workspace import Workspace

    place = Workspace(workspace)
    try:
        with held(place.store), Pool(Compute(scheduler=address), place) as pool:
            run_steps(load(config), place, pool)
    except Exception as error:
        code = _exit_code(error)
        Path(said).write_text(f"{'traceback' if code is None else code} {' '.join(repr(error).split())}")
    else:
        Path(said).write_text("0")


@dataclass
class Running:
    """A run in another process."""

    process: BaseProcess
    said: Path

    def end(self) -> tuple[str, str]:
        """Wait for it: (exit code, or 'killed', or 'traceback', or 'endless'; last words)."""
        self.process.join(SECONDS)
        if self.process.is_alive():
            self.process.kill()
            return "endless", f"still running after {SECONDS} s"
        code, _, words = (self.said.read_text() if self.said.stat().st_size else "killed").partition(" ")
        return code, words


@dataclass
class Cluster:
    """Processes of a cluster on loopback."""

    address: str
    scheduler: BaseProcess
    workers: list[BaseProcess]
    folder: Path

    def run(self, config: Path, workspace: Path) -> Running:
        """Start a run."""
        descriptor, said = tempfile.mkstemp(dir=self.folder)
        os.close(descriptor)
        process = _context().Process(target=run, args=(str(config), str(workspace), self.address, said))
        process.start()
        return Running(process, Path(said))

    def kill(self) -> None:
        """All at once."""
        for process in (self.scheduler, *self.workers):
            process.kill()
        for process in (self.scheduler, *self.workers):
            process.join()


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A scheduler and two workers, while the block runs."""
    context, port = _context(), free_port()
    address = f"tcp://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="tamis-cluster-") as folder:
        first = context.Process(target=scheduler, args=(port,))
        workers = [context.Process(target=worker, args=(address,)) for _ in range(WORKERS)]
        for process in (first, *workers):
            process.start()
        one = Cluster(address, first, workers, Path(folder))
        try:
            yield one
        finally:
            one.kill()
