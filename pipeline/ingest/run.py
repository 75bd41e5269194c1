"""The ingest stage: what it is made of, and how it is made, resumed and finished.

    find files -> fix the columns -> first splits -> cut -> one shard per slice -> (with an id column) drop duplicates

Columns and cut are written to `tmp/ingest-<hash8>/plan.json`, so that a resumed run goes on with the same. The folder
is removed when every shard is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import orjson
import pyarrow as pa

from pipeline import ledger
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import DIED, Job, Pool, jobs_to_do, pending
from pipeline.ingest import duplicates
from pipeline.ingest.cut import Piece, Slice, Weighed, cut, joined, needs_split
from pipeline.ingest.layout import SAMPLE_ROWS, Layout, make_layout, sampled
from pipeline.ingest.rows import sample_types
from pipeline.ingest.settings import IngestSettings
from pipeline.ingest.shard import SliceTask, make_shard
from pipeline.ingest.sources import Input, InputFile, discover, fingerprints
from pipeline.ingest.split import SplitTask, chunks, split
from pipeline.ingest.tables import check_types, table_types
from pipeline.ledger import Row
from pipeline.limits import OVERDUE
from pipeline.patience import patiently
from pipeline.redact import without_addresses
from pipeline.stage import Stage, differences, saved
from pipeline.storage import Store
from pipeline.workspace import Workspace, checked_name, shard_name

T = TypeVar("T")
CODE = 1
"""Raised whenever the same input would give other bytes."""
SHOWN = 10
"""Differences that an error names."""


@dataclass(frozen=True)
class Plan:
    """What a resumed run must not decide again."""

    layout: Layout
    slices: list[Slice]

    def to_bytes(self) -> bytes:
        """As JSON."""
        return orjson.dumps(
            {"layout": self.layout.to_json(), "slices": [[asdict(p) for p in pieces] for pieces in self.slices]}
        )

    @staticmethod
    def from_bytes(data: bytes) -> Plan:
        """The inverse of to_bytes."""
        record = orjson.loads(data)
        slices = [tuple(Piece(**piece) for piece in pieces) for pieces in record["slices"]]
        return Plan(Layout.from_json(record["layout"]), slices)


@dataclass(frozen=True)
class _Run:
    """One call of ingest."""

    workspace: Workspace
    name: str
    settings: IngestSettings
    input: Input
    stage: Stage
    pool: Pool

    @property
    def scratch(self) -> str:
        return _scratch(self.stage.hash)


def _scratch(hash: str) -> str:
    return f"tmp/ingest-{hash[:8]}"


def ingest_stage(workspace: Workspace, name: str, settings: IngestSettings) -> Stage:
    """The stage as data. Raises UserError if there is no input."""
    return _stage(workspace, name, settings, discover(settings))


def _stage(workspace: Workspace, name: str, settings: IngestSettings, found: Input) -> Stage:
    checked_name(name, "corpus")
    if not any(file.size or file.dataset for file in found.files):
        raise UserError(f"sources: all {len(found.files)} files are empty")
    old = saved(workspace.store, f"corpora/{name}")
    info = old["info"] if old is not None else {}
    known = info.get("files", {}) if info.get("base") == found.base else {}
    prints = fingerprints(found.files, known)
    fields = {
        "name": name,
        "code": CODE,
        "limit": settings.limit,
        "settings": settings.model_dump(exclude={"sources", "limit"}) | {"format": found.format},
        "files": prints,
    }
    files = {file.path: [file.size, file.stamp, prints[file.path]] for file in found.files}
    return Stage("ingest", name, "corpora", fields, {"base": found.base, "sources": settings.sources, "files": files})


def ingest(workspace: Workspace, name: str, settings: IngestSettings, pool: Pool) -> list[Row]:
    """Make or resume a corpus; its ledger rows, in order. See pipeline.ingest.ingest."""
    found = discover(settings)
    run = _Run(workspace, name, settings, found, _stage(workspace, name, settings, found), pool)
    store, folder = workspace.store, run.stage.folder
    count = _begun(run)
    if count is None or pending(workspace, folder, _names(count)):
        for place in (folder, f"{folder}/rejects", run.scratch, f"{run.scratch}/staged"):
            store.sweep(place)
        plan = _plan(run, begun=count is not None)
        shards = _names(len(plan.slices))
        if count is None:
            run.stage.save(store, num_shards=len(shards))
        elif count != len(shards):
            raise UserError(
                f"corpus {name!r} has lost shards, and its input now makes {len(shards)} shards instead of {count} "
                f"(a file became readable?); remove {store.shown(folder)} and ingest again"
            )
        (_through_staging if settings.id else _directly)(run, plan, shards)
    else:
        shards = _names(count)
    return _ended(run, shards)


def _names(count: int) -> list[str]:
    return [shard_name(i, count) for i in range(count)]


def _begun(run: _Run) -> int | None:
    """Number of shards if a run before has cut them. Raises UserError if the corpus was made of something else."""
    store, stage = run.workspace.store, run.stage
    old = saved(store, stage.folder)
    if old is None:
        return None
    count: int | None = old["info"].get("num_shards")
    if old["hash"] == stage.hash:
        return count
    if count is not None:
        lines = differences(old["fields"], stage.fields)
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        raise UserError(
            f"corpus {run.name!r} was made of something else, and documents never change: choose another --corpus "
            f"name, or remove {store.shown(stage.folder)} and {store.shown(ledger.folder(stage.folder))} "
            f"({'; '.join([*lines[:SHOWN], *more])})"
        )
    store.remove(_scratch(old["hash"]))  # it never got as far as a shard
    store.remove(ledger.folder(_scratch(old["hash"])))
    return None


def _plan(run: _Run, begun: bool) -> Plan:
    store, name = run.workspace.store, f"{run.scratch}/plan.json"
    if store.exists(name):
        return Plan.from_bytes(store.read_bytes(name))
    layout = _patiently(run, lambda: _layout(run.input, run.settings))
    if not begun:
        run.stage.save(store)
    files, parts = _first_splits(run)
    pieces = _patiently(run, lambda: list(cut(run.input.format, files, run.settings, parts)))
    slices = [joined(part) for part in pieces][: run.settings.limit]
    if not slices:
        for place in (run.stage.folder, run.scratch, ledger.folder(run.scratch)):
            store.remove(place)
        raise UserError(f"sources: no documents in {len(run.input.files)} files of {run.input.format}")
    plan = Plan(layout, slices)
    store.write_bytes(name, plan.to_bytes())
    return plan


def _patiently(run: _Run, call: Callable[[], T]) -> T:
    """What the main process reads of the input: of another machine's, again after trouble that may pass."""
    remote = any("://" in file.url for file in run.input.files)
    return patiently(call, ", ".join(map(without_addresses, run.settings.sources[:3]))) if remote else call()


