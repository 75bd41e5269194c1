"""What is measured of a phrase: one number per text, oriented so that small means member.

    mean_nll    mean negative log-likelihood of the phrase's tokens, in nats
    sum_nll     their sum
    min_k       mean of the K % largest of them (Min-K% Prob, arXiv 2310.16789, with the sign turned), K = 20
    zlib_nll    the sum divided by the bytes of the phrase after zlib (arXiv 2012.07805)
    centred_nll the mean less the mean over other orders of the same words: what the words themselves cost is gone
    ratio_nll   the mean less the mean under a reference model: the log of the ratio of perplexities

The first four come from one pass. A phrase and its null draws are measured alike, so the p-value of any of them is
exact; which one counts is fixed beforehand, the others are exploratory.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np

MIN_K = 0.2
PLAIN = ("mean_nll", "sum_nll", "min_k", "zlib_nll")
"""Values that need one pass over the phrase and nothing else."""
TIES = {"float32": 1e-4}
COARSE_TIE = 1e-2
"""Values closer than this, in nats a token, count as equal: engines repeat themselves up to rounding."""


def measured(logprobs: Sequence[np.ndarray], phrases: Sequence[str]) -> dict[str, np.ndarray]:
    """{value: float64 (n,)} of the PLAIN values, and `tokens`. logprobs: of the tokens of each phrase alone."""
    rows = []
    for values, phrase in zip(logprobs, phrases, strict=True):
        nll = -np.asarray(values, np.float64)
        if not len(nll) or not np.isfinite(nll).all():
            raise ValueError("a phrase without tokens, or a log-probability that is not finite")
        largest = np.sort(nll)[-max(1, math.ceil(MIN_K * len(nll))) :]
        rows.append((nll.mean(), nll.sum(), largest.mean(), nll.sum() / len(zlib.compress(phrase.encode())), len(nll)))
    table = np.array(rows, np.float64).reshape(-1, 5)
    return dict(zip((*PLAIN, "tokens"), table.T, strict=True))


def tie_band(dtype: str, value: str = "mean_nll", tokens: float = 1.0) -> float:
    """How close two values count as equal under an engine's dtype. tokens: of the phrase; sums differ by that more."""
    band = TIES.get(dtype, COARSE_TIE)
    return band * tokens if value == "sum_nll" else band
