"""What is named from outside stays inside the workspace, and what is read from outside is data, never code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.main import main
from pipeline.storage import Store
from tests.workspaces import small

ROOT = Path(__file__).parents[2]
NAMES = ("../up", "/abs", "a\\b", "a\0b", ".hidden", "x" * 101)
COMMANDS = (
    ["ingest", "{data}", "--corpus", "{name}"],
    ["score", "{name}=lengths", "--corpus", "web"],
    ["import-scores", "{table}", "--corpus", "web", "--alias", "{name}"],
    ["select", "{name}", "--by", "preselect_score", "--budget", "10% documents", "--corpus", "news"],
    ["repeats", "spans", "--alias", "{name}", "--corpus", "web"],
    ["repeats", "near", "--alias", "{name}", "--corpus", "web"],
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "words", COMMANDS, ids=lambda words: words[0] + words[1] if words[0] == "repeats" else words[0]
)
def test_no_name_leads_out_of_the_workspace(
    words: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.main.signal.signal", lambda *_: None)
    inside = tmp_path / "one" / "w"
    workspace = small(str(inside))
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "t.csv").write_text("id,mine\nw00,1\n")
    before = {path for path in tmp_path.rglob("*") if "logs" not in path.parts}
    filled = [word.format(name=name, data=tmp_path / "a.jsonl", table=tmp_path / "t.csv") for word in words]
    with pytest.raises(SystemExit) as ended:
        main([*filled, "-w", workspace.url])
    assert ended.value.code == 2
    assert {path for path in tmp_path.rglob("*") if "logs" not in path.parts} == before


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "a\0b"])
def test_a_store_opens_nothing_outside_of_itself(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no name of a file"):
        Store(str(tmp_path)).read_bytes(name)
    with pytest.raises(ValueError, match="is no name of a file"):
        Store(str(tmp_path)).write_bytes(name, b"")


def test_nothing_that_is_read_is_unpickled_unpacked_or_run() -> None:
    """No archive is opened, so none can lead out; no pickle is read; torch reads weights alone."""
    forbidden = re.compile(
        r"\b(pickle\.loads?|zipfile|tarfile|shutil\.unpack_archive|yaml\.unsafe_load|eval\(|exec\(|allow_pickle=True)"
    )
    for package in ("cli", "pipeline", "scorers"):
        for path in (ROOT / package).rglob("*.py"):
            if path == ROOT / "scorers" / "jit.py":  # the index of Numba's own cache
                continue
            text = path.read_text()
            assert not forbidden.search(re.sub(r"\.eval\(", "", text)), path
            for call in re.findall(r"torch\.load\([^)]*\)", text):
                assert "weights_only=True" in call, path
