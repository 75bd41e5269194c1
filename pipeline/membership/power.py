"""How strong a test could have been: what planning expects of it, from the copies that were put in.

    power = expected_power([20, 20], "mean_nll", level=0.005, m=999)     # 0.87, or None where the copies are unknown

A large p-value says little where the power is small. It is that of `tamis ghosts plan`: the published curves of
scorers.ghosts.power, of other models and longer canaries, so a prior and no promise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scorers.ghosts.power import CURVES, DEFAULT_CURVE, NORMAL, at, single_power

CURVE_OF = {"ratio_nll": DEFAULT_CURVE.replace("loss", "ratio")}
"""{statistic: curve}; the others go by DEFAULT_CURVE."""


def expected_power(copies: Sequence[int | None], statistic: str, level: float, m: int) -> float | None:
    """The chance that a model which has read each identifier so often is found at a level.

    copies: of each identifier of the test. level: that p has to reach. m: null draws; of one identifier the ranks are
    counted exactly, of several the sum of the standardised statistics is taken for normal. None without copies.
    """
    known = [one for one in copies if one]
    if not known or len(known) < len(copies):
        return None
    curve = CURVES[CURVE_OF.get(statistic, DEFAULT_CURVE)]
    shifts = [at(curve, one) for one in known]
    if len(shifts) == 1:
        return single_power(shifts[0], level, m)
    return NORMAL.cdf(sum(shifts) / math.sqrt(len(shifts)) - NORMAL.inv_cdf(1 - level))
