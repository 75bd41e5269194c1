"""What there is to show of a document: its row, its scores with their places among all, its fate in each selection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from pipeline.distributions import quoted, text
from pipeline.errors import UserError
from pipeline.sandbox import check_expression, stream
from pipeline.stats import numbers

CANDIDATES = 3
"""Ids that an error proposes."""
PLACE = ("id", "corpus", "shard", "text", "source")


@dataclass(frozen=True)
class Document:
    """One document. scores: {stage: {column: value}}; below: {stage: {column: share of documents with less}}."""

    corpus: str
    shard: str
    id: str
    source: str | None
    text: str
    more: dict[str, Any]
    scores: dict[str, dict[str, Any]]
    below: dict[str, dict[str, float | None]]
    fates: list[dict[str, Any]] = field(default_factory=list)


def by_id(connection: duckdb.DuckDBPyConnection, id: str) -> list[Document]:
    """The documents of an id: one per corpus that has it. Raises UserError that says what is near or why it is gone."""
    rows = _rows(connection, f"SELECT * FROM documents WHERE id = {text(id)} ORDER BY corpus")
    if not rows:
        raise UserError(_missing(connection, id))
    return [_document(connection, row) for row in rows]


def drawn(connection: duckdb.DuckDBPyConnection, where: str | None, count: int, seed: int) -> list[tuple[str, str]]:
    """(corpus, id) of some documents that a predicate keeps, drawn by a hash: the same seed draws the same ones."""
    relation = "scored"
    if where is not None:
        check_expression(connection, where)
        if re.search(r"\btext\b", where, re.IGNORECASE):
            relation = "scored JOIN (SELECT corpus, shard, id, text FROM documents) USING (corpus, shard, id)"
    condition = f"WHERE ({where}\n)" if where is not None else ""
    query = (
        f"SELECT corpus, id FROM {relation} {condition} ORDER BY hash(id, {int(seed)}), id, corpus LIMIT {int(count)}"
    )
    rows = _rows(connection, query, "predicate" if where is not None else "SQL")
    return [(row["corpus"], row["id"]) for row in rows]


def _document(connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> Document:
    here = f"corpus = {text(row['corpus'])} AND shard = {text(row['shard'])} AND id = {text(row['id'])}"
    scores, below = {}, {}
    views = _rows(connection, "SELECT view_name FROM duckdb_views() WHERE schema_name = 'single' ORDER BY view_oid")
    for name in (view["view_name"] for view in views):
        found = _rows(connection, f"SELECT * EXCLUDE (id, corpus, shard) FROM {quoted(name)} WHERE {here}")
        if found:
            scores[name] = found[0]
            below[name] = _below(connection, name, row["corpus"], found[0])
    columns = "selection, kept, reason, reasons"
    fates = _rows(connection, f"SELECT {columns} FROM selection WHERE {here} ORDER BY selection")
    more = {name: value for name, value in row.items() if name not in PLACE and value is not None}
    whole = row["text"] or ""
    return Document(row["corpus"], row["shard"], row["id"], row.get("source"), whole, more, scores, below, fates)


def _below(
    connection: duckdb.DuckDBPyConnection, view: str, corpus: str, scores: dict[str, Any]
) -> dict[str, float | None]:
    """The share of the corpus's documents whose value is smaller, of each number."""
    columns = [name for name in numbers(connection, quoted(view)) if scores.get(name) is not None]
    if not columns:
        return {}
    shares = ", ".join(
        f"count(*) FILTER ({quoted(name)} < {text(repr(float(scores[name])))}::DOUBLE) / count({quoted(name)}) AS c{i}"
        for i, name in enumerate(columns)
    )
    row = _rows(connection, f"SELECT {shares} FROM {quoted(view)} WHERE corpus = {text(corpus)}")[0]
    return dict(zip(columns, row.values(), strict=True))


def _missing(connection: duckdb.DuckDBPyConnection, id: str) -> str:
    lost = _rows(connection, f"SELECT corpus, reason, path, position FROM rejects WHERE id = {text(id)} LIMIT 1")
    if lost:
        row = lost[0]
        where = f"{row['path']}, {row['position']}"
        return f"document {id!r} was turned away from corpus {row['corpus']!r}: {row['reason']} ({where})"
    holds = f"contains(lower(id), lower({text(id)}))"
    near = _rows(
        connection,
        f"SELECT DISTINCT id FROM documents WHERE {holds} ORDER BY id LIMIT {CANDIDATES}",
    ) or _rows(
        connection,
        f"SELECT id FROM (SELECT DISTINCT id FROM documents) "
        f"ORDER BY jaro_winkler_similarity(left(id, 200), {text(id[:200])}) DESC, id LIMIT {CANDIDATES}",
    )
    known = ", ".join(repr(row["id"]) for row in near) or "none"
    return f"no document {id!r} (near it: {known})"


def _rows(connection: duckdb.DuckDBPyConnection, query: str, where: str = "SQL") -> list[dict[str, Any]]:
    _, batches = stream(connection, query, where)
    return [row for batch in batches for row in batch.to_pylist()]


def counts(connection: duckdb.DuckDBPyConnection, query: str) -> Sequence[dict[str, Any]]:
    """The rows of one of the project's own queries."""
    return _rows(connection, query)
