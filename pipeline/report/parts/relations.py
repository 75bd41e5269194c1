"""Scores against length and against each other."""

from __future__ import annotations

import itertools

import duckdb

from pipeline.distributions import quoted, text
from pipeline.report.charts import heat, points
from pipeline.report.part import Figure, Part, listed
from pipeline.report.parts.columns import finite, grouped_source, measures, shown

SAMPLE = 1000
MOST = 16
SCATTER = """
SELECT {source} AS source, {columns}, left(id, 200) AS id, corpus
FROM scored ORDER BY hash(id), id, corpus LIMIT {sample}
"""
# Each pair once; the page shows it on both sides of the diagonal.
PAIRS = """
WITH pairs AS (SELECT unnest([{pairs}], recursive := true) FROM scored)
SELECT score, "with", correlation FROM (
  SELECT score, "with", correlation FROM pairs
  UNION SELECT "with", score, correlation FROM pairs
) ORDER BY list_position([{names}], score), list_position([{names}], "with")
"""


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None with fewer than two columns."""
    columns = shown(connection)[:MOST]
    if len(columns) < 2:
        return None
    lengths = measures(connection)
    scores = [column for column in columns if column not in lengths]
    start = {"x": next((c for c in ("words", "tokens") if c in lengths), columns[0]), "y": (scores or columns[1:])[0]}
    values = ", ".join(
        f"round(log10({quoted(c)} + 1), 4) AS {quoted(f'log10 {c}')}" if c in lengths else quoted(c) for c in columns
    )
    if start["x"] in lengths:
        start["x"] = f"log10 {start['x']}"
    scatter = Figure(
        "A score against another, or against length",
        SCATTER.format(source=grouped_source(connection), columns=values, sample=SAMPLE),
        f"At most {SAMPLE} documents, drawn by a hash of their id. Lengths are logarithms.",
        charts=(points("x", "y", "source", ("id",)),),
        axes=start,
    )
    named = {f"log10 {c}" if c in lengths else c: _number(c, c in lengths) for c in columns}
    pairs = ", ".join(
        f"{{'score': {text(a)}, 'with': {text(b)}, 'correlation': round(corr({x}, {y}), 4)}}"
        for (a, x), (b, y) in itertools.combinations_with_replacement(named.items(), 2)
    )
    matrix = Figure(
        "Correlations",
        PAIRS.format(pairs=pairs, names=listed(list(named))),
        "Pearson's, over all documents. A score that follows length closely may be measuring length.",
        charts=(heat("score", "with", "correlation"),),
    )
    return Part("relations", "Scores against each other", "", (scatter, matrix))


def _number(column: str, is_length: bool) -> str:
    return f"log10({quoted(column)} + 1)" if is_length else f"({finite(column)})"
