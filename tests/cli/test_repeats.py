"""`tamis repeats` as a user calls it: what goes where, what wrong input is answered with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.workspace import Workspace
from tests.pipeline.repeats.test_spans import small

SHARED = " ".join(f"word{i}" for i in range(30))


def tamis(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("repeats") / "w")
    small(Workspace(url), {"a": [f"first {SHARED}", f"second {SHARED} end", "short"]}, "web")
    small(Workspace(url), {"a": [f"quiz {SHARED}", "tiny"]}, "quiz")
    return url


def test_a_count_is_planned_made_and_read(workspace: str) -> None:
    plan = tamis("repeats", "spans", "--plan", "--corpus", "web", "-w", workspace)
    assert plan.returncode == 0, plan.stderr
    assert "1 shards, about" in plan.stdout
    assert "512MB of memory a worker" in plan.stdout
    assert not (Path(workspace) / "repeats").exists()
    words = ["repeats", "spans", "--corpus", "web", "--window", "10", "-w", workspace, "--workers", "1"]
    made = tamis(*words, "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["totals"]["words_2"] == 60
    again = tamis(*words)
    assert again.stdout == ""
    assert "nothing to do" in again.stderr
    assert "in spans that occur 2 times or more: 60 words (93.75%)" in again.stderr
    assert "1 documents are shorter than a span" in again.stderr
    shown = tamis("repeats", "show", "-w", workspace)
    assert "1. 2 times in 2 documents, 30 words" in shown.stdout
    assert "web:web-a-0 6-" in shown.stdout
    cut = tamis(
        "select", "clean", "--corpus", "web", "--where", "repeats_cover_2 < 0.5", "-w", workspace, "--workers", "1"
    )
    assert cut.returncode == 0, cut.stderr


def test_decontamination_says_what_cannot_be_found(workspace: str) -> None:
    made = tamis("repeats", "spans", "--corpus", "web", "--against", "quiz", "--window", "10", "-w", workspace)
    assert made.returncode == 0, made.stderr
    assert "in spans that occur 1 times or more in quiz: 60 words" in made.stderr
    assert "1 of 2 documents in quiz are shorter than a span and cannot be found: try a smaller window" in made.stderr


def test_units_are_counted(workspace: str) -> None:
    made = tamis("repeats", "units", "--kind", "line", "--kind", "document", "-w", workspace, "--corpus", "web")
    assert made.returncode == 0, made.stderr
    assert "documents: 3, of which 0 occur more than once" in made.stderr
    assert "sentences" not in made.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["spans", "--window", "1"], "window: expected 2 to 100000 words, got 1"),
        (["spans", "--corpus", "wbe"], "no corpus 'wbe'"),
        (["spans", "--at-least", "2,x"], "--at-least '2,x': expected numbers with commas between"),
        (["spans", "--at-least", "10,2"], "expected at most 8 growing numbers"),
        (["spans", "--sample", "0.1", "--winnow", "9"], "sample and winnow: choose one"),
        (["spans", "--sample", "2"], "expected a share between 0 and 1"),
        (["spans", "--memory", "100MB"], "is too little"),
        (["spans", "--memory", "lots"], "is no size; expected one such as 512MB"),
        (["spans", "--set", "splitt=unicode"], "splitt: unknown key; did you mean 'split'"),
        (["spans", "--set", "split"], "expected KEY=VALUE"),
        (["spans", "--corpus", "web", "--against", "web"], "a corpus cannot be compared with itself"),
        (["spans", "--tokenizer", "nowhere/tokenizer.json"], "tokenizer"),
        (["units", "--kind", "word"], "Input should be 'document'"),
        (["show", "--alias", "nothing"], "no count of spans 'nothing'"),
    ],
)
def test_wrong_input_is_one_clear_line(workspace: str, words: list[str], message: str) -> None:
    run = CliRunner().invoke(app, ["repeats", *words, "-w", workspace])
    assert isinstance(run.exception, ValueError), run.output
    assert message in " ".join(str(run.exception).split())


def test_wrong_input_ends_with_exit_code_2(workspace: str) -> None:
    run = tamis("repeats", "spans", "--window", "1", "-w", workspace)
    assert run.returncode == 2
    assert run.stderr == "tamis: repeats spans: window: expected 2 to 100000 words, got 1\n"
