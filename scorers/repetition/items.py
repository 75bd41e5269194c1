"""What windows are made of: the words of a split, or the tokens of a tokenizer, with the characters of each.

items = items_of(texts, "unicode")                       # words, positions in bytes
items = items_of(texts, "unicode", tokenizer)            # tokens, positions in characters
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scorers.texts import Texts
from scorers.words import Split, Words, split_words

VERSION = 1

_BYTES_AT_ONCE = 1 << 20  # the tokenizer keeps ids, offsets and more for every token of a call


def items_of(texts: Texts, split: Split, tokenizer: Any = None) -> Words:
    """The items of a batch. Of tokens, starts and ends are characters of the document, of words they are bytes."""
    if tokenizer is not None:
        return _tokens(texts, tokenizer)
    return texts.words if split == "unicode" else split_words(texts.data, texts.offsets, split)


def _tokens(texts: Texts, tokenizer: Any) -> Words:
    doc_offsets = np.zeros(len(texts) + 1, np.int64)
    ids, spans = [], []
    batch: list[str] = []
    size = done = 0
    for doc in range(len(texts)):
        text = texts.data[texts.offsets[doc] : texts.offsets[doc + 1]].tobytes()
        batch.append(text.decode())
        size += len(text)
        if size >= _BYTES_AT_ONCE or doc + 1 == len(texts):
            encoded = tokenizer.encode_batch(batch, add_special_tokens=False)
            ids += [np.array(one.ids, np.uint64) for one in encoded]
            spans += [np.array(one.offsets, np.int32).reshape(-1, 2) for one in encoded]
            doc_offsets[done + 1 : doc + 2] = [len(one.ids) for one in encoded]
            batch, size, done = [], 0, doc + 1
    np.cumsum(doc_offsets, out=doc_offsets)
    places = np.concatenate([np.zeros((0, 2), np.int32), *spans])
    hashes = _spread(np.concatenate([np.zeros(0, np.uint64), *ids]))
    starts, ends = np.ascontiguousarray(places[:, 0]), np.ascontiguousarray(places[:, 1])
    return Words(doc_offsets, starts, ends, ends - starts, hashes)


def _spread(ids: np.ndarray) -> np.ndarray:
    """A bijection that spreads token numbers over 64 bits."""
    h = (ids + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    h ^= h >> np.uint64(29)
    return h * np.uint64(0xBF58476D1CE4E5B9)
