"""Status names what is done, what failed and what to do about it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.lock import held
from pipeline.stage import Stage
from pipeline.status import StageStatus, status
from pipeline.workspace import Workspace
from tests.workspaces import add_scores, record, small


def stage(workspace: Workspace, name: str, corpus: str) -> StageStatus:
    (found,) = [s for s in status(workspace).stages if (s.name, s.corpus) == (name, corpus)]
    return found


@pytest.mark.parametrize("url", ["{tmp}/w", "memory://status"])
def test_stages_are_counted(tmp_path: Path, url: str) -> None:
    workspace = small(url.replace("{tmp}", str(tmp_path)))
    web = stage(workspace, "web", "web")
    assert (web.kind, web.total, web.done, web.missing, web.rows, web.rejected) == ("ingest", 3, 3, 0, 30, 2)
    scores = stage(workspace, "preselect", "web")
    assert (scores.total, scores.done, scores.missing, scores.rows) == (3, 2, 0, 20)
    assert scores.failed == {"part-00001-of-00003": "model went away"}
    assert scores.speed == pytest.approx(0.02 / 1.0)  # 2 shards of 10,000 bytes in half a second each
    assert scores.retry == f"tamis score preselect --corpus web -w {workspace.url}"
    assert [s.kind for s in status(workspace).stages] == ["ingest", "ingest", "score", "score", "score", "select"]


def test_shards_that_were_not_tried_are_missing_and_a_later_success_counts(tmp_path: Path) -> None:
    workspace = small(f"{tmp_path}/w")
    failed = stage(workspace, "preselect", "web")
    record(workspace, failed.folder, "part-00001-of-00003", attempt=2, rows_in=10, rows_out=10)
    assert stage(workspace, "preselect", "web").failed == {}
    add_scores(workspace, Stage("ingest", "news", "corpora", {"corpus": "news", "test": 1}), "begun", [])
    begun = stage(workspace, "begun", "news")
    assert (begun.total, begun.done, begun.missing, begun.speed) == (2, 0, 2, None)


def test_the_command_that_goes_on_has_the_settings_of_the_stage(tmp_path: Path) -> None:
    workspace = small(f"{tmp_path}/w")
    made = Stage(
        "score",
        "edu",
        "scores/web",
        {"scorer": "fasttext", "corpus": "x", "settings": {"newline": "", "top": 2, "none": None}, "limit": 1},
        {"models": {"model": "my model.bin"}},
    )
    made.save(workspace.store)
    found = stage(workspace, "edu", "web")
    assert found.retry == (
        "tamis score edu=fasttext --corpus web --set 'edu.newline=\"\"' --set edu.top=2 "
        f"--set 'edu.model=my model.bin' --limit 1 -w {workspace.url}"
    )
    assert found.total == 1


def test_the_holder_of_the_lock_is_named(tmp_path: Path) -> None:
    workspace = Workspace(f"{tmp_path}/w")
    assert status(workspace).holder is None
    with held(workspace.store):
        holder = status(workspace).holder
    assert holder is not None
    assert f"in use by pid {os.getpid()} on " in holder
    assert status(workspace).holder is None


def test_an_empty_workspace_has_no_stages(tmp_path: Path) -> None:
    assert status(Workspace(f"{tmp_path}/none")).stages == []
    assert not (tmp_path / "none").exists()
