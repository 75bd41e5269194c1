"""Distributions of scores as SQL text: the views `score_stats` and `score_histogram`, and the queries of `tamis stats`.

Both read `single.<alias>`: documents joined with the scores of one stage alone (id, corpus, shard, source, _tokens and
the stage's columns), so that looking at one score costs one join. Quantiles are exact, interpolated between neighbours,
and hold the values of a group in memory while they are computed. NaN counts as undefined, as NULL does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

QUANTILES = {"q01": 0.01, "q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95, "q99": 0.99}
BINS = 20
LEVELS = {"corpus": ("corpus",), "source": ("corpus", "source"), "shard": ("corpus", "shard")}
"""{level: columns of its groups}"""
TOKENS = "_tokens"
"""Tokens of a document in `single.<alias>` and its like: NULL where no stage counted them."""


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A string as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def distribution_views(stages: Mapping[str, tuple[str, Sequence[str]]]) -> list[str]:
    """CREATE VIEW statements. `stages`: {alias: (relation, its numeric score columns)}."""
    parts: dict[str, list[str]] = {"score_stats": [], "score_histogram": []}
    for alias, (relation, columns) in stages.items():
        for level in LEVELS if columns else ():
            parts["score_stats"].append(stats(relation, columns, level, alias))
            parts["score_histogram"].append(histogram(relation, columns, level, alias))
    # No stage, no rows; a relation of none still names the columns.
    nothing = "(SELECT NULL AS corpus, NULL AS source, NULL AS shard, NULL::DOUBLE AS score, 0 AS _tokens LIMIT 0)"
    empty = {
        "score_stats": stats(nothing, ["score"], "corpus", ""),
        "score_histogram": histogram(nothing, ["score"], "corpus", ""),
    }
    return [
        f"CREATE VIEW {name} AS {' UNION ALL '.join(f'({select})' for select in selects or [empty[name]])}"
        for name, selects in parts.items()
    ]


def stats(relation: str, columns: Sequence[str], level: str, stage: str) -> str:
    """SELECT of one row per group and score: how many documents, how many undefined, mean, extremes and quantiles.

    One pass over the relation for all columns, whatever their number.
    """
    structs = []
    fractions = ", ".join(str(fraction) for fraction in QUANTILES.values())
    for column in columns:
        value = _value(column)
        structs.append(
            f"struct_pack(score := {text(column)}, documents := count(*), undefined := count(*) - count({value}), "
            f"mean := avg({value}), min := min({value}), quantiles := quantile_cont({value}, [{fractions}]), "
            f"max := max({value}))"
        )
    group = ", ".join(LEVELS[level])
    quantiles = ", ".join(f"row.quantiles[{i}] AS {name}" for i, name in enumerate(QUANTILES, start=1))
    return (
        f"SELECT {_group(level, stage)}, row.score AS score, row.documents AS documents, row.undefined AS undefined, "
        f"row.mean AS mean, row.min AS min, {quantiles}, row.max AS max "
        f"FROM (SELECT {group}, unnest([{', '.join(structs)}]) AS row FROM {relation} GROUP BY {group})"
    )


def histogram(relation: str, columns: Sequence[str], level: str, stage: str) -> str:
    """SELECT of one row per group, score and bin that holds documents; bins of equal width over the corpus's range.

    `documents_below` and `tokens_below` are what a threshold at `low` would cut from the group.
    """
    group = ", ".join(LEVELS[level])
    values = ", ".join(f"struct_pack(score := {text(c)}, value := {_value(c)})" for c in columns)
    ranges = ", ".join(
        f"struct_pack(score := {text(c)}, lowest := min({_finite(c)}), highest := max({_finite(c)}))" for c in columns
    )
    earlier = f"OVER (PARTITION BY {group}, score ORDER BY bin ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    return f"""
        WITH ranges AS (
          SELECT corpus, range.score AS score, range.lowest AS lowest,
            coalesce(nullif(range.highest - range.lowest, 0), 1) / {BINS} AS width
          FROM (SELECT corpus, unnest([{ranges}]) AS range FROM {relation} GROUP BY corpus)
        ), cells AS (
          SELECT corpus, source, shard, {TOKENS}, cell.score AS score, cell.value AS value
          FROM (SELECT corpus, source, shard, {TOKENS}, unnest([{values}]) AS cell FROM {relation})
        ), bins AS (
          SELECT {group}, score, lowest, width,
            least(greatest(floor((value - lowest) / width), 0), {BINS - 1})::INTEGER AS bin,
            count(*) AS documents, sum({TOKENS})::BIGINT AS tokens
          FROM cells JOIN ranges USING (corpus, score) WHERE value IS NOT NULL
          GROUP BY ALL
        )
        SELECT {_group(level, stage)}, score, bin, lowest + bin * width AS low, lowest + (bin + 1) * width AS high,
          documents, tokens, coalesce(sum(documents) {earlier}, 0)::BIGINT AS documents_below,
          CASE WHEN tokens IS NOT NULL THEN coalesce(sum(tokens) {earlier}, 0)::BIGINT END AS tokens_below
        FROM bins"""


def cut(relation: str, column: str, threshold: float, level: str) -> str:
    """SELECT of what keeping only `column >= threshold` would cut, per group, in documents and tokens.

    Undefined scores are counted apart: it is a selection's policy that decides about them.
    """
    value, group = _value(column), ", ".join(LEVELS[level])
    # Compared as a predicate of a user is: a float column meets the literal as a float.
    below = f"FILTER ({quoted(column)} < {threshold!r} AND {value} IS NOT NULL)"
    return f"""
        SELECT {_group(level, None)}, {text(column)} AS score, {threshold!r}::DOUBLE AS threshold,
          documents, documents_cut, documents_cut / documents AS share_cut, undefined,
          tokens, tokens_cut, tokens_cut / nullif(tokens, 0) AS share_of_tokens_cut, tokens_undefined
        FROM (SELECT {group}, count(*) AS documents, count(*) {below} AS documents_cut,
            count(*) - count({value}) AS undefined, sum({TOKENS})::BIGINT AS tokens,
            CASE WHEN count({TOKENS}) > 0 THEN coalesce(sum({TOKENS}) {below}, 0)::BIGINT END AS tokens_cut,
            CASE WHEN count({TOKENS}) > 0 THEN coalesce(sum({TOKENS}) FILTER ({value} IS NULL), 0)::BIGINT END
              AS tokens_undefined
          FROM {relation} GROUP BY {group})"""


def _group(level: str, stage: str | None) -> str:
    """The columns that name a group, NULL where the level has none."""
    named = [f"{n} AS {n}" if n in LEVELS[level] else f"NULL::VARCHAR AS {n}" for n in ("corpus", "source", "shard")]
    stages = [] if stage is None else [f"{text(stage)} AS stage"]
    return ", ".join([f"{text(level)} AS level", *named, *stages])


def _value(column: str) -> str:
    """A score as a number, NULL where it is undefined."""
    # Not nullif(x, 'nan'): statistics in Parquet leave NaN out, and DuckDB folds a comparison with it away.
    return f"CASE WHEN NOT isnan({quoted(column)}::DOUBLE) THEN {quoted(column)}::DOUBLE END"


def _finite(column: str) -> str:
    """A score as a number that can bound a histogram."""
    return f"CASE WHEN isfinite({quoted(column)}::DOUBLE) THEN {quoted(column)}::DOUBLE END"
