"""The documents behind the bars: a pool in which every bin, band, source and reason has a few, drawn by hash."""

from __future__ import annotations

import duckdb

from pipeline.distributions import BINS, quoted, text
from pipeline.report.part import Figure, Part, has_rows
from pipeline.report.parts.columns import finite, shown

EACH = 2
"""Documents of each bin and band of a score."""
EACH_REASON = 12
"""Documents of each reason of a selection, and of each source."""
CHARACTERS = 1500
"""Of a document's text, at most; the page takes fewer where they would not fit (pipeline.report.page)."""
ID = 300
# Nothing with a row per document and score is kept: that would be gigabytes for millions of documents.
POOL = """
WITH cells AS NOT MATERIALIZED (
  SELECT corpus, shard, id, unnest([{values}], recursive := true) FROM scored
), ranges AS (
  SELECT corpus, score, min(value) AS lowest, coalesce(nullif(max(value) - min(value), 0), 1) / {bins} AS width,
    quantile_cont(value, [0.05, 0.25, 0.5, 0.75, 0.95]) AS bands
  FROM cells GROUP BY corpus, score
), placed AS (
  SELECT corpus, shard, id, score, least(floor((value - lowest) / width), {bins} - 1) AS bin,
    len(list_filter(bands, lambda b: value >= b)) AS band
  FROM cells JOIN ranges USING (corpus, score) WHERE value IS NOT NULL
), picked AS (
  {scored}SELECT corpus, unnest(min_by({{'shard': shard, 'id': id}}, hash(id), {reason})) AS d
  FROM documents GROUP BY corpus, source
  UNION
  SELECT corpus, unnest(min_by({{'shard': shard, 'id': id}}, hash(id), {reason})) FROM selection
  GROUP BY corpus, selection, reason
), chosen AS (
  SELECT corpus, d.shard AS shard, d.id AS id FROM picked GROUP BY ALL
), reasons AS (
  SELECT corpus, shard, id, list({{'selection': selection, 'reason': coalesce(reason, 'kept')}} ORDER BY selection)
    AS selections
  FROM selection SEMI JOIN chosen USING (corpus, shard, id) GROUP BY corpus, shard, id
)
SELECT corpus, left(id, {id}) AS id, source, selections, {columns}
  length(text) AS characters, left(text, {characters}) AS text
FROM chosen JOIN documents USING (corpus, shard, id) {join}LEFT JOIN reasons USING (corpus, shard, id)
ORDER BY hash(id), id, corpus
"""
BY_SCORE = """SELECT corpus, unnest(min_by({{'shard': shard, 'id': id}}, hash(id), {each})) AS d FROM placed
  GROUP BY GROUPING SETS ((corpus, score, bin), (corpus, score, band))
  UNION
  """


def part(connection: duckdb.DuckDBPyConnection) -> Part | None:
    """None without documents."""
    if not has_rows(connection, "documents"):
        return None
    words = (
        "A few documents of every source, of every reason, and of every bin and band of every score, drawn by a hash "
        "of their id. They are examples, not a random sample of the corpus."
    )
    return Part("documents", "Documents", words, (pool(connection),))


def pool(connection: duckdb.DuckDBPyConnection, characters: int = CHARACTERS) -> Figure:
    """The figure of the pool, with so much of each text."""
    columns = shown(connection)
    values = ", ".join(f"{{'score': {text(c)}, 'value': {finite(c)}}}" for c in columns)
    listed = ", ".join(map(quoted, columns))
    sql = POOL.format(
        values=values or "{'score': '', 'value': NULL::DOUBLE}",
        bins=BINS,
        scored=BY_SCORE.format(each=EACH) if columns else "",
        reason=EACH_REASON,
        id=ID,
        columns=f"{listed}," if columns else "",
        characters=characters,
        join=f"JOIN (SELECT corpus, shard, id, {listed} FROM scored) USING (corpus, shard, id)\n" if columns else "",
    )
    return Figure("Documents", sql, kind="documents")
