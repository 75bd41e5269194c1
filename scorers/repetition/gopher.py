"""Gopher's repetition rules (Rae et al. 2021, table A1) as a verdict over the canonical metrics: data in, reasons out.

A rule is a metric's name and the highest value that passes; a null metric never fails a document. Which metric stands
for a rule of the paper is a choice, so limits are a plain mapping of columns that a config can change:

| the paper's rule | limit | "later" (default) | "all" |
|---|---|---|---|
| duplicate lines, paragraphs | .30 | line_excess, para_excess | line_mass, para_mass |
| characters in those | .20 | line_excess_chars, para_excess_chars | line_mass_chars, para_mass_chars |
| characters in the top 2-, 3-, 4-gram | .20 .18 .16 | ngram{n}_top_cover | the same |
| characters in duplicate 5..10-grams | .15 .14 .13 .12 .11 .10 | ngram{n}_cover_later | ngram{n}_cover |

"later" counts what removing the copies would remove, as datatrove and NeMo Curator do; "all" counts the first copies
too, as the paper's words say and DCLM, RedPajama-2 and Olmo 3 do. Text of share f in m copies scores f(m - 1)/m or f:
the same limits are up to twice as strict under "all".

The numbers are not those of the peers. datatrove divides by the whole text, white space included, and jumps n words at
a hit: its duplicate n-grams score below cover_later. Its top n-gram (dolma's and NeMo's too) counts overlaps once per
n-gram and may exceed 1, and an n-gram that occurs once scores, so that short clean texts fail; top_cover is 0 there
and never exceeds 1. Limits tuned on those numbers, such as FineWeb-2's per language (some above 1), need a second look.

    limits = gopher_limits("later")
    first, every = gopher_reasons(table, limits)             # pyarrow: string, list<string>; null and [] if it passes
    f"SELECT id, {gopher_sql(limits)} AS reason FROM repetition"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

UNIT_LIMIT, UNIT_CHARS_LIMIT = 0.30, 0.20
TOP_LIMITS = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE_LIMITS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


def gopher_limits(copies: Literal["later", "all"] = "later", prefix: str = "rep_") -> dict[str, float]:
    """The paper's limits by column, in the order in which the first reason is looked for.

    Raises ValueError for another word than "later" or "all".
    """
    if copies not in ("later", "all"):
        raise ValueError(f"copies: {copies!r}; expected 'later' or 'all'")
    unit, ngram = ("excess", "cover_later") if copies == "later" else ("mass", "cover")
    limits = {}
    for name in ("para", "line"):
        limits[f"{prefix}{name}_{unit}"] = UNIT_LIMIT
        limits[f"{prefix}{name}_{unit}_chars"] = UNIT_CHARS_LIMIT
    limits.update({f"{prefix}ngram{n}_top_cover": limit for n, limit in TOP_LIMITS.items()})
    limits.update({f"{prefix}ngram{n}_{ngram}": limit for n, limit in DUPLICATE_LIMITS.items()})
    return limits


def gopher_reasons(table: pa.Table, limits: Mapping[str, float]) -> tuple[pa.Array, pa.Array]:
    """Which limits each row exceeds: the first column that does (null: none) and all of them (a list, in order).

    Raises ValueError if a column of ``limits`` is not in the table.
    """
    import pyarrow as pa

    _check(limits, table.column_names)
    columns = {name: table.column(name).to_numpy(zero_copy_only=False) for name in limits}
    every: list[list[str]] = [[] for _ in range(len(table))]
    for name, limit in limits.items():
        for row in (columns[name] > _as_float32(limit)).nonzero()[0]:  # null became NaN, which exceeds nothing
            every[row].append(name)
    firsts = pa.array([reasons[0] if reasons else None for reasons in every], pa.string())
    return firsts, pa.array(every, pa.list_(pa.string()))


def gopher_sql(limits: Mapping[str, float], every: bool = False) -> str:
    """The same as an SQL expression (DuckDB): the first reason or null; with ``every``, the list of all."""
    tests = [(f'"{name}" > CAST({limit!r} AS FLOAT)', f"'{name}'") for name, limit in limits.items()]
    if every:
        cases = ", ".join(f"CASE WHEN {test} THEN {name} END" for test, name in tests)
        return f"list_filter(CAST([{cases}] AS VARCHAR[]), lambda reason: reason IS NOT NULL)"
    cases = " ".join(f"WHEN {test} THEN {name}" for test, name in tests)
    return f"CASE {cases} END" if cases else "CAST(NULL AS VARCHAR)"


def _as_float32(limit: float) -> float:
    """Scores are float32: a share of exactly 0.3 must not exceed the limit 0.3."""
    import numpy as np

    return float(np.float32(limit))


def _check(limits: Mapping[str, float], columns: list[str]) -> None:
    for name in limits:
        if name not in columns:
            raise ValueError(f"limit on {name!r}: no such column; expected one of {', '.join(columns)}")
