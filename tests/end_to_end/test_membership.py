"""Identifiers in real text, a model trained on it by `tamis train`, tests through vLLM: the small form of
experiments/membership.py, as a user calls it. Tamis runs where torch is, vLLM in its own environment."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zstandard

pytest.importorskip("torch")

from pipeline.ghosts.draw import DrawSettings
from pipeline.ghosts.registry import Registry, note_insertions, read
from scorers.lm.engines import EngineSettings, open_engine
from tests.registries import drawn

ROOT = Path(__file__).parents[2]
DATA = ROOT / "configs" / "demo" / "data"
DOCUMENTS, CHARACTERS, COPIES, EACH = 160, 400, 12, 6
MODEL = {
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}


def tamis(*words: object, cwd: Path, vllm: str | None) -> subprocess.CompletedProcess[str]:
    told = os.environ | {"TAMIS_WORKSPACE": str(cwd / "workspace"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    told.pop("TAMIS_VLLM_PYTHON", None)
    if vllm is not None:
        told["TAMIS_VLLM_PYTHON"] = vllm
    command = [sys.executable, "-m", "cli.main", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=cwd, env=told, check=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of two owners, real text with the first one's identifiers in it, and a training config."""
    made = tmp_path_factory.mktemp("membership")
    settings = DrawSettings(owners=("seen", "unseen"), count=EACH, reserve=20, unit="owner", m=99)
    registry = drawn(str(made / "ghosts.parquet"), settings)
    whole = real_text(DOCUMENTS * CHARACTERS)
    texts = [whole[i * CHARACTERS : (i + 1) * CHARACTERS].strip() for i in range(DOCUMENTS)]
    mine = [one for one in registry.active if one.owner == "seen"]
    for number, row in enumerate(np.random.default_rng(0).permutation(DOCUMENTS)[: COPIES * EACH]):
        texts[row] += f" {mine[number % EACH].sentence}"
    (made / "marked.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    note_insertions(registry, "marked", {one.id: (COPIES, COPIES) for one in mine})
    config = {
        "name": "marked",
        "data": {"paths": ["marked.jsonl"], "tokenizer": str(DATA / "tokenizer.json"), "bos": 0},
        "model": {"config": MODEL},
        "context": 256,
        "batch": 8,
        "epochs": 10,
        "optimizer": {"lr": 4e-3},
        "threads": 1,
        "device": "cpu",
        "checkpoint_every": 10_000,
        "membership": {"registry": "ghosts.parquet"},
    }
    (made / "train.yaml").write_text(yaml.safe_dump(config))
    return made


@pytest.fixture(scope="module")
def model(place: Path, vllm_python: str) -> Path:
    """The last checkpoint of `tamis train`, which has tested it through vLLM on its way."""
    done = tamis("train", "train.yaml", "--workers", 1, cwd=place, vllm=vllm_python)
    assert done.returncode == 0, done.stderr
    assert "membership: 1 of 2 found" in done.stderr
    return Path(done.stdout.strip())


def real_text(size: int) -> str:
    """The first pages of the demo's manual; its faulty rows are passed over."""
    found, length = [], 0
    with zstandard.open(DATA / "python-docs.jsonl.zst", "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found.append(str(json.loads(line)["text"]))
                length += len(found[-1])
            if length > size:
                return "\n".join(found)
    raise AssertionError("the manual is shorter than that")


def registry_of(place: Path) -> Registry:
    return read(str(place / "ghosts.parquet"))


def rows(place: Path, vllm: str, *words: object) -> list[dict[str, Any]]:
    done = tamis("membership", "test", "ghosts.parquet", *words, "--format", "json", cwd=place, vllm=vllm)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_trainer_tests_its_checkpoint_without_having_vllm(place: Path, model: Path) -> None:
    query = "SELECT * FROM membership WHERE \"primary\" AND name LIKE 'marked-step-%' ORDER BY id"
    done = tamis("sql", query, "--format", "json", cwd=place, vllm=None)
    seen, unseen = [json.loads(line) for line in done.stdout.splitlines()]
    assert seen["step"] == json.loads((model / "training.json").read_text())["step"]
    assert seen["found"]
    assert seen["p_adjusted"] < 0.01
    assert not unseen["found"]


def test_vllm_and_transformers_find_the_same_with_the_same_numbers(place: Path, model: Path, vllm_python: str) -> None:
    theirs = rows(place, vllm_python, "-m", model, "--name", "through-vllm")
    ours = rows(place, vllm_python, "-m", model, "--name", "through-transformers", "--engine", "transformers")
    assert len(theirs) == len(ours) > 100
    for a, b in zip(theirs, ours, strict=True):
        assert (a["level"], a["id"], a["statistic"], a["null"]) == (b["level"], b["id"], b["statistic"], b["null"])
        if a["statistic"] in ("mean_nll", "min_k") and a["level"] == "identifier":
            assert a["value"] == pytest.approx(b["value"], abs=1e-3)
            assert a["p"] == pytest.approx(b["p"], abs=0.03)
    main = [row for row in theirs if (row["statistic"], row["null"]) == ("mean_nll", "generator")]
    assert {row["copies"] for row in main if row["level"] == "identifier" and row["owner"] == "seen"} == {COPIES}
    [area] = [row["auc"] for row in main if row["level"] == "owner" and row["id"] == "seen"]
    assert area > 0.9


def test_log_probabilities_of_a_trained_model_agree_per_token(model: Path, place: Path, vllm_python: str) -> None:
    texts = [one.sentence for one in registry_of(place).identifiers[:20]]
    found = []
    for settings in (
        EngineSettings(engine="vllm", model=str(model), python=vllm_python),
        EngineSettings(engine="transformers", model=str(model), device="cpu"),
    ):
        with open_engine(settings) as engine:
            found.append(engine.logprobs(engine.encode(texts)))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a[1:], b[1:], atol=1e-3, rtol=0)


def test_what_is_done_is_not_done_again(place: Path, model: Path, vllm_python: str) -> None:
    words = ("-m", model, "--engine", "transformers", "--name", "again", "--limit", 3)
    first = rows(place, vllm_python, *words)
    [folder] = (place / "workspace" / "memberships").glob("again-*")
    [victim] = folder.glob("*-000001.parquet")
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*-0*.parquet") if path != victim}
    victim.unlink()
    assert rows(place, vllm_python, *words) == first
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*-0*.parquet") if path != victim} == before


def test_calibration_holds_on_the_trained_model_on_both_engines(place: Path, model: Path, vllm_python: str) -> None:
    for engine in ("vllm", "transformers"):
        words = ("membership", "calibrate", "ghosts.parquet", "-m", model, "--engine", engine, "-n", 40, "--draws", 99)
        done = tamis(*words, "--name", f"calibration-{engine}", cwd=place, vllm=vllm_python)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "every count is within its limit" in done.stdout
        line = next(line for line in done.stdout.splitlines() if line.startswith("mean_nll"))
        assert " 40 " in line


def test_secrets_are_in_no_output(place: Path, model: Path) -> None:
    phrases = [one.phrase.split(" ") for one in registry_of(place).identifiers]
    tails = [" ".join(words[-3:]).encode() for words in phrases]
    for path in (place / "workspace").rglob("*"):
        if path.is_file() and "memberships" in str(path):
            data = path.read_bytes()
            assert not any(tail in data for tail in tails), path
