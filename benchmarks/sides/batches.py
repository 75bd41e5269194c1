"""Texts as Tamis' stages see them: Arrow arrays of BATCH_BYTES of text."""

import numpy as np
import pyarrow as pa


def arrow_batches(texts: list[str]) -> list[pa.Array]:
    """large_string arrays that together hold the texts, in order."""
    from pipeline.shards import BATCH_BYTES

    pa.set_cpu_count(1)
    array = pa.array(texts, pa.large_string())
    ends = np.cumsum([len(text.encode()) for text in texts])
    batches, start = [], 0
    while start < len(texts):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + BATCH_BYTES)) + 1
        batches.append(array.slice(start, stop - start))
        start = stop
    return batches
