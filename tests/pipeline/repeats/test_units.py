"""Exact duplicates of documents, paragraphs, lines and sentences, end to end on real workers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from pipeline.execute import Pool
from pipeline.repeats import UnitSettings, count_repeats
from pipeline.views import opened
from pipeline.workspace import Workspace
from tests.pipeline.repeats.test_spans import MANUALS, documents, scores, small, table

SPLITS: dict[str, Callable[[str], list[str]]] = {
    "line": lambda text: text.split("\n"),
    "para": lambda text: re.split(r"\n\s*\n", text),
}


def test_lines_and_paragraphs_are_those_of_a_counter_on_real_text(
    tmp_path_factory: pytest.TempPathFactory, pool: Pool
) -> None:
    from pipeline.ingest import IngestSettings, ingest

    workspace = Workspace(str(tmp_path_factory.mktemp("units") / "w"))
    ingest(workspace, "manuals", IngestSettings(sources=MANUALS, id="id", shard_mb=1), pool)
    result = count_repeats(workspace, "units", UnitSettings(), pool)
    texts = documents(workspace, "manuals").column("text").to_pylist()
    found = scores(workspace, "manuals", "units").to_pydict()
    for short, split in SPLITS.items():
        units = [[" ".join(unit.split()) for unit in split(text) if unit.strip()] for text in texts]
        counts = Counter(unit for some in units for unit in some)
        seen: set[str] = set()
        assert found[f"units_{short}s"] == [len(some) for some in units]
        for row, some in enumerate(units):
            repeated = [counts[unit] > 1 for unit in some]
            later = [unit in seen or bool(seen.add(unit)) for unit in some]  # type: ignore[func-returns-value]
            assert found[f"units_{short}_mass"][row] == pytest.approx(sum(repeated) / len(some))
            assert found[f"units_{short}_excess"][row] == pytest.approx(sum(later) / len(some))
        kind = {"line": "line", "para": "paragraph"}[short]
        assert result["totals"][kind]["units"] == sum(counts.values())
        assert result["totals"][kind]["later"] == sum(counts.values()) - len(counts)
        rows = table(workspace, f"{result['folder']}/unit_counts.parquet").to_pylist()
        assert {r["multiplicity"]: r["distinct"] for r in rows if r["kind"] == kind} == Counter(counts.values())
    with opened(workspace) as connection:
        query = (
            "SELECT text, occurrences FROM repeat_spans WHERE kind = 'line' AND ranking = 'most' ORDER BY rank LIMIT 1"
        )
        ((text, times),) = connection.sql(query).fetchall()
        (units_in_sql,) = connection.sql("SELECT sum(units) FROM repeat_units WHERE kind = 'line'").fetchall()[0]
    lines = Counter(" ".join(line.split()) for text in texts for line in text.split("\n") if line.strip())
    assert lines[" ".join(text.split())] == times == max(lines.values())
    assert units_in_sql == sum(lines.values())


def test_whole_documents_are_told_from_their_copies(workspace: Workspace, pool: Pool) -> None:
    small(workspace, {"a": ["One text.\nTwo.", "else", ""], "b": ["One  text. \n Two.", "one text.\nTwo."]})
    count_repeats(workspace, "units", UnitSettings(kinds=("document",)), pool)
    found = scores(workspace, "web", "units").to_pydict()
    assert found["units_copies"] == [2, 1, None, 2, 1]
    assert found["units_later"] == [False, False, None, True, False]
    assert set(found) == {"id", "units_copies", "units_later"}


def test_units_of_another_corpus_are_found(workspace: Workspace, pool: Pool) -> None:
    small(workspace, {"a": ["A line.\nA second line here.", "Nothing."]}, "web")
    small(workspace, {"a": ["A second line here.\nMore.", "Nothing.", "Nothing."]}, "old")
    result = count_repeats(workspace, "old", UnitSettings(corpora=["web"], against=["old"]), pool)
    found = scores(workspace, "web", "old").to_pydict()
    assert found["old_copies"] == [0, 2]
    assert found["old_line_mass"] == [0.5, 1.0]
    assert found["old_line_mass_chars"][0] == pytest.approx(19 / 26)
    assert "old_line_excess" not in found
    sums = {"units": 3, "repeated": 2, "later": 0, "chars": 34, "repeated_chars": 27, "later_chars": 0}
    assert result["totals"]["line"] == sums
    assert pq.read_table(workspace.store.path(f"{result['folder']}/units.parquet")).num_rows == 4


def test_units_of_few_words_may_be_left_out(workspace: Workspace, pool: Pool) -> None:
    small(workspace, {"a": ["yes\nno\nthis is long", "yes\nthis is long"]})
    result = count_repeats(workspace, "units", UnitSettings(kinds=("line",), least_words=2), pool)
    assert result["totals"]["line"]["units"] == 2
