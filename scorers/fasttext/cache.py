"""The folded tables of a large classifier as one file below the cache folder: read in a tenth of the time of folding.

    arrays = recall(path)           # {name: array}, or None
    keep(path, facts, arrays)       # for the next process; facts: os.stat of the model before it was read

A run folds a model in its main process and again in every worker; this way all but the first read what the first has
made. The file is a checksum, the length of a header, the header (JSON: names, types, lengths), then the arrays, each
from a multiple of 64 bytes on. It is read, not mapped: memory of a process's own lies in large pages, which the random
accesses of the kernel need more than sharing. A damaged, foreign or missing file costs the time of folding.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import xxhash

from scorers.cache import cache_folder

VERSION = 2
"""Raised whenever the tables of the same model would be others."""
LEAST = 64 << 20
"""Bytes: smaller models are folded in no time."""
KEPT = 4
"""Models whose tables are kept: those used last."""
_LINE = 64


def recall(path: str) -> dict[str, np.ndarray] | None:
    """The arrays that were kept of this file as it is now, or None."""
    facts = os.stat(path)
    if facts.st_size < LEAST:
        return None
    try:
        file = _file(path, facts)
        whole = _lines(file.stat().st_size)
        with file.open("rb") as opened:
            if opened.readinto(whole) != len(whole):  # type: ignore[arg-type]
                return None
        os.utime(file)
    except OSError:
        return None
    if len(whole) < _LINE or _digest(whole) != whole[:16].tobytes():
        return None
    size = int(whole[16:24].view(np.uint64)[0])
    arrays, at = {}, _padded(24 + size)
    for name, kind, count in json.loads(whole[24 : 24 + size].tobytes()):
        stop = at + np.dtype(kind).itemsize * count
        arrays[name] = whole[at:stop].view(kind)
        at = _padded(stop)
    return arrays


def keep(path: str, facts: os.stat_result, arrays: dict[str, np.ndarray]) -> None:
    """Write the arrays (one-dimensional) unless the model changed meanwhile. What cannot be written is not kept."""
    now = os.stat(path)
    if facts.st_size < LEAST or _mark(path, now) != _mark(path, facts):
        return
    header = json.dumps([[name, array.dtype.str, len(array)] for name, array in arrays.items()]).encode()
    whole = np.zeros(_padded(24 + len(header)) + sum(_padded(array.nbytes) for array in arrays.values()), np.uint8)
    whole[16:24].view(np.uint64)[0] = len(header)
    whole[24 : 24 + len(header)] = np.frombuffer(header, np.uint8)
    at = _padded(24 + len(header))
    for array in arrays.values():
        whole[at : at + array.nbytes] = array.view(np.uint8)
        at += _padded(array.nbytes)
    whole[:16] = np.frombuffer(_digest(whole), np.uint8)
    file = _file(path, facts)
    with contextlib.suppress(OSError):  # an unwritable home or a full disk costs time, nothing else
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as work:
            (Path(work) / file.name).write_bytes(whole.data)
            os.replace(Path(work) / file.name, file)
        for old in sorted(file.parent.glob("*.tables"), key=lambda one: one.stat().st_mtime)[:-KEPT]:
            old.unlink()


def _file(path: str, facts: os.stat_result) -> Path:
    return cache_folder() / "folded" / f"{hashlib.sha256(_mark(path, facts).encode()).hexdigest()[:24]}.tables"


def _mark(path: str, facts: os.stat_result) -> str:
    """What a file is known by: as in pipeline/models.py, its place, size and time of change."""
    return f"{VERSION}|{os.path.realpath(path)}|{facts.st_size}|{facts.st_mtime_ns}"


def _digest(whole: np.ndarray) -> bytes:
    return xxhash.xxh3_128_digest(whole[16:].data)


def _padded(size: int) -> int:
    return -(-size // _LINE) * _LINE


def _lines(size: int) -> np.ndarray:
    """uint8 (size,) that begin on a cache line."""
    memory = np.empty(size + _LINE, np.uint8)
    first = -memory.ctypes.data % _LINE
    return memory[first : first + size]
