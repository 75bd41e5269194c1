"""Curves of the training runs."""

from __future__ import annotations

import duckdb

from pipeline.report.charts import lines
from pipeline.report.part import Figure, Part, has_rows

POINTS = 120
STEPS = f"""
SELECT run, max(tokens) AS tokens, max(step) AS step, round(avg(nll), 5) AS nll, round(avg(grad_norm), 4) AS grad_norm,
  round(median(tokens_per_second)) AS "tokens/s"
FROM (SELECT *, floor((step - 1) * {POINTS} / max(step) OVER (PARTITION BY run)) AS piece FROM training)
GROUP BY run, piece ORDER BY run, tokens
"""
SETS = """
SELECT "set", run, tokens, step, bits_per_byte, nll FROM training_sets WHERE source IS NULL ORDER BY "set", run, tokens
"""


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None without a training run."""
    figures = []
    if has_rows(connection, "training"):
        note = f"Mean negative log-likelihood in nats per token, over each of {POINTS} pieces of a run."
        charts = (lines("tokens", "nll", "run", ("step", "tokens/s"), format=".2f"),)
        figures.append(Figure("Training loss", STEPS, note, charts=charts))
    if has_rows(connection, "training_sets WHERE source IS NULL"):
        charts = (lines("tokens", "bits_per_byte", "run", ("step", "nll"), points=True, format=".3f"),)
        figures.append(
            Figure("Evaluation sets", SETS, "Bits per byte; less is better.", charts=charts, choose=("set",))
        )
    return Part("training", "Training", "", tuple(figures)) if figures else None
