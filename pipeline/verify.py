"""Is every file of the workspace the one that was written? Sizes and digests of the ledger against what lies there.

    found = verify(workspace)            # a line per damaged file
    forget(workspace, found)             # their shards count as failed: the next run makes them again

The read of a damaged file fails by itself (pipeline.integrity); this finds what nobody has read yet, such as a bit that
flipped on a disk in a table that only SQL looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import xxhash

from pipeline import ledger
from pipeline.errors import UserError
from pipeline.integrity import Damaged
from pipeline.ledger import Row
from pipeline.stage import saved
from pipeline.storage import Store
from pipeline.views import ledger_folders
from pipeline.workspace import Workspace

ENDINGS = (".parquet", ".bin", ".jsonl.zst")
"""What a shard's file may end with."""
SCRATCH = "tmp/"
"""What is only needed on the way: its files are moved when they are published, and cut ones are made again."""
ELSEWHERE = "exports/"
"""Stages whose files the user may have wanted in another place."""
READERS = 4
BLOCK = 4 << 20


@dataclass(frozen=True)
class Fault:
    """A file that is not what the ledger says. stage, shard: whose; shard '' for a record of the workspace itself."""

    stage: str
    shard: str
    file: str
    wrong: str
    row: Row | None = None


def verify(workspace: Workspace, seen: Callable[[int], None] = lambda size: None) -> list[Fault]:
    """All faults, sorted by file. seen: told the bytes of each file read. Raises UserError if nothing is there."""
    store = workspace.store
    faults: list[Fault] = []
    todo: list[tuple[str, Row, str | None]] = []
    folders = ledger_folders(workspace)
    if not folders:
        raise UserError(f"nothing in {workspace.url} to verify: no stage has been recorded there; -w names a workspace")
    for folder in folders:
        if folder.startswith(SCRATCH):
            continue
        try:
            saved(store, folder)
            rows = workspace.rows(folder)
        except Damaged as error:
            faults.append(Fault(folder, "", folder, str(error)))
            continue
        names = _files(store, folder)
        for shard, row in sorted(rows.items()):
            if row.done and row.digest is not None and (names or not folder.startswith(ELSEWHERE)):
                found = next((names[f"{shard}{end}"] for end in ENDINGS if f"{shard}{end}" in names), None)
                todo.append((folder, row, found))
    with ThreadPoolExecutor(READERS) as pool:
        for fault, size in pool.map(lambda item: _checked(store, *item), todo):
            seen(size)
            faults += [fault] if fault is not None else []
    return sorted(faults, key=lambda fault: fault.file)


def _files(store: Store, folder: str) -> dict[str, str]:
    """{base name: name in the workspace} of a stage's files. Those of an export lie in folders of its own making."""
    if not folder.startswith(ELSEWHERE):
        return {name: f"{folder}/{name}" for name in store.sizes(folder)}
    root = store.path("")
    path = store.path(folder)
    found = store.do(folder, lambda: store.fs.find(path) if store.fs.isdir(path) else [])
    return {path.rpartition("/")[2]: path[len(root) :].lstrip("/") for path in found}


def _checked(store: Store, folder: str, row: Row, name: str | None) -> tuple[Fault | None, int]:
    if name is None:
        return Fault(folder, row.shard, f"{folder}/{row.shard}", "is gone", row), 0
    file = name
    state, size = xxhash.xxh3_128(), 0
    try:
        for block in _blocks(store, file):
            state.update(block)
            size += len(block)
    except FileNotFoundError:
        return Fault(folder, row.shard, file, "is gone", row), 0
    if size != row.size:
        return Fault(folder, row.shard, file, f"has {size:,} bytes; {row.size:,} were written", row), size
    if state.hexdigest() != row.digest:
        return Fault(folder, row.shard, file, "has other bytes than were written", row), size
    return None, size


def _blocks(store: Store, name: str) -> Iterator[bytes]:
    with store.stream(name) as file:
        while block := file.read(BLOCK):
            yield block


def forget(workspace: Workspace, faults: list[Fault]) -> int:
    """Record the shards of damaged files as failed; the number of them. The caller holds the lock."""
    done = 0
    for fault in faults:
        if fault.row is None:
            continue
        row = replace(
            fault.row,
            attempt=fault.row.attempt + 1,
            status="failed",
            error=f"{fault.file} {fault.wrong} (found by verify)",
            rows_in=0,
            rows_out=0,
            rejected=0,
            size=0,
            digest=None,
            sources=[],
            reasons=[],
        )
        ledger.write(workspace.store, row)
        done += 1
    return done
