"""How strong identifiers are before anything is trained: entropy, collisions, the null draws that a test needs.

collision_odds(bits=155.1, identifiers=10**9)        # any two phrases alike, among so many
required_draws(tests=100, alpha=0.05, correction="holm")     # m: the smallest p is 1 / (m + 1)
"""

from __future__ import annotations

import math
from typing import Literal

Correction = Literal["none", "holm", "bh", "by"]


def collision_odds(bits: float, identifiers: int) -> float:
    """Bound on the chance that any two of so many phrases are alike: n (n - 1) / 2 pairs, 2**-bits each."""
    return min(1.0, identifiers * (identifiers - 1) / 2 * 2.0**-bits)


def smallest_level(tests: int, alpha: float, correction: Correction) -> float:
    """The level that the one member of a registry of so many tests must reach to be found when all others are not."""
    if tests < 1 or not 0 < alpha < 1:
        raise ValueError(f"{tests} tests at alpha {alpha}: expected at least 1, and alpha between 0 and 1")
    if correction == "none":
        return alpha
    if correction == "by":  # Benjamini-Yekutieli: any dependence
        return alpha / tests / sum(1 / i for i in range(1, tests + 1))
    return alpha / tests


def required_draws(tests: int, alpha: float, correction: Correction) -> int:
    """The fewest null draws m with which a rank p-value, at best 1 / (m + 1), can reach that level."""
    level = smallest_level(tests, alpha, correction)
    draws = max(1, math.ceil(1 / level) - 1)
    while 1 / (draws + 1) > level * (1 + 1e-12):
        draws += 1
    while draws > 1 and 1 / draws <= level * (1 + 1e-12):
        draws -= 1  # 1 / 0.05 may come out above 20
    return draws
