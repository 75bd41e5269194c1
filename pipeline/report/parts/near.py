"""Near-duplicates: what a removal would take of each source, the clusters, and pairs to read side by side."""

from __future__ import annotations

import duckdb

from pipeline.distributions import quoted
from pipeline.report.charts import bars
from pipeline.report.part import Figure, Part

SOURCES = """
SELECT corpus, coalesce(source, '(none)') AS source, count(*) AS documents, count({cluster}) AS "in clusters",
  count(*) FILTER (NOT {kept}) AS "near-duplicates", count(*) FILTER (NOT {kept}) / count(*) AS share,
  sum(_tokens) FILTER (NOT {kept})::BIGINT AS "tokens of them"
FROM single.{view} GROUP BY ALL ORDER BY "near-duplicates" DESC, documents DESC, corpus, source LIMIT 30
"""
SIZES = """
SELECT CASE WHEN size < 6 THEN size::VARCHAR WHEN size < 11 THEN '6 to 10' WHEN size < 101 THEN '11 to 100'
    WHEN size < 1001 THEN '101 to 1000' ELSE '1001 and more' END AS "documents of a cluster",
  count(*) AS clusters, sum(members)::BIGINT AS documents, sum(lost)::BIGINT AS "near-duplicates"
FROM (
  SELECT {cluster}, {cluster_corpus}, any_value({size}) AS size, count(*) AS members,
    count(*) FILTER (NOT {kept}) AS lost
  FROM single.{view} WHERE {cluster} IS NOT NULL GROUP BY ALL
) GROUP BY ALL ORDER BY min(size)
"""
CLUSTERS = """
SELECT left({cluster}, 200) AS "kept first", {cluster_corpus} AS corpus, any_value({size}) AS documents,
  count(*) FILTER (NOT {kept}) AS "near-duplicates", count(DISTINCT source) AS sources
FROM single.{view} WHERE {cluster} IS NOT NULL GROUP BY {cluster}, {cluster_corpus}
ORDER BY "near-duplicates" DESC, "kept first", corpus LIMIT 20
"""
# The few pairs first: only their shards are read for text.
PAIRS = """
WITH pairs AS (
  SELECT corpus, shard, id, {of} AS kept, {of_corpus} AS kept_corpus, {containment} AS containment,
    {jaccard} AS jaccard FROM single.{view} WHERE {of} IS NOT NULL
), picked AS (
  (FROM pairs ORDER BY containment, hash(id), id LIMIT 6) UNION
  (FROM pairs ORDER BY hash(id), id, corpus LIMIT 6)
), placed AS (
  SELECT picked.*, single.{view}.shard AS kept_shard FROM picked
  JOIN single.{view} ON single.{view}.id = picked.kept AND single.{view}.corpus = picked.kept_corpus
)
SELECT containment, jaccard, left(a.text, 500) AS "near-duplicate", left(b.text, 500) AS "kept document",
  left(a.id, 200) AS id, left(b.id, 200) AS "its id"
FROM placed JOIN documents a ON a.corpus = placed.corpus AND a.shard = placed.shard AND a.id = placed.id
JOIN documents b ON b.corpus = placed.kept_corpus AND b.shard = placed.kept_shard AND b.id = placed.kept
ORDER BY containment, a.id, a.corpus
"""
COLUMNS = ("cluster", "cluster_corpus", "size", "kept", "of", "of_corpus", "containment", "jaccard")


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None where near-duplicates were not looked for."""
    found = _stages(connection)
    figures = [figure for view, alias in found for figure in _figures(view, alias, len(found) > 1)]
    words = "Documents that are nearly the same, and which of them stays. Nothing is removed until a selection says so."
    return Part("near", "Near-duplicates", words, tuple(figures)) if figures else None


def _stages(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """(view, prefix of its columns) of the score stages that `tamis repeats near` has written, if they found any."""
    query = """SELECT table_name, list(column_name) FROM duckdb_columns() WHERE schema_name = 'single'
        GROUP BY table_name ORDER BY table_name"""
    found = []
    for view, columns in connection.execute(query).fetchall():
        for prefix in sorted(name.removesuffix("_containment") for name in columns if name.endswith("_containment")):
            if all(f"{prefix}_{name}" in columns for name in COLUMNS):
                found.append((view, prefix))
    return found


def _figures(view: str, prefix: str, several: bool) -> list[Figure]:
    names = {name: quoted(f"{prefix}_{name}") for name in COLUMNS} | {"view": quoted(view)}
    head = f"{view}: " if several else ""
    return [
        Figure(
            f"{head}What a removal would take",
            SOURCES.format(**names),
            "Near-duplicates are the documents that are not kept; the thirty sources that would lose most.",
            charts=(bars("source", "near-duplicates", tips=("documents", "share")),),
            half=True,
        ),
        Figure(
            f"{head}Sizes of clusters",
            SIZES.format(**names),
            "Documents that are alike, directly or by others between them.",
            charts=(bars("documents of a cluster", "near-duplicates", tips=("clusters", "documents")),),
            half=True,
        ),
        Figure(
            f"{head}Pairs to read",
            PAIRS.format(**names),
            "The six that are least alike, and six drawn by a hash: is the left one really in the right one?",
            kind="table",
        ),
        Figure(
            f"{head}The largest clusters",
            CLUSTERS.format(**names),
            f"`tamis inspect --where \"{prefix}_cluster = 'ID'\"` shows documents of one.",
            kind="table",
        ),
    ]
