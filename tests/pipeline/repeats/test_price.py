"""The price of a real count, and what is asked of it in vain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import UserError
from pipeline.execute import Pool
from pipeline.repeats import SpanSettings, UnitSettings, count_repeats
from pipeline.repeats.price import price
from pipeline.workspace import Workspace
from scorers.repetition.price import worth
from tests.pipeline.repeats.test_spans import small


@pytest.fixture
def counted(workspace: Workspace, pool: Pool) -> Workspace:
    """100 words that stand four times, and 200 that stand once; 50 apart in another source."""
    four = " ".join(f"four{i}" for i in range(100))
    once = " ".join(f"once{i}" for i in range(200))
    path = Path(workspace.url).parent / "rows.jsonl"
    rows = [{"id": f"a{i}", "text": four, "source": "a"} for i in range(4)]
    rows += [{"id": "b", "text": once, "source": "b"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    from pipeline.ingest import IngestSettings, ingest

    ingest(workspace, "web", IngestSettings(sources=[str(path)], id="id"), pool)
    count_repeats(workspace, "repeats", SpanSettings(), pool)
    return workspace


def test_classes_and_sources_add_up_to_the_corpus(counted: Workspace) -> None:
    report = price(counted, None, 1e9, epochs=2.0)
    assert report["words"] == 600
    assert report["training_tokens"] == pytest.approx(600 * 1.3 * 2)
    assert report["excess"] == pytest.approx(0.5)
    assert report["mass"] == {2: pytest.approx(2 / 3), 10: 0, 100: 0, 1000: 0}
    classes = {one["from"]: one for one in report["classes"]}
    assert (classes[1]["words"], classes[3]["words"], classes[3]["distinct"]) == (200, 400, 100)
    found = next(one for one in report["figures"] if one["name"] == "worth as words seen once")
    assert found["value"] == pytest.approx(200 * worth(2) + 100 * worth(8))
    sources = {one["source"]: one for one in report["sources"]}
    assert sources["a"]["excess"] == pytest.approx(0.75)
    assert sources["b"]["repeated"] == 0
    assert sum(one["words"] for one in report["sources"]) == sum(one["words"] for one in report["classes"]) == 600


def test_tokens_of_a_training_become_epochs(counted: Workspace) -> None:
    report = price(counted, "repeats", 1e9, tokens=600 * 2 * 12.0, tokens_per_word=2)
    assert report["epochs"] == pytest.approx(12)
    # Four copies in twelve epochs: seen 48 times, within 38 to 1613.
    assert next(one for one in report["figures"] if "band" in one["name"])["value"] == pytest.approx(2 / 3)
    assert report["level"] == "alarm"


def test_a_count_without_coverage_has_no_price(counted: Workspace, pool: Pool) -> None:
    count_repeats(counted, "some", SpanSettings(sample=0.5), pool)
    count_repeats(counted, "units", UnitSettings(), pool)
    small(counted, {"a": ["text of a kind"]}, "old")
    count_repeats(counted, "against", SpanSettings(corpora=["web"], against=["old"]), pool)
    for name in ("some", "units"):
        with pytest.raises(UserError, match=f"{name!r}.*there: repeats; a sample or a count of units has none"):
            price(counted, name, 1e9, epochs=1.0)
    with pytest.raises(UserError, match="against other corpora"):
        price(counted, "against", 1e9, epochs=1.0)
    assert price(counted, None, 1e9, epochs=1.0)["count"] == "repeats"


def test_the_command_marks_what_is_extrapolated_and_that_newer_work_disagrees(counted: Workspace) -> None:
    run = CliRunner().invoke(app, ["price", "--params", "7B", "-w", counted.url])
    assert run.exit_code == 0, run.output
    assert "EXTRAPOLATED: 7e+09 parameters lie outside" in run.stdout
    assert "arXiv 2606.24998 (2026) disagrees" in run.stdout
    assert [line.split("  ")[0] for line in run.stdout.splitlines() if line[:1].isdigit()] == [
        "1", "2", "3 to 4", "5 to 9", "10 to 99", "100 to 999", "1,000 and more",
    ]  # fmt: skip
    shown = CliRunner().invoke(app, ["price", "--params", "7B", "-w", counted.url, "--json"])
    assert json.loads(shown.stdout)["parameters"] == 7e9


def test_wrong_words_are_answered_with_what_was_expected(workspace: Workspace) -> None:
    small(workspace, {"a": ["text"]})
    for words, message in (
        (["--params", "big"], "expected a number such as 7B"),
        (["--params", "1B", "--epochs", "2", "--tokens", "1B"], "say the same thing twice"),
        (["--params", "1B", "--epochs", "-1"], "expected a number above 0"),
        (["--params", "1B"], "none yet; `tamis repeats spans` makes one"),
    ):
        run = CliRunner().invoke(app, ["price", *words, "-w", workspace.url])
        assert message in str(run.exception)
        assert isinstance(run.exception, ValueError)
