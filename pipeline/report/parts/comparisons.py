"""What `tamis compare` found: means over seeds with 95 % intervals, and differences from the baseline within seeds."""

from __future__ import annotations

import duckdb

from pipeline.report.charts import interval
from pipeline.report.part import Figure, Part, has_rows

# Student's t of 95 %, two-sided, for two to ten seeds; beyond that the next smaller would be too wide by little.
QUANTILES = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)
T = f"list_extract([{', '.join(map(str, QUANTILES))}], least(count(*), {len(QUANTILES) + 1}) - 1)"
MEANS = f"""
SELECT comparison || ', ' || "set" || ', ' || metric AS shown, selection, count(*) AS seeds, avg(value) AS mean,
  mean - {T} * stddev_samp(value) / sqrt(count(*)) AS low, mean + {T} * stddev_samp(value) / sqrt(count(*)) AS high,
  max(tokens) AS tokens, round(max(epochs), 2) AS "times read"
FROM comparisons WHERE source IS NULL GROUP BY ALL ORDER BY shown, mean, selection
"""
APART = f"""
SELECT comparison || ', ' || "set" || ', ' || metric AS shown, selection || ' - ' || baseline AS difference,
  count(*) AS seeds, avg(value - base) AS mean,
  mean - {T} * stddev_samp(value - base) / sqrt(count(*)) AS low,
  mean + {T} * stddev_samp(value - base) / sqrt(count(*)) AS high
FROM comparisons JOIN (SELECT folder, fields->>'baseline' AS baseline FROM stages WHERE kind = 'compare') USING (folder)
JOIN (SELECT folder, "set", metric, seed, selection AS baseline, value AS base FROM comparisons WHERE source IS NULL)
  USING (folder, "set", metric, seed, baseline)
WHERE source IS NULL AND selection <> baseline GROUP BY ALL ORDER BY shown, mean, difference
"""


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None without a comparison."""
    if not has_rows(connection, "comparisons"):
        return None
    figures = (
        Figure(
            "Selections at equal tokens",
            MEANS,
            "Means over seeds with 95 % intervals by Student's t; with one seed there is no interval.",
            charts=(interval("selection", "mean", "low", "high", ("seeds",)),),
            choose=("shown",),
        ),
        Figure(
            "Differences from the baseline, seed by seed",
            APART,
            "An interval that holds zero is not a finding.",
            charts=(interval("difference", "mean", "low", "high", ("seeds",)),),
            choose=("shown",),
        ),
    )
    return Part("comparisons", "Comparisons", "", figures)
