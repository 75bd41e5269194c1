"""Which columns the charts show: the numbers of every score stage, and of a stage with very many the telling ones."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from pipeline.distributions import quoted, text
from pipeline.stats import numbers

WIDE = 12
"""A stage of more numbers than this shows those of TELLING alone; the table of quantiles has all."""
TELLING = (
    *("rep_line_excess", "rep_para_excess", "rep_sent_consecutive", "rep_loop_copies", "rep_loop_share"),
    *("rep_ngram2_top_cover", "rep_ngram3_top_cover", "rep_ngram4_top_cover"),
    *("rep_ngram5_cover_later", "rep_ngram10_cover_later", "rep_ngram10_cover", "rep_line_excess_chars"),
)
SOURCES = 7
"""Sources that have a colour of their own, the largest; the others are one."""
OTHERS = "other sources"


@dataclass(frozen=True)
class Stage:
    """A score stage as the charts see it. `shown` are the columns of `all` that have charts."""

    name: str
    all: tuple[str, ...]
    shown: tuple[str, ...]


def stages(connection: duckdb.DuckDBPyConnection) -> list[Stage]:
    """The score stages that have numbers."""
    found = []
    views = "SELECT view_name FROM duckdb_views() WHERE schema_name = 'single' ORDER BY view_oid"
    for (name,) in connection.execute(views).fetchall():
        every = numbers(connection, f"single.{quoted(name)}")
        telling = [column for column in every if column in TELLING]
        shown = every if len(every) <= WIDE else telling or every[:WIDE]
        if every:
            found.append(Stage(name, tuple(every), tuple(shown)))
    return found


def shown(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The columns of `scored` that have charts, each once."""
    there = set(numbers(connection, "scored"))
    return list(dict.fromkeys(c for stage in stages(connection) for c in stage.shown if c in there))


def measures(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Those that measure a document's length."""
    return [column for column in shown(connection) if column in ("words", "tokens", "chars", "bytes")]


def grouped_source(connection: duckdb.DuckDBPyConnection) -> str:
    """SQL that names a row's source, the smaller ones together."""
    query = "SELECT source FROM documents GROUP BY source ORDER BY count(*) DESC, source LIMIT ?"
    top = [source for (source,) in connection.execute(query, [SOURCES + 1]).fetchall()]
    if len(top) <= SOURCES:
        return "coalesce(source, '(none)')"
    named = ", ".join(text(source) for source in top[:SOURCES] if source is not None)
    return f"CASE WHEN source IN ({named}) THEN source ELSE {text(OTHERS)} END"


def finite(column: str) -> str:
    """SQL of a column as a number, NULL where it is none."""
    return f"CASE WHEN isfinite({quoted(column)}::DOUBLE) THEN {quoted(column)}::DOUBLE END"
