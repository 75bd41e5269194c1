"""A score per response token: loss difference, attention on the prompt, or both.

    difference = later_is_better(earlier, later)              # float32, NaN where a loss is not finite
    score = mix(normalised(difference, offsets, "minmax"), prompt, gamma=0.5)

`offsets` cut the flat arrays into samples; normalisation sees one sample at a time. NaN stays NaN and counts nowhere.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from scorers.jit import kernel

Normalise = Literal["minmax", "rank"]
EPSILON = 1e-8
"""Added to the spread, as in the paper's code: a sample of equal differences is all 0."""


def difference(weaker: np.ndarray, stronger: np.ndarray) -> np.ndarray:
    """float32: loss under the weaker checkpoint less that under the stronger; NaN where one of them is not finite."""
    found = weaker.astype(np.float32) - stronger.astype(np.float32)
    return np.where(np.isfinite(found), found, np.float32(np.nan))


def normalised(values: np.ndarray, offsets: np.ndarray, how: Normalise) -> np.ndarray:
    """float32, each sample brought to [0, 1]: by its least and greatest value, or by rank (equal values: mean rank)."""
    values, offsets = np.ascontiguousarray(values, np.float32), np.ascontiguousarray(offsets, np.int64)
    return _minmax(values, offsets) if how == "minmax" else _ranks(values, offsets)


def mix(normal: np.ndarray, prompt: np.ndarray, gamma: float) -> np.ndarray:
    """float32: gamma x normalised difference + (1 - gamma) x attention on the prompt. One that does not count may be
    NaN."""
    if gamma == 1:
        return normal
    if gamma == 0:
        return prompt.astype(np.float32)
    return (gamma * normal + (1 - gamma) * prompt.astype(np.float32)).astype(np.float32)


@kernel
def _minmax(values, offsets):  # type: ignore[no-untyped-def]
    found = np.full(len(values), np.nan, np.float32)
    for sample in range(len(offsets) - 1):
        low, high = np.inf, -np.inf
        for i in range(offsets[sample], offsets[sample + 1]):
            if not np.isnan(values[i]):
                low, high = min(low, values[i]), max(high, values[i])
        for i in range(offsets[sample], offsets[sample + 1]):
            if not np.isnan(values[i]):
                found[i] = (values[i] - low) / (high - low + EPSILON)
    return found


@kernel
def _ranks(values, offsets):  # type: ignore[no-untyped-def]
    found = np.full(len(values), np.nan, np.float32)
    for sample in range(len(offsets) - 1):
        own = values[offsets[sample] : offsets[sample + 1]]
        order = np.argsort(own)  # NaN last
        count = 0
        for i in range(len(own)):
            count += not np.isnan(own[i])
        at = 0
        while at < count:
            end = at + 1
            while end < count and own[order[end]] == own[order[at]]:
                end += 1
            for i in range(at, end):
                found[offsets[sample] + order[i]] = (at + end - 1) / 2 / max(count - 1, 1)
            at = end
    return found
