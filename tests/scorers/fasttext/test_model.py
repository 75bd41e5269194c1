"""A damaged model is a clear ValueError or gives probabilities: never a crash, never a huge allocation."""

from __future__ import annotations

import random
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scorers.fasttext
from scorers.fasttext.model import read_model

TEXTS = pa.array(["the list of returns", "", "x y z " * 50])
KINDS = ["softmax2.bin", "hs7.bin", "ova7.bin", "subwords.bin", "pruned.ftz", "dsub3.ftz", "qout.ftz"]


def try_model(path: Path) -> str | None:
    """Load and score: the error's text, or None after checking that the scores are probabilities."""
    try:
        model = scorers.fasttext.load(path)
    except ValueError as error:
        text = str(error)
    else:
        text = None
    if text is not None:
        assert str(path) in text
        assert "\n" not in text
        return text
    for column in model.probabilities(TEXTS).columns:
        values = column.drop_null().to_numpy()
        assert ((values >= 0) & (values <= 1)).all()
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_short_anywhere_is_an_error(models: Path, tmp_path: Path, kind: str) -> None:
    content = (models / kind).read_bytes()
    rng, path = random.Random(1), tmp_path / "cut.bin"
    for size in [*range(120), *(rng.randrange(len(content)) for _ in range(40)), len(content) - 1]:
        path.write_bytes(content[:size])
        assert try_model(path), size


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_any_flipped_bits_give_an_error_or_probabilities(
    models: Path, tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    content = bytearray((models / kind).read_bytes())
    places = st.integers(0, 119) | st.integers(0, 20_000) | st.integers(0, len(content) - 1)
    for at in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[min(at, len(content) - 1)] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "flipped.bin"
    path.write_bytes(content)
    try_model(path)


def patched(models: Path, tmp_path: Path, kind: str, at: int, kind_of_number: str, value: float) -> Path:
    content = bytearray((models / kind).read_bytes())
    struct.pack_into("<" + kind_of_number, content, at, value)
    path = tmp_path / "patched.bin"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("at", "number", "value", "expected"),
    [
        (0, "i", 7, "not a fastText model"),
        (4, "i", 13, "version is 13"),
        (8, "i", 2**31 - 1, "input matrix"),
        (8, "i", -1, "dim is -1"),
        (28, "i", 2**30, "word_ngrams"),
        (32, "i", 9, "loss is 9"),
        (36, "i", 1, "word vectors"),
        (40, "i", 0, "bucket is 0"),
        (48, "i", 2**31 - 1, "maxn"),
        (64, "i", 2**31 - 1, "number of dictionary entries|words \\+ labels"),
        (68, "i", 2**31 - 1, "number of words"),
        (84, "q", 2**31 - 1, "pruned n-grams|dictionary"),
    ],
)
def test_a_wrong_field_is_named(models: Path, tmp_path: Path, at: int, number: str, value: int, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        scorers.fasttext.load(patched(models, tmp_path, "softmax2.bin", at, number, value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
@pytest.mark.parametrize("kind", ["softmax2.bin", "wide.bin"])
def test_weights_that_are_not_finite_are_refused(models: Path, tmp_path: Path, kind: str, value: float) -> None:
    model = read_model(models / kind)
    at = model.input.offset + 4 * model.dim * 3
    path = patched(models, tmp_path, kind, at, "f", value)
    error = try_model(path)
    if value == 3e38:
        return  # finite: whatever comes out is a probability, which try_model has checked
    assert error is not None
    assert "row 3" in error


def test_bytes_after_the_end_are_refused(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "more.bin"
    path.write_bytes((models / "softmax2.bin").read_bytes() + b"\0")
    with pytest.raises(ValueError, match="after the model's end"):
        scorers.fasttext.load(path)


@pytest.mark.parametrize("count", [-1, 10**15, 2**63 - 1])
def test_label_counts_that_make_no_tree_are_refused(models: Path, tmp_path: Path, count: int) -> None:
    content = bytearray((models / "hs7.bin").read_bytes())
    struct.pack_into("<q", content, content.index(b"__label__") + len(b"__label__0") + 1, count)
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"model.bin: byte \d+: a count of a label is {count}, expected"):
        scorers.fasttext.load(path)


def test_a_missing_file_and_an_empty_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scorers.fasttext.load(tmp_path / "none.bin")
    (tmp_path / "empty.bin").touch()
    with pytest.raises(ValueError, match="empty"):
        scorers.fasttext.load(tmp_path / "empty.bin")


@pytest.mark.parametrize("kind", ["softmax2.bin", "dsub3.ftz"])
def test_hostile_counts_allocate_nothing(models: Path, tmp_path: Path, kind: str) -> None:
    """Every int32 of the header and of the matrices' heads at its largest, in a process with little memory."""
    content = (models / kind).read_bytes()
    model = read_model(models / kind)
    matrix = model.input.offset if not model.input.groups else content.index(model.input.codes.tobytes())
    program = (
        "import sys, resource, scorers.fasttext\n"
        "scorers.fasttext.load(sys.argv[1])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[2:]:\n"
        "    try:\n"
        "        scorers.fasttext.load(path)\n"
        "    except ValueError:\n"
        "        pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    paths = []
    for number, at in enumerate([*range(8, 92, 4), *range(matrix - 20, matrix, 4)]):
        damaged = bytearray(content)
        struct.pack_into("<i", damaged, at, 2**31 - 1)
        paths.append(tmp_path / f"{number}.bin")
        paths[-1].write_bytes(damaged)
    done = subprocess.run(
        [sys.executable, "-c", program, str(models / kind), *map(str, paths)],
        capture_output=True, text=True, cwd=Path(__file__).parents[3],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 1024  # KiB


def test_folding_needs_memory_for_the_table_alone(tmp_path: Path) -> None:
    """A dense model of 240 MB: the mapped rows are given back while they are folded."""
    import fasttext

    rows = tmp_path / "rows.txt"
    rows.write_text("__label__1 a b c\n__label__0 d e f\n" * 5)
    model = fasttext.train_supervised(str(rows), dim=200, epoch=1, bucket=300_000, wordNgrams=2, thread=1, verbose=0)
    shape = model.get_input_matrix().shape
    model.set_matrices(np.full(shape, 0.001, np.float32), model.get_output_matrix())
    path = tmp_path / "large.bin"
    model.save_model(str(path))
    assert path.stat().st_size > 230e6
    program = (
        "import sys, resource, scorers.fasttext, pyarrow as pa\n"
        "import scorers.fasttext.classifier\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "scorers.fasttext.load(sys.argv[1]).probabilities(pa.array(['a b']))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 120 * 1024  # KiB; kernels from the cache included
