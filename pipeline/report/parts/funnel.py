"""From the rows that were read to the documents that were exported: what was lost at each step, and why."""

from __future__ import annotations

import duckdb

from pipeline.report.charts import stacked
from pipeline.report.part import Figure, Part, has_column, has_rows

# Reasons in the order in which a selection asks for them; limits, named by their column, come between.
FUNNEL = """
WITH cut AS (
  SELECT selection, corpus, coalesce(reason, '') AS reason, count(*) AS documents, {tokens} AS tokens
  FROM {selection} GROUP BY selection, corpus, reason
), named AS (SELECT DISTINCT selection, corpus FROM cut),
steps AS (
  SELECT selection, 0 AS place, 'rows read' AS step, NULL AS reason, 0 AS lost, NULL AS "tokens lost",
    sum(rows_in)::BIGINT AS total
  FROM named JOIN shard_runs USING (corpus) WHERE kind = 'corpora' AND latest AND status = 'done' GROUP BY selection
  UNION ALL
  SELECT selection, 1, 'ingest: ' || reason, NULL, count(*), NULL, NULL FROM named JOIN rejects USING (corpus)
  GROUP BY selection, reason
  UNION ALL
  SELECT selection, CASE reason WHEN 'held_out' THEN 2 WHEN 'missing_scores' THEN 3 WHEN 'where' THEN 4
      WHEN 'undefined_score' THEN 6 WHEN 'undefined_length' THEN 7 WHEN 'source_cap' THEN 8 WHEN 'over_budget' THEN 9
      ELSE 5 END,
    reason, reason, sum(documents)::BIGINT, sum(tokens)::BIGINT, NULL FROM cut WHERE reason <> ''
  GROUP BY selection, reason
)
SELECT selection, step, lost, "tokens lost", (max(total) OVER (PARTITION BY selection)
    - sum(lost) OVER (PARTITION BY selection ORDER BY place, step))::BIGINT AS remaining, reason
FROM steps ORDER BY selection, place, step
"""
KEPT = """
SELECT selection, any_value(made.by) AS "by", any_value(made.budget) AS budget, count(*) AS documents,
  count(*) FILTER (kept) AS kept, {tokens}
  min(rank_score) FILTER (kept) AS "lowest score kept", max(rank_score) FILTER (NOT kept AND reason = 'over_budget')
    AS "highest over budget", any_value(exported.rows) AS exported
FROM {selection} LEFT JOIN (
  SELECT name AS selection, fields->'settings'->>'by' AS "by", fields->'settings'->>'budget' AS budget, hash
  FROM stages WHERE kind = 'select' QUALIFY row_number() OVER (PARTITION BY name ORDER BY created DESC, folder DESC) = 1
) AS made USING (selection) LEFT JOIN (
  SELECT fields->>'selection' AS selected, sum(rows_out)::BIGINT AS rows
  FROM stages JOIN shard_runs ON stage = folder WHERE stages.kind = 'export' AND latest AND status = 'done'
  GROUP BY selected
) AS exported ON made.hash = selected
GROUP BY selection ORDER BY selection
"""
INGEST = """
SELECT '(nothing selected yet)' AS selection, reason AS step, count(*) AS lost FROM rejects GROUP BY reason
ORDER BY lost DESC, reason
"""
TURNED_AWAY = """
SELECT reason, left(sample, 400) AS sample, left(detail, 200) AS detail, source, path, position, corpus
FROM rejects QUALIFY row_number() OVER (PARTITION BY reason ORDER BY corpus, path, position) <= 5
ORDER BY reason, corpus, path, position
"""


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None where nothing was selected and nothing turned away."""
    figures = []
    ranked = has_column(connection, "selection", "rank_score")
    if has_rows(connection, "selection"):
        counted = has_column(connection, "scored", "tokens")
        joined = "selection JOIN (SELECT corpus, shard, id, tokens FROM scored) USING (corpus, shard, id)"
        tokens, relation = ("sum(tokens)", joined) if counted else ("NULL::BIGINT", "selection")
        figures.append(
            Figure(
                "From the rows read to the documents kept",
                FUNNEL.format(tokens=tokens, selection=relation),
                "Each step by its first reason; the bar of a step shows the documents that were lost there.",
                charts=(stacked("step", ("remaining", "lost"), ("tokens lost",)),),
                choose=("selection",),
                reads=True,
            )
        )
        if ranked:
            kept = 'sum(tokens) FILTER (kept)::BIGINT AS "tokens kept",' if counted else ""
            sql = KEPT.format(tokens=kept, selection=relation)
            note = "Exported are the rows of all exports of the selection."
            figures.append(Figure("What the selections keep", sql, note, kind="table"))
    elif has_rows(connection, "rejects"):
        figures.append(Figure("Turned away at ingest", INGEST, kind="table"))
    if has_rows(connection, "rejects"):
        note = "At most five of each reason, as they stood in the input."
        figures.append(Figure("Rows turned away at ingest", TURNED_AWAY, note, kind="table"))
    if not figures:
        return None
    return Part("funnel", "What was cut, and why", "", tuple(figures))
