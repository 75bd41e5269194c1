"""Files in a folder or under any fsspec URL, written so that nothing half-written is ever visible.

A local file is written under a temporary name in its own folder, synced, and renamed. On an object store the file is
finished on the local disk first and uploaded in one piece: fsspec's buffered writers would publish the part
written before an error when they are closed.

    store = Store("s3://bucket/prefix")
    store.write_bytes("a/b.json", b"{}")
    with store.writing("a/part.parquet") as path:   # a local path to fill
        pq.write_table(table, path)
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.patience import is_transient, patiently
from pipeline.redact import without_addresses

TEMPORARY = ".tmp-"
"""Prefix of unfinished local files; readers and listings pass over it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Store:
    """A folder of files: a local path or an fsspec URL. Cheap to pickle; the connection is made on first use."""

    url: str

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        fs, root = fsspec.core.url_to_fs(self.url)
        return fs, root.rstrip("/")

    def do(self, name: str, call: Callable[[], T]) -> T:
        """Call; where files are not of this machine, again after trouble that may pass. Raises StoreDown."""
        return call() if self.is_local else patiently(call, self.shown(name))

    def __getstate__(self) -> dict[str, str]:
        return {"url": self.url}  # the connection stays behind: another process makes its own

    @property
    def fs(self) -> Any:
        """The fsspec filesystem."""
        return self._opened[0]

    @property
    def is_local(self) -> bool:
        """Whether files are plain files of this machine."""
        return isinstance(self.fs, LocalFileSystem)

    @property
    def is_shared_between_processes(self) -> bool:
        """False for memory://, which only threads of one process see."""
        return "memory" not in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))

    def path(self, name: str) -> str:
        """The full path of a file, as the filesystem names it. Names never leave the folder."""
        if name.startswith("/") or ".." in name.split("/") or "\0" in name:
            raise ValueError(f"{name!r} is no name of a file in {self.url}")
        return f"{self._opened[1]}/{name}" if name else self._opened[1]

    def address(self, name: str) -> str:
        """The path or URL under which other programs open a file."""
        return self.path(name) if self.is_local else f"{self.url.rstrip('/')}/{name}"

    def shown(self, name: str) -> str:
        """The path as a person sees it: without user, password and query of an address."""
        return without_addresses(self.address(name))

    def exists(self, name: str) -> bool:
        """Whether a file or folder is there."""
        return self.do(name, lambda: self.fs.exists(self.path(name)))

    def size(self, name: str) -> int:
        """Bytes of a file. Raises FileNotFoundError."""
        return self.do(name, lambda: self.fs.size(self.path(name)))

    def sizes(self, folder: str) -> dict[str, int]:
        """{file name: bytes} of the files directly in a folder; empty if there is no such folder."""
        if self.is_local:
            try:
                with os.scandir(self.path(folder)) as entries:
                    return {
                        e.name: e.stat().st_size for e in entries if e.is_file() and not e.name.startswith(TEMPORARY)
                    }
            except FileNotFoundError:
                return {}
        return {Path(i["name"]).name: i["size"] for i in self._listing(folder) if i["type"] == "file"}

    def folders(self, folder: str) -> list[str]:
        """Sorted names of the folders directly in a folder."""
        return sorted(Path(i["name"]).name for i in self._listing(folder) if i["type"] == "directory")

    def _listing(self, folder: str) -> list[dict[str, Any]]:
        self.fs.invalidate_cache()
        try:
            found = self.do(folder, lambda: self.fs.ls(self.path(folder), detail=True))
        except FileNotFoundError:
            return []
        here = self.path(folder).strip("/")
        return [i for i in found if i["name"].strip("/") != here and not Path(i["name"]).name.startswith(TEMPORARY)]

    def read_bytes(self, name: str) -> bytes:
        """The whole file. Raises FileNotFoundError."""
        return self.do(name, lambda: self.fs.cat_file(self.path(name)))

    def open(self, name: str) -> Any:
        """Something pyarrow and DuckDB read from: a path where files are local, an open binary file elsewhere."""
        return self.path(name) if self.is_local else self.stream(name)

    def stream(self, name: str, **options: Any) -> Any:
        """An open binary file; not only opening it, each of its reads is tried again after trouble that may pass."""
        return open_patiently(self.fs, self.path(name), self.shown(name), **options)

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """The bytes start..end of a file, fewer only where it ends."""
        return self.do(name, lambda: self.fs.cat_file(self.path(name), start=start, end=end))

    def fetch(self, name: str, path: str) -> None:
        """Copy a file to a local path."""
        self.do(name, lambda: self.fs.get_file(self.path(name), path))

    def put(self, path: str, name: str) -> None:
        """Copy a local file into the folder, for files that are not of this machine."""
        self.do(name, lambda: self.fs.put_file(path, self.path(name)))

    def create(self, name: str, data: bytes) -> bool | None:
        """Write a small file unless there is one: whether it was; None where the store cannot tell.

        Local files have link(), see pipeline.lock.
        """
        protocols = self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,)
        if "s3" not in protocols:
            return None
        try:
            self.do(name, lambda: self.fs.pipe_file(self.path(name), data, mode="create"))
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno != errno.EINVAL:  # 412 PreconditionFailed
                raise
            return False
        return True

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        with self.writing(name) as path:
            Path(path).write_bytes(data)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[str]:
        """A local path to fill; published as `name` when the block ends well, removed when it does not."""
        target = self.path(name)
        folder, base = target.rsplit("/", 1)
        if self.is_local:
            os.makedirs(folder, exist_ok=True)
            path = f"{folder}/{TEMPORARY}{secrets.token_hex(6)}-{base}"
        else:
            descriptor, path = tempfile.mkstemp(prefix="tamis-", suffix=f"-{base}")
            os.close(descriptor)
        try:
            yield path
            if self.is_local:
                publish(path, target)
            else:
                self.put(path, name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def move(self, name: str, to: str) -> None:
        """Publish a finished file under another name."""
        if self.is_local:
            os.makedirs(os.path.dirname(self.path(to)), exist_ok=True)
            publish(self.path(name), self.path(to))
        else:
            self.do(name, lambda: self._moved(self.path(name), self.path(to)))

    def _moved(self, path: str, to: str) -> None:
        try:
            self.fs.mv(path, to)
        except FileNotFoundError:
            self.fs.invalidate_cache()
            if not self.fs.exists(to):  # else an earlier try got through, and only its answer was lost
                raise

    def remove(self, name: str) -> None:
        """Remove a file or a folder with all that is in it; it is no error if it is gone."""
        with contextlib.suppress(FileNotFoundError):
            self.do(name, lambda: self.fs.rm(self.path(name), recursive=True))

    def sweep(self, folder: str) -> None:
        """Remove what killed runs left unfinished in a folder. Only for the holder of the workspace's lock."""
        if self.is_local and os.path.isdir(self.path(folder)):
            for entry in os.scandir(self.path(folder)):
                if entry.name.startswith(TEMPORARY):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(entry.path)


def open_patiently(fs: Any, path: str, shown: str, **options: Any) -> Any:
    """An open binary file of any filesystem, read patiently if it is not of this machine. shown: its name in errors.

    Raises StoreDown. A file that was replaced meanwhile is an error at once.
    """
    if isinstance(fs, LocalFileSystem):
        return fs.open(path, "rb")
    file = patiently(lambda: fs.open(path, "rb", **options), shown)
    cache = getattr(file, "cache", None)  # what fsspec's files of object stores read through
    if cache is not None and hasattr(cache, "fetcher"):
        fetch = cache.fetcher
        cache.fetcher = lambda start, end: patiently(lambda: fetch(start, end), shown, worth=_not_replaced)
    return file


def _not_replaced(error: BaseException) -> bool:
    return is_transient(error) and getattr(error, "errno", None) != errno.EBUSY  # s3fs: FileExpired


def publish(path: str, target: str) -> None:
    """Sync a finished local file and rename it; the folder is synced too, so that the name survives a power cut."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(path, target)
    descriptor = os.open(os.path.dirname(target), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
