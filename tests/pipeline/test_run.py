"""A config as steps: plan says what would run and why, run does only that, prune removes what no config names."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from pipeline import config
from pipeline.errors import ShardsFailed
from pipeline.execute import Pool
from pipeline.prune import remove, unnamed
from pipeline.run import Planned, plan, run
from pipeline.workspace import Workspace

CONFIG = """
corpora:
  web: {sources: [in.jsonl], id: id, shard_mb: 0.002}
classifiers:
  quality: {rows: [labelled.jsonl], dim: 2, bucket: 100, epoch: 1}
scores:
  - lengths
  - {scorer: preselect, model: quality, newline: " "}
selections:
  best: {by: preselect_score, budget: 50% chars}
exports:
  best: {selection: best, format: jsonl}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A config with its files."""
    rows = [{"id": f"d{i}", "text": f"Document {i} says {'good' if i % 3 else 'bad'} things. " * 3} for i in range(60)]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    labelled = [{"label": str(i % 2), "text": f"{'good' if i % 2 else 'bad'} things {i}"} for i in range(20)]
    (tmp_path / "labelled.jsonl").write_bytes(b"\n".join(map(orjson.dumps, labelled)))
    (tmp_path / "run.yaml").write_text(CONFIG)
    return tmp_path


def planned(folder: Path, workspace: Workspace, old: str = "", new: str = "") -> dict[str, Planned]:
    (folder / "run.yaml").write_text(CONFIG.replace(old, new) if old else CONFIG)
    return {f"{s.kind} {s.name}": s for s in plan(config.load(str(folder / "run.yaml")), workspace)}


def done(folder: Path, workspace: Workspace, pool: Pool) -> None:
    run(config.load(str(folder / "run.yaml")), workspace, pool)


def test_a_plan_of_an_empty_workspace_starts_nothing(folder: Path, workspace: Workspace) -> None:
    steps = planned(folder, workspace)
    assert steps["ingest web"].state == "to do"
    assert steps["score lengths of web"].why == ("ingest web",)
    assert steps["score preselect of web"].why == ("ingest web", "train quality")
    assert not Path(workspace.url).exists()


def test_a_run_does_every_step_and_then_there_is_nothing_left(folder: Path, workspace: Workspace, pool: Pool) -> None:
    done(folder, workspace, pool)
    assert {step.state for step in planned(folder, workspace).values()} == {"done"}
    before = {f: f.stat().st_mtime_ns for f in Path(workspace.url).rglob("*") if f.is_file()}
    done(folder, workspace, pool)
    assert {f: f.stat().st_mtime_ns for f in Path(workspace.url).rglob("*") if f.is_file()} == before


@pytest.mark.parametrize(
    ("old", "new", "step", "why"),
    [
        ('newline: " "', 'newline: ""', "score preselect of web", 'settings.newline: " " -> ""'),
        ("50% chars", "40% chars", "select best", 'settings.budget: "50% chars" -> "40% chars"'),
        ("epoch: 1", "epoch: 2", "train quality", "settings.epoch: 1 -> 2"),
        ("format: jsonl", "format: parquet", "export best", 'settings.format: "jsonl" -> "parquet"'),
        ("id: id,", "id: id, seed: 3,", "ingest web", "settings.seed: 0 -> 3"),
    ],
)
def test_a_changed_setting_makes_its_step_stale_and_is_named(
    folder: Path, workspace: Workspace, pool: Pool, old: str, new: str, step: str, why: str
) -> None:
    done(folder, workspace, pool)
    steps = planned(folder, workspace, old, new)
    assert steps[step].state == "stale"
    assert why in steps[step].why
    later = list(steps)[list(steps).index(step) + 1 :]
    dependent = [s for s in later if steps[s].state != "done"]
    assert "export best" in [step, *dependent]


def test_a_changed_source_is_named(folder: Path, workspace: Workspace, pool: Pool) -> None:
    done(folder, workspace, pool)
    with (folder / "in.jsonl").open("ab") as file:
        file.write(b'\n{"id": "new", "text": "one more"}')
    step = planned(folder, workspace)["ingest web"]
    assert step.state == "stale"
    assert any("in.jsonl" in why or "sources" in why for why in step.why)


def test_a_failed_shard_is_planned_again_with_its_error(folder: Path, workspace: Workspace, pool: Pool) -> None:
    done(folder, workspace, pool)
    shard = workspace.corpus("web").shards[1]
    path = Path(workspace.store.path(workspace.corpus("web").file(shard)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    steps = planned(folder, workspace)
    assert steps["ingest web"].done == steps["ingest web"].total - 1
    assert "gone or cut short" in steps["ingest web"].why[0]
    done(folder, workspace, pool)
    assert path.read_bytes() == whole
    assert {step.state for step in planned(folder, workspace).values()} == {"done"}


def test_failed_shards_stop_the_run_before_it_selects(
    folder: Path, workspace: Workspace, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "run.yaml").write_text(CONFIG.replace("[in.jsonl]", "[in.jsonl, cut.jsonl.gz]"))
    import gzip

    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"id": "z", "text": "a b c"}\n' * 99)[:-9])
    with pytest.raises(ShardsFailed, match=r"cut\.jsonl\.gz"):
        done(folder, workspace, pool)
    assert workspace.store.folders("selections") == []
    assert len(workspace.corpus("web").done) == len(workspace.corpus("web").shards) - 1


def test_prune_lists_what_no_config_names_and_removes_only_that(folder: Path, workspace: Workspace, pool: Pool) -> None:
    done(folder, workspace, pool)
    old = planned(folder, workspace)["score preselect of web"].folder
    planned(folder, workspace, 'newline: " "', 'newline: ""')
    done(folder, workspace, pool)
    found = unnamed(workspace, [config.load(str(folder / "run.yaml"))])
    assert {item.folder.rsplit("-", 1)[0] for item in found} == {
        "scores/web/preselect",
        "selections/best",
        "exports/best",
    }
    assert old in {item.folder for item in found}
    assert all(item.size > 0 for item in found)
    remove(workspace, found)
    assert unnamed(workspace, [config.load(str(folder / "run.yaml"))]) == []
    assert {s.state for s in plan(config.load(str(folder / "run.yaml")), workspace)} == {"done"}
