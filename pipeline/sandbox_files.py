"""What a sandboxed connection of DuckDB sees: exactly the given files of workspaces, below tamis://, only for reading.

connection.register_filesystem(WorkspaceFiles({"a.parquet": (store, "scores/web/a.parquet")}))
"""

from __future__ import annotations

import datetime
import io
import os
import threading
from collections.abc import Mapping
from typing import Any

from fsspec import AbstractFileSystem

from pipeline.storage import Store

PROTOCOL = "tamis"
REMOTE_BLOCK = 4 << 20
"""Bytes read ahead from object stores: DuckDB reads column chunks in pieces far smaller than a request is worth."""

Files = Mapping[str, tuple[Store, str]]
"""{name below tamis://: (store, name in the store)}"""


class Handle:
    """One file open for reading, with a position per thread.

    DuckDB's threads share a handle and call seek, then read: with one position they would read from each other's
    place, and get an error at best, wrong bytes at worst.
    """

    def __init__(self, store: Store, name: str):
        self._at: dict[int, int] = {}
        self._descriptor: int | None = None
        self._file: Any = None
        self._lock = threading.Lock()
        path = store.path(name)
        if store.is_local:
            self._descriptor = os.open(path, os.O_RDONLY)
            self._size = os.fstat(self._descriptor).st_size
            return
        if store.is_shared_between_processes:
            self._file = store.stream(name, block_size=REMOTE_BLOCK, cache_type="readahead")
        else:
            # memory:// gives every reader the same file object.
            self._file = io.BytesIO(store.read_bytes(name))
        self._size = self._file.seek(0, os.SEEK_END)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move this thread's position; the new position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        self._at[threading.get_ident()] = base + offset
        return base + offset

    def tell(self) -> int:
        """This thread's position."""
        return self._at.get(threading.get_ident(), 0)

    def read(self, size: int = -1) -> bytes:
        """As many bytes from this thread's position, fewer only at the end of the file."""
        at = self.tell()
        size = max(self._size - at, 0) if size < 0 else size
        data = self._read_at(at, size)
        self._at[threading.get_ident()] = at + len(data)
        return data

    def _read_at(self, at: int, size: int) -> bytes:
        if self._descriptor is None:
            with self._lock:
                self._file.seek(at)
                return self._file.read(size)
        parts = []
        while size > 0 and (part := os.pread(self._descriptor, size, at)):
            parts.append(part)
            at, size = at + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Let go of the file; it is no error if it is closed."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)
            self._file = io.BytesIO()  # a read after this finds nothing instead of another file's descriptor
        elif self._file is not None:
            self._file.close()

    def __del__(self) -> None:
        self.close()  # DuckDB drops handles without closing them


class WorkspaceFiles(AbstractFileSystem):
    """A read-only fsspec filesystem of exactly the given files; DuckDB sees them below tamis://."""

    protocol = PROTOCOL
    cachable = False  # fsspec would hand one instance to the next connection

    def __init__(self, files: Files):
        super().__init__()
        self.files = files

    def _file(self, path: str) -> tuple[Store, str]:
        try:
            return self.files[path.removeprefix(f"{PROTOCOL}://")]
        except KeyError:
            raise FileNotFoundError(f"{path} is not a file of the workspace") from None

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        """A file open for reading. Raises PermissionError for any other mode."""
        if mode != "rb":
            raise PermissionError(f"{path}: the workspace is read-only")
        return Handle(*self._file(path))

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Name, size in bytes and type of one file."""
        store, name = self._file(path)
        size = os.path.getsize(store.path(name)) if store.is_local else store.size(name)
        return {"name": path, "size": size, "type": "file"}

    def exists(self, path: str, **options: Any) -> bool:
        """Whether this is one of the files."""
        return path.removeprefix(f"{PROTOCOL}://") in self.files

    def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> list[str]:
        """The file of exactly this name, if there is one: patterns match nothing."""
        return [path] if self.exists(path) else []

    def isfile(self, path: str) -> bool:
        """Whether this is one of the files."""
        return self.exists(path)

    def isdir(self, path: str) -> bool:
        """There are no folders."""
        return False

    def modified(self, path: str) -> datetime.datetime:
        """Files of a workspace never change after they are published."""
        return datetime.datetime.fromtimestamp(0, datetime.UTC)
