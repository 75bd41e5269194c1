"""Distributions equal what NumPy finds, and a threshold cuts what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.distributions import BINS, QUANTILES
from pipeline.errors import UserError
from pipeline.sql import query
from pipeline.stats import stats
from pipeline.workspace import Workspace
from tests.workspaces import WEB, add_corpus, add_scores, small


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return small(f"{tmp_path_factory.mktemp('stats')}/w")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, np.ndarray]:
    """500 documents with a normal score; every tenth is NULL or NaN; tokens 1..500."""
    place = Workspace(f"{tmp_path_factory.mktemp('drawn')}/w")
    ids = [str(i) for i in range(500)]
    corpus = add_corpus(place, "web", [pa.table([ids, ids, ["s"] * 500, ids], schema=WEB)])
    values = np.random.default_rng(1).normal(size=500).astype(np.float32)
    values[::10] = np.nan
    score = pa.array(values, mask=np.arange(500) % 20 == 0)
    flag = pa.array(values > 0)
    add_scores(place, corpus, "drawn", [pa.table({"id": ids, "score": score, "flag": flag, "label": ids})])
    add_scores(place, corpus, "lengths", [pa.table({"id": ids, "tokens": pa.array(range(1, 501), pa.int64())})])
    return place, values


def found(tmp_path: Path, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
    out = tmp_path / "out.json"
    stats(*arguments, format="json", out=str(out), **options)
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_statistics_are_exact(drawn: tuple[Workspace, np.ndarray], tmp_path: Path) -> None:
    workspace, values = drawn
    (row,) = found(tmp_path, workspace, ["score"])
    real = values[~np.isnan(values)].astype(float)
    assert (row["documents"], row["undefined"]) == (500, 50)
    assert row["mean"] == pytest.approx(real.mean(), rel=1e-12)
    assert (row["min"], row["max"]) == (real.min(), real.max())
    for name, fraction in QUANTILES.items():
        assert row[name] == pytest.approx(np.quantile(real, fraction), rel=1e-12)


def test_a_verdict_has_the_share_that_is_true_as_its_mean(drawn: tuple[Workspace, np.ndarray], tmp_path: Path) -> None:
    workspace, values = drawn
    assert found(tmp_path, workspace, ["flag"])[0]["mean"] == pytest.approx((values > 0).mean())


def test_a_histogram_counts_every_defined_document_once(drawn: tuple[Workspace, np.ndarray], tmp_path: Path) -> None:
    workspace, values = drawn
    bins = found(tmp_path, workspace, ["score"], histogram=True)
    real = values[~np.isnan(values)].astype(float)
    counts, edges = np.histogram(real, BINS)
    assert {row["bin"]: row["documents"] for row in bins} == {i: n for i, n in enumerate(counts.tolist()) if n}
    assert bins[0]["low"] == pytest.approx(edges[0])
    tokens = np.arange(1, 501)
    for row in bins:
        # An edge is one rounding away from a value that made it: look a hair below.
        below = values < row["low"] - 1e-9
        assert (row["documents_below"], row["tokens_below"]) == (int(below.sum()), int(tokens[below].sum()))


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.1])
def test_a_threshold_cuts_what_the_predicate_drops(workspace: Workspace, tmp_path: Path, threshold: float) -> None:
    text = f"""SELECT source, count(*) FILTER (NOT preselect_score >= {threshold}) AS cut,
        CASE WHEN count(tokens) > 0
          THEN coalesce(sum(tokens) FILTER (NOT preselect_score >= {threshold}), 0)::BIGINT END AS tokens,
        count(*) AS n, count(*) FILTER (preselect_score IS NULL) AS undefined FROM scored GROUP BY ALL"""
    expected = {row["source"]: row for row in query(workspace, text).to_pylist()}
    rows = found(tmp_path, workspace, ["preselect_score"], by="source", threshold=threshold)
    assert len(rows) == 3
    for row in rows:
        known = expected[row["source"]]
        assert (row["documents"], row["undefined"], row["documents_cut"]) == (
            known["n"],
            known["undefined"],
            known["cut"],
        )
        assert row["tokens_cut"] == known["tokens"]
    assert [row["tokens"] for row in rows] == [None, 750, 900]  # news has no token counts


@pytest.mark.parametrize(("by", "groups"), [("corpus", 2), ("source", 3), ("shard", 5)])
def test_the_view_gives_the_same_numbers(workspace: Workspace, tmp_path: Path, by: str, groups: int) -> None:
    rows = found(tmp_path, workspace, ["preselect_score"], by=by)
    assert len(rows) == groups
    order = "ORDER BY corpus, source, shard"
    text = f"SELECT * FROM score_stats WHERE level = '{by}' AND score = 'preselect_score' {order}"
    assert query(workspace, text).to_pylist() == rows
    bins = found(tmp_path, workspace, ["preselect_score"], by=by, histogram=True)
    text = f"SELECT * FROM score_histogram WHERE level = '{by}' AND score = 'preselect_score' {order}, bin"
    assert query(workspace, text).to_pylist() == bins


def test_all_scores_are_shown_unless_columns_are_named(workspace: Workspace, tmp_path: Path) -> None:
    assert {row["score"] for row in found(tmp_path, workspace)} == {
        "preselect_score",
        "preselect_logit",
        "characters",
        "tokens",
    }
    assert found(tmp_path, workspace, ["year"], corpora=["news"])[0]["max"] == 2009


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["preselect"]}, "no numeric column 'preselect'; did you mean 'preselect_"),
        ({"columns": ["url"]}, "no numeric column 'url'"),
        ({"threshold": 0.5}, "expected --column"),
        ({"columns": ["tokens"], "threshold": float("nan")}, "expected a finite number"),
        ({"by": "year"}, "--by year: expected one of corpus, source, shard"),
    ],
)
def test_a_wrong_question_is_told(workspace: Workspace, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as told:
        stats(workspace, **options)
    assert message in str(told.value)


def test_infinite_and_constant_scores_have_a_histogram(tmp_path: Path) -> None:
    place = Workspace(f"{tmp_path}/w")
    ids = ["a", "b", "c", "d"]
    corpus = add_corpus(place, "web", [pa.table([ids, ids, ["s"] * 4, ids], schema=WEB)])
    wild = pa.array([-np.inf, 0.0, 1.0, np.inf])
    add_scores(place, corpus, "odd", [pa.table({"id": ids, "wild": wild, "same": pa.array([3, 3, 3, None])})])
    bins = found(tmp_path, place, ["wild", "same"], histogram=True)
    assert [(row["score"], row["bin"], row["documents"]) for row in bins] == [
        ("same", 0, 3),
        ("wild", 0, 2),
        ("wild", BINS - 1, 2),
    ]
