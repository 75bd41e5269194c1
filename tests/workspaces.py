"""A tiny real workspace, written through the pipeline's own writers, for tests that read one.

Corpora: `web` (3 shards; the second has no `preselect` scores, because that shard failed) and `news` (2 shards, another
column, no `lengths`). Every shard of `web` has ROWS documents; `web` rejected two rows at ingest.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline import ledger
from pipeline.ledger import Row
from pipeline.shards import DocumentWriter, file_facts, write_narrow
from pipeline.stage import Stage, version
from pipeline.workspace import Workspace, shard_name

ROWS = 10
WEB = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("source", pa.string()), ("url", pa.string())])
NEWS = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("source", pa.string()), ("year", pa.int32())])
REJECTS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("path", pa.string()),
        ("position", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("sample", pa.string()),
    ]
)


def record(workspace: Workspace, folder: str, shard: str, attempt: int = 1, **facts: Any) -> None:
    """Write one ledger row; done unless `status` says otherwise."""
    about: dict[str, Any] = {
        "status": "done",
        "seconds": 0.5,
        "started": "2026-11-23T00:00:00.000+00:00",
        "host": "h",
        "pid": 1,
    }
    row = Row(stage=folder, shard=shard, attempt=attempt, version=version(), **(about | facts))
    ledger.write(workspace.store, row)


def add_corpus(
    workspace: Workspace, name: str, tables: list[pa.Table], rejects: dict[int, pa.Table] | None = None
) -> Stage:
    """Write a corpus of one shard per table; `rejects`: {shard index: rows}."""
    stage = Stage("ingest", name, "corpora", {"corpus": name, "test": 1})
    stage.save(workspace.store, num_shards=len(tables))
    for index, table in enumerate(tables):
        shard = shard_name(index, len(tables))
        with workspace.store.writing(f"{stage.folder}/{shard}.parquet") as path:
            writer = DocumentWriter(path, table.schema)
            writer.write(table)
            writer.close()
            facts = file_facts(path)
        lost = (rejects or {}).get(index)
        if lost is not None:
            with workspace.store.writing(f"{stage.folder}/rejects/{shard}.parquet") as path:
                write_narrow(path, lost)
        rejected = 0 if lost is None else lost.num_rows
        text = sum(len(t.encode()) for t in table.column("text").to_pylist())
        counts = {"rows_in": table.num_rows + rejected, "rows_out": table.num_rows, "rejected": rejected}
        record(workspace, stage.folder, shard, bytes_in=text, **counts, **facts)
    return stage


def add_scores(workspace: Workspace, corpus: Stage, alias: str, tables: list[pa.Table | str], **settings: Any) -> Stage:
    """Write a score stage: a table per shard, or the error of a shard that failed."""
    fields = {"scorer": alias, "corpus": corpus.hash, "settings": settings}
    stage = Stage("score", alias, f"scores/{corpus.name}", fields)
    stage.save(workspace.store)
    for index, table in enumerate(tables):
        shard = shard_name(index, len(tables))
        if isinstance(table, str):
            record(workspace, stage.folder, shard, status="failed", error=table)
            continue
        with workspace.store.writing(f"{stage.folder}/{shard}.parquet") as path:
            write_narrow(path, table)
            facts = file_facts(path)
        rows = table.num_rows
        record(workspace, stage.folder, shard, rows_in=rows, rows_out=rows, bytes_in=1000 * rows, **facts)
    ledger.compact(workspace.store, stage.folder)
    return stage


def add_selection(workspace: Workspace, name: str, parts: dict[str, list[pa.Table]]) -> Stage:
    """Write a selection: {corpus: a table per shard}."""
    stage = Stage("select", name, "selections", {"name": name, "test": 1})
    stage.save(workspace.store)
    for corpus, tables in parts.items():
        for index, table in enumerate(tables):
            shard = shard_name(index, len(tables))
            with workspace.store.writing(f"{stage.folder}/{corpus}/{shard}.parquet") as path:
                write_narrow(path, table)
            rows = table.num_rows
            record(workspace, f"{stage.folder}/{corpus}", shard, rows_in=rows, rows_out=rows)
    return stage


def small(url: str) -> Workspace:
    """The workspace that the module describes, plus a selection `best` of what scores above 0.5."""
    workspace = Workspace(url)
    web, news = [], []
    for shard in range(3):
        ids = [f"w{shard * ROWS + i:02d}" for i in range(ROWS)]
        source = ["wiki" if i % 2 else "blog" for i in range(ROWS)]
        urls = [f"https://example.com/{i}" for i in ids]
        web.append(pa.table([ids, [f"text of {i}" for i in ids], source, urls], schema=WEB))
    for shard in range(2):
        ids = [f"n{shard * ROWS + i:02d}" for i in range(ROWS)]
        years = [2000 + i for i in range(ROWS)]
        news.append(pa.table([ids, [f"news {i}" for i in ids], ["paper"] * ROWS, years], schema=NEWS))
    lost = pa.table(
        [[None, None], ["wiki"] * 2, ["a.jsonl"] * 2, [3, 9], ["broken json", "no text"], ["x", None], ["{", "{}"]],
        schema=REJECTS,
    )
    web_stage = add_corpus(workspace, "web", web, {0: lost})
    news_stage = add_corpus(workspace, "news", news)
    add_scores(workspace, web_stage, "preselect", [preselect(web[0]), "model went away", preselect(web[2])])
    add_scores(workspace, web_stage, "lengths", [lengths(table) for table in web])
    add_scores(workspace, news_stage, "preselect", [preselect(table) for table in news])
    add_selection(workspace, "best", {"news": [kept(preselect(table)) for table in news]})
    return workspace


def preselect(documents: pa.Table) -> pa.Table:
    """Scores 0.0, 0.1, ... 0.9 and their logits; the last score of a shard is undefined."""
    score = [i / 10 if i < ROWS - 1 else None for i in range(documents.num_rows)]
    logit = [None if s is None else s * 10 - 5 for s in score]
    return pa.table(
        {
            "id": documents.column("id"),
            "preselect_score": pa.array(score, pa.float32()),
            "preselect_logit": pa.array(logit, pa.float32()),
        }
    )


def lengths(documents: pa.Table) -> pa.Table:
    """Tokens 10, 20, ... 100 in each shard; characters as they are."""
    texts = documents.column("text").to_pylist()
    return pa.table(
        {
            "id": documents.column("id"),
            "characters": pa.array([len(text) for text in texts], pa.int64()),
            "tokens": pa.array([10 * (i + 1) for i in range(len(texts))], pa.int64()),
        }
    )


def kept(scores: pa.Table) -> pa.Table:
    """Selection rows: what scores above 0.5 is kept."""
    keep = [s is not None and s > 0.5 for s in scores.column("preselect_score").to_pylist()]
    reasons = [[] if k else ["budget"] for k in keep]
    return pa.table(
        {
            "id": scores.column("id"),
            "kept": pa.array(keep),
            "reason": pa.array([r[0] if r else None for r in reasons], pa.string()),
            "reasons": pa.array(reasons, pa.list_(pa.string())),
        }
    )
