"""What each scorer thinks of the corpus: a histogram by source, the spread per source, exact quantiles."""

from __future__ import annotations

import duckdb

from pipeline import distributions
from pipeline.distributions import QUANTILES, quoted
from pipeline.report.charts import histogram, spread
from pipeline.report.part import Figure, Part, listed
from pipeline.report.parts.columns import Stage, grouped_source, stages

# What the views score_stats and score_histogram are made of, for one stage and the columns that are shown: the views
# would compute every column of every stage first.
HISTOGRAM = """
SELECT * FROM (
  SELECT score, corpus, {source} AS source, bin, low, high, sum(documents)::BIGINT AS documents
  FROM ({histogram}) GROUP BY ALL
) ORDER BY list_position([{columns}], score), corpus, bin, source
"""
SPREAD = """
SELECT score, corpus, {name} AS source, documents, undefined, mean, min, {quantiles}, max
FROM ({spread})
QUALIFY dense_rank() OVER (PARTITION BY score ORDER BY documents DESC, source) <= 12
ORDER BY list_position([{columns}], score), documents DESC, source
"""
QUANTILE_TABLE = """
SELECT score, corpus, documents, undefined, mean, min, {quantiles}, max
FROM ({whole}) ORDER BY score, corpus
"""


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None without scores."""
    found = stages(connection)
    if not found:
        return None
    corpora = connection.execute("SELECT count(DISTINCT corpus) FROM documents").fetchall()[0][0]
    source = grouped_source(connection)
    figures = [figure for stage in found for figure in _figures(stage, source, corpora > 1)]
    words = "A click on a bar, or read in the table of its numbers, shows documents of that range below."
    return Part("scores", "Scores", words, tuple(figures))


def _figures(stage: Stage, source: str, several: bool) -> list[Figure]:
    relation = f"single.{quoted(stage.name)}"
    facts = {
        "histogram": distributions.histogram(relation, stage.shown, "source", stage.name),
        "spread": distributions.stats(relation, stage.shown, "source", stage.name),
        "whole": distributions.stats(relation, stage.all, "corpus", stage.name),
        "columns": listed(list(stage.shown)),
        "quantiles": ", ".join(QUANTILES),
        "source": f"corpus || ': ' || {source}" if several else source,
        "name": "corpus || ': ' || coalesce(source, '(none)')" if several else "coalesce(source, '(none)')",
    }
    return [
        Figure(
            f"{stage.name}: how the scores are distributed",
            HISTOGRAM.format(**facts),
            "Twenty bins of equal width over each corpus's range.",
            charts=(histogram(),),
            choose=("score",),
            reads=True,
            half=True,
        ),
        Figure(
            f"{stage.name}: spread per source",
            SPREAD.format(**facts),
            "Middle half, median, and a line from the 5 % to the 95 % quantile; the twelve largest sources.",
            charts=(spread("source"),),
            choose=("score",),
            reads=True,
            half=True,
        ),
        Figure(f"{stage.name}: quantiles of all columns", QUANTILE_TABLE.format(**facts), kind="table"),
    ]
