"""HOW stages run: one Dask task per shard, results as ledger rows, a failed shard as data.

A stage hands over jobs and a function that does one job and returns what it counted, per output. The function runs
in a worker: what is transient is retried, every other error is caught, and the ledger row is written after the file
the row speaks of. The main process keeps a window of tasks in flight, shows progress, and records the shards whose
worker died.

    with Pool(Compute(workers=4), workspace) as pool:
        rows = pool.run(jobs, score_shard, "score web")
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline import cluster, events, ledger
from pipeline.errors import ClusterLost, TamisError
from pipeline.ledger import Row
from pipeline.limits import Overdue, limit, within
from pipeline.patience import is_transient, of_the_network
from pipeline.progress import Progress
from pipeline.redact import message
from pipeline.stage import version
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from distributed import Client

RETRIES = 5
"""Further tries of a shard after a transient error: within half a minute, beside what the store itself waits out."""
WINDOW_PER_THREAD = 8
"""Tasks submitted ahead per worker thread: enough to keep it busy, few enough that the scheduler stays small."""
MOST_PER_MESSAGE = 64
"""Tasks submitted with one message, which Dask takes on as a whole: a megabyte, however long their lists of files."""
DIED = "its worker died each time it was tried"
"""How the error of a shard begins whose worker died."""
RESTART_SECONDS = 60
"""How long a new worker is waited for in place of one that hangs."""

T = TypeVar("T")


@dataclass(frozen=True)
class Compute:
    """Where and how wide a stage runs. Never part of a stage's hash."""

    workers: int | None = None
    """processes of the local cluster; None: one per core"""
    scheduler: str | None = None
    """address of a cluster that exists, tcp://host:8786; None: a local cluster made for the run"""
    memory: str | None = None
    """memory limit of each local worker, such as '2GB'; None: an equal share of the machine's"""
    resources: dict[str, float] | None = None
    """what each local worker offers, such as {"GPU": 1}; workers of a cluster that exists say so themselves"""
    task_minutes: float | None = None
    """time limit of a task, 0: none; None: TAMIS_TASK_MINUTES, then pipeline.limits.MINUTES"""


@dataclass(frozen=True)
class Counts:
    """What one job did to one output."""

    rows_in: int = 0
    rows_out: int = 0
    rejected: int = 0
    bytes_in: int = 0
    size: int = 0
    digest: str | None = None
    sources: list[dict[str, Any]] = field(default_factory=list)
    """source, rows_in, rows_out, rejected"""
    reasons: list[dict[str, Any]] = field(default_factory=list)
    """reason, rows"""


@dataclass(frozen=True)
class Job:
    """One shard's worth of work. `outputs` are (stage folder, attempt): one ledger row each."""

    workspace: Workspace
    shard: str
    outputs: tuple[tuple[str, int], ...]
    task: Any
    """what the function needs to know; pickled to the worker"""


Work = Callable[[Job], "dict[str, Counts | Exception]"]
"""Does a job; returns what came of each output folder. An exception that is returned or raised fails that output."""


def jobs_to_do(
    rows: dict[str, Row], shards: Sequence[str], sizes: dict[str, int] | None = None, file: str = "{shard}.parquet"
) -> list[tuple[str, int]]:
    """(shard, next attempt) of the shards that are not done.

    sizes: {file name: bytes}; a shard whose file is gone or has another size is to be done again.
    """
    todo = []
    for shard in shards:
        row = rows.get(shard)
        whole = sizes is None or (row is not None and sizes.get(file.format(shard=shard)) == row.size)
        if row is None or not row.done or not whole:
            todo.append((shard, 1 if row is None else row.attempt + 1))
    return todo


def pending(
    workspace: Workspace, folder: str, shards: Sequence[str], ending: str = ".parquet"
) -> list[tuple[str, int]]:
    """(shard, next attempt) of a stage's shards that are not done or whose files are gone or cut short."""
    return jobs_to_do(workspace.rows(folder), shards, workspace.store.sizes(folder), "{shard}" + ending)


