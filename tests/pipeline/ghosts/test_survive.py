"""Survival is measured by a run: what must die dies, what must live lives, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.ghosts.draw import DrawSettings
from pipeline.ghosts.registry import read
from pipeline.ghosts.settings import SurviveSettings
from pipeline.ghosts.survive import shown, survive
from pipeline.ingest import IngestSettings, ingest
from pipeline.workspace import Workspace
from scorers.profiles import FOLLOWS
from tests.registries import drawn

pytestmark = pytest.mark.slow  # three dozen stages

DEMO = Path(__file__).parents[3] / "configs" / "demo" / "data"


@pytest.fixture(scope="module")
def place(tmp_path_factory, pool):
    folder = tmp_path_factory.mktemp("survive")
    workspace = Workspace(f"{folder}/workspace")
    sources = [str(DEMO / "postgresql-docs.jsonl.zst")]
    ingest(workspace, "web", IngestSettings(sources=sources, id="id", held_out=0.1), pool)
    path = f"{folder}/owners.parquet"
    return workspace, drawn(path, DrawSettings(count=10, length=10))


def test_own_lines_die_of_deduplication_and_inline_copies_live(place, pool):
    workspace, registry = place
    settings = SurviveSettings(documents=100, repetitions=10, identifiers=5, places=("paragraph_end", "own_line"))
    found = survive(workspace.corpus("web"), registry, settings, pool)
    shares = {step: {p: kept / of for p, (kept, of) in own.items()} for step, own in found.shares.items()}
    ways = ("paragraph_end", "own_line", "paragraph_end, without carrier", "own_line, without carrier")
    assert found.copies == dict.fromkeys(ways, 50)
    for step in ("nothing", "NFKC"):
        assert shares[step] == dict.fromkeys(ways, 1)
    # Of ten copies on lines of their own one is left.
    assert shares["line dedup"] == dict(zip(ways, (1, 0.1, 1, 0.1), strict=True))
    assert shares["C4 lines"]["own_line"] == 1
    # The carrier's seven words and ten of the phrase are one span of 13 words in every copy, and never one of 50.
    # (A sentence may break up a span that was repeated before; then the difference says less.)
    assert max(shares["spans of 13 words"][way] for way in ways[:2]) < 0.2
    # Ten words alone are no span of 13, unless what stands around them repeats too.
    assert min(shares["spans of 13 words"][way] for way in ways[2:]) > 0.8
    assert min(shares["spans of 50 words"].values()) > 0.8
    assert set(FOLLOWS) <= shares.keys()
    assert min(shares["near-duplicates"].values()) > 0.9
    assert shown(found).count("own_line") == 2
    assert {row["carrier"] for row in found.rows()} == {True, False}
    assert all(row["kept"] <= row["copies"] for row in found.rows())
    assert workspace.store.folders("tmp") == []
    assert set(read(registry.path).repetitions().values()) == {0}


def test_more_copies_than_documents_are_refused_and_nothing_is_left(place, pool):
    workspace, registry = place
    with pytest.raises(UserError, match="allow 5"):
        survive(workspace.corpus("web"), registry, SurviveSettings(documents=100, identifiers=6), pool)
    assert workspace.store.folders("tmp") == []
