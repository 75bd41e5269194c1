"""The passes of an export: measure, scatter, gather, describe.

export(workspace, "best", ExportSettings(selection="best", format="hf"), pool)

Files appear one by one, each whole; `lineage.json` says `"complete": true` only when all are there. A run that is
killed goes on where it stopped.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline import ledger
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Job, Pool, jobs_to_do
from pipeline.export.card import card
from pipeline.export.croissant import croissant
from pipeline.export.gather import Output, batches_of, cut, gather, uncompressed_bytes
from pipeline.export.lineage import FILE, lineage
from pipeline.export.plan import HELD_OUT, TRAIN, Part, Plan, planned
from pipeline.export.scatter import PIECE_BYTES, SLICES_PER_SHARD, Measured, Piece, Size, scatter
from pipeline.export.settings import ExportSettings
from pipeline.select.spread import answers
from pipeline.stage import STAGE_FILE, Stage, saved, version
from pipeline.storage import Store
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class _Place:
    """Where the files of an export go."""

    store: Store
    folder: str

    def file(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name

    def sizes(self, folder: str) -> dict[str, int]:
        """{output shard with .parquet, as the ledger's helpers expect: bytes} of the data files."""
        found = self.store.sizes(self.file(folder) if folder else self.folder)
        return {f"{name.split('.')[0]}.parquet": size for name, size in found.items()}


def export_stage(workspace: Workspace, name: str, settings: ExportSettings, named: Collection[str] = ()) -> Stage:
    """The stage that an export makes. `named`: folders of score stages and selections to use, else the newest."""
    return planned(workspace, name, settings, named).stage


def export(
    workspace: Workspace, name: str, settings: ExportSettings, pool: Pool, named: Collection[str] = ()
) -> dict[str, Any]:
    """Make an export; what is done already is not done again. The caller holds the lock.

    Returns its lineage, with `folder`: where it lies. Raises UserError if the selection is not complete or `out` holds
    something else, ShardsFailed.
    """
    plan = planned(workspace, name, settings, named)
    plan.refuse_incomplete()
    place = _Place(workspace.store, plan.stage.folder)
    if settings.out:
        # Workers may run in another folder.
        place = _Place(Store(settings.out if "://" in settings.out else os.path.abspath(settings.out)), "")
    shown = place.store.shown(place.folder).rstrip("/")
    there = _there(place, plan, shown)
    data = "data" if settings.format == "hf" else ""
    record = saved(workspace.store, plan.stage.folder)
    rows = workspace.rows(plan.stage.folder)
    if there is not None and there["complete"] and record is not None:
        shards = record["info"].get("shards", [])
        if shards and not jobs_to_do(rows, shards, place.sizes(data)):
            print(f"export {name}: nothing to do, it is there ({shown})", file=sys.stderr)
            return there | {"folder": shown}
    place.store.write_bytes(place.file(FILE), _json(lineage(plan, {}, complete=False)))
    place.store.sweep(place.file(data) if data else place.folder)
    parts = plan.parts()
    sizes = dict(answers(pool, Measured(plan.splits), list(enumerate(parts))))
    temporary = f"tmp/export-{plan.stage.hash[:8]}"
    made = {split: _split(plan, pool, place, split, parts, sizes, temporary) for split in plan.splits}
    rows = workspace.rows(plan.stage.folder)
    by_split = {split: [rows[shard] for shard in shards] for split, shards in made.items()}
    for split, of_split in by_split.items():
        kept, written = sum(size.kept[split] for size in sizes.values()), sum(row.rows_out for row in of_split)
        if kept != written:
            raise AssertionError(f"export {name}: {kept} rows kept for {split}, {written} written")
    done = lineage(plan, by_split, complete=True)
    if settings.format == "hf":
        _describe(plan, pool, place, made, done)
    place.store.write_bytes(place.file(FILE), _json(done))
    _save(plan.stage, workspace, [shard for shards in made.values() for shard in shards], shown if settings.out else "")
    workspace.store.remove(temporary)
    for split in plan.splits:
        workspace.store.remove(ledger.folder(f"{temporary}/{split}"))
    return done | {"folder": shown}


def _there(place: _Place, plan: Plan, shown: str) -> dict[str, Any] | None:
    """The lineage that lies in the output folder. Raises UserError if the folder holds anything but this export."""
    try:
        there = orjson.loads(place.store.read_bytes(place.file(FILE)))
    except FileNotFoundError:
        there = None
    except orjson.JSONDecodeError:
        there = {"export": {"hash": "damaged"}}
    if there is not None and there.get("export", {}).get("hash") == plan.stage.hash:
        return there
    held = [n for n in place.store.sizes(place.folder) if n != STAGE_FILE] + place.store.folders(place.folder)
    if held:
        raise UserError(
            f"out {shown}: the folder holds {sorted(held)[0]!r}, which is not of this export; "
            f"expected an empty folder, or this same export begun before"
        )
    return None


def _split(
    plan: Plan, pool: Pool, place: _Place, split: str, parts: list[Part], sizes: dict[int, Size], temporary: str
) -> list[str]:
    """Make one split; the names of its output shards."""
    workspace, settings = plan.workspace, plan.settings
    estimate = sum(size.text[split] for size in sizes.values())
    slices = SLICES_PER_SHARD
    while slices < SLICES_PER_SHARD * estimate / settings.shard_bytes and slices < 1 << 16:
        slices *= 2
    pieces = _pieces(plan, split, parts, sizes, slices, f"{temporary}/{split}")
    folder = f"{temporary}/{split}"
    rows, files = workspace.rows(folder), workspace.store.sizes(folder)
    jobs = []
    for n, piece in enumerate(pieces):
        name = f"piece-{n:05d}"
        last = rows.get(name)
        if last is None or not last.done or f"{name}.arrow" not in files or f"{name}.json" not in files:
            jobs.append(Job(workspace, name, ((folder, 1 if last is None else last.attempt + 1),), piece))
    _run(pool, jobs, scatter, f"export {plan.stage.name} ({split}): sort", "pieces")
    counts = [orjson.loads(workspace.store.read_bytes(f"{piece.file}.json")) for piece in pieces]
    ranges = cut(counts, slices, settings.shard_bytes)
    stem = HELD_OUT if split == HELD_OUT else (TRAIN if settings.format == "hf" else "part")
    shards = [f"{stem}-{i:05d}-of-{len(ranges):05d}" for i in range(len(ranges))]
    data = "data/" if settings.format == "hf" else ""
    ending = "jsonl.zst" if settings.format == "jsonl" else "parquet"
    todo = dict(jobs_to_do(workspace.rows(plan.stage.folder), shards, place.sizes(data.rstrip("/"))))
    jobs = [
        Job(
            workspace,
            shard,
            ((plan.stage.folder, todo[shard]),),
            Output(
                place.store,
                place.file(f"{data}{shard}.{ending}"),
                settings.format,
                tuple((f"{p.file}.arrow", *batches_of(c, first, last)) for p, c in zip(pieces, counts, strict=True)),
                plan.schema,
            ),
        )
        for shard, (first, last) in zip(shards, ranges, strict=True)
        if shard in todo
    ]
    _run(pool, jobs, gather, f"export {plan.stage.name} ({split}): write", "shards")
    return shards


def _pieces(plan: Plan, split: str, parts: list[Part], sizes: dict[int, Size], slices: int, folder: str) -> list[Piece]:
    """Input shards in groups of about PIECE_BYTES of kept text."""
    groups: list[list[tuple[Part, int, int]]] = [[]]
    numbers = {one.corpus.name: n for n, one in enumerate(plan.inputs)}
    before = held = 0
    for index, part in enumerate(parts):
        size = sizes[index]
        if groups[-1] and held + size.text[split] > PIECE_BYTES:
            groups.append([])
            held = 0
        groups[-1].append((part, numbers[part.inputs.corpus], before))
        held += size.text[split]
        before += size.kept[split]
    step = (2**64 - 1) // max(before, 1) if plan.settings.order == "input" else 0
    return [
        Piece(
            split,
            f"{folder}/piece-{n:05d}",
            tuple(group),
            plan.schema,
            plan.settings.weight,
            slices,
            plan.settings.seed,
            step,
        )
        for n, group in enumerate(groups)
    ]


def _run(pool: Pool, jobs: list[Job], work: Any, label: str, unit: str) -> None:
    rows = pool.run(jobs, work, label, unit)
    assert len(rows) == len(jobs), f"{label}: {len(jobs)} {unit} to do, {len(rows)} tried"
    failed = {row.shard: row.error or "" for row in rows if not row.done}
    if failed:
        raise ShardsFailed(label, failed, len(rows))


@dataclass(frozen=True)
class _File:
    """Size, sha256 and uncompressed bytes of one file; for pipeline.select.spread."""

    place: _Place

    def __call__(self, name: str) -> tuple[str, int, str, int]:
        state, size = hashlib.sha256(), 0
        with self.place.store.stream(self.place.file(name)) as file:
            while block := file.read(1 << 20):
                state.update(block)
                size += len(block)
        source = self.place.store.open(self.place.file(name))
        return name, size, state.hexdigest(), uncompressed_bytes(source)


def _describe(plan: Plan, pool: Pool, place: _Place, made: dict[str, list[str]], record: dict[str, Any]) -> None:
    """Write croissant.json and the card."""
    names = {split: [f"data/{shard}.parquet" for shard in shards] for split, shards in made.items()}
    facts = {
        fact[0]: fact for fact in answers(pool, _File(place), [n for of_split in names.values() for n in of_split])
    }
    files = {split: [facts[name][:3] for name in of_split] for split, of_split in names.items()}
    sizes = {
        split: (sum(facts[name][3] for name in of_split), sum(facts[name][1] for name in of_split))
        for split, of_split in names.items()
    }
    described = croissant(plan.settings.hf, plan.stage.name, plan.schema, files)
    place.store.write_bytes(place.file("croissant.json"), _json(described))
    text = card(plan.settings.hf, record, plan.schema, sizes)
    place.store.write_bytes(place.file("README.md"), text.encode())


def _save(stage: Stage, workspace: Workspace, shards: list[str], out: str) -> None:
    """Write stage.json. It may lie in the folder that is published, so it names neither the user nor the machine."""
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    info = {"created": created, "tamis": version(), "shards": shards} | ({"out": out} if out else {})
    record = {"kind": stage.kind, "name": stage.name, "hash": stage.hash, "fields": stage.fields, "info": info}
    workspace.store.write_bytes(f"{stage.folder}/{STAGE_FILE}", _json(record))


def _json(record: Any) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS, default=str)
