"""`tamis inspect` as a user calls it: what it shows, what it marks, and what never reaches the terminal."""

from __future__ import annotations

import dataclasses
import os
import pty
import re
import shutil
import subprocess
import sys

import pyarrow as pa
import pytest

from pipeline.ledger import write
from pipeline.stage import Stage
from pipeline.workspace import Workspace
from tests.pipeline.report.chats import add_chats
from tests.pipeline.report.workspaces import HOSTILE, hostile
from tests.workspaces import WEB, add_corpus


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = hostile(f"{tmp_path_factory.mktemp('inspect')}/w")
    texts = {"script": "one two three " * 8, "control": HOSTILE["control"], "wide": HOSTILE["wide"] + " and a new end"}
    add_corpus(made, "after", [pa.table([list(texts), list(texts.values()), ["s"] * 3, ["u"] * 3], schema=WEB)])
    add_chats(made, tmp_path_factory.mktemp("tokenizer"))
    record = made.corpus("after").record
    marked = Stage("ingest", "marked", "corpora", record["fields"] | {"made": "a test"}, {"of": "web"})
    shutil.copytree(f"{made.url}/corpora/after", f"{made.url}/corpora/marked")
    marked.save(made.store, num_shards=1)
    row = next(iter(made.rows("corpora/after").values()))
    write(made.store, dataclasses.replace(row, stage="corpora/marked"))
    return made


def tamis(*arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "cli.main", "inspect", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_document_comes_with_its_scores_their_places_and_its_fate(workspace: Workspace) -> None:
    code, shown, told = tamis("wide", "-w", workspace.url, "--corpus", "web")
    assert (code, told) == (0, "")
    assert "best: left out (<where>)" in shown
    assert re.search(r"preselect_score\s+0\.5\s.*50% are below", shown)
    assert HOSTILE["wide"] in shown


def test_what_drives_a_terminal_is_written_out(workspace: Workspace) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "cli.main", "inspect", "control", "--corpus", "web", "-w", workspace.url]
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=os.environ | {"TERM": "xterm"}) as process:
        os.close(slave)
        got = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # the other end is gone
                break
            if not part:
                break
            got += part
    assert process.returncode == 0
    text = got.decode()
    assert "a<U+0000>b<U+001B>[31mred<U+0007> bell<U+007F><U+009B>31m" in text
    # What is left of escapes are rich's own colours.
    assert not re.search(r"\x1b(?!\[[0-9;]*m)", text)
    assert not set(text) & set("\x00\x07\x7f\x9b\ufeff")


def test_repeats_are_marked(workspace: Workspace) -> None:
    code, shown, _ = tamis("script", "-w", workspace.url, "--corpus", "after", "--repeated", "4")
    assert code == 0
    assert f"[repeat: {('one two three ' * 8).strip()}]" in shown.replace("\n", " ").replace("  ", " ")


def test_a_predicate_draws_documents_and_a_seed_others(workspace: Workspace) -> None:
    def drawn(*more: str) -> list[str]:
        code, shown, told = tamis("--where", "preselect_score >= 0.3", "-w", workspace.url, "-n", "2", *more)
        assert code == 0, told
        return re.findall(r"preselect_score +(0\.\d)", shown)

    first = drawn()
    assert len(first) == 2
    assert all(float(score) >= 0.3 for score in first)
    assert drawn() == first
    assert any(drawn("--seed", str(seed)) != first for seed in (1, 2, 3))


def test_a_stage_shows_what_it_kept_and_left(workspace: Workspace) -> None:
    code, shown, told = tamis("--stage", "best", "-w", workspace.url, "-n", "1")
    assert code == 0, told
    assert re.search(r"kept\s+8\n", shown)
    assert "over_budget: 6 documents, such as" in shown
    code, shown, told = tamis("--stage", "web", "-w", workspace.url, "-n", "1")
    assert code == 0, told
    assert re.search(r"22\s+20\s+2\n", shown)
    assert "broken_json: a.jsonl, 3" in shown
    assert "<U+001B>[2J" in shown


def test_tokens_of_a_document_are_shown_in_its_text(workspace: Workspace) -> None:
    code, shown, told = tamis("markup", "-w", workspace.url)
    assert code == 0, told
    counted = re.search(r"tokens, sstoken: (\d+) of (\d+) response tokens kept\n(.*?)\n\n?(?=\S|$)", shown, re.DOTALL)
    assert counted is not None
    assert 0 < int(counted[1]) < int(counted[2])
    tokens = shown[counted.start(3) :]
    assert "<|im_start|>assistant" in tokens
    assert "[-" in tokens
    assert "<script>window.harmed = 1</script>" in tokens.replace("[-", "").replace("-]", "")
    code, shown, told = tamis("script", "--corpus", "web", "-w", workspace.url)
    assert code == 0, told
    assert "tokens, sstoken: cannot be shown: corpus 'web' has no token table 't-0'" in shown
    assert "tokens, sstoken: takes no part (held_out)" in tamis("empty", "--corpus", "web", "-w", workspace.url)[1]


def test_a_selection_of_tokens_is_a_stage(workspace: Workspace) -> None:
    code, shown, told = tamis("--stage", "sstoken", "--corpus", "chat", "-n", "2", "-w", workspace.url)
    assert code == 0, told
    assert re.search(r"chat\s+taking part\s+7\s+338\s+206\n", shown)
    assert len(re.findall(r"tokens, sstoken: \d+ of \d+ response tokens kept", shown)) == 2


def test_a_corpus_made_of_another_shows_what_changed(workspace: Workspace) -> None:
    code, shown, told = tamis("--stage", "marked", "-n", "1", "-w", workspace.url)
    assert code == 0, told
    assert "web -> marked" in shown
    assert "[added:  and a new end]" in shown or "[removed:" in shown


def test_before_and_after_show_what_went_and_came(workspace: Workspace) -> None:
    code, shown, told = tamis("--before", "web", "--after", "after", "-w", workspace.url)
    assert code == 0, told
    assert re.search(r"the same\s+changed\s+only before\s+only after\n\s+1\s+2\s+17\s+0\n", shown)
    assert "[added:  and a new end]" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cript"], "no document 'cript' (near it: 'script', 'script again', 'scripts')"),
        (["x"], "document 'x' was turned away from corpus 'web': </script> (a.jsonl, 9)"),
        (["--where", "preselect_scor > 1"], "there is no column 'preselect_scor'; did you mean 'preselect_score'?"),
        (["--where", "preselect_score > 7"], "no document fits 'preselect_score > 7'"),
        (["--where", "1); SELECT (1"], "tamis: predicate '1); SELECT (1': syntax error"),
        (["--stage", "bets"], "no selection or corpus of that name (there: best, sstoken, after, chat, marked, web)"),
        (["--before", "web"], "belong together"),
        (["script", "--where", "true"], "expected ids or --where, got both"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(workspace: Workspace, arguments: list[str], message: str) -> None:
    code, shown, told = tamis(*arguments, "-w", workspace.url)
    assert (code, shown, told.count("\n")) == (2, "", 1)
    assert message in told
