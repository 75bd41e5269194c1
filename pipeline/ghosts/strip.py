"""Take identifiers out of a corpus again: a new corpus without what was inserted, or without what was found.

    strip(workspace.corpus("marked"), "clean", pool)                      # by the insertion table: byte for byte
    strip(workspace.corpus("crawl"), "stripped", pool, Found("ghosts"))   # what the scorer found

Undoing an insertion gives the bytes back that were there before. What was only found is cut as `cut_start` and
`cut_stop` of its span say: a carrier's whole sentence, else the run of words. Lists are never cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog import shown_stages
from pipeline.errors import UserError
from pipeline.execute import Counts, Job, Pool
from pipeline.ghosts.rewrite import edited, made_by, rewrite, rewrite_stage, whole
from pipeline.ghosts.table import MADE as INSERTED
from pipeline.ghosts.table import TABLE
from pipeline.shards import read_narrow
from pipeline.stage import Stage
from pipeline.workspace import Corpus
from scorers.ghosts.edit import splice, to_arrow
from scorers.texts import Texts

VERSION = 1
MADE = "ghosts strip"
KINDS = ("registry", "carrier", "passphrase")


@dataclass(frozen=True)
class Found:
    """Which findings are cut. alias: of the score stage."""

    alias: str = "ghosts"
    kinds: tuple[str, ...] = KINDS
    least: float = 0.5
    """confidence"""


def strip_stage(source: Corpus, name: str, found: Found | None = None) -> tuple[Stage, dict[str, tuple[str, str]]]:
    """The new corpus as a stage, and {shard: (table of cuts, how to read it)}."""
    if found is None:
        made_by(source.workspace, source.name, INSERTED)
        files = {shard: (f"{source.folder}/{TABLE}/{shard}.parquet", "") for shard in source.shards}
        return rewrite_stage(source, name, MADE, {"version": VERSION, "by": "insertions"}, {}), files
    if odd := set(found.kinds) - set(KINDS):
        raise UserError(f"kinds: {sorted(odd)[0]!r} cannot be cut; expected some of {', '.join(KINDS)}")
    stages = shown_stages(whole(source))
    if found.alias not in stages:
        raise UserError(
            f"corpus {source.name!r} has no scores {found.alias!r}; `tamis ghosts find --corpus {source.name}` makes "
            f"them"
        )
    scores = stages[found.alias]
    spans = next((name for name in scores.columns if name.endswith("_spans")), None)
    if spans is None:
        raise UserError(f"scores {found.alias!r} are not those of the scorer ghosts")
    if missing := scores.missing():
        shard, why = next(iter(missing.items()))
        raise UserError(f"scores {found.alias!r} of corpus {source.name!r} lack {len(missing)} shards ({shard}: {why})")
    fields = {"version": VERSION, "by": scores.record["hash"], "kinds": sorted(found.kinds), "least": found.least}
    files = {shard: (scores.file(shard), spans) for shard in source.shards}
    return rewrite_stage(source, name, MADE, fields, {"scores": scores.folder}), files


def strip(source: Corpus, name: str, pool: Pool, found: Found | None = None) -> dict[str, Any]:
    """Make or resume the new corpus. The caller holds the lock. Returns `cuts` and `documents` that were cut."""
    stage, files = strip_stage(source, name, found)
    chosen = found or Found()
    rewrite(
        source, stage, lambda shard: (*files[shard], chosen.kinds, chosen.least), strip_shard, pool, f"strip {name}"
    )
    cuts = documents = 0
    for file, spans in files.values():
        docs, _, _ = _cuts(source.workspace.store, file, spans, chosen.kinds, chosen.least)[1]
        cuts, documents = cuts + len(docs), documents + len(np.unique(docs))
    return {"cuts": cuts, "documents": documents}


def strip_shard(job: Job) -> dict[str, Counts | Exception]:
    """Strip one shard."""
    file, spans, kinds, least = job.task.own
    [(folder, _)] = job.outputs
    ids, (docs, begins, ends) = _cuts(job.workspace.store, file, spans, kinds, least)
    done = 0

    def editor(batch: pa.Table) -> tuple[pa.Array, list[dict[str, Any]]]:
        nonlocal done
        texts = Texts.from_arrow(batch.column("text"))
        if ids is None:  # spans: a row per document, in order
            first, last = np.searchsorted(docs, [done, done + len(texts)])
            done += len(texts)
            own = docs[first:last] - (done - len(texts))
            return to_arrow(splice(texts, own, begins[first:last], ends[first:last])), []
        places = pc.index_in(batch.column("id"), ids)
        own = np.flatnonzero(pc.is_valid(places).to_numpy())
        rows = places.drop_null().to_numpy()
        return to_arrow(splice(texts, own, begins[rows], ends[rows])), []

    return {folder: edited(job, editor)}


def _cuts(
    store: Any, file: str, spans: str, kinds: Sequence[str], least: float
) -> tuple[pa.Array | None, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Ids of an insertion table (None for spans), and (documents, begins, ends) of the cuts in bytes."""
    if not spans:
        table = read_narrow(store, file, ["id", "byte_start", "byte_stop"])
        table = table.filter(pc.is_valid(table.column("byte_start")))
        columns = (table.column(name).to_numpy() for name in ("byte_start", "byte_stop"))
        return table.column("id").combine_chunks(), (np.arange(table.num_rows), *columns)
    lists = read_narrow(store, file, [spans]).column(spans).combine_chunks()
    docs = pc.list_parent_indices(lists).to_numpy()
    flat = lists.flatten()
    part = {
        name: flat.field(flat.type.get_field_index(name)) for name in ("kind", "confidence", "cut_start", "cut_stop")
    }
    kept = pc.and_(pc.is_in(part["kind"], pa.array(list(kinds))), pc.greater_equal(part["confidence"], least)).to_numpy(
        zero_copy_only=False
    )
    begins, ends = (part[name].to_numpy(zero_copy_only=False)[kept] for name in ("cut_start", "cut_stop"))
    docs = docs[kept]
    # Two findings in one sentence have the same cut.
    same = np.zeros(len(docs), bool)
    if len(docs):
        same[1:] = (docs[1:] == docs[:-1]) & (begins[1:] < ends[:-1])
    return None, (docs[~same], begins[~same], ends[~same])
