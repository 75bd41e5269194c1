"""The words and bigrams that speak most for and against, by the folded weights of a classifier.

    telling(model, texts, positive=1)["words"]["for"]     # [{"feature": ..., "weight": ..., "documents": ...}, ...]

A weight is what one occurrence adds to the logit, before it is divided by the number of features. Rare features have
wild weights: only those of at least `least` of the texts are listed. Bigrams share buckets, so a weight may be another
bigram's; the paper's authors look at words the same way (arXiv 2503.00808, appendix A.3).
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scorers.fasttext.classifier import Classifier

_SEPARATORS = re.compile(rb"[ \n\r\t\v\f\0]+")  # what fastText splits at
_NGRAM = 116049371
_MOST = 5_000_000
"""Distinct features that are counted: bounds the memory."""


def telling(
    model: Classifier, texts: Iterable[str], positive: int, count: int = 30, least: int = 5
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """{"words" | "bigrams": {"for" | "against": features with weights}}. positive: the label's index in the model.

    ValueError for a model that is not a softmax of two labels.
    """
    if not model.pair or model.mode != 0:
        raise ValueError(f"{model.file.path}: telling words need a softmax of two labels, unquantised or small")
    words: Counter[bytes] = Counter()
    bigrams: Counter[tuple[bytes, bytes]] = Counter()
    for text in texts:
        found = [word for word in _SEPARATORS.split(text.encode()) if word]
        words.update(set(found))
        if len(bigrams) < _MOST:
            bigrams.update(set(itertools.pairwise(found)))
    sign = 1.0 if positive == 1 else -1.0
    hashes = {word: _hash(word) for word, seen in words.items() if seen >= least}
    rows = {word: _row(model, word) for word in hashes}
    table = model.rows.table
    single = {w: sign * float(table[row]) for w, row in rows.items() if 0 <= row < model.tables.num_words}
    double = {}
    if model.tables.word_ngrams >= 2 and model.file.pruned is None:
        for (first, second), seen in bigrams.items():
            if seen >= least:
                mixed = (_signed(hashes[first]) * _NGRAM + _signed(hashes[second])) % 2**64
                double[first, second] = sign * float(table[model.tables.num_words + mixed % model.tables.bucket])
    return {
        "words": _ends({w.decode(errors="replace"): (v, words[w]) for w, v in single.items()}, count),
        "bigrams": _ends(
            {b" ".join(pair).decode(errors="replace"): (v, bigrams[pair]) for pair, v in double.items()}, count
        ),
    }


def _ends(weights: dict[str, tuple[float, int]], count: int) -> dict[str, list[dict[str, Any]]]:
    order = sorted(weights, key=lambda name: (-weights[name][0], name))
    top = [name for name in order[:count] if weights[name][0] > 0]
    bottom = [name for name in order[::-1][:count] if weights[name][0] < 0]
    return {
        side: [{"feature": n, "weight": weights[n][0], "documents": weights[n][1]} for n in names]
        for side, names in (("for", top), ("against", bottom))
    }


def _signed(value: int) -> int:
    return value - 2**32 if value >= 2**31 else value


def _row(model: Classifier, word: bytes) -> int:
    from scorers.fasttext.vocabulary import find_word

    tables, data = model.tables, np.frombuffer(word, np.uint8)
    return int(find_word(tables.slots, tables.rests, data, 0, len(word)))


def _hash(word: bytes) -> int:
    from scorers.fasttext.vocabulary import FNV_OFFSET, hash_bytes

    return int(hash_bytes(np.frombuffer(word, np.uint8), 0, len(word), FNV_OFFSET))
