"""Strengths drawn towards the mean of their domain, the more so the less there is of a document.

    S~ = (n S + k M) / (n + k)       n: the document's tokens; M: mean strength of the *other* documents of its domain

The document itself stays out of M, else a domain of one would pull a document towards itself. PreSelect's paper loses
4 to 5 points when it selects by domain alone, and single short documents are noisy: this stands in between.

k (kappa) is how many tokens the domain's word is worth: a few dozen help among short documents, and cost precision in
a pool of mixed lengths (docs/experiments/preselect-recovery.md). None estimates it by the method of moments: within
domains the squared deviation of a document is t + v / n on average, t the spread of true strengths and v / n the
noise; least squares of squared deviations over 1 / n give both, and k = v / t makes S~ the best linear guess.
That holds for means of token scores. It fails for concordances, which spread more among long documents, where the
predictive ones reach 1: there the estimate is near 0 or erratic. Hence no default.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shrunk:
    """value: float64 (D,); domain_mean: float64 (D,), of the other documents, NaN where there are none; kappa used."""

    value: np.ndarray
    domain_mean: np.ndarray
    kappa: float


def shrink(value: np.ndarray, tokens: np.ndarray, domain: np.ndarray, kappa: float | None) -> Shrunk:
    """Shrink strengths (D,) towards their domains' leave-one-out means.

    tokens: (D,), the weight of each document (any measure of its size will do, and kappa is in its unit); domain: (D,)
    integers from 0. kappa: None to estimate it; 0 leaves the strengths, infinity puts the domain's mean in their place.
    Undefined strengths (NaN) stay undefined and count nowhere; a document alone in its domain stays as it is.
    ValueError for arrays that do not fit and where kappa has to be estimated from too little.
    """
    value, tokens = np.asarray(value, np.float64), np.asarray(tokens, np.float64)
    if value.ndim != 1 or value.shape != tokens.shape or value.shape != np.shape(domain):
        raise ValueError(
            f"strengths {value.shape}, tokens {tokens.shape} and domains {np.shape(domain)} must be of one length"
        )
    defined = ~np.isnan(value)
    if (tokens[defined] <= 0).any():
        raise ValueError("tokens must be above 0 for every document with a strength")
    if kappa is not None and not kappa >= 0:
        raise ValueError(f"kappa is {kappa}; expected 0 or more, or None to estimate it")
    count = np.bincount(domain[defined])
    total = np.bincount(domain[defined], weights=value[defined])
    others = np.full(len(value), np.nan)
    rows = np.flatnonzero(defined)
    rows = rows[count[domain[rows]] > 1]
    others[rows] = (total[domain[rows]] - value[rows]) / (count[domain[rows]] - 1)
    if kappa is None:
        kappa = _estimate(value[rows] - others[rows], domain[rows], tokens[rows])
    shrunk = value.copy()
    part = np.ones(len(rows)) if np.isinf(kappa) else kappa / (tokens[rows] + kappa)
    shrunk[rows] = (1 - part) * value[rows] + part * others[rows]
    return Shrunk(shrunk, others, float(kappa))


def _estimate(deviation: np.ndarray, domain: np.ndarray, tokens: np.ndarray) -> float:
    """v / t by least squares; v of 0 or less is no noise, t of 0 or less nothing but noise.

    The mean of m - 1 others has spread and noise of its own: a squared deviation is t m / (m - 1) on average, plus
    v times 1 / n + (mean of 1 / n over the others) / (m - 1).
    """
    inverse = 1 / tokens
    if len(deviation) < 3 or np.ptp(inverse) == 0:
        raise ValueError(
            "kappa cannot be estimated: it takes domains of several documents of different lengths; set it"
        )
    others = np.bincount(domain)[domain] - 1.0
    other_inverse = (np.bincount(domain, weights=inverse)[domain] - inverse) / others
    design = np.stack([1 + 1 / others, inverse + other_inverse / others], axis=1)
    (spread, noise), *_ = np.linalg.lstsq(design, deviation**2)
    if noise <= 0:
        return 0.0
    return noise / spread if spread > 0 else np.inf
