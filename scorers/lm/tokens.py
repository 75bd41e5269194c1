"""Documents to token ids, and each token to the characters it completes.

- A document begins with the tokenizer's BOS if it has one; its own loss is never counted. Without a BOS nothing
  precedes the first token, so it has no loss and is not counted; if that token is only part of a character, the tokens
  up to the end of that character are left out with it, so that what is scored is whole characters.
- Nothing is truncated, whatever the tokenizer's files say, and no other special token is added.
- Text is text: a literal ``<|endoftext|>`` in a document is spelt out like any other characters.

``ends[t]`` is the number of the document's characters that are whole once token t has been read: the bytes of an
emoji's first tokens complete nothing, its last one completes the emoji. It never falls, and a position is a boundary
of a tokenisation if one of its tokens ends there (see align).

>>> tokens = tokenize(tokenizer, bos=None, texts=["one two"])
>>> tokens.ids, tokens.ends, tokens.leads
(array([606, 734]), array([3, 7]), array([1]))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CHUNK = 256  # documents whose encodings are alive at once; they are much bigger than the arrays made of them


@dataclass(frozen=True)
class Tokens:
    """The tokens of n documents, one after the other, the BOS included.

    ids: int64 (tokens,).
    offsets: int64 (n + 1,); document d has the tokens ``offsets[d]`` up to ``offsets[d + 1]``.
    ends: int64 (tokens,), characters of the document that are whole after the token; 0 for the BOS.
    leads: int64 (n,), how many of the document's first tokens are context only and have no loss.
    """

    ids: np.ndarray
    offsets: np.ndarray
    ends: np.ndarray
    leads: np.ndarray

    def __len__(self) -> int:
        return len(self.leads)


def plain_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that neither truncates, pads, adds special tokens, trims offsets nor reads special tokens in the text."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.post_processor = None
    copy.encode_special_tokens = True
    return copy


def tokenize(tokenizer: Tokenizer, bos: int | None, texts: Sequence[str]) -> Tokens:
    """The tokens of every document; an empty document has none, not even a BOS. ``tokenizer`` from plain_tokenizer."""
    ids: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    leads = np.zeros(len(texts), np.int64)
    for first in range(0, len(texts), _CHUNK):
        encodings = tokenizer.encode_batch(list(texts[first : first + _CHUNK]), add_special_tokens=False)
        for doc, encoding in enumerate(encodings, first):
            doc_ids = np.array(encoding.ids, np.int64)
            doc_ends = completed(np.array(encoding.offsets, np.int64).reshape(-1, 2))
            if len(doc_ids) and bos is not None:
                doc_ids, doc_ends = np.append(bos, doc_ids), np.append(0, doc_ends)
                leads[doc] = 1
            elif len(doc_ids):
                leads[doc] = min(int(np.searchsorted(doc_ends, 1)) + 1, len(doc_ids))
            ids.append(doc_ids)
            ends.append(doc_ends)
    offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    none = np.zeros(0, np.int64)
    return Tokens(np.concatenate([none, *ids]), offsets, np.concatenate([none, *ends]), leads)


def completed(spans: np.ndarray) -> np.ndarray:
    """int64 (t,): characters that are whole after each token, from the (t, 2) spans of characters that tokens touch."""
    if not len(spans):
        return np.zeros(0, np.int64)
    ends = np.maximum.accumulate(spans[:, 1])
    # A character that a later token still touches is not whole yet.
    later = np.append(np.minimum.accumulate(spans[:0:-1, 0])[::-1], ends[-1])
    return np.minimum(ends, later)
