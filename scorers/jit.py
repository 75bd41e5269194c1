"""The one way this project compiles a kernel: Numba, without the GIL, with a cache that cannot break a run.

Numba's own ``cache=True`` raises where neither the install nor the home folder can be written, and where a cache
file is cut short. ``@kernel`` tries the usual places (NUMBA_CACHE_DIR, ``__pycache__``, the user's cache folder),
then a private folder of the system's temporary folder, then does without. A cache entry carries a checksum of
its content; one that cannot be read is thrown away and compiled again. Entries go stale with any change of the
kernel's own file or below ``scorers/``, because a kernel may inline functions of other files, which Numba itself does
not notice.

    @kernel
    def total(values):
        ...

Import this module only where kernels are defined: it imports Numba.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import caching

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile ``function`` at its first call for the types it is called with: nopython, nogil, no bounds checks."""
    dispatcher: Any = numba.njit(nogil=True, boundscheck=False, error_model="numpy")(function)
    with contextlib.suppress(RuntimeError, OSError):  # no place to keep a cache: compile in every process
        dispatcher._cache = _CarefulCache(function)
    return dispatcher


@functools.cache
def _sources_stamp(file: str) -> str:
    """Hash of a kernel's own file and of every source file of the scorers."""
    root = Path(__file__).parent
    digest = hashlib.blake2b(Path(file).read_bytes(), digest_size=16)
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class _TemporaryFolderLocator(caching.UserWideCacheLocator):
    """The last place to look: ``<tmp>/tamis-numba-<uid>``, ours alone, since a cache file can run code."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno
        self._root = os.path.join(tempfile.gettempdir(), f"tamis-numba-{_user_id()}")
        self._cache_path = os.path.join(self._root, self.get_suitable_cache_subpath(py_file))

    def ensure_cache_path(self) -> None:
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        found = os.lstat(self._root)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != _user_id() or found.st_mode & 0o022:
            raise PermissionError(f"{self._root} is not a private folder of this user")
        super().ensure_cache_path()


def _user_id() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


class _CarefulImpl(caching.CompileResultCacheImpl):
    _locator_classes = (  # type: ignore[assignment]
        caching.UserProvidedCacheLocator,
        caching.InTreeCacheLocator,
        caching.UserWideCacheLocator,
        _TemporaryFolderLocator,
    )


class _CheckedFile(caching.IndexDataCacheFile):
    """A cache file whose compiled code is preceded by its checksum: damaged machine code must never run."""

    def _load_data(self, name: str) -> Any:
        checksum, payload = super()._load_data(name)
        if hashlib.blake2b(payload).digest() != checksum:
            raise ValueError(f"damaged cache entry {name}")
        return caching.pickle.loads(payload)

    def _save_data(self, name: str, data: Any) -> None:
        payload = self._dump(data)
        super()._save_data(name, (hashlib.blake2b(payload).digest(), payload))


class _CarefulCache(caching.FunctionCache):
    """Numba's cache of one function; trouble with its files costs a compilation, nothing else."""

    _impl_class = _CarefulImpl

    def __init__(self, py_func: Any) -> None:
        super().__init__(py_func)
        stamp = _sources_stamp(py_func.__code__.co_filename)
        self._cache_file = _CheckedFile(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever damaged bytes can raise: unpickling alone raises a dozen kinds
            self._discard()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception:  # a full disk, a damaged index, a folder that vanished
            self._discard()

    def _discard(self) -> None:
        try:
            os.unlink(self._cache_file._index_path)
        except OSError:
            self.disable()
