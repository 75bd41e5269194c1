"""One run at a time: a lock file in the workspace that names its holder and goes stale when the holder is gone.

Whoever holds the workspace keeps a log in it (pipeline.events).

The holder renews the file every few seconds. A lock whose process is dead (same host) or which has not been renewed for
STALE_SECONDS (another host) is taken over.
"""

from __future__ import annotations

import _thread
import contextlib
import fcntl
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson

from pipeline import events
from pipeline.errors import WorkspaceBusy
from pipeline.storage import Store

LOCK = "lock.json"
RENEW_SECONDS = 10
STALE_SECONDS = 60
_mine: set[str] = set()
"""Tokens of the locks that this process holds now."""


@contextlib.contextmanager
def held(store: Store) -> Iterator[None]:
    """Hold the workspace for the block. Raises WorkspaceBusy naming host and pid of the holder."""
    token = secrets.token_hex(8)
    mine = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": _started(os.getpid()),
        "token": token,
    }
    _mine.add(token)
    try:
        _acquire(store, mine)
    except BaseException:
        _mine.discard(token)
        raise
    stop = threading.Event()
    thread = threading.Thread(target=_renew, args=(store, mine, stop), daemon=True, name="tamis-lock")
    thread.start()
    try:
        with events.recording(store):
            yield
    finally:
        stop.set()
        thread.join()
        _mine.discard(token)
        with contextlib.suppress(OSError):  # a store that is away must not hide why the run ended
            holder = _holder(store)
            if holder is not None and holder["token"] == token:
                store.remove(LOCK)


def _acquire(store: Store, mine: dict[str, Any]) -> None:
    for _ in range(10):
        holder = _holder(store)
        if holder is None:
            if _create(store, mine):
                return
            continue
        if holder["token"] == mine["token"]:
            return  # created, though the answer was lost on its way
        if not _stale(holder):
            raise WorkspaceBusy(
                f"{store.url} is in use by pid {holder['pid']} on {holder['host']}; wait for it to end "
                f"(a lock that is not renewed for {STALE_SECONDS} s expires by itself)"
            )
        _take_away(store, holder)
    raise WorkspaceBusy(f"{store.url}: several runs are starting at once; try again")


def _create(store: Store, mine: dict[str, Any]) -> bool:
    data = orjson.dumps(mine | {"renewed": time.time()})
    if store.is_local:
        os.makedirs(store.path(""), exist_ok=True)
        # A finished file under its final name or none at all: link() fails if the name is taken.
        with contextlib.suppress(FileExistsError):
            temporary = store.path(f".tmp-lock-{mine['token']}")
            with open(temporary, "wb") as file:
                file.write(data)
            try:
                os.link(temporary, store.path(LOCK))
                return True
            finally:
                os.unlink(temporary)
        return False
    if (created := store.create(LOCK, data)) is not None:
        return created
    # Not every store creates only what is absent: there the last writer wins, so look again after a moment.
    store.write_bytes(LOCK, data)
    if store.is_shared_between_processes:
        time.sleep(1)
    holder = _holder(store)
    return holder is not None and holder["token"] == mine["token"]


def _take_away(store: Store, stale: dict[str, Any]) -> None:
    """Remove a stale lock, unless another run was faster: what lies there then is that run's."""
    with _alone(store):
        holder = _holder(store)
        if holder is None or holder["token"] != stale["token"]:
            return
        if not store.is_local:
            store.remove(LOCK)
            return
        # Where folders cannot be locked, a rename tells which of two runs got it, and whether it was the stale one.
        aside = store.path(f".tmp-lock-{secrets.token_hex(8)}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(store.path(LOCK), aside)
            with open(aside, "rb") as file:
                taken = _parsed(file.read())
            if taken["token"] != stale["token"]:
                with contextlib.suppress(FileExistsError):
                    os.link(aside, store.path(LOCK))
            os.unlink(aside)


@contextlib.contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Let nobody else of this machine take a lock away: a winner's, seen as stale a moment ago, must not vanish even
    for that moment, in which a third could come."""
    if not store.is_local:
        yield
        return
    folder = os.open(store.path(""), os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _holder(store: Store) -> dict[str, Any] | None:
    try:
        return _parsed(store.read_bytes(LOCK))
    except FileNotFoundError:
        return None


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        holder = orjson.loads(data)
    except orjson.JSONDecodeError:
        holder = {}
    empty = {"host": "an unknown host", "pid": 0, "process_started": "", "token": "", "renewed": 0.0}
    return empty | holder if isinstance(holder, dict) else empty


def _stale(holder: dict[str, Any]) -> bool:
    if holder["host"] == socket.gethostname():
        if holder["pid"] == os.getpid() and holder["token"] not in _mine:
            return True  # left by an earlier run of this process, which could not remove it
        return _started(holder["pid"]) != holder["process_started"]
    return time.time() - holder["renewed"] > STALE_SECONDS


def _started(pid: int) -> str:
    """Start time of a process of this machine, '' if there is none: a pid alone may have been given out again."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return "" if os.path.isdir("/proc/self") else _alive(pid)
    return "" if fields[0] == "Z" else fields[19]


def _alive(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"


def _renew(store: Store, mine: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(RENEW_SECONDS):
        with contextlib.suppress(OSError):  # a moment without the store is no reason to end a run of days
            holder = _holder(store)
            if holder is not None and holder["token"] not in ("", mine["token"]):
                # Not renewed for too long (a machine that slept, a store that was away): two runs must not go on.
                print(f"tamis: {store.url} was taken over by pid {holder['pid']} on {holder['host']}", file=sys.stderr)
                _thread.interrupt_main()
                return
            if holder is not None and holder["token"]:
                store.write_bytes(LOCK, orjson.dumps(mine | {"renewed": time.time()}))
