"""How large an effect is, with an interval, and what planning expects of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

NORMAL = NormalDist()


def auc(members: Sequence[float] | np.ndarray, others: Sequence[float] | np.ndarray) -> float:
    """The chance that a member's value is smaller than another's, ties halved. NaN if either side is empty."""
    a, b = np.asarray(members, np.float64), np.sort(np.asarray(others, np.float64))
    if not len(a) or not len(b):
        return math.nan
    above = len(b) - np.searchsorted(b, a, side="right")
    equal = np.searchsorted(b, a, side="right") - np.searchsorted(b, a, side="left")
    return float((above + equal / 2).mean() / len(b))


def auc_interval(value: float, members: int, others: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of an AUC (Newcombe 2006, method 5, with Hanley and McNeil's variance).

    It stays inside 0 to 1 and does not collapse where the AUC is 1, as intervals from resampling do.
    """
    z = NORMAL.inv_cdf((1 + level) / 2)

    def outside(theta: float) -> float:
        first, second = theta / (2 - theta) - theta**2, 2 * theta**2 / (1 + theta) - theta**2
        mean = ((members - 1) * first + (others - 1) * second + theta * (1 - theta)) / (members * others)
        return abs(value - theta) - z * math.sqrt(max(mean, 0.0))

    return _crossing(outside, value, 0.0), _crossing(outside, value, 1.0)


def share_interval(hits: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share."""
    if not trials:
        return 0.0, 1.0
    z2 = NORMAL.inv_cdf((1 + level) / 2) ** 2
    centre = (hits + z2 / 2) / (trials + z2)
    half = math.sqrt(z2) / (trials + z2) * math.sqrt(hits * (trials - hits) / trials + z2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def shift_of(area: float) -> float:
    """The shift d of two normal distributions with this AUC: sqrt(2) x the normal quantile; 0 for 0.5."""
    return math.sqrt(2) * NORMAL.inv_cdf(min(max(area, 1e-9), 1 - 1e-9))


def expected_power(area: float, alpha: float) -> float:
    """The chance that one identifier with this AUC is found at a level, by the normal shift: the planning curve."""
    return NORMAL.cdf(shift_of(area) - NORMAL.inv_cdf(1 - alpha))


def identifiers_needed(area: float, alpha: float, power: float = 0.9) -> int | None:
    """How many identifiers of that AUC an owner needs together; None if none is enough."""
    shift = shift_of(area)
    if shift <= 0:
        return None
    return max(1, math.ceil(((NORMAL.inv_cdf(1 - alpha) + NORMAL.inv_cdf(power)) / shift) ** 2))


def _crossing(outside: Callable[[float], float], value: float, end: float) -> float:
    """Where a theta from the estimate to an end of the scale leaves the interval."""
    inner, outer = value, end
    if outside(end) <= 0:
        return end
    for _ in range(80):
        middle = (inner + outer) / 2
        if outside(middle) > 0:
            outer = middle
        else:
            inner = middle
    return (inner + outer) / 2
