"""The page holds what its queries answer, nothing else, and no text of a document can get out of its place."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("vl_convert")

from pipeline import sandbox
from pipeline.errors import UserError
from pipeline.report import page, report
from pipeline.report.parts.comparisons import QUANTILES
from pipeline.trainer.compare_report import t_quantile
from pipeline.views import opened
from pipeline.workspace import Workspace
from tests.pipeline.report.workspaces import HOSTILE, hostile, shortened
from tests.workspaces import small


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return hostile(f"{tmp_path_factory.mktemp('report')}/hostile")


@pytest.fixture(scope="module")
def html(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "report.html"
    report(workspace, str(out))
    return out.read_text(encoding="utf-8")


def data_of(html: str) -> dict[str, Any]:
    """What is embedded, read as the browser reads it: up to the first thing that ends a script element."""
    begin = html.index('<script type="application/json" id="data">') + len('<script type="application/json" id="data">')
    return json.loads(html[begin : html.index("</script", begin)])


def figures_of(html: str) -> list[dict[str, Any]]:
    return [figure for section in data_of(html)["sections"] for figure in section["figures"]]


def answers(workspace: Workspace, figures: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], list[list[Any]]]]:
    """Each figure with what its query answers inside the sandbox of `tamis sql`."""
    with opened(workspace, locked=True, distributions=False) as connection:
        for figure in figures:
            schema, batches = sandbox.batches(connection, figure["sql"])
            answer = pa.Table.from_batches(batches, schema)
            assert figure["columns"] == answer.column_names
            rows = zip(*(column.to_pylist() for column in answer.columns), strict=True)
            yield figure, [[page.plain(value) for value in row] for row in rows]


def test_every_figure_shows_what_its_query_answers(workspace: Workspace, html: str) -> None:
    figures = figures_of(html)
    assert len(figures) > 12
    for figure, rows in answers(workspace, figures):
        assert figure["rows"] == rows, figure["title"]
        assert figure["rows"], figure["title"]


def test_what_charts_draw_and_readers_choose_are_columns_of_the_query(html: str) -> None:
    for figure in figures_of(html):
        there = {*figure["columns"], *figure["axes"], "part", "count"}
        fields = set(re.findall(r'"field": ?"([^"]+)"', json.dumps(figure["charts"])))
        assert fields <= there, (figure["title"], fields - there)
        assert {*figure["choose"], *figure["axes"].values()} <= set(figure["columns"])


def test_parts_without_data_do_not_appear(workspace: Workspace, html: str, tmp_path: Path) -> None:
    everything = {"run", "failures", "funnel", "scores", "budget", "relations", "training", "comparisons", "documents"}
    everything |= {"repeats", "membership", "tokens"}
    assert everything <= {section["name"] for section in data_of(html)["sections"]}
    made = report(small(f"{tmp_path}/w"), f"{tmp_path}/r.html", ["news"])
    assert {"training", "comparisons", "repeats", "membership", "tokens"}.isdisjoint(made.sections)
    assert {"run", "scores", "documents"} <= made.sections.keys()


def test_the_same_workspace_gives_the_same_bytes(workspace: Workspace, html: str, tmp_path: Path) -> None:
    report(workspace, f"{tmp_path}/again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_the_page_is_small_and_asks_nothing_of_a_network(html: str) -> None:
    assert len(html.encode()) < 5e6
    outside = html.replace("http://www.w3.org/", "")
    markup = re.sub(r"<script.*?</script>", "", outside, flags=re.DOTALL)
    assert "http" not in re.sub(r'<meta http-equiv="Content-Security-Policy"', "", markup)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy[1]
    assert "'unsafe-inline'" not in policy[1].split("style-src")[0]


def test_a_page_that_would_be_too_large_has_shorter_texts(workspace: Workspace, html: str, tmp_path: Path) -> None:
    whole = {row[1]: row[-1] for row in figures_of(html)[-1]["rows"]}
    assert whole["line"] == shortened(HOSTILE["line"])
    size = len(html.encode()) / 1e6
    made = report(workspace, f"{tmp_path}/less.html", largest=size - 0.0015)
    assert made.size < size * 1e6
    less = {row[1]: row[-1] for row in figures_of((tmp_path / "less.html").read_text())[-1]["rows"]}
    assert less.keys() == whole.keys()
    assert 100 <= len(less["line"]) < len(whole["line"])
    with pytest.raises(UserError, match=r"MB; --max-mb 0\.5 is too little"):
        report(workspace, f"{tmp_path}/never.html", largest=0.5)
    assert not (tmp_path / "never.html").exists()


@given(st.text())
def test_no_text_leaves_the_element_that_holds_it(text: str) -> None:
    held = page.embedded({text: [text, 1.5, None]})
    assert not set(held) & set("<>&\u2028\u2029")
    assert json.loads(held) == {text: [text, 1.5, None]}


@given(st.one_of(st.floats(), st.integers(), st.text(), st.binary(), st.lists(st.floats())))
def test_every_value_is_json(value: Any) -> None:
    orjson.dumps(page.plain(value))


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_number_keeps_what_a_float32_has(value: float) -> None:
    held = page.plain(value)
    assert math.isclose(held, value, rel_tol=1e-6, abs_tol=1e-44)


def test_the_intervals_of_comparisons_are_students(html: str) -> None:
    for freedom, quantile in enumerate(QUANTILES, 1):
        assert quantile == pytest.approx(t_quantile(freedom, 0.95), abs=1e-4)
    apart = next(figure for figure in figures_of(html) if figure["title"].startswith("Differences"))
    row = dict(zip(apart["columns"], apart["rows"][0], strict=True))
    assert (row["difference"], row["seeds"]) == ("best - random", 3)
    assert np.allclose([row["mean"], row["low"], row["high"]], -0.1, atol=1e-6)  # the same seeds, the same difference


def test_a_workspace_that_cannot_be_shown_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "cli.main", "report", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stderr

    code, line = told("-w", f"{tmp_path}/none")
    assert (code, line.count("\n")) == (2, 1)
    assert "tamis ingest SRC --corpus NAME" in line
    code, line = told("-w", small(f"{tmp_path}/w").url, "-o", str(tmp_path))
    assert (code, line.count("\n")) == (2, 1)
    assert "expected a file name, found a folder" in line
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"tamis report needs the extra report: pip install 'tamis\[report\]'"):
        report(f"{tmp_path}/w", f"{tmp_path}/r.html")
