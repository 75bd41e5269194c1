"""Counting in another corpus: what a sieve leaves out changes nothing but the disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc
import pytest

from pipeline.execute import Job, Pool, Work
from pipeline.ingest import IngestSettings, ingest
from pipeline.ledger import Row
from pipeline.repeats import SpanSettings, count_repeats
from pipeline.repeats.settings import sieve_bytes
from pipeline.workspace import Workspace
from tests.pipeline.repeats.test_spans import MANUALS, contents, documents, scores, small


@pytest.fixture(scope="module")
def manuals(tmp_path_factory: pytest.TempPathFactory, pool: Pool) -> Workspace:
    """The demo's manuals, and some of their documents as a corpus of their own."""
    workspace = Workspace(str(tmp_path_factory.mktemp("against") / "w"))
    ingest(workspace, "web", IngestSettings(sources=MANUALS, id="id", shard_mb=1), pool)
    texts = documents(workspace, "web").column("text").to_pylist()
    small(workspace, {"a": texts[::40], "b": [f"{texts[1]} and nothing else"]}, "quiz")
    return workspace


def test_a_sieve_changes_no_number_and_spares_the_disk(
    manuals: Workspace, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[str, int]] = []
    run = pool.run

    def watched(jobs: Sequence[Job], work: Work, label: str, unit: str = "shards") -> list[Row]:
        rows = run(jobs, work, label, unit)
        if label.endswith("windows"):
            written[-1] |= {f"{Path(row.stage).name}/{row.shard}": row.size for row in rows}
        return rows

    monkeypatch.setattr(pool, "run", watched)
    found = []
    for most in (sieve_bytes(512 << 20), 0):
        monkeypatch.setattr("pipeline.repeats.run.sieve_bytes", lambda _, most=most: most)
        written.append({})
        chosen = SpanSettings(corpora=["web"], against=["quiz"], window=13)
        result = count_repeats(manuals, "leak", chosen, pool)
        found.append((result, contents(manuals, result["folder"]), scores(manuals, "web", "leak")))
        for folder in (result["folder"], next(f for f in manuals.corpus("web").score_stages() if "leak" in f)):
            for there in (folder, f"ledger/{folder}"):
                manuals.store.remove(there)
    assert found[0] == found[1]
    result, _, table = found[0]
    assert result["totals"]["words_1"] > 0
    assert pc.sum(table.column("leak_words_1")).as_py() == result["totals"]["words_1"]
    sifted, everything = (sum(size for name, size in sizes.items() if name.startswith("web/")) for sizes in written)
    assert sifted < 0.4 * everything
    assert everything > 16 * result["windows"]
