"""What the README and the docs show, runs; what does not run here says so. Run by `make docs`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.nav import on_config
from tests.docs.pages import ROOT, Page, pages
from tests.workspaces import small

pytestmark = pytest.mark.docs
PAGES = pages()
RUN = [page for page in PAGES if any(fence.mark == "run" for fence in page.fences)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_run_by_a_test_or_says_that_it_was_not(page: Page) -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    for fence in page.fences:
        if not fence.is_command:
            continue
        if fence.mark.startswith("run by "):
            by = fence.mark.removeprefix("run by ")
            assert (ROOT / by).exists(), f"{page.name}: {fence.mark}: no such file"
            if by == ".ci/run":
                for target in re.findall(r"^make ([a-z-]+)", fence.code, re.MULTILINE):
                    # The README's demo is filled in by running it, and a test runs its config.
                    assert f"make {target}" in ci or target == "demo", f"{page.name}: make {target} is not in .ci/run"
        else:
            marked = fence.mark in ("run", "demo", "cookbook") or fence.mark.startswith("file: ")
            assert marked or fence.says_not_run, f"{page.name}: run or 'not run'?\n{fence.code}"


def test_every_command_of_tamis_stands_in_the_docs() -> None:
    from cli.main import app

    shown = "\n".join(page.text for page in PAGES)
    names = [command.name or "" for command in app.registered_commands]
    names += [group.name or "" for group in app.registered_groups]
    assert len(names) > 12
    assert [name for name in names if f"tamis {name}" not in shown] == []


def test_every_view_stands_in_the_cookbook_with_its_columns(tmp_path: Path) -> None:
    from pipeline.views import FIXED, opened

    page = (ROOT / "docs" / "cookbook.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|", page, re.MULTILINE)
    shown = {name: re.findall(r"`(\w+)`", columns) for name, columns in rows}
    assert [name for name in FIXED if name not in shown] == []
    assert [name for name in shown if name not in FIXED] == []
    with opened(small(f"{tmp_path}/w")) as connection:
        for name in FIXED:
            there = [row[0] for row in connection.sql(f'DESCRIBE "{name}"').fetchall()]
            if name in ("documents", "scored"):  # what an input and its scores bring comes on top
                assert set(shown[name]) <= set(there), name
            elif name == "selection":  # the small workspace's was made without a score to rank by
                assert set(shown[name]) == {*there, "rank_score"}, name
            else:
                assert shown[name] == there, name


def test_every_page_of_a_scorer_says_what_is_to_be_said() -> None:
    from scorers import SCORERS

    pages = {"profile": "profiles.md", "ghosts": "ghosts.md"}
    for name in SCORERS:
        text = (ROOT / "docs" / pages.get(name, f"scorers/{name}.md")).read_text().lower()
        # lengths measures nobody's formula; a profile's sources are the tools.
        wanted = ("| column |", "cost", "limits", *(["arxiv.org/abs"] if name not in ("lengths", "profile") else []))
        assert [word for word in wanted if word not in text] == [], name


def test_every_scorer_stands_in_the_list_of_scorers() -> None:
    from scorers import SCORERS

    index = (ROOT / "docs" / "scorers" / "index.md").read_text()
    assert [name for name in SCORERS if f"| `{name}` |" not in index] == []


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    config = on_config({"docs_dir": ROOT / "docs", "nav": [{"named": name} for name in sorted(listed)]})
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r"[\w/.-]+\.md", str(config["nav"]))) == there


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_in_order(page: Page, tmp_path: Path) -> None:
    tools = tmp_path / ".bin"
    tools.mkdir()
    for name, module in (("tamis", f"{sys.executable} -m cli.main"), ("python", sys.executable)):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec {module} "$@"\n')
        tool.chmod(0o755)
    inherited = {key: value for key, value in os.environ.items() if key != "TAMIS_WORKSPACE"}
    environment = inherited | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "ROOT": str(ROOT),
        "COLUMNS": "120",
    }

    def shell(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    for name, path in page.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / name)
    for command in page.values("prepare"):
        done = shell(command)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    for fence in page.fences:
        if fence.mark.startswith("file: "):
            path = tmp_path / fence.mark.removeprefix("file: ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fence.code)
        elif fence.mark == "run":
            done = shell(fence.code)
            assert done.returncode == 0, f"{page.name}:\n{fence.code}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
