"""`tamis tokens` as a user calls it: output, messages, exit codes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import orjson
import pytest

from cli.main import main
from pipeline.config import load
from pipeline.errors import UserError
from pipeline.sql import query
from pipeline.workspace import Workspace
from tests.pipeline.tokens.tables import documents, write_table


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def test_select_and_export_from_a_table(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(workspace, documents(30))
    at = ["--corpus", "chat", "-w", workspace.url, "--workers", "1"]
    assert call("tokens", "select", *at, "--method", "loss", "--set", "seed=3", "--name", "cut") == 0
    shown = capsys.readouterr().out
    assert "response tokens kept (0.6" in shown
    assert "#" in shown
    assert call("tokens", "select", *at, "--rho", "0.2", "--json") == 0
    summary = orjson.loads(capsys.readouterr().out)
    assert summary["kept"] < 0.3 * summary["tokens"]
    out = str(tmp_path / "out")
    assert call("tokens", "export", *at, "--selection", "cut", "--to", "trl", "--out", out) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == out
    assert "held_out" in captured.err
    rows = query(
        workspace,
        """SELECT s.selection, sum(len(list_filter(s.selected, lambda x: x = 1))) AS kept, sum(s.n_selected) AS counted
           FROM token_selections s JOIN tokens t USING (corpus, id) WHERE s.reason IS NULL GROUP BY ALL ORDER BY ALL""",
    ).to_pylist()
    assert [row["selection"] for row in rows] == ["cut", "sstoken"]
    assert all(row["kept"] == row["counted"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["select", "--method", "ssToken"], "tokens select: method: Input should be 'sstoken', 'rho1'"),
        (["select", "--rho", "1.5"], "rho: Input should be less than or equal to 1"),
        (["select", "--set", "gama=1"], "gama: unknown key; did you mean 'gamma'?"),
        (["select", "--set", "gamma"], "expected KEY=VALUE"),
        (["select", "--method", "rho1"], "compares earlier and reference"),
        (["export", "--selection", "none"], "no token selection 'none' (there: none yet; `tamis tokens select`"),
        (["export", "--to", "csv"], "to: Input should be 'parquet', 'trl'"),
        (["show", "--selection", "none"], "no token selection 'none'"),
        (["score"], "give at least one checkpoint"),
        (["score", "--later", "x", "--adapter", "earlier=y"], "give its base model with --earlier"),
        (["score", "--later", "x", "--adapter", "y"], "expected ROLE=FOLDER"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    write_table(workspace, documents(12))
    assert call("tokens", *words, "--corpus", "chat", "-w", workspace.url) == 2
    assert said in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is there")
def test_without_torch_scoring_says_what_to_install(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(workspace, documents(12))
    assert call("tokens", "score", "--later", "x", "--corpus", "chat", "-w", workspace.url) == 2
    assert "pip install 'tamis[lm]'" in capsys.readouterr().err


def test_the_views_are_there_before_any_table(workspace: Workspace) -> None:
    write_table(workspace, documents(12))
    assert query(workspace, "SELECT selected, n_selected FROM token_selections").num_rows == 0
    assert query(workspace, "SELECT nll_reference, mass_own FROM tokens").num_rows == 12


def config(folder: Path, more: str = "") -> Path:
    path = folder / "run.yaml"
    path.write_text(
        "corpora: {chat: {sources: [talks.jsonl], id: id}}\n"
        "tokens:\n  tokens:\n    corpus: chat\n    earlier: earlier\n    later: {model: later}\n    threads: 1\n"
        "    selections: {cut: {method: loss, rho: 0.5}}\n    exports: {cut-trl: {selection: cut, to: trl}}\n" + more
    )
    return path


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("    exports: {x: {selection: other}}\n", "is not in this entry; did you mean|known"),
        ("    selections: {x: {method: los}}\n", r"tokens\.tokens\.selections\.x: method"),
        ("    laer: 1\n", "laer: unknown key; did you mean 'layer'"),
    ],
)
def test_mistakes_in_a_config_are_said_with_their_place(tmp_path: Path, more: str, said: str) -> None:
    text = config(tmp_path).read_text()
    key = more.strip().partition(":")[0]
    kept = "".join(line + "\n" for line in text.splitlines() if not line.strip().startswith(f"{key}:"))
    (tmp_path / "run.yaml").write_text(kept + more)
    with pytest.raises(UserError, match=said):
        load(str(tmp_path / "run.yaml"))
