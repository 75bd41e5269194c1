"""The same probabilities as the library on every kind of model, on real and on nasty text."""

from __future__ import annotations

import random
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scorers.fasttext
from scorers.fasttext.rows import DENSE, FOLDED, QUANTISED, SCALAR

from .conftest import QUANTISED as FTZ
from .conftest import TRAINED

KINDS = [f"{name}.bin" for name in TRAINED] + [f"{name}.ftz" for name in FTZ]

NASTY = [
    "",
    " ",
    "\0",
    "a\0b",
    "</s>",
    "the </s> is never read",
    "</s> </s>",
    "</s",
    "</s>x the",
    "__label__0",
    "__label__1 the list of",
    "the __label__0 list __label__nowhere of",
    "__label__ __label_ __labels__",
    "a\u00a0b\u2003c\u0085d",
    "the list of \U0001f600 x",
    "the " * 2000,
    "list of the " * 1000,
    "tab\tcr\rvt\vff\fend",
    "x" * 1_000_000,
    "w " * 500_000,
    "12345678 123456789 1234567890123456 12345678901234567 12345678901234567x",
    "é 日本語 ünï",
    "\x7f\x01\x1f \x1c\x1d",
    "x" * 64,
    "x" * 63 + " " + "y" * 64 + " " + "z" * 127,
    " lead and trail ",
]


def differences(path: Path, texts: list[str]) -> float:
    """Largest difference of any probability; the library reports p + 1e-5."""
    model, official = scorers.fasttext.load(path), fasttext.load_model(str(path))
    ours = model.probabilities(pa.array(texts))
    labels, reported = official.predict(texts, k=-1)
    columns = {f"__label__{name}": ours[name].to_numpy() for name in ours.column_names}
    worst = 0.0
    for i in range(len(texts)):
        assert len(labels[i]) == len(columns)
        for label, value in zip(labels[i], reported[i], strict=True):
            worst = max(worst, abs(columns[label][i] - (value - 1e-5)))
    return worst


@pytest.mark.parametrize("kind", KINDS)
def test_real_text_scores_as_in_the_library(models: Path, documents: list[str], kind: str) -> None:
    assert differences(models / kind, documents[::4] if "many" in kind or kind == "qout.ftz" else documents) <= 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_nasty_text_scores_as_in_the_library(models: Path, kind: str) -> None:
    assert differences(models / kind, NASTY) <= 1e-6


@pytest.mark.parametrize(
    "kind", ["sharp.bin", "softmax100.bin", "softmax7.bin", "hs7.bin", "subwords.bin", "pruned.ftz"]
)
def test_long_documents_score_as_in_the_library(models: Path, documents: list[str], kind: str) -> None:
    joined = " ".join(documents)
    assert differences(models / kind, [joined[: 1 << k] for k in range(10, 20)] + [joined]) <= 1e-6


@pytest.mark.parametrize("kind", ["sharp.bin", "softmax100.bin"])
@pytest.mark.parametrize("times", [60, 61, 100, 200, 500, 5000])
def test_repeated_words_score_as_in_the_library(models: Path, documents: list[str], kind: str, times: int) -> None:
    words = sorted(set(" ".join(documents).split()))[:: 10 if times < 5000 else 200]
    assert differences(models / kind, [f"{word} " * times for word in words]) <= 1e-6


@pytest.mark.parametrize("columns", [2, 3, 5, 7, 10, 11, 13, 17])
def test_tables_of_one_repeated_word_score_as_in_the_library(models: Path, documents: list[str], columns: int) -> None:
    words = sorted(set(" ".join(documents).split()))
    texts = []
    for i, word in enumerate(words[::40]):  # one column, each in turn, has words of its own
        cells = (words[(i + 7 * k) % len(words)] if k % columns == i % columns else word for k in range(500))
        texts.append(" ".join(cells))
    assert differences(models / "sharp.bin", texts) <= 1e-6


def test_documents_that_repeat_much_score_as_in_the_library_however_sure_the_model_is(
    models: Path, documents: list[str]
) -> None:
    draw = random.Random(5)
    words = sorted(set(" ".join(documents).split()))
    texts = []
    for _ in range(600):
        few, size = draw.sample(words, draw.randint(1, 3)), int(10 ** draw.uniform(1.3, 3.8))
        text = [draw.choice(few) for _ in range(size)] + draw.choices(words, k=int(draw.uniform(0, 3) * size**0.7))
        texts.append(" ".join(draw.sample(text, len(text)) if draw.random() < 0.5 else text))
    assert differences(models / "sharp.bin", texts) <= 1e-6


@pytest.mark.parametrize("kind", ["sharp.bin", "softmax7.bin"])
def test_a_million_distinct_words_score_as_in_the_library(models: Path, kind: str) -> None:
    assert differences(models / kind, [" ".join(f"w{i}" for i in range(1_000_000))]) <= 1e-6


