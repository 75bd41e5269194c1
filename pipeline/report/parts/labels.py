"""What language models said: the evidence on judges, strengths of a panel, texts at both ends, weights of domains."""

from __future__ import annotations

import duckdb

from pipeline.distributions import quoted, text
from pipeline.preselect_views import COLUMNS
from pipeline.report.charts import bars, histogram
from pipeline.report.part import Figure, Part, has_rows
from pipeline.stats import numbers

KEEP = 0.1
"""The budget that weights of domains are shown for, as a share of all tokens."""
MEASURES = (*COLUMNS["preselect_strengths"], "se", "prompts")
"""Numbers of a document that are no opinion of it."""
EVIDENCE = """
SELECT label, corpus, judge, documents, prompts, tokens, reliability, position AS "answers by position",
  mass AS "probability of all answers", spread AS "spread, nats", bias AS "pull of each answer, nats", agreement,
  disagree AS "documents without label"
FROM judge_evidence ORDER BY label, corpus, judge
"""
VALUES = """
SELECT corpus, sample_shard, id, source, domain, weight, tokens, unnest([{values}], recursive := true)
FROM preselect_strengths
"""
HISTOGRAM = """
WITH valued AS ({values}), found AS (SELECT * FROM valued WHERE isfinite(value)), ranges AS (
  SELECT measure, min(value) AS lowest, coalesce(nullif(max(value) - min(value), 0), 1) / 30 AS width
  FROM found GROUP BY measure
), top AS (SELECT source FROM found GROUP BY source ORDER BY count(*) DESC, source LIMIT 7)
SELECT measure, CASE WHEN source IN (FROM top) THEN source WHEN source IS NULL THEN '(none)' ELSE 'other sources' END
  AS source, lowest + bin * width AS low, lowest + (bin + 1) * width AS high, count(*) AS documents
FROM (SELECT *, least(floor((value - lowest) / width), 29) AS bin FROM found JOIN ranges USING (measure))
GROUP BY ALL ORDER BY measure, low, source
"""
ENDS = """
WITH valued AS ({values}), ranked AS (
  SELECT *, row_number() OVER (PARTITION BY measure ORDER BY value DESC, id) AS top,
    row_number() OVER (PARTITION BY measure ORDER BY value, id) AS bottom
  FROM valued WHERE isfinite(value)
)
SELECT measure, CASE WHEN top <= 4 THEN 'best' ELSE 'worst' END AS "end", value, left(id, 200) AS id, ranked.source,
  left("text", 400) AS beginning
FROM (FROM ranked WHERE top <= 4 OR bottom <= 4) AS ranked JOIN preselect_sample USING (corpus, sample_shard, id)
ORDER BY measure, value DESC, id
"""
# `linear` of scorers.preselect.projection: caps are used up from the best estimate down, equals alike.
WEIGHTS = """
WITH valued AS ({values}), domains AS (
  SELECT measure, domain, sum(weight) AS documents, sum(weight * tokens) AS tokens,
    sum(weight * tokens * value) / sum(weight * tokens) AS estimate
  FROM valued WHERE isfinite(value) AND domain IS NOT NULL AND tokens > 0 GROUP BY measure, domain
), capped AS (
  SELECT *, tokens / sum(tokens) OVER (PARTITION BY measure) AS share, share / {keep} AS cap FROM domains
), levels AS (
  SELECT measure, estimate, sum(cap) AS wanted,
    coalesce(sum(sum(cap)) OVER (PARTITION BY measure ORDER BY estimate DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
  FROM capped GROUP BY measure, estimate
)
SELECT measure, domain, documents, tokens, estimate, share AS "share of the tokens", cap AS "most that it can be",
  cap * least(greatest((1 - before) / wanted, 0), 1) AS weight
FROM capped JOIN levels USING (measure, estimate)
QUALIFY row_number() OVER (PARTITION BY measure ORDER BY estimate DESC, domain) <= 30
ORDER BY measure, estimate DESC, domain
"""


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None without strengths and labels."""
    if not has_rows(connection, "preselect_strengths"):
        return None
    figures = []
    if has_rows(connection, "judge_evidence"):
        note = (
            "Reliability is the agreement of two halves of the rounds, from -1 to 1; a judge that answers by position "
            "or means to say something else shows it here."
        )
        figures.append(Figure("Evidence on the judges", EVIDENCE, note, kind="table"))
    if values := _values(connection):
        note = "Over the documents of the sample. Utilities of a judge compare them with each other, in nats."
        chart = histogram()
        sql = HISTOGRAM.format(values=values)
        figures.append(Figure("How labels are distributed", sql, note, charts=(chart,), choose=("measure",)))
        figures.append(
            Figure("Texts at both ends", ENDS.format(values=values), "The four at either end.", kind="table")
        )
        note = (
            f"Sampling weights for a budget of {KEEP:.0%} of all tokens, from the best domain down, none read twice; "
            "the thirty best domains. `tamis preselect weights` has another budget and another projection."
        )
        chart = bars("domain", "weight", tips=("estimate", "share of the tokens", "most that it can be"), share=True)
        sql = WEIGHTS.format(values=values, keep=KEEP)
        figures.append(Figure("Weights of domains", sql, note, charts=(chart,), choose=("measure",)))
    return Part("labels", "Labels and strengths", "", tuple(figures)) if figures else None


def _values(connection: duckdb.DuckDBPyConnection) -> str:
    """SQL with a row per document, name of strengths and estimator: measure, value. '' if there is none."""
    names = connection.execute("SELECT DISTINCT strength FROM preselect_strengths ORDER BY ALL").fetchall()
    there = []
    for (name,) in names:
        for column in numbers(connection, "preselect_strengths"):
            one = f"preselect_strengths WHERE strength = {text(name)} AND {quoted(column)} IS NOT NULL"
            if column not in MEASURES and has_rows(connection, one):
                there.append((name, column))
    shown = [
        f"{{'measure': {text(f'{name}: {column}')}, "
        f"'value': CASE WHEN strength = {text(name)} THEN {quoted(column)}::DOUBLE END}}"
        for name, column in there
    ]
    return VALUES.format(values=", ".join(shown)).strip() if shown else ""
