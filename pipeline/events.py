"""What a run does, as events: one JSON object a line, in a file of the workspace and, where asked for, on stderr.

    logs/20261130T010203-4711.jsonl       one file per command that holds the workspace
    tamis --log-format json run CONFIG    the same lines on stderr instead of bars and sentences

Every event has `time` (UTC, ISO 8601) and `event`: run, cluster, stage, shard, stage_end, message, failed, run_end. A
`shard` is a ledger row without its counts by source. Only the main process writes; workers report through their ledger
rows. Values pass through `redact` before they are written. A log that cannot be written ends no run: it just stops.

    with recording(store):                # pipeline.lock.held does it
        emit("cluster", workers=2)
"""

from __future__ import annotations

import contextlib
import datetime
import io
import os
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

import orjson

from pipeline.redact import message, scrubbed

if TYPE_CHECKING:
    from pipeline.ledger import Row
    from pipeline.storage import Store

FOLDER = "logs"
SHARD_FACTS = (
    "stage",
    "shard",
    "attempt",
    "status",
    "seconds",
    "rows_in",
    "rows_out",
    "rejected",
    "bytes_in",
    "size",
    "host",
    "pid",
)
"""What a `shard` says of its ledger row, besides its error."""

_lock = threading.RLock()
_files: list[_File] = []
_stderr: TextIO | None = None
_command: list[str] = []


class _File:
    """The log of one run. Appended to on a disk; written anew at the end of each stage on an object store."""

    def __init__(self, store: Store):
        now = datetime.datetime.now(datetime.UTC)
        self.name = f"{FOLDER}/{now:%Y%m%dT%H%M%S}-{os.getpid()}.jsonl"
        self._store = store
        self._kept = io.BytesIO()
        self._file: Any = None
        if store.is_local:
            with contextlib.suppress(OSError):
                path = store.path(self.name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                self._file = open(path, "ab")  # noqa: SIM115
                self._kept.close()

    def write(self, line: bytes, publish: bool) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._file is not None:
                self._file.write(line)
                self._file.flush()
            elif not self._store.is_local:
                self._kept.write(line)
                if publish:
                    self._store.write_bytes(self.name, self._kept.getvalue())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()


@contextlib.contextmanager
def recording(store: Store) -> Iterator[None]:
    """Keep a log in the workspace for the block."""
    from pipeline.stage import version

    file = _File(store)
    with _lock:
        _files.append(file)
    emit("run", command=command(), version=version(), pid=os.getpid(), workspace=store.url)
    try:
        yield
    except BaseException as error:
        emit("run_end", error=f"{type(error).__name__}: {error}"[:4000])
        raise
    else:
        emit("run_end", error=None)
    finally:
        with _lock:
            _files.remove(file)
        file.close()


def emit(event: str, **facts: Any) -> None:
    """Write one event to whoever listens."""
    if not _files and _stderr is None:
        return
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    said = {key: message(value) if isinstance(value, str) else scrubbed(value) for key, value in facts.items()}
    line = orjson.dumps({"time": now, "event": event, **said}, default=str, option=orjson.OPT_APPEND_NEWLINE)
    with _lock:
        for file in _files:
            file.write(line, publish=event in ("stage_end", "run_end"))
        if _stderr is not None:
            with contextlib.suppress(OSError, ValueError):  # whoever read them went away
                _stderr.write(line.decode())
                _stderr.flush()


def emit_shard(row: Row) -> None:
    """Write what came of one attempt at one shard."""
    emit("shard", **{name: getattr(row, name) for name in SHARD_FACTS}, error=row.error)


def as_json() -> None:
    """From now on stderr gets events alone; what others print there becomes a `message` a line."""
    global _stderr
    if _stderr is None:
        _stderr = sys.stderr
        sys.stderr = _Lines()


def is_json() -> bool:
    """Whether stderr gets events."""
    return _stderr is not None


def set_command(arguments: list[str]) -> None:
    """Remember the command line of this process, for logs and for the command that goes on."""
    _command[:] = ["tamis", *arguments]


def command(workspace: str | None = None) -> list[str]:
    """The command line without what may be secret, empty outside of the command line; with `-w` if it had none."""
    words = [message(word) for word in _command]
    named = any(word in ("-w", "--workspace") or word.startswith("--workspace=") for word in words)
    return [*words, "-w", message(workspace)] if words and workspace is not None and not named else words


class _Lines(io.TextIOBase):
    """stderr for everybody else while events are shown: each line they print becomes a `message`."""

    def __init__(self) -> None:
        self._begun = ""

    def write(self, text: str) -> int:
        with _lock:
            *lines, self._begun = (self._begun + text).split("\n")
            for line in lines:
                if line.strip():
                    emit("message", text=line)
        return len(text)

    def flush(self) -> None:
        with _lock:
            if self._begun.strip():
                emit("message", text=self._begun)
            self._begun = ""

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        assert _stderr is not None
        return _stderr.fileno()
