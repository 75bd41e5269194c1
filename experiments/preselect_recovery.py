"""Which estimator of predictive strength finds the documents that were planted as predictive?

    python -m experiments.preselect_recovery

The world is tests/scorers/preselect/recovery.py. Per length band and estimator, mean +- deviation over seeds of:

precision, recall   of as many positives as Eq. 1 has documents of strength 1, taken from the top
cut                 precision (and recall) of as many positives as there are predictive documents
gain                cut less that of Eq. 1 on the same worlds, with the 95 % interval of the mean (t)
AUC                 of the strengths themselves
negatives           share of non-predictive among as many documents as Eq. 1 has of strength 1, taken from the bottom

"noise" pools its pairs by the product (the geometric mean) but in the row "noise, mean of pairs", which is the default
of Tamis.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.preselect.evaluate import auc
from scorers.preselect.labels import label
from scorers.preselect.pairs import pair_statistics
from scorers.preselect.shrink import shrink
from scorers.preselect.strength import strength
from tests.scorers.preselect.recovery import BANDS, World, make_world

COLUMNS = ("precision", "recall", "cut", "AUC", "negatives")
ESTIMATORS = (
    "preselect (Eq. 1)",
    "preselect, ties half",
    "spearman",
    "margin",
    "noise",
    "noise, own errors only",
    "noise, tokens independent",
    "noise, mean of pairs",
    "preselect, kappa estimated",
    "preselect, kappa 32",
    "noise, kappa 32",
)
_T95 = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 7: 2.365, 9: 2.262, 11: 2.201, 15: 2.131, 20: 2.086, 30: 2.042}
"""Two-sided quantiles of Student's t by degrees of freedom; the nearest is taken."""


def estimate(world: World) -> dict[str, np.ndarray]:
    """Strengths by every form, in the order of ESTIMATORS."""
    pairs = pair_statistics(world.token_losses, world.offsets)
    independent = pair_statistics(world.token_losses, world.offsets, window=1)

    def by(*given: Any, **settings: Any) -> np.ndarray:
        # All losses equal: spearman is undefined; there is nothing to know, and the middle is 0.
        return np.nan_to_num(strength(world.losses, world.benchmark, *given, **settings).value)

    plain, noise = by("preselect"), by("noise", pairs=pairs, pooling="product")
    return dict(
        zip(
            ESTIMATORS,
            [
                plain,
                by("preselect", ties="half"),
                by("spearman"),
                by("margin"),
                noise,
                by("noise", pairs=pairs, pooling="product", prior_tokens=0),
                by("noise", pairs=independent, pooling="product"),
                by("noise", pairs=pairs, pooling="mean"),
                shrink(plain, pairs.tokens, world.domain, None).value,
                shrink(plain, pairs.tokens, world.domain, 32).value,
                shrink(noise, pairs.tokens, world.domain, 32).value,
            ],
            strict=True,
        )
    )


def measure(world: World) -> np.ndarray:
    """(estimators, columns)"""
    found = estimate(world)
    truth = world.predictive
    ids = pa.array([f"document {n}" for n in range(len(truth))])
    perfect = max(int((found[ESTIMATORS[0]] == 1).sum()), 1)
    rows = []
    for value in found.values():
        few = _labels(value, ids, perfect)
        many = _labels(value, ids, int(truth.sum()))
        rows.append(
            [
                truth[few == 1].mean(),
                truth[few == 1].sum() / truth.sum(),
                truth[many == 1].mean(),
                auc(value, truth),
                1 - truth[few == 0].mean(),
            ]
        )
    return np.array(rows)


def _labels(value: np.ndarray, ids: pa.Array, count: int) -> np.ndarray:
    share = (count + 0.5) / len(value)
    other = min(share, 1 - share)
    return np.array(label(value, ids, "quantile", positive=share, negative=other).fill_null(-1))


def over_seeds(seeds: range, documents: int, tokens: tuple[int, int], **world: Any) -> np.ndarray:
    """(seeds, estimators, columns)"""
    return np.array([measure(make_world(seed, documents, tokens, **world)) for seed in seeds])


def mean_and_half_width(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the first axis (seeds) and half the width of its 95 % interval."""
    freedom = len(values) - 1
    factor = _T95[min(_T95, key=lambda known: abs(known - freedom))]
    return values.mean(axis=0), factor * values.std(axis=0, ddof=1) / math.sqrt(len(values))


def gains(results: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per estimator, the mean gain in ``cut`` over Eq. 1 and half the width of its 95 % interval."""
    return mean_and_half_width(results[:, :, 2] - results[:, :1, 2])


def table(results: np.ndarray) -> str:
    """The results of one band as lines of a table."""
    lines = [f"{'estimator':27}" + "".join(f"{name:>16}" for name in COLUMNS) + f"{'gain':>18}"]
    mean, deviation = results.mean(axis=0), results.std(axis=0, ddof=1)
    gain, width = gains(results)
    for row, name in enumerate(ESTIMATORS):
        cells = "".join(f"{mean[row, n]:>9.3f} +-{deviation[row, n]:.3f}" for n in range(len(COLUMNS)))
        lines.append(f"{name:27}{cells}" + (f"{gain[row]:>+10.3f} +-{width[row]:.3f}" if row else ""))
    return "\n".join(lines)


VARIATIONS: dict[str, dict[str, Any]] = {
    "as above": {},
    "correlation 0": {"correlation": 0.0},
    "correlation 0.6": {"correlation": 0.6},
    "noise 0.2": {"noise": 0.2},
    "noise 0.7": {"noise": 0.7},
    "benchmark exact": {"benchmark_noise": 0.0},
    "benchmark noise 0.1": {"benchmark_noise": 0.1},
    "benchmark noise 0.2": {"benchmark_noise": 0.2},
    "benchmark noise 0.3": {"benchmark_noise": 0.3},
    "10 % predictive": {"prevalence": 0.1},
    "50 % predictive": {"prevalence": 0.5},
    "others all flat": {"others": ("flat",)},
    "others all scrambled": {"others": ("scrambled",)},
    "others all swapped": {"others": ("swapped",)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Precision and recall of planted predictive documents.")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--documents", type=int, default=1000)
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    print(f"{given.seeds} seeds from {given.first_seed}, {given.documents} documents each\n")
    for band, tokens in BANDS.items():
        results = over_seeds(seeds, given.documents, tokens)
        print(f"{band}: {tokens[0]} to {tokens[1]} tokens\n{table(results)}\n", flush=True)
    print("Other worlds, short documents: cut of Eq. 1, and the gains over it")
    shown = [ESTIMATORS.index(name) for name in ("noise", "noise, mean of pairs", "spearman", "margin")]
    print(f"{'world':24}{'Eq. 1':>8}" + "".join(f"{ESTIMATORS[row]:>22}" for row in shown))
    for name, changed in VARIATIONS.items():
        results = over_seeds(seeds, given.documents, BANDS["short"], **changed)
        gain, width = gains(results)
        cells = "".join(f"{gain[row]:>+14.3f} +-{width[row]:.3f}" for row in shown)
        print(f"{name:24}{results[:, 0, 2].mean():>8.3f}{cells}", flush=True)


if __name__ == "__main__":
    main()