def _layout(found: Input, settings: IngestSettings) -> Layout:
    if found.format == "text":
        types: dict[str, pa.DataType | None] = {settings.text: pa.string(), "path": pa.string()}
        return make_layout(types, settings, schemaless=False)
    if found.format in ("jsonl", "csv"):
        files = sampled([file for file in found.files if file.size])
        return make_layout(sample_types(found.format, files, settings, SAMPLE_ROWS), settings, schemaless=True)
    types = table_types(found.format, found.files, settings)
    layout = make_layout(types, settings, schemaless=False)
    check_types(types, layout)
    return layout


def _first_splits(run: _Run) -> tuple[list[InputFile], dict[str, list[Weighed]]]:
    """(files, chunks of those that needed a split). With a limit, only the files that the first shards need."""
    form, settings, files = run.input.format, run.settings, run.input.files
    large = [i for i, file in enumerate(files) if needs_split(file, form, settings)]
    if settings.limit is None:
        return files, _split(run, large)
    parts: dict[str, list[Weighed]] = {}
    for i in large:
        if len(cut(form, files[:i], settings, parts)) > settings.limit:
            return files[:i], parts
        parts |= _split(run, [i])
    return files, parts


def _split(run: _Run, large: Sequence[int]) -> dict[str, list[Weighed]]:
    workspace, files = run.workspace, run.input.files
    folder = f"{run.scratch}/split"
    names = {f"{i:05d}": files[i] for i in large}
    jobs = [
        Job(
            workspace,
            name,
            ((folder, attempt),),
            SplitTask(names[name], run.input.format, f"{folder}/{name}", run.settings),
        )
        for name, attempt in jobs_to_do(workspace.rows(folder), list(names))
    ]
    rows = run.pool.run(jobs, split, f"split {run.name}", "files") if jobs else []
    failed = {names[row.shard].path: str(row.error) for row in rows if not row.done}
    if failed:
        raise ShardsFailed(f"first split of {run.name}", failed, len(large))
    return {file.path: chunks(workspace.store, file, f"{folder}/{name}") for name, file in names.items()}


