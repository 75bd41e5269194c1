"""Several identifiers as one exact test: of an owner, or of a whole registry.

Each identifier has m + 1 values, its own and m null draws. Under the hypothesis that the model has seen none of them,
which of the m + 1 is its own is uniform and independent of the others' choices, whatever the values are. So each row is
standardised by mean and deviation of all its m + 1 values (which do not depend on the choice), the identifiers' own are
added up, and the sum is ranked among sums in which every row's choice is drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scorers.membership.pvalues import rank_p

RESAMPLES = 9_999


def standardised(target: float, draws: np.ndarray) -> tuple[float, np.ndarray]:
    """The target and all m + 1 values (target first), less their mean, over their deviation; 0 where all are equal."""
    values = np.concatenate([[target], np.asarray(draws, np.float64)])
    spread = values.std()
    scaled = (values - values.mean()) / spread if spread > 0 else np.zeros(len(values))
    return float(scaled[0]), scaled


def owner_p(
    targets: Sequence[float], draws: Sequence[np.ndarray], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """(p-value, sum of the standardised targets over the square root of their number).

    draws: of each identifier, at least one; their numbers may differ. Exact for any number of resamples.
    """
    if not len(targets):
        raise ValueError("an owner without an identifier")
    generator = np.random.default_rng(np.random.SeedSequence([seed, len(targets)]))
    total, sums = 0.0, np.zeros(resamples)
    for target, own in zip(targets, draws, strict=True):
        mine, scaled = standardised(target, own)
        total += mine
        sums += scaled[generator.integers(0, len(scaled), resamples)]
    # Sums of the same values in the same order are equal to the last bit; the band is for values tied within rounding.
    return rank_p(total, sums, tie=1e-9 * len(targets)), total / float(np.sqrt(len(targets)))
