"""From estimates of quality to sampling weights that never ask for more tokens than there are.

Weights sum to 1 and stay within caps t >= 0, sum t >= 1. Both projections are those of perplexity correlations (Thrush,
Potts and Hashimoto 2025):

``linear``  maximises sum(weight x estimate): caps are used up from the best estimate down. Depends on ranks only.
``l2``      the weights closest to the estimates: clip(estimate + c, 0, t) with the c that makes the sum 1. Depends on
            values: estimates should be on the scale of weights.

    weights = project(strengths, token_caps(tokens, keep=0.1))     # one entry per domain, or per document
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Method = Literal["linear", "l2"]

_ROUNDING = 1e-9  # caps that should sum to 1 may fall short by this much


def token_caps(tokens: np.ndarray, keep: float) -> np.ndarray:
    """Caps (D,) under which a budget of ``keep`` of all tokens repeats none of them: share of the tokens / keep.

    tokens: (D,), 0 or more. ValueError unless 0 < keep <= 1 and there are tokens.
    """
    tokens = np.asarray(tokens, np.float64)
    if not 0 < keep <= 1:
        raise ValueError(f"keep is {keep}; expected a share of the tokens above 0 and up to 1")
    if (tokens < 0).any() or not tokens.sum() > 0:
        raise ValueError("tokens must be 0 or more for every domain and not all 0")
    return tokens / tokens.sum() / keep


def project(estimates: np.ndarray, caps: np.ndarray, method: Method = "linear") -> np.ndarray:
    """Weights, float64 (D,), with sum 1 and 0 <= weights <= caps.

    estimates: (D,), finite, higher is better; caps: (D,), see token_caps. Where ``linear`` cannot take all of several
    equal estimates each gives the same share of its cap, so that the order of the domains does not matter.
    ValueError for arrays that do not fit, estimates that are undefined, and caps below 0 or with a sum below 1.
    """
    estimates, caps = np.asarray(estimates, np.float64), np.asarray(caps, np.float64)
    if estimates.ndim != 1 or estimates.shape != caps.shape:
        raise ValueError(
            f"estimates have shape {estimates.shape} and caps {caps.shape}; expected two lists of one length"
        )
    if not np.isfinite(estimates).all():
        raise ValueError(f"estimate {np.flatnonzero(~np.isfinite(estimates))[0]} is not a finite number: leave it out")
    if not (caps >= 0).all():
        raise ValueError(f"cap {np.flatnonzero(~(caps >= 0))[0]} is {caps[~(caps >= 0)][0]}; expected 0 or more")
    if not caps.sum() >= 1 - _ROUNDING:
        raise ValueError(f"caps sum to {caps.sum():.6g}; expected 1 or more: with less there is no way to spend it all")
    if caps.sum() <= 1:
        return caps / caps.sum()
    if method == "linear":
        return _linear(estimates, caps)
    if method == "l2":
        return _l2(estimates, caps)
    raise ValueError(f"no projection {method!r}; there are {', '.join(get_args(Method))}")


def _linear(estimates: np.ndarray, caps: np.ndarray) -> np.ndarray:
    levels, level = np.unique(-estimates, return_inverse=True)
    wanted = np.bincount(level, weights=caps, minlength=len(levels))
    before = np.concatenate([[0.0], np.cumsum(wanted)[:-1]])
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        share = np.where(wanted > 0, np.clip((1 - before) / wanted, 0, 1), 0)
    return caps * share[level]


def _l2(estimates: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Exact: the sum is piecewise linear in c and bends where an entry leaves 0 (c = -estimate) or meets its cap."""
    bends = np.concatenate([-estimates, caps - estimates])
    order = np.argsort(bends, kind="stable")
    bends = bends[order]
    slopes = np.cumsum(np.where(order < len(caps), 1.0, -1.0))
    sums = np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(bends))])
    last = min(int(np.searchsorted(sums, 1.0, side="left")), len(bends) - 1)
    # Cumulative sums round: c is made anew from the entries that lie between 0 and their caps on this stretch.
    middle = (bends[max(last - 1, 0)] + bends[last]) / 2
    free = (estimates + middle > 0) & (estimates + middle < caps)
    full = estimates + middle >= caps
    shift = (1 - caps[full].sum() - estimates[free].sum()) / free.sum() if free.any() else middle
    return np.clip(estimates + shift, 0, caps)
