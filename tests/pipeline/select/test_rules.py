"""Limits per column and language: null passes, float32 limits are exact, every exceeded column is a reason."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config_errors import parsed
from pipeline.errors import UserError
from pipeline.select.rules import Rules
from pipeline.select.settings import SelectSettings

NUMBERS = st.none() | st.sampled_from([0.0, 0.1, 0.3, 0.30000001, 0.5, 1.0, float("nan")])


def exceeded(table: pa.Table, rules: Rules) -> list[list[str]]:
    over = rules.exceeded(table)
    return [[name for name in rules.reasons if over[name][row]] for row in range(table.num_rows)]


def test_a_score_at_the_limit_and_a_null_pass() -> None:
    table = pa.table({"a": pa.array([0.3, None, 0.31], pa.float32()), "b": pa.array([1, 2, 3])})
    rules = Rules.of(None, {"a": 0.3, "b": 2}, None, {})
    assert exceeded(table, rules) == [[], [], ["a", "b"]]


def test_a_language_has_limits_of_its_own_over_the_others() -> None:
    table = pa.table({"a": [0.4, 0.4, 0.4, 0.4], "lang": ["en", "ja", None, "de"]})
    rules = Rules.of(None, {"a": 0.3}, "lang", {"ja": {"a": 0.5}, "de": {"a": 0.1}})
    assert exceeded(table, rules) == [["a"], [], ["a"], ["a"]]
    tops = table.set_column(1, "lang", pa.array([["en", "x"], ["ja"], [], None]))
    assert exceeded(tops, rules) == [["a"], [], ["a"], ["a"]]


def test_gophers_rules_can_be_changed_one_by_one() -> None:
    rules = Rules.of("later", {"rep_line_excess": 0.9}, None, {})
    assert dict(rules.limits)["rep_line_excess"] == 0.9
    assert dict(rules.limits)["rep_ngram10_cover_later"] == 0.10
    assert len(rules.reasons) == 13


@given(
    st.lists(st.tuples(NUMBERS, st.sampled_from(["en", "ja", None])), max_size=20),
    st.dictionaries(st.sampled_from(["ja", "fr"]), st.sampled_from([0.05, 0.3, 0.7])),
)
def test_limits_agree_with_a_plain_loop(rows: list[tuple[float | None, str | None]], own: dict[str, float]) -> None:
    table = pa.table(
        {"a": pa.array([v for v, _ in rows], pa.float64()), "l": pa.array([n for _, n in rows], pa.string())}
    )
    rules = Rules.of(None, {"a": 0.3}, "l", {name: {"a": limit} for name, limit in own.items()})
    expected = [["a"] if value is not None and value > own.get(name or "", 0.3) else [] for value, name in rows]
    assert exceeded(table, rules) == expected


def test_languages_without_their_column_are_refused() -> None:
    with pytest.raises(UserError, match="give both"):
        parsed(SelectSettings, {"languages": {"de": {"rep_line_excess": 0.3}}}, "select")
