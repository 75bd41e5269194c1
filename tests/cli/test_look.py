"""`tamis sql`, `stats` and `status` as a user calls them: what is on stdout, what on stderr, and the exit code."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.workspaces import small


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small(f"{tmp_path_factory.mktemp('look')}/w").url


def tamis(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, input=(stdin or "").encode(), capture_output=True, timeout=120, check=False)


def test_sql_writes_data_to_stdout_and_nothing_else(workspace: str) -> None:
    text = "SELECT id, tokens FROM scored WHERE corpus = 'web' ORDER BY id LIMIT 2"
    done = tamis("sql", text, "-w", workspace, "--format", "csv")
    assert (done.returncode, done.stdout, done.stderr) == (0, b'"id","tokens"\n"w00",10\n"w01",20\n', b"")
    done = tamis("sql", "-", "-w", workspace, "--format", "parquet", stdin=text)
    assert (done.returncode, done.stderr) == (0, b"")
    assert pq.read_table(io.BytesIO(done.stdout)).column("tokens").to_pylist() == [10, 20]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COPY (SELECT 1) TO 'out.csv'", "tamis: SQL: COPY is not allowed: the workspace is read-only"),
        ("SELECT * FROM read_text('/etc/passwd')", "tamis: SQL: only the workspace's own views can be read"),
        ("SELECT preselect FROM scored", "tamis: SQL: there is no column 'preselect'; did you mean 'preselect_"),
        ("SELECT 1; SELECT 2", "tamis: SQL: expected one statement, got 2 statements"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_2(workspace: str, text: str, message: str) -> None:
    done = tamis("sql", text, "-w", workspace)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(message)
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_goes_away_is_no_error(workspace: str) -> None:
    command = f"{sys.executable} -m cli.main sql 'SELECT range FROM range(1000000)' -w {workspace} --format json"
    shell = ["bash", "-c", f"set -o pipefail; {command} | head -n 1"]
    done = subprocess.run(shell, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"range":0}\n', b"")


def test_stats_tell_what_a_threshold_cuts(workspace: str) -> None:
    options = ["-c", "preselect_score", "--threshold", "0.5", "--by", "source", "--corpus", "web", "--format", "json"]
    done = tamis("stats", "-w", workspace, *options)
    assert done.returncode == 0, done.stderr
    assert {row["source"]: row["tokens_cut"] for row in map(json.loads, done.stdout.splitlines())} == {
        "blog": 180,
        "wiki": 120,
    }


def test_status_names_failures_and_how_to_go_on(workspace: str) -> None:
    done = tamis("status", "-w", workspace)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert any(line.startswith("failed: scores/web/preselect-") and "model went away" in line for line in lines)
    assert lines[-1].endswith(f"tamis score preselect --corpus web -w {workspace}")
    rows = [json.loads(line) for line in tamis("status", "-w", workspace, "--json").stdout.splitlines()]
    assert [(row["name"], row["corpus"], row["missing"]) for row in rows][:2] == [
        ("news", "news", 0),
        ("web", "web", 0),
    ]


def test_an_empty_workspace_says_how_to_begin(tmp_path: Path) -> None:
    done = tamis("status", "-w", f"{tmp_path}/none")
    assert done.returncode == 0
    assert b"tamis ingest SRC --corpus NAME" in done.stdout


def test_a_watched_workspace_without_a_run_is_shown_once_and_an_empty_one_says_how_to_begin(
    workspace: str, tmp_path: Path
) -> None:
    done = tamis("status", "--watch", "-w", workspace)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(tamis("status", "-w", workspace).stdout.splitlines()[0])
    assert done.stdout.decode().rstrip().endswith("no run holds the workspace")
    done = tamis("status", "--watch", "-w", f"{tmp_path}/none")
    assert (done.returncode, done.stdout.decode()) == (0, tamis("status", "-w", f"{tmp_path}/none").stdout.decode())
