"""Near-duplicates as a section of a config: planned, run, found in views, pruned with the rest."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from pipeline import config
from pipeline.errors import UserError
from pipeline.execute import Pool
from pipeline.near import NearAlarm
from pipeline.prune import Named, unnamed
from pipeline.run import plan, run
from pipeline.sql import query
from pipeline.workspace import Workspace

CONFIG = """
corpora:
  web: {sources: [in.jsonl], id: id}
scores:
  - lengths
near:
  near: {keep: chars, alarm_documents: 3}
selections:
  clean: {where: near_kept}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten documents, each with a longer near-duplicate."""
    texts = [" ".join(f"word{i}x{k}" for k in range(40)) for i in range(10)]
    rows = [{"id": f"d{i}", "text": text} for i, text in enumerate(texts)]
    rows += [{"id": f"e{i}", "text": f"{text} and more"} for i, text in enumerate(texts)]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return tmp_path


def loaded(folder: Path, text: str) -> config.Config:
    (folder / "run.yaml").write_text(text)
    return config.load(str(folder / "run.yaml"))


def test_a_run_stops_at_the_alarm_and_goes_on_when_it_is_raised(folder: Path, workspace: Workspace, pool: Pool) -> None:
    steps = {f"{step.kind} {step.name}": step for step in plan(loaded(folder, CONFIG), workspace)}
    assert steps["near near"].why == ("ingest web", "score lengths of web")
    assert steps["select clean"].state == "waits"
    with pytest.raises(NearAlarm, match="would lose 10 of 20 documents"):
        run(loaded(folder, CONFIG.replace("documents: 3", "documents: 3, alarm_source: 0.4")), workspace, pool)
    assert workspace.store.folders("selections") == []
    checked = loaded(folder, CONFIG)
    run(checked, workspace, pool)
    assert {step.state for step in plan(checked, workspace)} == {"done"}
    kept = query(workspace, "SELECT id FROM selection WHERE kept ORDER BY id")
    assert kept.column("id").to_pylist() == [f"e{i}" for i in range(10)]
    assert unnamed(workspace, [Named(None, checked)]) == []
    changed = loaded(folder, CONFIG.replace("keep: chars", "keep: chars, threshold: 0.9"))
    [stale] = [step for step in plan(changed, workspace) if step.kind == "near"]
    assert stale.why[0] == "settings.threshold: 0.8 -> 0.9"
    assert "GB of signatures, which stay" in stale.why[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("keep: chars", "kep: chars", "near.near: kep: unknown key; did you mean 'keep'?"),
        ("keep: chars", "corpora: [wob]", "near.near.corpora: 'wob' is not in this config"),
        ("  near: {", "  lengths: {", "near.lengths: a scorer has that alias"),
    ],
)
def test_mistakes_are_named_with_their_place(folder: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        loaded(folder, CONFIG.replace(old, new))
    assert message in str(raised.value)
