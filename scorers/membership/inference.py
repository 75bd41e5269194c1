"""Suspect documents without identifiers, against documents that the model surely has not seen.

A p-value exists only if chance decided which documents were published and which were held back, and that decision was
committed before publication: then suspect and held-out documents are exchangeable under the hypothesis, and the
difference of their mean values is ranked among those of random relabelings. Documents that differ in any other way
(date, author, source) differ in likelihood too, and no model is needed to tell them apart: the control below is a
classifier that never sees the model. In every other case there is a score, the control beside it, and no p-value.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorers.membership.effect import auc, auc_interval
from scorers.membership.pvalues import rank_p

RELABELINGS = 9_999
FEATURES, FOLDS = 4096, 5
CANNOT = (
    "Whether this split was drawn by chance before publication is not known, so no p-value can be given: the "
    "documents may differ in topic, date or style, and a model may prefer one side without having read it."
)
SHOWN_BY_CONTROL = " The control, which never asks the model, tells the two sides apart by their words alone."


@dataclass(frozen=True)
class Inference:
    """How suspect documents compare. auc: chance that a suspect document has the smaller value.

    p: only for a randomised, committed split. control: the same AUC of a classifier of words, cross-fitted, that never
    asks the model; 0.5 if the two sides are alike. says: what this can and cannot show, in a sentence or two.
    """

    suspect: int
    held_out: int
    difference: float
    auc: float
    auc_low: float
    auc_high: float
    control: float
    control_low: float
    control_high: float
    p: float | None
    says: str


def inferred(
    suspect: Sequence[float] | np.ndarray,
    held_out: Sequence[float] | np.ndarray,
    texts: Sequence[str],
    randomised: bool,
    seed: int = 0,
) -> Inference:
    """Compare values (small means member) of suspect and held-out documents. texts: of both, suspect first."""
    a, b = np.asarray(suspect, np.float64), np.asarray(held_out, np.float64)
    if len(a) < FOLDS or len(b) < FOLDS:
        raise ValueError(f"{len(a)} suspect and {len(b)} held-out documents; expected at least {FOLDS} of each")
    area = auc(a, b)
    low, high = auc_interval(area, len(a), len(b))
    control = model_free_auc(texts, len(a), seed)
    control_low, control_high = auc_interval(control, len(a), len(b))
    p = permutation_p(a, b, seed) if randomised else None
    if p is None:
        says = CANNOT + (SHOWN_BY_CONTROL if control_low > 0.5 else "")
    else:
        says = "The split is said to be random and committed before publication; the p-value holds if that is so."
        if control_low > 0.5:
            says += " But a classifier that never asks the model tells the sides apart: look into the split first."
    return Inference(
        len(a), len(b), float(a.mean() - b.mean()), area, low, high, control, control_low, control_high, p, says
    )


def permutation_p(a: np.ndarray, b: np.ndarray, seed: int = 0, relabelings: int = RELABELINGS) -> float:
    """Exact p-value of mean(a) - mean(b) being small, by random relabelings."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, len(a), len(b)]))
    # Winsorised over both sides together, which no relabeling changes: one odd document does not decide.
    values = np.concatenate([a, b])
    values = np.clip(values, *np.quantile(values, [0.025, 0.975]))
    sums = [values[generator.permutation(len(values))[: len(a)]].sum() for _ in range(relabelings)]
    return rank_p(float(values[: len(a)].sum()), sums, tie=1e-9 * len(values))


def model_free_auc(texts: Sequence[str], suspect: int, seed: int = 0) -> float:
    """AUC of a naive Bayes classifier of words for suspect documents, each judged by one that did not see it."""
    counts = _counted(texts)
    label = np.arange(len(texts)) < suspect
    order = np.random.default_rng(seed).permutation(len(texts))
    fold = np.empty(len(texts), np.int64)
    for side in (label, ~label):  # every fold has both sides
        mine = order[side[order]]
        fold[mine] = np.arange(len(mine)) % FOLDS
    areas = []
    for one in range(FOLDS):
        inside = fold == one
        counted = [counts[~inside & side].sum(0) + 1 for side in (label, ~label)]
        weights = np.log(counted[0] / counted[0].sum()) - np.log(counted[1] / counted[1].sum())
        score = -(counts[inside] @ weights) / np.maximum(counts[inside].sum(1), 1)
        areas.append(auc(score[label[inside]], score[~label[inside]]))
    return float(np.mean(areas))  # within folds: each has its own classifier, and their scores do not compare


def _counted(texts: Sequence[str]) -> np.ndarray:
    """float64 (n, FEATURES): 1 where a word of that hash stands in the text."""
    counts = np.zeros((len(texts), FEATURES))
    for row, text in enumerate(texts):
        places = [zlib.crc32(word.encode()) % FEATURES for word in re.findall(r"\w+", text.lower())]
        counts[row, places] = 1.0
    return counts
