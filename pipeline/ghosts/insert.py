"""Put identifiers into the documents of a corpus: a new corpus, and a table of what went where.

    insert(workspace.corpus("web"), "marked", registry, InsertSettings(repetitions=10), pool)

pipeline.ghosts.table describes the table. No phrase is in it, nor in stage.json or the ledger. How often each
identifier went in is noted beside the registry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.execute import Counts, Job, Pool, pending
from pipeline.ghosts.assign import SCHEMA as ASSIGNED
from pipeline.ghosts.assign import assigned, places_of
from pipeline.ghosts.registry import Registry, note_insertions
from pipeline.ghosts.rewrite import edited, rewrite, rewrite_stage, whole
from pipeline.ghosts.settings import InsertSettings
from pipeline.ghosts.table import INSERTIONS, MADE, TABLE
from pipeline.models import content_hash
from pipeline.shards import read_narrow, write_narrow
from pipeline.stage import Stage, saved
from pipeline.workspace import Corpus, Workspace
from scorers.ghosts.edit import splice, to_arrow
from scorers.ghosts.places import LEADS
from scorers.texts import Texts

VERSION = 1
"""Raised whenever the same settings would give other texts."""
ASSIGNMENT = "assigned.parquet"
NO_PLACE = "no place of this kind outside of code, tables and markup"


@dataclass(frozen=True)
class Ghost:
    """What is put into a document. The sentence is kept out of any message."""

    id: str
    owner: str
    sentence: str = field(repr=False)
    begin: int
    end: int


def insert_stage(source: Corpus, name: str, registry: Registry, settings: InsertSettings) -> Stage:
    """The new corpus as a stage; the registry counts by its content."""
    fields = {
        "version": VERSION,
        "registry": content_hash(Path(registry.path)),
        "settings": settings.model_dump(mode="json"),
    }
    return rewrite_stage(source, name, MADE, fields, {"registry": registry.path})


def insert(
    source: Corpus, name: str, registry: Registry, settings: InsertSettings, pool: Pool, note: bool = True
) -> dict[str, Any]:
    """Make or resume the new corpus. The caller holds the lock. note: the repetitions, beside the registry.

    Returns `inserted`, `without_place`, and `repetitions` {identifier: copies}. Raises UserError, ShardsFailed.
    """
    stage = insert_stage(whole(source), name, registry, settings)
    store = source.workspace.store
    if saved(store, stage.folder) is not None and not pending(source.workspace, stage.folder, source.shards):
        return _noted(source.workspace, name, registry, note)
    scratch = f"tmp/insert-{stage.hash[:8]}"
    file = f"{scratch}/{ASSIGNMENT}"
    if not store.exists(file):  # a resumed run goes on with the same
        table = assigned(source, registry, settings, pool)
        with store.writing(file) as path:
            write_narrow(path, table)
    chosen = read_narrow(store, file).cast(ASSIGNED)
    active = registry.active
    shards = np.asarray(chosen.column("shard").to_pylist(), object)

    def own(shard: str) -> tuple[pa.Table, dict[int, Ghost], InsertSettings]:
        part = chosen.filter(pa.array(shards == shard)) if len(shards) else chosen
        numbers = pc.unique(part.column("number")).to_pylist()
        ghosts = {n: Ghost(active[n].id, active[n].owner, *_sentence(active[n])) for n in numbers}
        return part.select(["id", "number"]), ghosts, settings

    rewrite(source, stage, own, insert_shard, pool, f"insert {name}")
    store.remove(scratch)
    return _noted(source.workspace, name, registry, note)


def _sentence(one: Any) -> tuple[str, int, int]:
    return one.sentence, one.begin, one.end


def insert_shard(job: Job) -> dict[str, Counts | Exception]:
    """Insert into one shard."""
    wanted, ghosts, settings = job.task.own
    [(folder, _)] = job.outputs
    ids, numbers = wanted.column("id").combine_chunks(), wanted.column("number").to_numpy()

    def editor(batch: pa.Table) -> tuple[pa.Array, list[dict[str, Any]]]:
        places = pc.index_in(batch.column("id"), ids)
        docs = np.flatnonzero(pc.is_valid(places).to_numpy())
        texts = Texts.from_arrow(batch.column("text"))
        if not len(docs):
            return batch.column("text").combine_chunks(), []
        own = [ghosts[int(numbers[i])] for i in places.drop_null().to_pylist()]
        return _inserted(batch, texts, docs, own, settings)

    return {folder: edited(job, editor, TABLE, INSERTIONS)}


def _inserted(
    batch: pa.Table, texts: Texts, docs: np.ndarray, own: list[Ghost], settings: InsertSettings
) -> tuple[pa.Array, list[dict[str, Any]]]:
    chosen = batch.take(pa.array(docs)).select(["id", "text"])
    names = chosen.column("id").to_pylist()
    draws = [
        xxhash.xxh3_64_intdigest(f"{settings.seed}\0{name}\0{one.id}".encode())
        for name, one in zip(names, own, strict=True)
    ]
    found = places_of(chosen, settings, np.array(draws, np.uint64))
    there = np.flatnonzero(found.positions >= 0)
    pieces = [LEADS[found.leads[i]] + own[i].sentence.encode() for i in there]
    at = found.positions[there]
    new = splice(texts, docs[there], at, at, pieces)
    rows: list[dict[str, Any]] = []
    for i, (name, one) in enumerate(zip(names, own, strict=True)):
        row: dict[str, Any] = {"id": name, "identifier": one.id, "owner": one.owner, "place": settings.place}
        byte = int(found.positions[i])
        if byte < 0:
            rows.append(row | {"reason": NO_PLACE})
            continue
        lead, first = len(LEADS[found.leads[i]]), int(texts.offsets[docs[i]])
        begin = _characters(texts.data[first : first + byte])
        rows.append(
            row
            | {
                "start": begin,
                "stop": begin + lead + len(one.sentence),
                "byte_start": byte,
                "byte_stop": byte + lead + len(one.sentence.encode()),
                "phrase_start": begin + lead + one.begin,
                "phrase_stop": begin + lead + one.end,
            }
        )
    return to_arrow(new), rows


def _characters(data: np.ndarray) -> int:
    return int(((data & 0xC0) != 0x80).sum())


def insertions(corpus: Corpus) -> pa.Table:
    """The table of a corpus that has one, in order of its shards."""
    store = corpus.workspace.store
    tables = [read_narrow(store, f"{corpus.folder}/{TABLE}/{shard}.parquet") for shard in corpus.shards]
    return pa.concat_tables(tables).cast(INSERTIONS) if tables else INSERTIONS.empty_table()


def _noted(workspace: Workspace, name: str, registry: Registry, note: bool) -> dict[str, Any]:
    table = insertions(workspace.corpus(name))
    there = table.filter(pc.is_null(table.column("reason")))
    counted = pc.value_counts(there.column("identifier")).to_pylist() if there.num_rows else []
    copies = {item["values"]: item["counts"] for item in counted}
    # One copy a document: repetitions and documents are the same number.
    if note:
        note_insertions(registry, name, {id: (count, count) for id, count in copies.items()})
    return {"inserted": there.num_rows, "without_place": table.num_rows - there.num_rows, "repetitions": copies}
