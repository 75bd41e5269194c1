"""Lengths against Python's own counting, and tokens against the tokenizer asked text by text."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from scorers.lengths import Settings, load, model_files
from scorers.texts import Texts


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of bytes that adds a special token, truncates to 4 and pads: none of which may be counted."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate([*alphabet, "th", "[CLS]"])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[("t", "h")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.TemplateProcessing("[CLS] $A", special_tokens=[("[CLS]", vocabulary["[CLS]"])])
    made.enable_truncation(4)
    made.enable_padding(length=16)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def lengths(texts: list[str], path: Path | None = None, name: str = "lengths") -> dict[str, list[int]]:
    files = {} if path is None else {"tokenizer": str(path)}
    scorer = load(Settings(tokenizer=None if path is None else "org/name"), files, name)
    columns = scorer.score(Texts.from_arrow(pa.array(texts, pa.large_string())))
    return pa.Table.from_arrays(columns, schema=scorer.schema).to_pydict()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_characters_bytes_and_words_are_pythons(texts):
    found = lengths(texts)
    assert found["chars"] == [len(text) for text in texts]
    assert found["bytes"] == [len(text.encode()) for text in texts]
    assert list(found) == ["chars", "bytes", "words"]


def test_words_are_those_of_the_default_split():
    assert lengths(["two words", "", "你好 there"])["words"] == [2, 0, 3]


def test_tokens_are_those_of_the_text_alone(tokenizer):
    texts = ["the thin thing", "", "é你", "x" * 1000, "th " * 400_000]
    expected = [11, 0, 5, 1000, 800_000]
    assert lengths(texts, tokenizer)["tokens"] == expected
    assert lengths(texts, tokenizer.parent)["tokens"] == expected


def test_another_name_prefixes_the_columns(tokenizer):
    assert list(lengths(["a"], tokenizer, "gpt")) == ["gpt_chars", "gpt_bytes", "gpt_words", "gpt_tokens"]


def test_the_tokenizer_is_a_model_file_when_set():
    assert model_files(Settings()) == {}
    assert model_files(Settings(tokenizer="org/name")) == {"tokenizer": "org/name"}


def test_a_missing_or_broken_tokenizer_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match=r"no tokenizer\.json there"):
        lengths(["a"], tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"not a tokenizer\.json that tokenizers can read"):
        lengths(["a"], tmp_path)
