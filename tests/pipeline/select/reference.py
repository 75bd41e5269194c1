"""A selection in plain Python, straight from its definition; and random corpora, written as real workspaces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import xxhash

from pipeline.workspace import Workspace
from tests.workspaces import add_corpus, add_scores


@dataclass(frozen=True)
class Document:
    """One row of a corpus with its score."""

    corpus: str
    id: str
    source: str
    score: float | None
    tokens: int
    held_out: bool = False


def write(workspace: Workspace, documents: list[Document], shards: int) -> None:
    """A workspace of these documents, each corpus cut into so many shards."""
    for corpus in sorted({d.corpus for d in documents}):
        mine = [d for d in documents if d.corpus == corpus]
        step = max(-(-len(mine) // shards), 1)
        parts = [mine[i : i + step] for i in range(0, len(mine), step)]
        tables = [
            pa.table(
                {
                    "id": pa.array([d.id for d in part], pa.string()),
                    "text": pa.array([f"text of {d.id}" for d in part], pa.large_string()),
                    "source": pa.array([d.source for d in part], pa.string()),
                    "held_out": pa.array([d.held_out for d in part], pa.bool_()),
                }
            )
            for part in parts
        ]
        stage = add_corpus(workspace, corpus, tables)
        quality = [
            pa.table({"id": pa.array([d.id for d in p]), "quality": pa.array([d.score for d in p], pa.float64())})
            for p in parts
        ]
        add_scores(workspace, stage, "preselect", quality)
        lengths = [
            pa.table({"id": pa.array([d.id for d in p]), "tokens": pa.array([d.tokens for d in p], pa.int64())})
            for p in parts
        ]
        add_scores(workspace, stage, "lengths", lengths)


def expected(
    documents: list[Document],
    budget: int | None,
    seed: int = 0,
    ascending: bool = False,
    undefined: str = "reject",
    caps: dict[str, int] | None = None,
    shares: dict[str, int] | None = None,
    unit: str = "tokens",
) -> dict[tuple[str, str], str | None]:
    """{(corpus, id): first reason, None if kept}. shares: {source: units}, '' for the others."""
    reasons: dict[tuple[str, str], str | None] = {}
    ranking = []
    for d in documents:
        nothing = d.score is None or math.isnan(d.score)
        if d.held_out:
            reasons[d.corpus, d.id] = "held_out"
        elif nothing and undefined == "reject":
            reasons[d.corpus, d.id] = "undefined_score"
        else:
            place = {"first": -1, "last": 1, "reject": 0}[undefined] if nothing else 0
            score = 0.0 if nothing else (d.score or 0.0)
            tie = xxhash.xxh3_64_intdigest(d.id.encode(), seed=seed)
            ranking.append(((place, score if ascending else -score, tie, d.id, d.corpus), d))
    ranking.sort(key=lambda item: item[0])

    def prefix(rows: list[Any], limit: int) -> int:
        total = 0
        for n, d in enumerate(rows):
            total += d.tokens if unit == "tokens" else 1
            if total > limit:
                return n
        return len(rows)

    left = [d for _, d in ranking]
    for source, cap in (caps or {}).items():
        mine = [d for d in left if d.source == source]
        for d in mine[prefix(mine, cap) :]:
            reasons[d.corpus, d.id] = "source_cap"
    left = [d for d in left if (d.corpus, d.id) not in reasons]
    limits = shares if shares is not None else ({} if budget is None else {"": budget})
    for group, limit in limits.items():
        named = [s for s in limits if s]
        mine = [d for d in left if d.source == group or (group == "" and d.source not in named)]
        for d in mine[prefix(mine, limit) :]:
            reasons[d.corpus, d.id] = "over_budget"
    return {(d.corpus, d.id): reasons.get((d.corpus, d.id)) for d in documents}


def found(workspace: Workspace, folder: str) -> dict[tuple[str, str], str | None]:
    """{(corpus, id): first reason} of a selection that was written; checks that its columns agree."""
    from pipeline.shards import read_narrow

    reasons = {}
    for corpus in workspace.store.folders(folder):
        there = workspace.corpus(corpus)
        for shard in there.shards:
            table = read_narrow(workspace.store, f"{folder}/{corpus}/{shard}.parquet")
            assert table.column("id").equals(read_narrow(workspace.store, there.file(shard), ["id"]).column("id"))
            for row in table.to_pylist():
                assert row["kept"] == (row["reason"] is None) == (row["reasons"] == [])
                assert row["reason"] == (row["reasons"] or [None])[0]
                reasons[corpus, row["id"]] = row["reason"]
    return reasons
