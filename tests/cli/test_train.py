"""`tamis train` and `tamis compare` as a user calls them, on real text."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

DATA = Path(__file__).parents[2] / "configs" / "demo" / "data"
CORPUS = {
    "corpora": {"manuals": {"sources": [str(DATA / "python-docs.jsonl.zst")], "id": "id", "held_out": 0.1}},
    "scores": [{"scorer": "lengths", "tokenizer": str(DATA / "tokenizer.json")}],
    "selections": {"all": {"where": "true"}, "some": {"budget": "40% documents", "random": 1}},
    "exports": {
        "all": {"selection": "all", "out": "../all", "with_held_out": True},
        "some": {"selection": "some", "out": "../some"},
    },
}
TRAIN = {
    "data": {"tokenizer": str(DATA / "tokenizer.json"), "bos": 0},
    "evaluation": {"held_out": {"paths": ["all"], "split": "held_out", "bos": 0}},
    "model": {
        "config": {
            "model_type": "llama",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 128,
            "tie_word_embeddings": True,
        }
    },
    "context": 128,
    "batch": 8,
    "tokens": 20_000,
}


def tamis(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    place = os.environ | {"TAMIS_WORKSPACE": str(cwd / "workspace"), "PYTHONPATH": str(DATA.parents[2])}
    return subprocess.run(command, capture_output=True, text=True, timeout=250, cwd=cwd, env=place, check=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two exports and the configs."""
    made = tmp_path_factory.mktemp("train")
    (made / "configs").mkdir()
    (made / "configs" / "corpus.yaml").write_text(yaml.safe_dump(CORPUS))
    done = tamis("run", "configs/corpus.yaml", "--workers", 1, cwd=made)
    assert done.returncode == 0, done.stderr
    one: dict[str, Any] = TRAIN | {"name": "tiny", "data": TRAIN["data"] | {"paths": ["all"]}}  # type: ignore[operator]
    (made / "train.yaml").write_text(yaml.safe_dump(one))
    several = {"name": "which", "train": TRAIN, "seeds": [0, 1]}
    several["selections"] = {"all": {"paths": ["all"]}, "some": {"paths": ["some"]}}
    (made / "compare.yaml").write_text(yaml.safe_dump(several))
    return made


def test_a_trained_model_opens_in_transformers_and_its_curves_in_sql(place: Path) -> None:
    done = tamis("train", "train.yaml", cwd=place)
    assert done.returncode == 0, done.stderr
    folder = done.stdout.strip()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("A list of words", return_tensors="pt").input_ids
    assert model(ids).logits.shape == (1, ids.shape[1], len(tokenizer))
    curves = tamis(
        "sql", "SELECT count(*), max(tokens), bool_and(loss > 0) FROM training", "--format", "csv", cwd=place
    )
    assert curves.stdout.splitlines()[1] == "20,20000,true", curves.stderr
    sets = "SELECT \"set\", source IS NULL, bits_per_byte > 0 FROM training_sets WHERE run = 'tiny'"
    found = tamis("sql", sets, "--format", "csv", cwd=place)
    assert found.stdout.splitlines()[1:] == ['"held_out",true,true'], found.stderr
    lines = tamis("status", cwd=place).stdout.splitlines()
    assert any(line.startswith("run") and "1/1" in line for line in lines)


def test_a_killed_run_goes_on_from_its_last_checkpoint_to_the_same_bytes(place: Path) -> None:
    assert tamis("train", "train.yaml", "--set", "name=whole", "--set", "seed=3", cwd=place).returncode == 0
    command = [sys.executable, "-m", "cli.main", "train", "train.yaml", "--set", "name=killed", "--set", "seed=3"]
    told = os.environ | {"TAMIS_WORKSPACE": str(place / "workspace"), "PYTHONPATH": str(DATA.parents[2])}
    running = subprocess.Popen(command, cwd=place, env=told, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not list(place.glob("workspace/runs/killed-*/checkpoints/step-*/training.json")):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    done = tamis("train", "train.yaml", "--set", "name=killed", "--set", "seed=3", cwd=place)
    assert done.returncode == 0, done.stderr
    whole, killed = (
        next(place.glob(f"workspace/runs/{name}-*/checkpoints/step-00000020/model.safetensors"))
        for name in ("whole", "killed")
    )
    assert whole.read_bytes() == killed.read_bytes()


def test_a_comparison_prints_a_table_and_trains_nothing_twice(place: Path) -> None:
    first = tamis("compare", "compare.yaml", cwd=place)
    assert first.returncode == 0, first.stderr
    assert "| all | " in first.stdout
    assert "less some" in first.stdout
    again = tamis("compare", "compare.yaml", cwd=place)
    assert again.stdout == first.stdout
    assert "step" not in again.stderr
    assert list(place.glob("workspace/comparisons/which-*/curves.svg"))


def test_what_a_user_gets_wrong_is_one_clear_line(place: Path) -> None:
    def said(*words: str) -> str:
        done = tamis("train", "train.yaml", *words, cwd=place)
        assert done.returncode == 2, done.stderr
        [line] = done.stderr.strip().splitlines()
        return line

    assert "did you mean 'context'" in said("--set", "contxt=5")
    assert "give one of `tokens`, `steps` and `epochs`" in said("--set", "steps=5")
    assert "must be a multiple of `micro_batch`" in said("--set", "batch=9")
    assert "expected KEY=VALUE" in said("--set", "batch")
    assert "torch sees no GPU" in said("--set", "device=cuda")
    assert "nowhere" in said("--set", "data.paths=[nowhere]")
    assert "unknown method 'reweigh'" in said("--set", "methods=[{method: reweigh}]")
