"""`tamis repeats near` and the scorer `profile` as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

WORDS = Path(__file__).read_text().split()


def tamis(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twelve documents of a corpus; four of source `b` are copies with another first word."""
    folder = tmp_path_factory.mktemp("near")
    texts = [" ".join(f"{word}{i}" for word in WORDS[i : i + 40]) for i in range(8)]
    rows = [{"id": f"a{i}", "text": text, "source": "a"} for i, text in enumerate(texts)]
    rows += [{"id": f"b{i}", "text": f"again {text}", "source": "b"} for i, text in enumerate(texts[:4])]
    (folder / "in.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    done = tamis("ingest", str(folder / "in.jsonl"), "--corpus", "web", "--id", "id", "-w", str(folder / "w"))
    assert done.returncode == 0, done.stderr
    return str(folder / "w")


def test_near_duplicates_are_scores_and_removal_is_a_selection(workspace: str) -> None:
    found = tamis("repeats", "near", "-w", workspace, "--workers", "1", "--prefer", "a", "--format", "json")
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert (result["clusters"], result["duplicates"]) == (4, 4)
    assert result["sources"]["b"]["duplicates"] == 4
    query = "SELECT id, near_of FROM near WHERE NOT near_kept ORDER BY id"
    shown = tamis("sql", query, "-w", workspace, "--format", "json")
    assert [json.loads(line) for line in shown.stdout.splitlines()] == [
        {"id": f"b{i}", "near_of": f"a{i}"} for i in range(4)
    ]
    chosen = ["--where", "near_kept", "-w", workspace, "--workers", "1", "--format", "json"]
    kept = json.loads(tamis("select", "clean", *chosen).stdout)
    assert kept["sources"]["web"]["b"]["kept"] == 0
    again = tamis("repeats", "near", "-w", workspace, "--workers", "1", "--prefer", "a")
    assert "nothing to do" in again.stderr
    assert "4 clusters of 8 documents; 4 of 12 are near-duplicates" in again.stderr
    assert again.stdout == ""


def test_the_alarm_is_exit_code_1_and_names_the_source(workspace: str) -> None:
    alarm = ["--set", "alarm_documents=1", "--set", "alarm_cluster=0.5"]
    found = tamis("repeats", "near", "-w", workspace, "--workers", "1", "--prefer", "a", *alarm)
    assert found.returncode == 1
    assert "source 'b' would lose 4 of 4 documents, 100.0% (alarm_source 0.5)" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "2"], "near: threshold:"),
        (["--set", "band=3"], "unknown key; did you mean 'bands'?"),
        (["--set", "bands"], "expected KEY=VALUE"),
        (["--keep", "qualty"], "has no column 'qualty'"),
        (["--corpus", "wab"], "no corpus 'wab'"),
        (["--alias", "a b"], "alias 'a b'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(workspace: str, arguments: list[str], message: str) -> None:
    found = tamis("repeats", "near", "-w", workspace, *arguments)
    assert found.returncode == 2
    assert message in found.stderr
    assert "Traceback" not in found.stderr


def test_the_curve_is_printed_without_a_workspace() -> None:
    found = tamis("repeats", "near", "--curve", "--bands", "14", "--rows", "8")
    assert found.returncode == 0
    assert "14 bands x 8 rows" in found.stdout
    assert "      0.80     0.9235" in found.stdout


def test_a_profile_is_a_scorer(workspace: str) -> None:
    scored = tamis("score", "dolma=profile", "--set", "dolma.profile=dolma-v2", "-w", workspace, "--workers", "1")
    assert scored.returncode == 0, scored.stderr
    shown = tamis("sql", "SELECT count(*) AS n FROM scored WHERE dolma_keep", "-w", workspace, "--format", "json")
    assert json.loads(shown.stdout)["n"] > 0
    wrong = tamis("score", "profile", "--set", "profile.profile=dolma", "-w", workspace)
    assert wrong.returncode == 2
    assert "profile" in wrong.stderr


def test_what_it_takes_is_said_without_searching(workspace: str) -> None:
    planned = tamis("repeats", "near", "-w", workspace, "--plan", "--alias", "planned")
    assert planned.returncode == 0, planned.stderr
    assert "0.00 GB of signatures, which stay" in planned.stdout
    assert not list(Path(workspace).glob("scores/web/planned-*"))
