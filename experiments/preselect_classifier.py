"""From planted losses on real text to a classifier: does it find the class that was planted?

    python -m experiments.preselect_classifier

The documents are real (experiments/preselect_text.py): a quarter explain, the others are listings. The explaining ones
are planted as predictive, the others as one of the three kinds that are not, and tests/scorers/preselect/recovery.py,
which imports no estimator, makes the losses of six models and a benchmark. Strengths become labels, labels train
fastText, and the classifier is judged on whole held-out domains against the planted class.

precision, recall   of as many positives as Eq. 1 has documents of strength 1: the paper's rule
cut                 precision (and recall) of as many positives as there are planted documents
AUC                 of the strengths themselves
rule, quarter       AUC of the classifier taught by the positives of the paper's rule and as many negatives, or by a
                    quarter of the documents from each end; with the paper's fastText settings, or trained longer
                    (the settings of configs/preselect-small), for the pool is small
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import pyarrow as pa

from experiments.preselect_recovery import ESTIMATORS, estimate, mean_and_half_width, measure
from experiments.preselect_text import (
    BANDS,
    LONGER,
    PAPER,
    Chunks,
    Documents,
    classifier_auc,
    cut,
    held_out,
    labelled_chunks,
)
from scorers.fasttext.train import TrainSettings
from scorers.preselect.labels import label
from tests.scorers.preselect.recovery import World, plant

TAUGHT = ("preselect (Eq. 1)", "spearman", "margin", "noise", "noise, mean of pairs", "noise, kappa 32")
"""The estimators whose labels train classifiers."""
CLASSIFIERS = (PAPER, LONGER)
COLUMNS = ("precision", "recall", "cut", "AUC", "rule, paper", "rule, longer", "quarter, paper", "quarter, longer")
EACH = {"short": 6, "medium": 3}  # documents of a chunk


def quarter_explaining(chunks: Chunks) -> Chunks:
    """Every third explaining chunk and all listings."""
    return {True: chunks[True][::3], False: chunks[False]}


def planted(documents: Documents, seed: int) -> World:
    """Losses of six models for real documents, their words taken as tokens."""
    random = np.random.default_rng([seed, 3008])
    return plant(random, documents.explaining, documents.domain, documents.words)


def labels(value: np.ndarray, count: int) -> np.ndarray:
    """As many positives as negatives from the two ends: 1, 0 or -1 (D,)."""
    ids = pa.array([f"document {n}" for n in range(len(value))])
    share = min((count + 0.5) / len(value), 0.5)
    return np.array(label(value, ids, "quantile", positive=share, negative=share).fill_null(-1))


def judged(
    world: World, documents: Documents, seed: int, classifiers: tuple[TrainSettings, ...] = CLASSIFIERS
) -> tuple[np.ndarray, np.ndarray]:
    """(estimators, COLUMNS), NaN where no classifier is trained (`classifiers` says which); and what lies around them.

    The second: the positives of Eq. 1, those of them outside the held-out domains, and per settings of CLASSIFIERS the
    AUC of a classifier that is given the planted classes of all documents to train on.
    """
    out = held_out(documents, np.random.default_rng([seed, 7]))
    found = estimate(world)
    perfect = int((found[ESTIMATORS[0]] == 1).sum())
    rows = np.full((len(ESTIMATORS), len(COLUMNS)), np.nan)
    rows[:, :4] = measure(world)[:, :4]
    for name in TAUGHT:
        own = ESTIMATORS.index(name)
        own_labels = labels(found[name], max(perfect, 1)), labels(found[name], len(out) // 4)
        rows[own, 4:] = [
            classifier_auc(documents, taught, out, settings) if settings in classifiers else np.nan
            for taught in own_labels
            for settings in CLASSIFIERS
        ]
    positives = int(((labels(found[ESTIMATORS[0]], max(perfect, 1)) == 1) & ~out).sum())
    truth = documents.explaining.astype(np.int8)
    ceilings = [
        classifier_auc(documents, truth, out, settings) if settings in classifiers else np.nan
        for settings in CLASSIFIERS
    ]
    return rows, np.array([perfect, positives, *ceilings])


def table(results: np.ndarray, around: np.ndarray) -> str:
    """results: (seeds, estimators, COLUMNS); around: (seeds, 4). Mean +- half the width of the 95 % interval."""
    mean, width = mean_and_half_width(results)
    gain, gain_width = mean_and_half_width(results - results[:, :1])
    lines = [f"{'estimator':27}" + "".join(f"{name:>16}" for name in (*COLUMNS[:4], "gain in cut", "gain in AUC"))]
    for row, name in enumerate(ESTIMATORS):
        cells = [_cell(mean[row, n], width[row, n]) for n in range(4)]
        cells += [_cell(gain[row, n], gain_width[row, n], "+") for n in (2, 3) if row]
        lines.append(f"{name:27}" + "".join(cells))
    lines += ["", f"{'AUC of the classifier':27}" + "".join(f"{name:>16}" for name in COLUMNS[4:])]
    for name in TAUGHT:
        row = ESTIMATORS.index(name)
        lines.append(f"{name:27}" + "".join(_cell(mean[row, n], width[row, n]) for n in range(4, 8)))
        if row:
            lines.append(
                f"{'  gain over Eq. 1':27}" + "".join(_cell(gain[row, n], gain_width[row, n], "+") for n in range(4, 8))
            )
    known, known_width = mean_and_half_width(around)
    lines.append(f"{'the classes themselves':27}" + "".join(_cell(known[n], known_width[n]) for n in (2, 3, 2, 3)))
    lines.append(f"strength 1 by Eq. 1: {known[0]:.0f} documents, {known[1]:.0f} of them outside the held-out domains")
    return "\n".join(lines)


def _cell(mean: float, width: float, sign: str = "-") -> str:
    return f"{'':>16}" if np.isnan(mean) else f"{mean:>{sign}9.3f} +-{width:.3f}"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="AUC of classifiers taught by planted losses on real text.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--bands", nargs="+", default=list(BANDS), choices=list(BANDS))
    given = parser.parse_args()
    chunks = quarter_explaining(labelled_chunks())
    for band in given.bands:
        begun = time.time()
        found = []
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            documents = cut(chunks, BANDS[band], EACH[band], np.random.default_rng([seed, 1]))
            found.append(judged(planted(documents, seed), documents, seed))
            print(f"{band}, seed {seed}: {time.time() - begun:.0f} s", file=sys.stderr, flush=True)
        low, high = BANDS[band]
        print(f"{band}: {low} to {high} words, {given.seeds} seeds from {given.first_seed}")
        print(f"{len(documents.texts)} documents, {documents.explaining.mean():.0%} of them planted\n")
        print(table(*map(np.array, zip(*found, strict=True))) + "\n", flush=True)


if __name__ == "__main__":
    main()