def attempt(work: Work, job: Job, seconds: float | None = None) -> list[Row]:
    """Do one job in a worker and record it. Never raises for what the job did wrong, but Overdue if it does not end."""
    _single_threaded_arrow()
    begun = time.time()
    outcomes: dict[str, Counts | Exception] = {}
    for trial in range(RETRIES + 1):
        try:
            outcomes = within(lambda: work(job), seconds)
            failures = [o for o in outcomes.values() if isinstance(o, Exception)]
        except Overdue:
            raise
        except Exception as error:
            outcomes = {folder: error for folder, _ in job.outputs}
            failures = [error]
        if not any(is_transient(error) for error in failures) or trial == RETRIES:
            break
        time.sleep(min(2**trial, 15))
    rows = [ledger_row(folder, job.shard, number, begun, outcomes[folder]) for folder, number in job.outputs]
    for row in rows:
        ledger.write(job.workspace.store, row)
    return rows


def write_row(
    workspace: Workspace,
    folder: str,
    shard: str,
    number: int,
    begun: float,
    outcome: Counts | Exception,
    shown: bool = False,
) -> Row:
    """Write the ledger row of an attempt that began at `begun` (seconds since the epoch), made in the main process.

    shown: whether a Progress is told of the row too, which then makes the event of it.
    """
    row = ledger_row(folder, shard, number, begun, outcome)
    ledger.write(workspace.store, row)
    if not shown:
        events.emit_shard(row)
    return row


def ledger_row(folder: str, shard: str, number: int, begun: float, outcome: Counts | Exception) -> Row:
    """The ledger row of an attempt that ends now."""
    about: dict[str, Any] = {
        "seconds": time.time() - begun,
        "started": datetime.datetime.fromtimestamp(begun, datetime.UTC).isoformat(timespec="milliseconds"),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": version(),
    }
    if isinstance(outcome, Exception):
        return Row(folder, shard, number, "failed", error=explained(outcome), **about)
    return Row(folder, shard, number, "done", **vars(outcome), **about)


def next_attempt(workspace: Workspace, folder: str, shard: str) -> int:
    """Number of a shard's next attempt."""
    row = workspace.rows(folder).get(shard)
    return 1 if row is None else row.attempt + 1


def explained(error: BaseException) -> str:
    """One line about an error: its own text where it is one of ours, type and place where it is not; no secrets."""
    text = message(" ".join(str(error).split()))[:2000]
    if isinstance(error, (ValueError, OSError, MemoryError, TamisError)) or of_the_network(error):
        return text or type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


def _single_threaded_arrow() -> None:
    """A worker is one core."""
    import pyarrow as pa

    if pa.cpu_count() != 1:
        pa.set_cpu_count(1)


def _fetched(client: Client, futures: Sequence[Any]) -> list[Any]:
    """The result or exception of each future, all of which have completed: one message for all that have results."""
    good = {future.key: future for future in futures if future.status == "finished"}
    # By key: from a list, those whose worker died meanwhile would be left out, and the others would move up.
    values = client.gather(good, errors="skip") if good else {}
    there = {key for key in values if good[key].status not in ("error", "cancelled")}
    return [values[future.key] if future.key in there else _outcome(future) for future in futures]


def _outcome(future: Any) -> Any:
    """Result or exception; waits for the task if it is done again because its worker died with the result."""
    error = future.exception()
    return future.result() if error is None else error


