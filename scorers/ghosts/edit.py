"""Documents with pieces of them replaced, straight over their bytes.

    edited = splice(texts, docs, begins, ends, pieces)       # a Texts: texts[doc][begin:end] becomes the piece

Insertion is a cut of no length, removal an empty piece.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from scorers.bits import read_only
from scorers.jit import kernel
from scorers.texts import Texts


def splice(
    texts: Texts, docs: np.ndarray, begins: np.ndarray, ends: np.ndarray, pieces: Sequence[bytes] | None = None
) -> Texts:
    """The documents, edited. Edits are in order of document and place, do not overlap, and are in bytes of a document.

    pieces: one per edit; None: all empty.
    """
    sizes = np.diff(texts.offsets)
    docs, begins, ends = (np.asarray(values, np.int64) for values in (docs, begins, ends))
    _check(docs, begins, ends, sizes)
    lengths = np.zeros(len(docs), np.int64) if pieces is None else np.array([len(p) for p in pieces], np.int64)
    added = np.bincount(docs, lengths - (ends - begins), len(sizes)).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes + added)])
    data = np.empty(int(offsets[-1]), np.uint8)
    joined = np.frombuffer(b"".join(pieces or []), np.uint8)
    firsts = np.searchsorted(docs, np.arange(len(sizes) + 1))
    _splice(
        read_only(texts.data),
        read_only(texts.offsets),
        read_only(firsts),
        read_only(begins),
        read_only(ends),
        read_only(joined),
        read_only(lengths),
        data,
    )
    return Texts(data, offsets)


def to_arrow(texts: Texts, nulls: pa.Array | None = None) -> pa.Array:
    """A large_string array over the same buffers; null where `nulls` (bool) says so."""
    first = texts.offsets[0]
    offsets = np.ascontiguousarray(texts.offsets - first)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(texts.data[first : texts.offsets[-1]])]
    made = pa.Array.from_buffers(pa.large_string(), len(texts), buffers)
    return made if nulls is None else pa.compute.if_else(nulls, pa.scalar(None, pa.large_string()), made)


def _check(docs: np.ndarray, begins: np.ndarray, ends: np.ndarray, sizes: np.ndarray) -> None:
    """Raises ValueError for edits out of order or out of their document."""
    if not len(docs):
        return
    inside = docs.min() >= 0 and docs.max() < len(sizes) and begins.min() >= 0
    if not inside or (begins > ends).any() or (ends > sizes[docs]).any():
        raise ValueError("edits lie outside of their documents")
    same = docs[1:] == docs[:-1]
    if (docs[1:] < docs[:-1]).any() or (begins[1:][same] < ends[:-1][same]).any():
        raise ValueError("edits overlap or are out of order")


@kernel
def _splice(data, offsets, firsts, begins, ends, pieces, lengths, out):
    to = piece = 0
    for doc in range(len(offsets) - 1):
        base, at = offsets[doc], np.int64(0)
        for edit in range(firsts[doc], firsts[doc + 1]):
            size = begins[edit] - at
            out[to : to + size] = data[base + at : base + at + size]
            to += size
            size = lengths[edit]
            out[to : to + size] = pieces[piece : piece + size]
            to, piece = to + size, piece + size
            at = ends[edit]
        size = offsets[doc + 1] - base - at
        out[to : to + size] = data[base + at : base + at + size]
        to += size
