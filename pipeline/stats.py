"""Distributions of scores per corpus, source and shard, and what a threshold would cut.

    stats("workspace")                                            # every score, per corpus
    stats("workspace", ["preselect_score"], by="source", threshold=0.5)

The same numbers are views in SQL: `score_stats` and `score_histogram`. Quantiles are exact.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Sequence
from typing import Literal, get_args

import duckdb

from pipeline import distributions
from pipeline.distributions import TOKENS, quoted, text
from pipeline.errors import UserError
from pipeline.output import ROWS, Format, write
from pipeline.sandbox import nearest, stream
from pipeline.views import NUMBERS, opened
from pipeline.workspace import Workspace

By = Literal["corpus", "source", "shard"]


def stats(
    workspace: str | Workspace,
    columns: Sequence[str] = (),
    by: By = "corpus",
    threshold: float | None = None,
    histogram: bool = False,
    corpora: Collection[str] = (),
    format: Format = "table",
    out: str | None = None,
    stages: Collection[str] = (),
    rows: int = ROWS,
) -> None:
    """Write one row per group and column: documents, undefined, mean, extremes, quantiles.

    columns: numeric columns of scores or documents [all scores]. threshold: what `column >= threshold` would cut
    instead, in documents and tokens. histogram: bins instead. Raises UserError for a column that is not there or not
    a number.
    """
    if by not in get_args(By):
        raise UserError(f"--by {by}: expected one of {', '.join(get_args(By))}")
    if threshold is not None and not math.isfinite(threshold):
        raise UserError(f"--threshold {threshold}: expected a finite number")
    if threshold is not None and (not columns or histogram):
        raise UserError("--threshold: expected --column, and no --histogram; the threshold is one of that column")
    place = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
    with opened(place, corpora, stages) as connection:
        groups = _grouped(connection, columns)
        selects = []
        for (stage, relation), names in groups.items():
            if threshold is not None:
                selects += [distributions.cut(relation, name, threshold, by) for name in names]
            elif histogram:
                selects.append(distributions.histogram(relation, names, by, stage))
            else:
                selects.append(distributions.stats(relation, names, by, stage))
        body = " UNION ALL ".join(f"({select})" for select in selects)
        order = "score, corpus, source, shard" + (", bin" if histogram else "")
        # In a table, columns that name no group here would only push the numbers off the screen.
        unused = {"corpus": "source, shard", "source": "shard", "shard": "source"}[by]
        hidden = f"EXCLUDE (level, {unused})" if format == "table" else ""
        schema, batches = stream(connection, f"SELECT * {hidden} FROM ({body}) ORDER BY {order}", "stats")
        write(schema, batches, format, out, rows)
        if threshold is not None and not _counted(connection):
            print("no token counts: `tamis score lengths` makes them", file=sys.stderr)


def _grouped(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    """{(stage, relation): its columns}: each column is read from its own stage, or else from the documents."""
    scores: dict[tuple[str, str], list[str]] = {}
    for (view,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE schema_name = 'single'").fetchall():
        scores[view, f"single.{quoted(view)}"] = numbers(connection, f"single.{quoted(view)}")
    if not columns:
        if not scores:
            raise UserError("no scores yet; `tamis score SCORER --corpus NAME` makes some")
        return {key: names for key, names in scores.items() if names}
    own = numbers(connection, "documents")
    tokens = "tokens" if "tokens" in numbers(connection, "scored") else "NULL::BIGINT"
    whole = f"(SELECT *, {tokens} AS {TOKENS} FROM scored)"
    found: dict[tuple[str, str], list[str]] = {}
    for column in dict.fromkeys(columns):
        owner = next((key for key, names in scores.items() if column in names), None)
        if owner is None and column not in own:
            known = [name for names in scores.values() for name in names] + own
            listed = ", ".join(known) or "none"
            raise UserError(f"no numeric column {column!r}{nearest(column, known)} (there are: {listed})")
        found.setdefault(owner or ("", whole), []).append(column)
    return found


def numbers(connection: duckdb.DuckDBPyConnection, relation: str) -> list[str]:
    """The numeric columns of a view, in order."""
    schema = connection.sql(f"SELECT * FROM {relation} LIMIT 0").to_arrow_reader().schema
    return [f.name for f in schema if f.name != TOKENS and any(is_number(f.type) for is_number in NUMBERS)]


def _counted(connection: duckdb.DuckDBPyConnection) -> bool:
    query = f"SELECT count(*) FROM duckdb_columns() WHERE table_name = 'scored' AND column_name = {text('tokens')}"
    return bool(connection.execute(query).fetchall()[0][0])
