"""A time limit per task: one shard that never ends must not hold up a run of thousands.

The work runs in a thread beside the task, which waits for it. When the limit is over, the task ends with Overdue, which
says where the work stands, and its worker process, in which the thread still hangs, is replaced by its nanny. A worker
that does not even let Python breathe sends no heartbeat: Dask replaces it after five minutes (worker-ttl).

    counts = within(lambda: work(job), seconds=7200)
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.errors import TamisError, UserError

MINUTES = 120.0
"""Limit unless TAMIS_TASK_MINUTES or Compute says otherwise: a gigabyte of text takes the slowest scorer of the core
half an hour on one core."""

OVERDUE = "not through after"
"""How the error of a task begins that had no end."""

T = TypeVar("T")
R = TypeVar("R")


class Overdue(TamisError):
    """A task that was not through within its limit. worker: address of the stuck process, '' if it has no nanny."""

    def __init__(self, text: str, worker: str = ""):
        super().__init__(text, worker)  # as it pickles
        self.worker = worker

    def __str__(self) -> str:
        return str(self.args[0])


def limit(minutes: float | None, slow: bool = False) -> float | None:
    """Seconds; None: no limit. minutes: what was asked for, 0 for none [TAMIS_TASK_MINUTES, then MINUTES].

    slow: the task may rightly take hours (a language model): there is a limit only if one is asked for.
    """
    if minutes is None and (given := os.environ.get("TAMIS_TASK_MINUTES")):
        try:
            minutes = float(given)
        except ValueError:
            raise UserError(f"TAMIS_TASK_MINUTES={given}: expected minutes, 0 for no limit") from None
    if minutes is None:
        minutes = 0.0 if slow else MINUTES
    return min(60 * minutes, threading.TIMEOUT_MAX) if minutes > 0 else None


def within(call: Callable[[], T], seconds: float | None) -> T:
    """What `call` returns or raises. Raises Overdue; the call then goes on by itself."""
    if seconds is None:
        return call()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="tamis-task")
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    if errors:
        raise errors[0]
    raise Overdue(
        f"{OVERDUE} {seconds / 60:,.1f} minutes, and stopped{_where(thread)}; if it is only slow, raise "
        "TAMIS_TASK_MINUTES (0: no limit)",
        _worker(),
    )


def _where(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return ""
    stack = traceback.extract_stack(frame)
    at = stack[-1]
    own = next((f for f in reversed(stack) if f"{os.sep}pipeline{os.sep}" in f.filename), at)
    places = [f"{f.name} ({os.path.basename(f.filename)}:{f.lineno})" for f in (at, own)]
    return f" in {', called from '.join(dict.fromkeys(places))}"


def _worker() -> str:
    """Address of the worker whose task this is, if somebody can replace it."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return ""  # not in a task
    return worker.address if worker.nanny is not None else ""


@dataclass(frozen=True)
class Limited(Generic[T, R]):
    """A function of one argument within a limit, in a form that pickles."""

    function: Callable[[T], R]
    seconds: float | None

    def __call__(self, item: T) -> R:
        return within(lambda: self.function(item), self.seconds)
