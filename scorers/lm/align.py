"""Losses of models with different tokenizers, brought to the same characters.

Two tokenizers agree on some positions of a text: where a token of each ends. Between two such positions both models
have predicted exactly the same characters, so the sums of their token losses there can be compared and paired.

>>> edges = common_boundaries([3, 4, 8], [4, 6, 8])
>>> edges
array([0, 4, 8])
>>> align_to_characters(np.array([1.0, 2.0, 4.0]), np.array([3, 4, 8]), edges)
array([3., 4.])
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def common_boundaries(*ends: Sequence[int] | np.ndarray, begins: Sequence[int] | None = None) -> np.ndarray:
    """Character positions, rising, where the scored tokens of every model begin or end, as int64.

    ends: one array per model, of one document (TokenLosses.ends). begins: where each model's scored characters begin
    (TokenLosses.begins, by default 0). The models score the same characters only if the first and the last position
    returned are the first and the last of every one of them: fewer than two positions mean nothing in common.
    """
    if not ends:
        raise ValueError("common_boundaries: no model given; expected the token ends of at least one")
    common: np.ndarray | None = None
    for begin, own in zip([0] * len(ends) if begins is None else begins, ends, strict=True):
        edges = np.unique(np.append(np.asarray(own, np.int64), begin))
        common = edges if common is None else np.intersect1d(common, edges, assume_unique=True)
    assert common is not None
    return common


def align_to_characters(
    values: np.ndarray, ends: np.ndarray, boundaries: np.ndarray | Sequence[int], begin: int = 0
) -> np.ndarray:
    """Sums of one document's token losses between character boundaries, as float64 (len(boundaries) - 1,).

    values: (t,), ends: (t,) as in TokenLosses; begin: where its scored characters begin. A token belongs to the piece
    in which the characters that it completes lie; tokens after the last character belong to the last piece.
    Raises ValueError for a position that is not a boundary of this tokenisation: half a token has no loss.
    """
    values, ends, edges = np.asarray(values), np.asarray(ends, np.int64), np.asarray(boundaries, np.int64)
    if len(values) != len(ends):
        raise ValueError(f"align_to_characters: {len(values)} losses but {len(ends)} token ends; expected one each")
    if len(edges) and (np.diff(edges) <= 0).any():
        raise ValueError("align_to_characters: the boundaries must rise")
    own = np.append(ends, begin)
    wrong = edges[~np.isin(edges, own)]
    if len(wrong):
        raise ValueError(
            f"align_to_characters: no token ends at character {int(wrong[0])}; take positions from common_boundaries"
        )
    if len(edges) < 2:
        return np.zeros(0)
    # The first token that reaches an edge closes the piece; the tokens that follow it complete nothing before it.
    cuts = np.where(edges == begin, 0, np.searchsorted(ends, edges) + 1)
    if edges[-1] == own.max():
        cuts[-1] = len(values)
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return np.diff(sums[cuts])
