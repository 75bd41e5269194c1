"""A config as steps: plan says what would run and why, run does only that, prune removes what no config names."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline import config
from pipeline.errors import ShardsFailed
from pipeline.execute import Pool
from pipeline.ingest import ingest
from pipeline.ingest.sources import InputFile, fingerprints
from pipeline.prune import read_named, remove, unnamed
from pipeline.run import Planned, plan, run
from pipeline.stage import Stage
from pipeline.status import status
from pipeline.views import opened
from pipeline.workspace import Workspace
from tests.workspaces import record

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

REPEATS = """repeats:
  repeats: {window: 5}
selections:
  best: {where: repeats_cover_2 > 0.5}
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
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"id": "z", "text": "a b c"}\n' * 99)[:-9])
    with pytest.raises(ShardsFailed, match=r"cut\.jsonl\.gz"):
        done(folder, workspace, pool)
    assert workspace.store.folders("selections") == []
    assert len(workspace.corpus("web").done) == len(workspace.corpus("web").shards) - 1


def test_an_input_that_changed_before_it_was_split_is_named_though_nothing_can_be_scored(
    folder: Path, workspace: Workspace, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "run.yaml").write_text(CONFIG.replace("[in.jsonl]", "[in.jsonl.gz]"))
    path = folder / "in.jsonl.gz"
    whole = gzip.compress((folder / "in.jsonl").read_bytes())
    path.write_bytes(whole)

    def then_changed(files: list[InputFile], known: Mapping[str, list[Any]]) -> dict[str, str]:
        found = fingerprints(files, known)
        path.write_bytes(whole + whole)
        return found

    with monkeypatch.context() as changing:
        changing.setattr("pipeline.ingest.run.fingerprints", then_changed)
        with pytest.raises(ShardsFailed, match=r"in\.jsonl\.gz was changed while it was read"):
            done(folder, workspace, pool)
    path.write_bytes(whole)
    done(folder, workspace, pool)
    assert workspace.corpus("web").cut


def test_prune_lists_what_no_config_names_and_removes_only_that(folder: Path, workspace: Workspace, pool: Pool) -> None:
    done(folder, workspace, pool)
    old = planned(folder, workspace)["score preselect of web"].folder
    planned(folder, workspace, 'newline: " "', 'newline: ""')
    done(folder, workspace, pool)
    found = unnamed(workspace, [read_named(str(folder / "run.yaml"))])
    assert {item.folder.rsplit("-", 1)[0] for item in found} == {
        "scores/web/preselect",
        "selections/best",
        "exports/best",
    }
    assert old in {item.folder for item in found}
    assert all(item.size > 0 for item in found)
    remove(workspace, found)
    assert unnamed(workspace, [read_named(str(folder / "run.yaml"))]) == []
    assert {s.state for s in plan(config.load(str(folder / "run.yaml")), workspace)} == {"done"}


def test_prune_lists_what_models_were_run_for_and_knows_the_configs_of_trainings(
    folder: Path, workspace: Workspace, tmp_path: Path
) -> None:
    export = str(tmp_path / "exports" / "best")
    made = {
        "losses/web": Stage("losses", "m0", "losses/web", {"sample": "x"}),
        "strengths/web": Stage("strength", "strength", "strengths/web", {}),
        "samples": Stage("sample", "web", "samples", {}),
        "runs": Stage("run", "small", "runs", {"seed": 1}),
        "again": Stage("run", "cmp.best.0", "runs", {"seed": 0}),
        "packs": Stage("pack", "best", "packs", {}, {"paths": [export]}),
        "comparisons": Stage("compare", "cmp", "comparisons", {}),
    }
    for stage in made.values():
        stage.save(workspace.store)
        record(workspace, stage.folder, "part")
    (tmp_path / "train.yaml").write_text("{name: small, data: {paths: [exports/best]}, model: {}}")
    (tmp_path / "cmp.yaml").write_text("{name: cmp, train: {}, selections: {best: {paths: [exports/best]}, other: {}}}")

    def listed(*names: str) -> set[str]:
        found = unnamed(workspace, [read_named(str(tmp_path / name)) for name in names])
        assert all(item.dear and item.size > 0 and item.seconds == 0.5 for item in found)
        return {key for key, stage in made.items() if stage.folder in {item.folder for item in found}}

    assert listed("run.yaml") == set(made)
    assert listed("run.yaml", "train.yaml") == set(made) - {"runs", "packs"}
    assert listed("cmp.yaml") == set(made) - {"again", "packs", "comparisons"}
    command = ["prune", str(tmp_path / "train.yaml"), "-w", workspace.url]
    shown = CliRunner().invoke(app, [*command, "--yes"])
    assert "stays without --dear" in shown.output
    assert listed("train.yaml") == set(made) - {"runs", "packs"}
    shown = CliRunner().invoke(app, [*command, "--yes", "--dear"])
    assert shown.exit_code == 0, shown.output
    assert listed("train.yaml") == set()
    assert workspace.store.folders("losses/web") == workspace.store.folders("ledger/losses/web") == []
    assert workspace.store.exists(made["runs"].folder)


def test_repeats_are_planned_with_their_disk_run_shown_and_pruned(
    folder: Path, workspace: Workspace, pool: Pool
) -> None:
    path = folder / "run.yaml"
    path.write_text(CONFIG[: CONFIG.index("classifiers")] + REPEATS)
    checked = config.load(str(path))
    assert {s.name: s.why for s in plan(checked, workspace)}["repeats"] == ("ingest web",)
    ingest(workspace, "web", checked.corpora["web"], pool)
    (counting,) = [s for s in plan(checked, workspace) if s.kind == "repeats" and s.name == "repeats"]
    assert counting.state == "to do"
    assert "GB of disk while it runs" in counting.why[0]
    run(checked, workspace, pool)
    assert {s.state for s in plan(checked, workspace)} == {"done"}
    assert {s.kind for s in status(workspace).stages} == {"ingest", "score", "repeats", "select"}
    with opened(workspace) as connection:
        kept = connection.sql("SELECT count(*) FROM selection WHERE kept").fetchall()
        spans = connection.sql("SELECT sum(spans) FROM repeat_spectrum WHERE measure = 'documents'").fetchall()
    texts = [orjson.loads(line)["text"] for line in (folder / "in.jsonl").read_bytes().splitlines()]
    assert (kept, spans) == ([(60,)], [(sum(len(text.split()) - 4 for text in texts),)])
    path.write_text(path.read_text().replace("window: 5", "window: 6"))
    (counting, scores, _) = [s for s in plan(config.load(str(path)), workspace) if s.kind in ("repeats", "select")]
    assert (counting.state, scores.state) == ("stale", "stale")
    assert "settings.window: 5 -> 6" in counting.why
    assert {item.folder.split("/")[0] for item in unnamed(workspace, [read_named(str(path))])} == {
        "scores", "repeats", "selections",
    }  # fmt: skip
