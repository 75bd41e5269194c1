"""Ghosts and membership: what was put in, what was found, what models were shown to have seen."""

from __future__ import annotations

import duckdb

from pipeline.report.charts import histogram, interval, lines, points, ranges
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
RECURRING = """
SELECT stage, run, words, copies, documents, corpora, lefts, rights, different, elsewhere, confidence
FROM ghost_recurring ORDER BY confidence DESC, copies DESC, stage, run LIMIT 50
"""
TESTS = """
SELECT name, step, model, level, coalesce(id, owner, '(all)') AS "about", test, statistic, "null", p, p_adjusted,
  found, level_needed AS "p needed", power, round(effect, 3) AS effect, auc, auc_low, auc_high, draws,
  exceedances, identifiers, copies
FROM membership
ORDER BY name, step, level <> 'registry', level <> 'owner', NOT "primary", "about", test, statistic, "null" LIMIT 400
"""
PRIMARY = """
SELECT name || ', ' || level AS test, coalesce(id, owner, '(all)') AS "about", auc, auc_low, auc_high, p, p_adjusted,
  copies
FROM membership WHERE auc IS NOT NULL AND "primary" ORDER BY test, p, "about" LIMIT 300
"""
# Two tests of one p and one power would lie on each other: the page shows at most 300.
POWER = """
SELECT name || ', ' || level AS test, coalesce(id, owner, '(all)') AS "about", identifiers, copies, power, p,
  p_adjusted, level_needed AS "p needed",
  CASE WHEN found THEN 'found' WHEN power >= 0.8 THEN 'not found, though likely if it had been read'
    ELSE 'not found, which says little' END AS outcome
FROM membership WHERE "primary" AND power IS NOT NULL AND p > 0 ORDER BY test, power DESC, p, "about" LIMIT 300
"""
# Wilson's interval; an identifier by itself, by the statistic that was committed.
COPIES = """
WITH committed AS (SELECT name, any_value(statistic) AS statistic FROM membership WHERE "primary" GROUP BY name),
counted AS (
  SELECT name, copies, alpha, count(*) AS identifiers, count(*) FILTER (p <= alpha) AS hits
  FROM membership JOIN committed USING (name, statistic), (SELECT unnest([0.05, 0.01, 0.001]) AS alpha)
  WHERE level = 'identifier' AND test = 'rank' AND "null" = 'generator' AND copies IS NOT NULL GROUP BY ALL
)
SELECT name, copies, 'p <= ' || alpha::DOUBLE::VARCHAR AS "found at", identifiers, hits AS found,
  hits / identifiers AS share,
  ((hits + 1.920729) - 1.959964 * sqrt(hits * (identifiers - hits) / identifiers + 0.960365)) / (identifiers + 3.841459)
    AS low,
  ((hits + 1.920729) + 1.959964 * sqrt(hits * (identifiers - hits) / identifiers + 0.960365)) / (identifiers + 3.841459)
    AS high
FROM counted ORDER BY name, alpha DESC, copies
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
    if has_view(connection, "ghost_recurring") and has_rows(connection, "ghost_recurring"):
        note = "Runs of any words that recur in repeated spans; in different contexts they may be identifiers."
        figures.append(Figure("Runs that recur", RECURRING, note, kind="table"))
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
    if has_rows(connection, 'membership WHERE "primary" AND power IS NOT NULL AND p > 0'):
        note = (
            "Power: the chance that the test finds a model that has read the identifiers as often as they were put in, "
            "by planning's published curve (a prior, no promise). Where it is small, a large p says nothing."
        )
        chart = points("power", "p", "outcome", ("about", "copies", "p_adjusted", "p needed"), log_y=True)
        figures.append(Figure("p-values and power", POWER, note, charts=(chart,), choose=("test",), half=True))
    if has_rows(connection, "membership WHERE level = 'identifier' AND test = 'rank' AND copies IS NOT NULL"):
        note = (
            "Share of the identifiers that are found by themselves, with 95 % intervals (Wilson): the power that was."
        )
        chart = ranges("copies", "share", "low", "high", "found at", ("identifiers", "found"))
        figures.append(Figure("Found, by copies", COPIES, note, charts=(chart,), choose=("name",), half=True))
    if has_rows(connection, "membership WHERE step IS NOT NULL AND level = 'registry' AND \"primary\" AND p > 0"):
        chart = lines("step", "p", "name", points=True, format=".0e", log=True)
        figures.append(Figure("p over a training", STEPS, "Both axes are logarithmic.", charts=(chart,)))
    figures.append(Figure("Tests", TESTS, kind="table"))
    return figures