class Pool:
    """The cluster of a run: made when the first task needs it, kept for the stages after, closed at the end."""

    def __init__(self, compute: Compute, workspace: Workspace):
        self.compute = compute
        self.workspace = workspace
        self._stack = contextlib.ExitStack()
        self._client: Client | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def started(self) -> bool:
        """Whether there is a cluster yet."""
        return self._client is not None

    @property
    def client(self) -> Client:
        """The Dask client."""
        if self._client is None:
            with cluster.interrupted_later():
                self._client = self._stack.enter_context(cluster.connected(self.compute, self.workspace))
            cluster.announce(self._client, self.compute.scheduler)
        return self._client

    @property
    def threads(self) -> int:
        """Threads of all workers, at least one."""
        with self._there():
            return sum(self.client.nthreads().values()) or 1

    def map(
        self, function: Callable[[T], Any], items: Sequence[T], resources: dict[str, float] | None = None
    ) -> Iterator[tuple[T, Any]]:
        """(item, result or exception) as they complete, a window in flight at a time. Order is not promised.

        resources: what each task takes of its worker, such as {"GPU": 1} (Dask worker resources).
        """
        if items:
            with self._there():
                yield from self._map(function, items, resources)

    @contextlib.contextmanager
    def _there(self) -> Iterator[None]:
        """Raise ClusterLost for what Dask says when the scheduler has gone."""
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError

        try:
            yield
        except (FutureCancelledError, RuntimeError, OSError) as error:
            # Nobody here takes a task back: the client does, when it has lost the scheduler. A question that was under
            # way may end before the client has noticed.
            there = self._client is None or self._client.status == "running"
            if there and not isinstance(error, (FutureCancelledError, CommClosedError)):
                raise
            raise ClusterLost(
                f"the Dask scheduler {self.compute.scheduler or 'of this run'} went away; what is done stays done: "
                "start a cluster and run the same command again"
            ) from error

    def _map(
        self, function: Callable[[T], Any], items: Sequence[T], resources: dict[str, float] | None
    ) -> Iterator[tuple[T, Any]]:
        from distributed import KilledWorker, as_completed
        from distributed.client import FutureCancelledError

        client = self.client
        waiting = iter(items)
        flying: dict[Any, T] = {}
        suspects: list[T] = []

        def submit(count: int) -> list[Any]:
            made: list[Any] = []
            while chosen := list(itertools.islice(waiting, min(count - len(made), MOST_PER_MESSAGE))):
                futures = client.map(function, chosen, pure=False, resources=resources, batch_size=None)
                flying.update(zip(futures, chosen, strict=True))
                made += futures
            return made

        completed = as_completed(submit(max(self.threads * WINDOW_PER_THREAD, 16)), loop=client.loop)
        for futures in completed.batches():
            results = _fetched(client, futures)
            completed.update(submit(len(futures)))
            for future, result in zip(futures, results, strict=True):
                item = flying.pop(future)
                if isinstance(result, FutureCancelledError):
                    raise result
                if isinstance(result, Overdue) and result.worker:
                    client.restart_workers([result.worker], timeout=RESTART_SECONDS, raise_for_error=False)
                if isinstance(result, KilledWorker):
                    suspects.append(item)
                else:
                    yield item, result
                future.release()
        for item in suspects:
            # Dask blames every task that waited at the worker that died: alone, the guilty one shows.
            yield item, _outcome(client.submit(function, item, pure=False, resources=resources))

    def run(
        self,
        jobs: Sequence[Job],
        work: Work,
        label: str,
        unit: str = "shards",
        resources: dict[str, float] | None = None,
        slow: bool = False,
    ) -> list[Row]:
        """Do all jobs; their ledger rows, failed ones included. Afterwards the ledger is compacted.

        slow: a job may rightly take hours; without a limit that was asked for it has none.
        """
        rows: list[Row] = []
        seconds = limit(self.compute.task_minutes, slow)
        with Progress(label, len(jobs), unit) as progress:
            for job, result in self.map(_Attempt(work, seconds), jobs, resources):
                if isinstance(result, BaseException):
                    result = self._lost(job, result)
                rows += result
                progress.advance(result)
        expected = sum(len(job.outputs) for job in jobs)
        assert len(rows) == expected, f"{label}: {expected} shards were to be done, {len(rows)} were tried"
        for workspace, folder in {(job.workspace, folder): None for job in jobs for folder, _ in job.outputs}:
            ledger.compact(workspace.store, folder)
        return rows

    def _lost(self, job: Job, error: BaseException) -> list[Row]:
        """Rows for a job whose worker died: nobody else writes them."""
        from distributed import KilledWorker

        text = explained(error)
        if isinstance(error, KilledWorker):
            text = f"{DIED} (out of memory, killed, or silent for minutes); try fewer --workers or a larger --memory"
        template = Row(stage="", shard=job.shard, attempt=0, status="failed", error=text, version=version())
        rows = [replace(template, stage=folder, attempt=number) for folder, number in job.outputs]
        for row in rows:
            ledger.write(job.workspace.store, row)
        return rows


@dataclass(frozen=True)
class _Attempt:
    """`attempt` bound to its function, in a form that pickles."""

    work: Work
    seconds: float | None

    def __call__(self, job: Job) -> list[Row]:
        return attempt(self.work, job, self.seconds)
