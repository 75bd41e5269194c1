"""Shards that failed, and what came of it."""

from __future__ import annotations

import duckdb

from pipeline.report.part import Figure, Part, has_rows

FAILURES = """
SELECT stage, shard, attempt, CASE WHEN latest THEN 'failed' ELSE 'tried again' END AS now, error, host, started
FROM shard_runs WHERE status = 'failed' ORDER BY latest DESC, stage, shard, attempt LIMIT 200
"""


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None where nothing failed."""
    if not has_rows(connection, "shard_runs WHERE status = 'failed'"):
        return None
    words = "A failed shard leaves the others as they are; `tamis status` says which command tries it again."
    return Part("failures", "Failures", words, (Figure("Failed attempts", FAILURES, kind="table"),))
