"""What a search says it will take, against what it took."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import zstandard

from pipeline.execute import Pool
from pipeline.near import NearSettings, near, search, takes
from pipeline.near.plan import disk_bytes
from pipeline.workspace import Workspace
from tests.pipeline.repeats.test_spans import MANUALS, small

TEXTS = [orjson.loads(line)["text"] for line in zstandard.open(MANUALS[0], "rb").read().splitlines()]
WIDE = {"alarm_cluster": 1.0, "alarm_source": 1.0}


def size(workspace: Workspace, folder: str) -> int:
    return sum(path.stat().st_size for path in Path(workspace.store.path(folder)).rglob("*") if path.is_file())


def test_the_disk_of_a_search_is_known_before_it_runs(
    workspace: Workspace, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each manual twice: the case that is estimated.
    for name in ("one", "two"):
        small(workspace, {"python": TEXTS[:50], "docs": TEXTS[50:80]}, name)
    settings = NearSettings(corpora=["one", "two"], **WIDE)
    found = search(workspace, "near", settings)
    signatures, work = disk_bytes(found, settings)
    assert f"{signatures / 1e9:.2f} GB of signatures" in takes(found, settings)
    monkeypatch.setattr("pipeline.near.run.remove_work", lambda *_: None)
    near(workspace, "near", settings, pool)
    assert size(workspace, "signatures") <= signatures * 1.02
    assert size(workspace, "signatures") >= signatures * 0.9
    assert work * 0.7 <= size(workspace, found.work.folder) <= work
