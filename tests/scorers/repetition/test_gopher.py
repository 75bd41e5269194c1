"""Gopher's rules as data: the Python and the SQL form agree, and null is no verdict."""

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorers.repetition import Settings, load, schema_for
from scorers.repetition.gopher import gopher_limits, gopher_reasons, gopher_sql
from scorers.texts import Texts

LIMITS = gopher_limits()
SHARES = st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.15, 0.2, 0.3, 1.0]), st.floats(0, 1, width=32))


def scored(*texts: str) -> pa.Table:
    scorer = load(Settings(), {}, "repetition")
    return pa.Table.from_arrays(scorer.score(Texts.from_arrow(pa.array(texts))), schema=scorer.schema)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(LIMITS, SHARES)), max_size=8))
def test_python_and_sql_give_the_same_reasons(rows):
    table = pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.float32()) for name in LIMITS]))
    first, every = gopher_reasons(table, LIMITS)
    query = f"SELECT {gopher_sql(LIMITS)}, {gopher_sql(LIMITS, every=True)} FROM table"
    with duckdb.connect() as connection:
        connection.register("scores", table)
        found = connection.execute(query.replace("FROM table", "FROM scores")).fetchall()
    assert found == list(zip(first.to_pylist(), every.to_pylist(), strict=True))


def test_a_value_at_the_limit_passes_and_one_above_fails():
    name = "rep_ngram2_top_cover"
    table = pa.table({name: pa.array([0.2, 0.20001, None], pa.float32())})
    first, every = gopher_reasons(table, {name: 0.2})
    assert first.to_pylist() == [None, name, None]
    assert every.to_pylist() == [[], [name], []]


def test_every_default_limit_names_a_column_of_the_scorer():
    for copies in ("later", "all"):
        limits = gopher_limits(copies)
        assert set(limits) <= set(schema_for().names)
        assert len(limits) == 13
    assert set(gopher_limits("all", "mine_")) <= set(schema_for("mine_").names)


def test_a_repeated_text_fails_and_a_short_one_does_not():
    first, every = gopher_reasons(scored("buy now\n" * 50, "one two three", ""), LIMITS)
    assert first.to_pylist() == ["rep_line_excess", None, None]
    assert len(every[0]) > 5


def test_all_copies_fail_what_later_copies_pass():
    lines = ["x y", "alpha beta gamma delta", "epsilon zeta eta theta", "iota kappa lambda my", "x y"]
    half = "\n".join(lines)
    assert gopher_reasons(scored(half), gopher_limits("later"))[0].to_pylist() == [None]
    assert gopher_reasons(scored(half), gopher_limits("all"))[0].to_pylist() == ["rep_line_mass"]


def test_a_limit_on_an_unknown_column_is_refused_by_name():
    with pytest.raises(ValueError, match="rep_typo"):
        gopher_reasons(scored("a"), {"rep_typo": 0.1})
    with pytest.raises(ValueError, match="'later' or 'all'"):
        gopher_limits("some")
