"""How long a user's SQL may take, and how a query is given up: DuckDB looks at no signal while it makes rows.

A query runs in a thread of its own, which is interrupted when its time is over or at Ctrl-C; one that does not heed
the interrupt is left behind (`is_stuck`), and the command ends without it.

    deadline = Deadline.after(time_limit(seconds), "--seconds")
    rows = interruptible(connection, lambda: connection.sql(query).to_arrow_table(), deadline)
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import duckdb

from pipeline.errors import UserError

GRACE = 10.0
"""Seconds that DuckDB has to heed an interrupt. Optimizer and functions over one batch of rows do not look at it, and
may take minutes over a hostile text or values of gigabytes."""

T = TypeVar("T")


@dataclass(frozen=True)
class Deadline:
    """When a query has to be through. moment: of time.monotonic. option: what sets another limit."""

    seconds: float
    moment: float
    option: str

    @classmethod
    def after(cls, seconds: float | None, option: str) -> Deadline | None:
        """So many seconds from now; None for no limit."""
        return None if seconds is None else cls(seconds, time.monotonic() + seconds, option)

    def left(self) -> float:
        """Seconds from now."""
        return min(max(self.moment - time.monotonic(), 0.0), threading.TIMEOUT_MAX)

    def missed(self) -> TimeoutError:
        """What to raise when it is over."""
        return TimeoutError(
            f"not through after {self.seconds:g} s, and given up; {self.option} sets another limit (0: none)"
        )


def time_limit(seconds: float | None) -> float | None:
    """Seconds that a query may take; None: no limit. seconds: what was asked for, 0 for none [TAMIS_SQL_SECONDS]."""
    if seconds is None and (given := os.environ.get("TAMIS_SQL_SECONDS")):
        try:
            seconds = float(given)
        except ValueError:
            raise UserError(f"TAMIS_SQL_SECONDS={given}: expected seconds, 0 for no limit") from None
    return seconds if seconds is not None and seconds > 0 else None


def interruptible(connection: duckdb.DuckDBPyConnection, work: Callable[[], T], deadline: Deadline | None = None) -> T:
    """Do something with a connection so that Ctrl-C ends it: DuckDB does not look at signals while it makes rows.

    Raises TimeoutError if it is not done by the deadline.
    """
    if deadline is not None and not deadline.left():
        raise deadline.missed()  # or what comes in small pieces would never meet it
    future: Future[T] = Future()
    # A daemon: what does not heed the interrupt must not keep the process alive.
    thread = threading.Thread(target=_do, args=(work, future), daemon=True, name="tamis-sql")
    thread.start()
    try:
        return future.result(None if deadline is None else deadline.left())
    except TimeoutError:
        if deadline is None or future.done():
            raise  # of a store, not of the clock
        raise deadline.missed() from None
    finally:
        if not future.done():
            _stop(connection, thread)
        del future  # a result that came too late: kept open by a traceback it would keep the connection in use


def _do(work: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


_stuck: list[tuple[duckdb.DuckDBPyConnection, threading.Thread]] = []
"""Connections that did not heed an interrupt, with the threads that still use them."""


def _stop(connection: duckdb.DuckDBPyConnection, thread: threading.Thread) -> None:
    """Interrupt what a thread does with a connection; leave it behind if it does not listen."""
    end = time.monotonic() + GRACE
    while thread.is_alive() and time.monotonic() < end:
        connection.interrupt()  # more than once: one that comes before the query has begun is lost
        thread.join(0.1)
    if thread.is_alive():
        _stuck.append((connection, thread))


def is_stuck(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether a query that was given up still runs: then whatever is done with the connection waits for it."""
    return any(one is connection and thread.is_alive() for one, thread in _stuck)


def any_stuck() -> bool:
    """Whether a query that was given up still runs: then the process does not end by itself."""
    return any(thread.is_alive() for _, thread in _stuck)


def close(connection: duckdb.DuckDBPyConnection) -> None:
    """Close a connection, unless that would wait for a query that was given up."""
    if not is_stuck(connection):
        connection.close()
