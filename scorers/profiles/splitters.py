"""Words as each tool splits them. spaCy, uniseg, jieba and MeCab come with the extra ``profiles``, or not at all."""

from __future__ import annotations

import importlib
import re
import string
import unicodedata
from collections.abc import Callable
from typing import Any

Splitter = Callable[[str], list[str]]

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WHITE = re.compile(r"\s+")


def splitter_for(words: str, language: str) -> Splitter:
    """The splitter of a profile. Raises ValueError that says what to install."""
    if words == "spacy":
        return _spacy(language)
    if words == "nemo":
        return {"zh": _jieba, "ja": _mecab}.get(language, lambda: str.split)()
    if words in ("uniseg", "unicode_words"):
        found = _needed("uniseg.wordbreak").words
        return _starting_alphanumeric(found) if words == "uniseg" else _with_alphanumeric(found)
    return _redpajama if words == "rpv2" else str.split


def _needed(module: str, package: str | None = None) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        name = package or module.partition(".")[0]
        raise ValueError(
            f"this profile splits words with {name}, which is not installed; pip install 'tamis[profiles]' brings it"
        ) from None


def _spacy(language: str) -> Splitter:
    """spaCy's rules for a language, without a model; tokens stripped, empty ones dropped."""
    spacy = _needed("spacy")
    if language == "ja":
        raise ValueError("profile datatrove: language ja needs datatrove's own change to spaCy; not done here")
    if language == "zh":
        _needed("jieba")
    config: dict[str, Any] = {"nlp": {"tokenizer": {"segmenter": "jieba"}}} if language == "zh" else {}
    try:
        pipe = spacy.blank(language, config=config)
    except ImportError:
        raise ValueError(f"profile datatrove: spaCy has no language {language!r}") from None

    def tokens(text: str) -> list[str]:
        pipe.max_length = len(text) + 10
        try:
            found = pipe.tokenizer(text)
        except ValueError:
            # A word that spaCy's symbols collide with; datatrove takes it out, too.
            found = pipe.tokenizer(text.replace("IS_ALPHA", ""))
        return [stripped for token in found if (stripped := token.text.strip())]

    return tokens


def _jieba() -> Splitter:
    jieba = _needed("jieba")
    return lambda text: list(jieba.cut(text))


def _mecab() -> Splitter:
    tagger = _needed("MeCab", "mecab-python3").Tagger()
    return lambda text: [
        line.partition("\t")[0] for line in tagger.parse(text).strip().split("\n") if line and line != "EOS"
    ]


def _redpajama(text: str) -> list[str]:
    """ASCII punctuation removed, lower case, white space, then canonical decomposition."""
    plain = _WHITE.sub(" ", text.translate(_NO_PUNCTUATION).lower().strip())
    return unicodedata.normalize("NFD", plain).split()


def _starting_alphanumeric(words: Callable[[str], Any]) -> Splitter:
    return lambda text: [word for word in words(text) if word[0].isalnum()]


def _with_alphanumeric(words: Callable[[str], Any]) -> Splitter:
    return lambda text: [word for word in words(text) if any(char.isalnum() for char in word)]