HASH_NEXT_TO_ZERO = ["cmugue", "sbmyoh", "xgnlvh", "acnhbi", "seronr"]  # 7, -11, 12, 30 and -10 as int32


@pytest.mark.parametrize("ending", ["", " </s> the list", " __label__0 the list"])
def test_plain_and_special_blocks_mix_within_a_document(models: Path, documents: list[str], ending: str) -> None:
    plain = " ".join(documents).split()
    texts = [f"{word} {after}" for word in HASH_NEXT_TO_ZERO for after in ("the", "list", "of", *HASH_NEXT_TO_ZERO)]
    for size in (500, 1023, 1024, 1025, 3000):  # a block has 1024 words
        for i, word in enumerate(HASH_NEXT_TO_ZERO):
            words = plain[i * size : (i + 1) * size]
            texts += [" ".join([*words, word, *words, word]) + ending, " ".join([word, *words]) + ending]
    assert differences(models / "softmax2.bin", texts) <= 1e-6


TEXT = st.text(alphabet=st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=40)
WORDS = st.lists(
    st.sampled_from(["the", "list", "of", "</s>", "__label__0", "__label__q", "\0", "\u00a0", "returns"]) | TEXT,
    max_size=30,
).map(" ".join)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXT | WORDS, min_size=1, max_size=40))
@pytest.mark.parametrize("kind", ["softmax2.bin", "ova7.bin", "subwords_ova7.bin", "trigrams.bin", "pruned.ftz"])
def test_any_text_scores_as_in_the_library(models: Path, kind: str, texts: list[str]) -> None:
    assert differences(models / kind, texts) <= 1e-6


def test_every_way_of_summing_is_covered(models: Path) -> None:
    modes = {kind: scorers.fasttext.load(models / kind).mode for kind in KINDS}
    assert modes["softmax2.bin"] == SCALAR
    assert modes["softmax7.bin"] == FOLDED
    assert modes["wide.bin"] == DENSE
    assert modes["pruned_wide.ftz"] == QUANTISED


def test_a_document_scores_the_same_alone_and_in_any_batch(models: Path, documents: list[str]) -> None:
    model = scorers.fasttext.load(models / "softmax7.bin")
    texts = [*documents[:200], " ".join(documents), *NASTY]
    together = model.probabilities(pa.array(texts))
    for i in range(0, len(texts), 7):
        assert model.probabilities(pa.array([texts[i]])).equals(together.slice(i, 1).combine_chunks())


def test_a_slice_reads_its_own_documents_only(models: Path, documents: list[str]) -> None:
    model = scorers.fasttext.load(models / "softmax2.bin")
    array = pa.array(documents[:50])
    assert model.probabilities(array.slice(13, 20)).equals(model.probabilities(pa.array(documents[13:33])))
    assert model.probabilities(pa.chunked_array([array, array])).num_rows == 100
    assert model.probabilities(pa.array([], pa.string())).num_rows == 0


def test_null_text_gives_null_and_empty_text_a_score(models: Path) -> None:
    found = scorers.fasttext.load(models / "softmax2.bin").probabilities(pa.array(["the list", None, ""]))
    assert [found["0"].null_count, found["0"].is_valid().to_pylist()] == [1, [True, False, True]]
    assert found.schema.field("0").type == pa.float32()


def test_a_newline_is_a_space_or_nothing(models: Path) -> None:
    model = scorers.fasttext.load(models / "softmax7.bin")
    text, spaced, glued = pa.array(["the list\nof\nthe"]), pa.array(["the list of the"]), pa.array(["the listofthe"])
    assert model.probabilities(text).equals(model.probabilities(spaced))
    assert model.probabilities(text, newline="").equals(model.probabilities(glued))
    assert not model.probabilities(spaced).equals(model.probabilities(glued))


def test_a_sliced_batch_without_newlines_keeps_its_documents(models: Path) -> None:
    model = scorers.fasttext.load(models / "softmax7.bin")
    array = pa.array(["skipped\n", "the\nlist", "of", "\n\n"])
    expected = model.probabilities(pa.array(["thelist", "of", ""]))
    assert model.probabilities(array.slice(1), newline="").equals(expected)


def test_bytes_that_are_not_utf8_are_bytes_of_words(models: Path) -> None:
    """Arrow does not check; the library takes any bytes too, but its binding only strings."""
    model = scorers.fasttext.load(models / "subwords.bin")
    raw = pa.array([b"the \xff\xfe\x80 list", b"\x80" * 3000, bytes(range(256))], pa.binary())
    values = model.probabilities(raw.view(pa.string()))["0"].to_numpy()
    assert np.isfinite(values).all()
    assert ((values >= 0) & (values <= 1)).all()
