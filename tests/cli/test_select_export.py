"""select, export and import-scores as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.workspace import Workspace
from tests.pipeline.select.reference import Document, write
from tests.workspaces import small


def tamis(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One corpus of 40 documents, 10 tokens each."""
    url = str(tmp_path_factory.mktemp("cli") / "w")
    documents = [Document("web", f"d{i}", ["wiki", "blog"][i % 2], i / 40, 10) for i in range(40)]
    write(Workspace(url), documents, 2)
    return url


def test_select_then_export_prints_data_on_stdout_and_the_rest_on_stderr(workspace: str, tmp_path: Path) -> None:
    select = ["select", "best", "-w", workspace, "--by", "quality", "--budget", "25% tokens", "--cap", "wiki=40 tokens"]
    cut = tamis(*select, "--workers", "1", "--format", "json")
    assert cut.returncode == 0, cut.stderr
    result = json.loads(cut.stdout)
    assert result["budget"] == 100
    assert [c["kept"] for c in result["cuts"]] == [40, 100]
    shown = tamis(*select)
    assert shown.returncode == 0
    assert shown.stdout == ""
    assert "nothing to do" in shown.stderr
    assert "budget: kept 100 of 100 tokens; last score in" in shown.stderr
    assert "source_cap 16" in " ".join(shown.stderr.split())
    made = tamis("export", "best", "-w", workspace, "--format", "hf", "--out", f"{tmp_path}/out", "--score", "quality",
                 "--license", "cc0-1.0", "--workers", "1")  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == f"{tmp_path}/out"
    assert "train: 10 documents" in made.stderr
    assert pq.read_table(f"{tmp_path}/out/data/train-00000-of-00001.parquet").num_rows == 10
    assert "license: cc0-1.0" in (tmp_path / "out" / "README.md").read_text()


def test_import_scores_says_what_matched(workspace: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,grade\nd1,5\nd2,6\nnobody,7\n")
    done = tamis("import-scores", f"{tmp_path}/t.csv", "--corpus", "web", "--alias", "judge", "-w", workspace)
    assert done.returncode == 0, done.stderr
    assert "2 of 40 documents have a row, 38 get NULL; 1 rows name no document of the corpus" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["select", "x", "--budget", "2B"], "select: budget: expected a number with K, M, B, T or %"),
        (["select", "x", "--budget", "5 documents"], "needs a ranking"),
        (["select", "x", "--by", "qualty"], "did you mean 'quality'"),
        (["select", "x", "--cap", "wiki"], "expected SOURCE=VALUE"),
        (["export", "nope"], "no selection 'nope'"),
        (["import-scores", "nowhere.csv", "--corpus", "web", "--alias", "j"], "no such file or folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(workspace: str, arguments: list[str], message: str) -> None:
    done = tamis(*arguments, "-w", workspace)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_scores_end_with_2_unless_they_are_allowed(tmp_path: Path) -> None:
    small(f"{tmp_path}/w")
    select = ["select", "x", "-w", f"{tmp_path}/w", "--corpus", "web", "--by", "preselect_score", "--workers", "1"]
    refused = tamis(*select)
    assert refused.returncode == 2
    assert "part-00001-of-00003 failed: model went away" in refused.stderr
    allowed = tamis(*select, "--allow-missing")
    assert allowed.returncode == 0, allowed.stderr
    assert "missing: 1 shards of scores/web/preselect-" in allowed.stderr
