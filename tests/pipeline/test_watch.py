"""A view that stays tells what is new, and how long is left, without reading the ledger again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console

from cli.watch import drawn, watch
from pipeline import ledger
from pipeline.status import status
from pipeline.storage import Store
from pipeline.watch import Watch
from pipeline.workspace import Workspace, shard_name
from tests.workspaces import record, small


def test_the_time_left_follows_the_pace(tmp_path: Path) -> None:
    workspace = small(f"{tmp_path}/w")
    (folder,) = [s.folder for s in status(workspace).stages if s.name == "lengths"]
    workspace.store.remove(ledger.folder(folder))
    looks = Watch(workspace.url)
    assert looks.look(0.0).left == {}
    record(workspace, folder, shard_name(0, 3), rows_in=10, rows_out=10)
    view = looks.look(10.0)
    assert view.left == {folder: pytest.approx(20.0)}  # one shard in ten seconds, two are left
    assert view.status.stages == status(workspace).stages
    assert looks.look(1000.0).left == {}  # a stage that stands still has no end


def test_files_of_the_ledger_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = small(f"{tmp_path}/w")
    read: list[str] = []
    inner = Store.read_bytes
    monkeypatch.setattr(Store, "read_bytes", lambda self, name: read.append(name) or inner(self, name))
    looks = Watch(workspace.url)
    looks.look()
    assert any(name.startswith("ledger/") for name in read)
    read.clear()
    again = looks.look()
    assert not [name for name in read if name.startswith("ledger/")]
    assert again.status.stages == status(workspace).stages


def test_the_view_names_stages_failures_and_what_to_do_in_80_columns(tmp_path: Path) -> None:
    workspace = small(f"{tmp_path}/w")
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(drawn(Watch(workspace.url).look()))
    shown = console.export_text()
    assert re.search(r"score +preselect-\w+ +web +2/3 +1 +0 +20 ", shown)
    assert "model went away" in shown
    assert "tamis score preselect --corpus web" in " ".join(shown.split())


def test_without_a_terminal_it_prints_the_table_and_ends_with_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch(small(f"{tmp_path}/w").url, 0.1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["stage", "name", "corpus", "done"]
    assert lines[-1] == "no run holds the workspace"
    watch(Workspace(f"{tmp_path}/none").url, 0.1)
    expected = f"nothing in {tmp_path}/none yet; `tamis ingest SRC --corpus NAME` makes a corpus\n"
    assert capsys.readouterr().out == expected
