"""Training is reproducible bit for bit, clean, and independent of the order of rows; the library alone is not clean."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import scorers.fasttext
from scorers.fasttext.model import read_model
from scorers.fasttext.train import TrainSettings, check_weights, train

SMALL = TrainSettings(dim=8, bucket=20_000, epoch=3)


def make_rows(count: int = 200) -> list[tuple[str, str]]:
    rng = random.Random(3)
    words = [f"w{i}" for i in range(400)]
    return [(str(i % 2), " ".join(rng.choices(words[i % 2 * 100 :], k=20))) for i in range(count)]


@pytest.mark.parametrize("settings", [SMALL, TrainSettings(dim=2, bucket=20, word_ngrams=1)])
def test_the_same_rows_give_the_same_bytes_whatever_their_order_and_the_heap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: TrainSettings
) -> None:
    train(make_rows(), tmp_path / "a.bin", settings)
    monkeypatch.setenv("MALLOC_PERTURB_", "165")
    train(make_rows()[::-1], tmp_path / "b.bin", settings)
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "b.bin"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the remedy is one of glibc")
def test_rows_that_training_never_touched_are_zero(tmp_path: Path) -> None:
    """The library fills the first tenth; the rest must be zeros or what was learned."""
    train(make_rows(), tmp_path / "a.bin", SMALL)
    matrix = read_model(tmp_path / "a.bin").input
    rest = matrix.block(matrix.rows // 10 + 1, matrix.rows)
    untouched = (rest == 0).all(axis=1)
    assert untouched.mean() > 0.5
    assert np.abs(rest).max() < 10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="shown with a variable of glibc")
def test_the_library_alone_leaves_most_of_the_matrix_uninitialised(tmp_path: Path) -> None:
    """The defect that train() works around. If this fails, the library was mended and the remedy may go."""
    rows = tmp_path / "rows.txt"
    rows.write_text("".join(f"__label__{label} {text}\n" for label, text in make_rows()))
    program = (
        "import sys, fasttext\n"
        "fasttext.train_supervised(sys.argv[1], dim=8, bucket=20000, wordNgrams=2, thread=1, verbose=0)"
        ".save_model(sys.argv[2])"
    )
    made = []
    for filler in ("165", "90"):
        path = tmp_path / f"{filler}.bin"
        environment = os.environ | {"MALLOC_PERTURB_": filler}
        subprocess.run([sys.executable, "-c", program, str(rows), str(path)], env=environment, check=True)
        matrix = read_model(path).input
        made.append(matrix.block(matrix.rows // 10 + 1, matrix.rows))
    assert not np.array_equal(made[0], made[1])
    assert not (made[0] == 0).all(axis=1).any()


def test_the_classifier_has_learned(tmp_path: Path) -> None:
    train(make_rows(), tmp_path / "a.bin", TrainSettings(dim=8, bucket=20_000, epoch=20, lr=0.5))
    found = scorers.fasttext.load(tmp_path / "a.bin").probabilities(pa.array(["w1 w2 w3", "w450 w399 w390"]))
    assert found["0"][0].as_py() > 0.6


def test_text_means_what_it_means_when_scored(tmp_path: Path) -> None:
    """A newline is a space, a literal </s> ends the text, tokens that look like labels vanish."""
    plain = [("1", "one two three"), ("0", "four five"), ("0", "six")]
    odd = [("1", "one\ntwo __label__7 three"), ("0", "four five </s> seven __label__9"), ("0", "six")]
    train(plain, tmp_path / "plain.bin", SMALL)
    train(odd, tmp_path / "odd.bin", SMALL)
    assert sorted(scorers.fasttext.load(tmp_path / "odd.bin").labels) == ["0", "1"]
    words = [bytes(read_model(tmp_path / f"{name}.bin").strings) for name in ("plain", "odd")]
    assert sorted(words[0]) == sorted(words[1])


def test_jsonl_gives_what_the_rows_give(tmp_path: Path) -> None:
    lines = [json.dumps({"label": label, "text": text}) for label, text in make_rows(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n\n")
    train(tmp_path / "rows.jsonl", tmp_path / "a.bin", SMALL)
    train(iter(make_rows(40)), tmp_path / "b.bin", SMALL)
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no training rows"),
        ([("1", "a"), ("1", "b")], "all 2 training rows have the label '1'"),
        ([("1", "a"), ("0", "\ud800")], "training row 2: not valid Unicode"),
        ([("1", "a"), ("a b", "c")], "training row 2: the label 'a b'"),
        ([("", "a")], "training row 1: the label ''"),
        ([("1", None)], "training row 1: expected two strings"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, rows: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(rows, tmp_path / "a.bin", SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line", [b'{"label": "1", "text": "\xff"}', b"{broken", b'["1", "a"]', b'{"label": "1"}', b'{"label":1,"text":"a"}']
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"label": "0", "text": "a"}\n' + line)
    with pytest.raises(ValueError, match=r"(line|training row) 2"):
        train(path, tmp_path / "a.bin", SMALL)


def test_a_failure_of_the_library_leaves_the_old_model(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_text("old")
    with pytest.raises(RuntimeError, match="fastText library failed"):
        train(make_rows(4), tmp_path / "a.bin", TrainSettings(dim=4, bucket=10, lr=1e30))
    assert (tmp_path / "a.bin").read_text() == "old"


def test_weights_that_no_training_gives_are_refused(models: Path, tmp_path: Path) -> None:
    check_weights(models / "softmax2.bin")
    content = bytearray((models / "softmax2.bin").read_bytes())
    at = read_model(models / "softmax2.bin").input.offset
    content[at : at + 4] = np.float32(1e20).tobytes()
    (tmp_path / "bad.bin").write_bytes(content)
    with pytest.raises(RuntimeError, match="training went wrong"):
        check_weights(tmp_path / "bad.bin")