def _jobs(
    run: _Run, plan: Plan, shards: list[str], todo: list[tuple[str, int]], folder: str, staged: bool
) -> list[Job]:
    """Jobs that read slices into a folder."""
    files = {file.path: file for file in run.input.files}
    index = {shard: i for i, shard in enumerate(shards)}
    jobs = []
    for shard, attempt in todo:
        pieces = plan.slices[index[shard]]
        task = SliceTask(
            index[shard],
            pieces,
            {piece.path: files[piece.path] for piece in pieces},
            run.input.format,
            plan.layout,
            run.settings,
            run.name,
            folder,
            staged,
        )
        jobs.append(Job(run.workspace, shard, ((folder, attempt),), task))
    return jobs


def _directly(run: _Run, plan: Plan, shards: list[str]) -> None:
    folder = run.stage.folder
    todo = pending(run.workspace, folder, shards)
    run.pool.run(_jobs(run, plan, shards, todo, folder, staged=False), make_shard, run.stage.label)


def _through_staging(run: _Run, plan: Plan, shards: list[str]) -> None:
    """Stage what is not staged, find duplicates among all that is, publish what is not published."""
    workspace, folder, staged = run.workspace, run.stage.folder, f"{run.scratch}/staged"
    store = workspace.store
    todo = pending(workspace, folder, shards)
    # A staged file that is gone was published, unless what was published is gone too.
    sizes = {**store.sizes(folder), **store.sizes(staged)}
    wanted = dict(todo)
    there = {s: row for s, row in workspace.rows(staged).items() if s not in wanted or _is_there(row, sizes)}
    unread = jobs_to_do(there, shards)
    if unread:
        run.pool.run(_jobs(run, plan, shards, unread, staged, staged=True), make_shard, f"read {run.name}")
    rows = workspace.rows(staged)
    if waits := _waits_for(store, staged, [rows[shard] for shard in shards]):
        raise ShardsFailed(f"read {run.name} (nothing is published before they are read)", waits, len(shards))
    for shard, attempt in todo:
        if not rows[shard].done:
            ledger.write(store, replace(rows[shard], stage=folder, attempt=attempt))
    ledger.compact(store, folder)
    rounds = duplicates.remember_rounds(store, staged, [shard for shard in shards if rows[shard].done])
    if not rounds:
        return
    duplicates.mark(store, staged, rounds, shards)
    jobs = []
    for shard, attempt in todo:
        if rows[shard].done:
            paths = tuple(piece.path for piece in plan.slices[shards.index(shard)])
            task = duplicates.PublishTask(staged, folder, rows[shard], paths)
            jobs.append(Job(workspace, shard, ((folder, attempt),), task))
    run.pool.run(jobs, duplicates.publish, run.stage.label)


def _waits_for(store: Store, staged: str, rows: list[Row]) -> dict[str, str]:
    """{shard: error} of what could not be read, though it may be read later: which document of an id is the first must
    not depend on that. What killed its worker or had no end in two runs is not waited for.
    """
    hopeless = store.sizes(f"{staged}/unreadable")
    return {
        row.shard: row.error or ""
        for row in rows
        if not row.done
        and row.shard not in hopeless
        and not (row.attempt > 1 and (row.error or "").startswith((DIED, OVERDUE)))
    }


def _is_there(row: Row, sizes: dict[str, int]) -> bool:
    return not row.done or sizes.get(f"{row.shard}.parquet") == row.size


def _ended(run: _Run, shards: list[str]) -> list[Row]:
    """The rows, if all is well; what was only needed on the way is removed."""
    workspace, stage = run.workspace, run.stage
    store = workspace.store
    latest = workspace.rows(stage.folder)
    rows: list[Any] = [latest[shard] for shard in shards]
    failed = {row.shard: row.error or "" for row in rows if not row.done}
    if failed:
        raise ShardsFailed(stage.label, failed, len(shards))
    for place in (run.scratch, ledger.folder(run.scratch)):
        store.remove(place)
    if not any(row.rows_in for row in rows):
        store.remove(stage.folder)
        store.remove(ledger.folder(stage.folder))
        raise UserError(f"sources: no documents in {len(run.input.files)} files of {run.input.format}")
    return rows
