"""A batch of documents as scorers see it: Arrow's own buffers, never Python strings.

>>> texts = Texts.from_arrow(pa.array(["one two", "three"], pa.large_string()))
>>> bytes(texts.data[texts.offsets[1] : texts.offsets[2]])
b'three'
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from scorers.words import Words


@dataclass(frozen=True)
class Texts:
    """``len(texts)`` UTF-8 documents in one buffer.

    data: uint8, the bytes of all documents (and perhaps bytes around them: a slice shares its parent's buffer).
    offsets: int64 of shape (n + 1,); document i is ``data[offsets[i]:offsets[i + 1]]``.
    """

    data: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_arrow(cls, array: pa.Array | pa.ChunkedArray) -> Texts:
        """Share the buffers of a string or large_string array. A null document counts as empty."""
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
            if isinstance(array, pa.ChunkedArray):  # no chunk at all, or more than one array can hold
                array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], pa.large_string())
        if not pa.types.is_large_string(array.type):
            array = array.cast(pa.large_string())
        _, offsets, data = array.buffers()
        num = len(array)
        if num == 0 or offsets is None:
            return cls(np.zeros(0, np.uint8), np.zeros(1, np.int64))
        view = np.frombuffer(offsets, np.int64, num + 1, array.offset * 8)
        return cls(np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), view)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_bytes(self) -> int:
        """UTF-8 bytes of all documents together."""
        return int(self.offsets[-1] - self.offsets[0])

    @cached_property
    def words(self) -> Words:
        """The default word split, made once per batch and shared by every scorer that asks for it."""
        from scorers.words import split_words

        return split_words(self.data, self.offsets)
