"""Parts that came later stand on the page where there is something of theirs, and say what the commands say."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vl_convert")

from pipeline.membership.power import expected_power
from pipeline.preselect.weights import domain_weights
from pipeline.repeats.price import price
from pipeline.report import report
from pipeline.report.parts.labels import KEEP
from pipeline.report.parts.price import PARAMETERS
from pipeline.shards import read_narrow
from pipeline.tokens.show import DROPPED, KEPT, PROMPT, views
from pipeline.workspace import Workspace
from tests.pipeline.report.chats import TALKS
from tests.pipeline.report.rich import rich
from tests.pipeline.report.test_report import answers, data_of


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = tmp_path_factory.mktemp("rich")
    return rich(f"{place}/w", place / "tokenizer")


@pytest.fixture(scope="module")
def sections(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("page") / "report.html"
    report(workspace, str(out))
    return {one["name"]: one for one in data_of(out.read_text(encoding="utf-8"))["sections"]}


def figure(sections: dict[str, Any], part: str, title: str) -> dict[str, Any]:
    return next(one for one in sections[part]["figures"] if one["title"] == title)


def records(figure: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(figure["columns"], row, strict=True)) for row in figure["rows"]]


def test_every_figure_of_every_part_is_the_answer_to_the_query_beside_it(
    workspace: Workspace, sections: dict[str, Any]
) -> None:
    wanted = {"near": 4, "labels": 4, "repeats": 6, "membership": 5, "tokens": 3}
    assert {name: len(sections[name]["figures"]) for name in wanted} == wanted
    for one, rows in answers(workspace, [one for section in sections.values() for one in section["figures"]]):
        assert one["rows"] == rows, one["title"]


def test_what_charts_of_these_parts_draw_are_columns_of_their_query(sections: dict[str, Any]) -> None:
    for name in ("near", "labels", "repeats", "membership", "tokens"):
        for one in sections[name]["figures"]:
            fields = set(re.findall(r"'field': '([^']+)'", str(one["charts"])))
            assert fields <= {*one["columns"], *one["axes"]}, one["title"]


def test_tokens_are_those_that_the_selection_keeps_in_the_text_that_was_read(
    workspace: Workspace, sections: dict[str, Any]
) -> None:
    found = figure(sections, "tokens", "Tokens in their text")
    shown = dict(zip([row["id"] for row in records(found)], found["pieces"], strict=True))
    real = [row for row in records(found) if row["corpus"] == "chat"]
    assert len(real) == 6
    for row in real:
        (view,) = views(workspace, "chat", "sstoken", [row["id"]])
        assert [tuple(piece) for piece in shown[row["id"]]] == view.pieces
        assert (row["kept"], row["response tokens"]) == (view.kept, view.tokens)
        assert 0 < row["kept"] < row["response tokens"]
        words = "".join(piece for piece, _ in view.pieces)
        assert all(said in words for said in TALKS[row["id"]])
        assert {kind for _, kind in view.pieces} == {PROMPT, KEPT, DROPPED}


def test_the_price_on_the_page_is_that_of_the_command(workspace: Workspace, sections: dict[str, Any]) -> None:
    for epochs in (1, 4):
        for name, parameters in PARAMETERS.items():
            said = price(workspace, "priced", parameters, epochs=epochs)
            worths = records(figure(sections, "repeats", "What a training word is worth"))
            [worth] = [one for one in worths if (one["repeats"], one["epochs"]) == ("priced", epochs)]
            bands = records(figure(sections, "repeats", "Words in the damage band"))
            [band] = [one for one in bands if (one["repeats"], one["epochs"], one["model"]) == ("priced", epochs, name)]
            by_name = {one["name"]: one["value"] for one in said["figures"]}
            assert worth["worth of a word"] == pytest.approx(by_name["worth of a training word"], rel=1e-6)
            assert worth["later copies"] == pytest.approx(said["excess"], rel=1e-6)
            assert band["share of the words"] == pytest.approx(by_name["share in the damage band"], rel=1e-6)
            assert [band["from times seen"], band["to times seen"]] == pytest.approx(said["band"], rel=1e-6)
    assert "leak" not in {one["repeats"] for one in worths}  # a count against another corpus has no price


def test_weights_of_domains_on_the_page_are_those_of_the_command(
    workspace: Workspace, sections: dict[str, Any]
) -> None:
    folder = next(iter(workspace.stages("strengths/web")))
    said = domain_weights(read_narrow(workspace.store, f"{folder}/part-0.parquet"), "judge", KEEP).to_pylist()
    found = records(figure(sections, "labels", "Weights of domains"))
    assert [one["domain"] for one in found] == [one["domain"] for one in said]
    for column, name in (("weight", "linear"), ("most that it can be", "cap"), ("estimate", "estimate")):
        assert np.allclose([one[column] for one in found], [one[name] for one in said], rtol=1e-6)


def test_near_duplicates_stand_beside_what_is_kept(sections: dict[str, Any]) -> None:
    pairs = records(figure(sections, "near", "Pairs to read"))
    assert 6 <= len(pairs) <= 12
    assert all(one["id"] == f"{one['its id']} again"[:200] for one in pairs)
    assert all(one["near-duplicate"] == one["kept document"] for one in pairs)
    lost = records(figure(sections, "near", "What a removal would take"))
    assert sum(one["near-duplicates"] for one in lost) == 8


def test_found_shares_have_wilsons_intervals(sections: dict[str, Any]) -> None:
    from scorers.membership.effect import share_interval

    found = records(figure(sections, "membership", "Found, by copies"))
    assert {one["copies"] for one in found} == {1, 2, 4, 8}
    for one in found:
        assert (one["low"], one["high"]) == pytest.approx(share_interval(one["found"], one["identifiers"]), abs=1e-6)


def test_power_is_planning_s_and_unknown_without_copies() -> None:
    alone = [expected_power([copies], "mean_nll", 0.005, 999) for copies in (1, 2, 5, 10)]
    assert alone == sorted(alone)
    together = expected_power([5, 5, 5, 5], "mean_nll", 0.005, 999)
    assert alone[2] < together < 1
    assert expected_power([5], "ratio_nll", 0.005, 999) > alone[2]
    assert expected_power([5, None], "mean_nll", 0.005, 999) is None
    assert expected_power([0], "mean_nll", 0.005, 999) is None
    assert expected_power([10], "mean_nll", 0.0005, 999) == 0.0  # so few draws cannot reach it


def test_text_of_these_parts_that_means_harm_is_data(workspace: Workspace, tmp_path: Path) -> None:
    report(workspace, f"{tmp_path}/r.html")
    whole = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert whole.lower().count("<script") == 3
    assert "<img" not in html.unescape(re.sub(r"<script.*?</script>", "", whole, flags=re.DOTALL))
