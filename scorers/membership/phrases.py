"""Where a phrase's tokens stand among those of its sentence: found by characters, never by counting tokens.

>>> rows_of(np.array([(0, 0), (0, 3), (3, 8), (8, 12), (12, 13)]), begin=4, end=12)
slice(2, 4, None)
"""

from __future__ import annotations

import numpy as np


def rows_of(spans: np.ndarray, begin: int, end: int) -> slice:
    """The tokens that hold a character from begin to end. spans: int64 (tokens, 2).

    A token that also holds characters beside the phrase (a space before it, a full stop grown to its last word) counts,
    for phrase and null draws alike. Raises ValueError if there is none, or the first token of all is among them: that
    one has no log-probability.
    """
    inside = np.flatnonzero((spans[:, 0] < end) & (spans[:, 1] > begin) & (spans[:, 0] < spans[:, 1]))
    if not len(inside) or inside[0] == 0:
        raise ValueError(f"no scored token holds characters {begin} to {end}")
    rows = slice(int(inside[0]), int(inside[-1]) + 1)
    if spans[rows.start, 0] > begin or spans[rows.stop - 1, 1] < end:
        raise ValueError(f"the tokens do not cover characters {begin} to {end} of the sentence")
    return rows
