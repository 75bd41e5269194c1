"""The run: how much text, which stages, how long each took."""

from __future__ import annotations

import duckdb

from pipeline.report.charts import bars
from pipeline.report.part import Figure, Part, has_column, has_rows

TILES = """
SELECT (SELECT count(*) FROM documents) AS documents,
  {tokens}(SELECT round(sum(bytes_in) / 1e6, 1) FROM shard_runs WHERE kind = 'corpora' AND latest) AS "MB of text",
  (SELECT count(DISTINCT source) FROM documents) AS sources,
  (SELECT count(*) FROM rejects) AS "rows turned away",
  (SELECT count(DISTINCT selection) FROM selection) AS selections,
  (SELECT count(*) FROM shard_runs WHERE latest AND status = 'failed') AS "failed shards"
"""
STAGES = """
SELECT kind, split_part(stage, '/', -1) AS name,
  CASE WHEN kind = 'corpora' OR corpus <> split_part(stage, '/', -1) THEN corpus END AS corpus,
  count(*) FILTER (status = 'done') AS done,
  count(*) FILTER (status = 'failed') AS failed, sum(rows_in)::BIGINT AS "rows in", sum(rows_out)::BIGINT AS "rows out",
  sum(rejected)::BIGINT AS rejected, round(sum(bytes_in) / 1e6, 1) AS MB, round(sum(seconds), 2) AS seconds,
  round(sum(bytes_in) / 1e6 / nullif(sum(seconds), 0), 1) AS "MB/s"
FROM (SELECT * REPLACE (
    CASE WHEN kind = 'selections' THEN regexp_replace(stage, '/[^/]*$', '') ELSE stage END AS stage
  ) FROM shard_runs)
WHERE latest GROUP BY ALL ORDER BY min(started), kind, name, corpus
"""
SETTINGS = """
SELECT kind, name, left(hash, 8) AS hash, created, tamis AS version, fields::VARCHAR AS settings
FROM stages ORDER BY created, folder
"""
SOURCES = """
SELECT coalesce(source, '(none)') AS source, count(*) AS documents{tokens}
FROM {view} GROUP BY ALL ORDER BY documents DESC, source LIMIT 30
"""


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """Always there: a workspace has at least a ledger."""
    counted = has_column(connection, "scored", "tokens")
    tiles = TILES.format(tokens="(SELECT sum(tokens)::BIGINT FROM scored) AS tokens,\n  " if counted else "")
    figures = [Figure("In all", tiles, kind="tiles")]
    if has_rows(connection, "documents"):
        tokens = ", sum(tokens)::BIGINT AS tokens" if counted else ""
        charts = [bars("source", "documents"), *([bars("source", "tokens")] if counted else [])]
        sql = SOURCES.format(tokens=tokens, view="scored" if counted else "documents")
        figures.append(
            Figure("Sources", sql, "The thirty largest. A bar shows its documents.", charts=tuple(charts), reads=True)
        )
    figures.append(
        Figure(
            "Stages",
            STAGES,
            "Seconds are those of all workers together, over the last attempt of each shard; scorers that share a pass "
            "over the text share its time.",
            kind="table",
        )
    )
    figures.append(Figure("What made each output", SETTINGS, "The hashed settings, as JSON.", kind="table"))
    return Part("run", "The run", "", tuple(figures))
