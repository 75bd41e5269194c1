"""Ghosts and membership: what was put in, what was found, what models were shown to have seen."""

from __future__ import annotations

import duckdb

from pipeline.report.charts import histogram, interval, lines
from pipeline.report.part import Figure, Part, has_rows, has_view

INSERTED = """
SELECT corpus, owner, place, coalesce(reason, 'inserted') AS outcome, count(*) AS documents,
  count(DISTINCT identifier) AS identifiers
FROM insertions GROUP BY ALL ORDER BY corpus, owner, outcome, place
"""
FOUND = """
SELECT corpus, stage, kind, id AS identifier, words, copies, documents, round(confidence, 6) AS confidence
FROM ghost_runs ORDER BY confidence DESC, copies DESC, corpus, stage, run LIMIT 50
"""
TESTS = """
SELECT name, step, model, level, coalesce(id, owner, '(all)') AS "about", test, statistic, "null", p, p_adjusted,
  found, round(effect, 3) AS effect, auc, auc_low, auc_high, draws, exceedances, identifiers, copies
FROM membership
ORDER BY name, step, level <> 'registry', level <> 'owner', NOT "primary", "about", test, statistic, "null" LIMIT 400
"""
PRIMARY = """
SELECT name || ', ' || level AS test, coalesce(id, owner, '(all)') AS "about", auc, auc_low, auc_high, p, p_adjusted,
  copies
FROM membership WHERE auc IS NOT NULL AND "primary" ORDER BY test, p, "about" LIMIT 300
"""
STEPS = """
SELECT name, step, coalesce(id, owner, '(all)') AS "about", p FROM membership
WHERE step IS NOT NULL AND "primary" AND level = 'registry' AND p > 0 ORDER BY name, "about", step
"""
DRAWS = """
WITH draws AS (
  SELECT name || ': ' || id AS identifier, kind, mean_nll AS value FROM membership_draws
  WHERE mean_nll IS NOT NULL AND kind IN ('target', 'null') AND id IN (
    SELECT id FROM (SELECT DISTINCT id FROM membership_draws) ORDER BY id LIMIT 12)
), ranges AS (
  SELECT identifier, min(value) AS lowest, coalesce(nullif(max(value) - min(value), 0), 1) / 40 AS width
  FROM draws GROUP BY identifier
)
SELECT identifier, CASE kind WHEN 'target' THEN 'the identifier' ELSE 'never drawn' END AS phrase,
  lowest + bin * width AS low, lowest + (bin + 1) * width AS high, count(*) AS phrases
FROM (SELECT *, least(floor((value - lowest) / width), 39) AS bin FROM draws JOIN ranges USING (identifier))
GROUP BY ALL ORDER BY identifier, low, phrase
"""


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None without identifiers and tests."""
    figures = []
    if has_view(connection, "insertions") and has_rows(connection, "insertions"):
        figures.append(Figure("Identifiers put in", INSERTED, kind="table"))
    if has_view(connection, "ghost_runs") and has_rows(connection, "ghost_runs"):
        note = "Runs of words that look like identifiers; a run in different contexts is surer than one."
        figures.append(Figure("Identifiers found", FOUND, note, kind="table"))
    if has_view(connection, "membership") and has_rows(connection, "membership"):
        figures += _tests(connection)
    if not figures:
        return None
    words = (
        "A model that has read an identifier finds it likelier than phrases that were drawn alike and never used. "
        "p is the chance of a result so strong if it had not read it; adjusted is for the number of tests."
    )
    return Part("membership", "Ghosts and membership", words, tuple(figures))


def _tests(connection: duckdb.DuckDBPyConnection) -> list[Figure]:
    figures = []
    if has_rows(connection, 'membership WHERE auc IS NOT NULL AND "primary"'):
        chart = interval("about", "auc", "auc_low", "auc_high", ("p", "p_adjusted", "copies"))
        note = "Chance that the model finds an identifier likelier than a phrase never used; 0.5 is a coin."
        figures.append(Figure("How far apart", PRIMARY, note, charts=(chart,), choose=("test",), half=True))
    if has_rows(connection, "membership_draws WHERE mean_nll IS NOT NULL AND kind = 'target'"):
        note = "Mean negative log-likelihood, nats per token; the first twelve identifiers."
        chart = histogram("phrase", "phrases")
        figures.append(
            Figure(
                "An identifier among phrases never used",
                DRAWS,
                note,
                charts=(chart,),
                choose=("identifier",),
                half=True,
            )
        )
    if has_rows(connection, "membership WHERE step IS NOT NULL AND level = 'registry' AND \"primary\" AND p > 0"):
        chart = lines("step", "p", "name", points=True, format=".0e", log=True)
        figures.append(Figure("p over a training", STEPS, "Both axes are logarithmic.", charts=(chart,)))
    figures.append(Figure("Tests", TESTS, kind="table"))
    return figures
