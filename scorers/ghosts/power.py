"""How many identifiers, how often: power of membership tests from measured curves of AUC against repetitions.

A score whose AUC between members and non-members is A shifts them apart by d = sqrt(2) * inverse_normal(A) standard
deviations, if both are about normal. One identifier is then found at level alpha with power Phi(d - z); n of
them together, standardised and added, with a shift of d * sqrt(n):

    shift = at(CURVES["llama-3.2-1b ratio"], 5)
    identifiers_needed(shift, alpha=1e-3, power=0.9)         # 13
    single_power(shift, alpha=0.01, m=999)                   # of one identifier, ranked among 999 null draws

The published curves are of 100-token canaries in 100 books, models of 1 to 3 B parameters fine-tuned on them (arXiv
2405.15523; AUCs computed from the released results, mean of five seeds). A phrase of ten words is shorter, a corpus
larger, a pre-training longer: they are a prior for planning, no promise. A calibration of one's own is worth more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

NORMAL = NormalDist()
_REPETITIONS = (1, 2, 3, 5, 7, 10)


def _curve(*aucs: float) -> dict[int, float]:
    return dict(zip(_REPETITIONS, aucs, strict=True))


CURVES: dict[str, dict[int, float]] = {
    "gpt-neo-1.3b ratio": _curve(0.612, 0.706, 0.782, 0.872, 0.928, 0.964),
    "gpt-neo-1.3b loss": _curve(0.605, 0.683, 0.750, 0.837, 0.898, 0.942),
    "gemma-2b ratio": _curve(0.586, 0.651, 0.695, 0.810, 0.853, 0.905),
    "gemma-2b loss": _curve(0.555, 0.593, 0.631, 0.712, 0.757, 0.803),
    "llama-3.2-1b ratio": _curve(0.593, 0.661, 0.733, 0.808, 0.868, 0.917),
    "llama-3.2-1b loss": _curve(0.577, 0.613, 0.649, 0.692, 0.732, 0.786),
    "phi-2 ratio": _curve(0.577, 0.626, 0.679, 0.739, 0.801, 0.846),
    "phi-2 loss": _curve(0.561, 0.600, 0.642, 0.690, 0.743, 0.788),
}
"""AUC by exact repetitions. ratio: divided by the perplexity of a reference model."""
DEFAULT_CURVE = "llama-3.2-1b loss"


@dataclass(frozen=True)
class Level:
    """A number of repetitions, and what it takes and gives."""

    repetitions: int
    auc: float
    shift: float
    identifiers: int
    """that one owner needs for the wanted power"""
    documents: int
    """identifiers x repetitions"""
    single: float
    """power of a test of one identifier at the level that the correction leaves"""


def shift_of(auc: float) -> float:
    """Standard deviations between the means of members and others. Raises ValueError outside of (0.5, 1)."""
    if not 0.5 < auc < 1:
        raise ValueError(f"AUC {auc}: expected more than 0.5 and less than 1")
    return math.sqrt(2) * NORMAL.inv_cdf(auc)


def at(curve: Mapping[int, float], repetitions: int) -> float:
    """Shift at a number of repetitions: linear in its logarithm between measured ones; beyond the last as at the last.

    Raises ValueError below the first.
    """
    known = sorted(curve)
    if repetitions < known[0]:
        raise ValueError(f"{repetitions} repetitions: the curve begins at {known[0]}")
    if repetitions >= known[-1]:
        return shift_of(curve[known[-1]])
    upper = next(r for r in known if r > repetitions)
    lower = max(r for r in known if r <= repetitions)
    part = math.log(repetitions / lower) / math.log(upper / lower)
    return (1 - part) * shift_of(curve[lower]) + part * shift_of(curve[upper])


def identifiers_needed(shift: float, alpha: float, power: float) -> int:
    """Identifiers whose standardised sum reaches level alpha with that power."""
    needed = (NORMAL.inv_cdf(1 - alpha) + NORMAL.inv_cdf(power)) / shift
    return max(1, math.ceil(needed**2 - 1e-9))


def owner_power(shift: float, identifiers: int, alpha: float) -> float:
    """Power of the standardised sum of so many identifiers."""
    return NORMAL.cdf(shift * math.sqrt(identifiers) - NORMAL.inv_cdf(1 - alpha))


def single_power(shift: float, alpha: float, m: int) -> float:
    """Power of one identifier ranked among m null draws: p = (1 + #{T_j <= T}) / (m + 1) <= alpha.

    Of m draws at most k - 1 may lie below the identifier's own, k = floor(alpha (m + 1)): that has the chance that
    the k-th smallest of m uniform numbers exceeds Phi(z - shift), averaged over the identifier's z.
    """
    most = math.floor(alpha * (m + 1) * (1 + 1e-12)) - 1
    if most < 0:
        return 0.0
    steps = 2000
    total = 0.0
    for i in range(steps):
        place = NORMAL.cdf(NORMAL.inv_cdf((i + 0.5) / steps) - shift)
        total += _binomial_at_most(most, m, place)
    return total / steps


def _binomial_at_most(k: int, m: int, p: float) -> float:
    """P(Binomial(m, p) <= k), summed from the largest term down; 0 where it cannot matter."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return 0.0
    mean, deviation = m * p, math.sqrt(m * p * (1 - p))
    if k > mean + 12 * deviation + 12:
        return 1.0
    if k < mean - 12 * deviation - 12:
        return 0.0
    log_odds = math.log(p) - math.log1p(-p)
    term = math.lgamma(m + 1) - math.lgamma(k + 1) - math.lgamma(m - k + 1) + k * log_odds + m * math.log1p(-p)
    total, scale = 0.0, math.exp(term)
    factor = 1.0
    for i in range(k, -1, -1):
        total += factor
        factor *= i / ((m - i + 1) * math.exp(log_odds)) if i else 0
        if factor < 1e-17 * total:
            break
    return min(1.0, total * scale)


def levels(curve: Mapping[int, float], alpha: float, power: float, level: float, m: int) -> list[Level]:
    """One per measured number of repetitions. level: of a single identifier's test, after the correction."""
    found = []
    for repetitions in sorted(curve):
        shift = at(curve, repetitions)
        needed = identifiers_needed(shift, alpha, power)
        single = single_power(shift, level, m)
        found.append(Level(repetitions, curve[repetitions], shift, needed, needed * repetitions, single))
    return found
