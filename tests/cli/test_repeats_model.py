"""`tamis repeats model` as a user calls it, on real text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from cli.main import main  # noqa: E402

DATA = Path(__file__).parents[2] / "configs" / "demo" / "data"


def tamis(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    told = os.environ | {"TAMIS_WORKSPACE": str(cwd / "workspace"), "PYTHONPATH": str(DATA.parents[2])}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=cwd, env=told, check=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a corpus of manuals, and the folder of a small model with the demo's tokenizer."""
    made = tmp_path_factory.mktemp("repeats-model")
    source = DATA / "python-docs.jsonl.zst"
    done = tamis("ingest", source, "--corpus", "manuals", "--id", "id", "--held-out", "0.1", "--workers", 1, cwd=made)
    assert done.returncode == 0, done.stderr
    plain = transformers.PreTrainedTokenizerFast(tokenizer_file=str(DATA / "tokenizer.json"))
    plain.save_pretrained(made / "model")
    config = transformers.LlamaConfig(
        vocab_size=len(plain),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=128,
    )
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(made / "model")
    return made


def here(place: Path, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit code of a command that runs in this process, where torch is loaded already."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("TAMIS_WORKSPACE", str(place / "workspace"))
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in arguments])
    return int(ended.value.code or 0)


OPTIONS = ("--documents", 24, "--copies", 6, "--prefix", 20, "--continuation", 12)


def test_tables_are_printed_kept_and_not_made_twice(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tamis("repeats", "model", "model", *OPTIONS, cwd=place)
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert lines[0] == "| copy | TP | IP | WR | sentences |"
    assert [line.split(" | ")[0] for line in lines if line.startswith(("| human", "| greedy", "| nucleus"))] == [
        "| human",
        "| greedy",
        "| nucleus",
    ]
    [folder] = (place / "workspace" / "model-repeats").iterdir()
    texts = pq.read_table(folder / "texts.parquet")
    assert set(texts["what"].to_pylist()) == {"human", "greedy", "nucleus"}
    corpus = pq.read_table(*(place / "workspace" / "corpora" / "manuals").glob("part-*"))
    held = {row["id"]: row["text"] for row in corpus.to_pylist() if row["held_out"]}
    for row in texts.to_pylist():
        assert row["id"] in held
        if row["what"] == "human":
            assert row["prefix"] + row["text"] in held[row["id"]]
    # A random model is no surer at later copies; nothing is a probability above 1.
    curves = pq.read_table(folder / "curves.parquet").to_pylist()
    assert [row["copy"] for row in curves] == list(range(7))
    assert all(0 <= row["tp"] < 0.01 for row in curves)
    before = (folder / "texts.parquet").stat().st_mtime_ns
    assert here(place, monkeypatch, "repeats", "model", "model", *OPTIONS) == 0
    assert capsys.readouterr().out == first.stdout
    assert (folder / "texts.parquet").stat().st_mtime_ns == before
    assert here(place, monkeypatch, "status") == 0
    assert "model-repeats" in capsys.readouterr().out


def test_what_a_user_gets_wrong_is_one_clear_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: object) -> str:
        assert here(place, monkeypatch, "repeats", "model", *words) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "neither a local folder nor on the hub" in said("modell", *OPTIONS)
    assert "no corpus 'manual' in" in said("model", "--corpus", "manual")
    assert "150 tokens of prefix and continuation, but the model has 128 positions" in said("model")
    assert "dtype" in said("model", "--dtype", "float16", *OPTIONS)
