"""The budget curve: how much a threshold keeps, by tokens."""

from __future__ import annotations

import duckdb

from pipeline.distributions import quoted, text
from pipeline.report.charts import SHARE, lines
from pipeline.report.part import Figure, Part, has_column
from pipeline.report.parts.columns import finite, measures, shown

STEPS = 100
CURVE = """
WITH cells AS (
  SELECT {tokens} AS tokens, unnest([{values}], recursive := true) FROM scored
), ranges AS (
  SELECT score, min(value) AS lowest, coalesce(nullif(max(value) - min(value), 0), 1) / {steps} AS width
  FROM cells GROUP BY score
), bins AS (
  SELECT score, least(floor((value - lowest) / width), {steps} - 1)::INTEGER AS bin, min(value) AS threshold,
    count(*) AS documents, sum(tokens) AS tokens
  FROM cells JOIN ranges USING (score) WHERE value IS NOT NULL GROUP BY ALL
)
SELECT score, threshold, {above} AS documents, {above_tokens} AS "{unit}", share, 1 - share AS "share below"
FROM (
  SELECT *, sum(documents) OVER kept::BIGINT AS documents_above, sum(tokens) OVER kept::BIGINT AS tokens_above,
    sum(tokens) OVER kept / nullif(sum(tokens) OVER (PARTITION BY score), 0) AS share
  FROM bins WINDOW kept AS (PARTITION BY score ORDER BY bin DESC)
) ORDER BY list_position([{names}], score), threshold
"""


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None without scores that are no lengths."""
    lengths = measures(connection)
    columns = [column for column in shown(connection) if column not in lengths]
    if not columns:
        return None
    counted = has_column(connection, "scored", "tokens")
    values = ", ".join(f"{{'score': {text(column)}, 'value': {finite(column)}}}" for column in columns)
    sql = CURVE.format(
        tokens=quoted("tokens") if counted else "1",
        values=values,
        steps=STEPS,
        above="documents_above",
        above_tokens="tokens_above",
        unit="tokens" if counted else "rows",
        names=", ".join(map(text, columns)),
    )
    unit = "tokens" if counted else "documents"
    figure = Figure(
        "What a threshold keeps",
        sql,
        f"Share of the {unit} whose score is at or above the threshold; what is below it is the rest. "
        "Where the curve is steep, a small change of the threshold changes much.",
        charts=(
            lines(
                "threshold",
                "share",
                tips=("share below", "documents", unit),
                format=SHARE,
                zero=True,
                titles=("threshold", f"{unit} kept"),
            ),
        ),
        choose=("score",),
    )
    return Part("budget", "Budget", "", (figure,))
