"""What a page is made of: parts of figures, each figure one query and the way its rows are shown.

A part is a function from a DuckDB connection with the workspace's views (pipeline.views) to a Part, or to None where
the workspace holds nothing of its kind. It runs no more than it needs to find out; the queries of its figures are run
by the page, word for word as they are shown, so that every number on the page is the answer to a query beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import duckdb

from pipeline.distributions import text

Kind = Literal["chart", "table", "tiles", "documents", "tokens"]


@dataclass(frozen=True)
class Figure:
    """One query.

    kind: `tiles` shows the columns of a single row large; `documents` is the pool of documents that bars lead to;
    `tokens` shows texts in the colours of their tokens.
    charts: Vega-Lite without data (pipeline.report.charts); columns of the query are its fields.
    choose: columns of which one value at a time is shown. axes: {field of the chart: column that it shows at first};
    the reader may choose another number. reads: a bar or a row leads to the documents behind it, by its columns
    score, low, high, corpus, source, selection and reason. half: two such stand side by side where there is room.
    """

    title: str
    sql: str
    note: str = ""
    kind: Kind = "chart"
    charts: tuple[dict[str, Any], ...] = ()
    choose: tuple[str, ...] = ()
    axes: dict[str, str] = field(default_factory=dict)
    reads: bool = False
    half: bool = False


@dataclass(frozen=True)
class Part:
    """A section of the page."""

    name: str
    title: str
    text: str
    figures: tuple[Figure, ...]


PartFunction = Callable[[duckdb.DuckDBPyConnection], Part | None]


def has_rows(connection: duckdb.DuckDBPyConnection, relation: str) -> bool:
    """Whether a view, or a view with a condition, has any row."""
    return bool(connection.execute(f"SELECT 1 FROM {relation} LIMIT 1").fetchall())


def has_view(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether there is such a view or table at all."""
    query = "SELECT 1 FROM information_schema.tables WHERE table_schema = 'main' AND table_name = ?"
    return bool(connection.execute(query, [name]).fetchall())


def has_column(connection: duckdb.DuckDBPyConnection, view: str, column: str) -> bool:
    """Whether a view has a column."""
    query = "SELECT 1 FROM duckdb_columns() WHERE schema_name = 'main' AND table_name = ? AND column_name = ?"
    return bool(connection.execute(query, [view, column]).fetchall())


def listed(values: list[str]) -> str:
    """Strings as the inside of an SQL list."""
    return ", ".join(text(value) for value in values)
