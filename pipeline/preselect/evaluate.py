"""How a classifier does on the documents of domains that it was not trained on.

    values = evaluate(sample, table, "models/quality-1234/model.bin")
    print(shown(values))

`auc` is over held-out positives and negatives, `auc_rest` over positives and everything else. `precision_at_10` takes
the best tenth of the held-out documents, each counted as many times as the pool has such documents (`weight`), so that
the prevalence is the pool's; `precision_at_10_sample` counts each once. Documents that the rule left unlabelled are not
positive there.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import UserError
from pipeline.preselect.sample import Sample
from pipeline.preselect.telling import telling
from scorers.preselect.diagnostics import rank_correlation
from scorers.texts import Texts

BINS = 10
LENGTHS = 5
VERSION = 1


def evaluate(sample: Sample, labels: pa.Table, model_path: str, label: str = "1", newline: Any = " ") -> dict[str, Any]:
    """The report, JSON-ready. labels: rows of labels.parquet, aligned with the sample. Raises UserError."""
    from scorers.fasttext.preselect import Settings, load

    scorer = load(Settings(model=model_path, label=label, newline=newline), {"model": model_path})
    held_out = labels.column("held_out").to_numpy().astype(bool)
    probability, logit, lengths, texts = [], [], [], []
    at = 0
    for shard in sample.shards:
        column = sample.table(shard, ["text"]).column("text")
        chosen = held_out[at : at + len(column)]
        at += len(column)
        own = column.filter(pa.array(chosen))
        if len(own):
            first, second = scorer.score(Texts.from_arrow(own))
            probability.append(first.to_numpy(zero_copy_only=False).astype(np.float64))
            logit.append(second.to_numpy(zero_copy_only=False).astype(np.float64))
            texts += own.to_pylist()
            lengths += [len(text) for text in own.to_pylist()]
    rows = labels.filter(pa.array(held_out))
    label_of = rows.column("label").to_numpy()  # float64, NaN where null, if there are nulls
    label_of = np.where(np.isnan(label_of.astype(np.float64)), -1, label_of).astype(np.int8)
    if not ((label_of == 1).any() and (label_of == 0).any()):
        raise UserError("the held-out domains have no positive or no negative: hold out more of them (`held_out`)")
    p, z = np.nan_to_num(np.concatenate(probability)), np.nan_to_num(np.concatenate(logit), nan=-np.inf)
    weight = rows.column("weight").to_numpy()
    strength = rows.column("strength").to_numpy().astype(np.float64)
    size = np.array(lengths)
    top, cut = _top(z, weight, 0.1)
    once, _ = _top(z, np.ones(len(z)), 0.1)
    positive = label_of == 1
    told = label_of >= 0
    defined = ~np.isnan(strength)
    facts = {"p": p, "positive": positive, "label": label_of, "strength": strength, "top": z >= cut}
    values = {
        "documents": len(p),
        "domains": len(set(rows.column("domain").to_pylist())),
        "positives": int(positive.sum()),
        "negatives": int((label_of == 0).sum()),
        "auc": auc(z[told], positive[told]),
        "auc_rest": auc(z, positive),
        "strength_spearman": rank_correlation(z[defined], strength[defined]),
        "prevalence": float((weight * positive).sum() / weight.sum()),
        "precision_at_10": float((top * positive).sum() / top.sum()),
        "prevalence_sample": float(positive.mean()),
        "precision_at_10_sample": float((once * positive).sum() / once.sum()),
        "calibration": _calibration(p[told], positive[told]),
        "sources": _groups(np.array([s or "" for s in rows.column("source").to_pylist()]), facts),
        "lengths": _groups(_length_groups(size), facts),
        "length_spearman": rank_correlation(z, size.astype(np.float64)),
    }
    model = scorer.model
    if model.pair and model.mode == 0:
        values["telling"] = telling(model, texts, scorer.positive)
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive scores above a negative, ties half; NaN without one of the two."""
    _, level, count = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[level]
    wins, losses = int(positive.sum()), int((~positive).sum())
    if not wins or not losses:
        return math.nan
    return float((ranks[positive].sum() - wins * (wins + 1) / 2) / (wins * losses))


def _top(score: np.ndarray, weight: np.ndarray, share: float) -> tuple[np.ndarray, float]:
    """How much of each document's weight is in the best `share` (equal scores get equal parts), and the cut."""
    levels, level = np.unique(-score, return_inverse=True)
    wanted = np.bincount(level, weights=weight, minlength=len(levels))
    before = np.concatenate([[0.0], np.cumsum(wanted)[:-1]])
    part = np.clip((share * weight.sum() - before) / wanted, 0, 1)
    last = int(np.flatnonzero(part > 0)[-1])
    return weight * part[level], float(-levels[last])


def _calibration(p: np.ndarray, positive: np.ndarray) -> list[dict[str, Any]]:
    """Ten bins of the predicted probability, labelled documents only (half of them positive, as in training)."""
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    return [
        {
            "lower": b / BINS,
            "upper": (b + 1) / BINS,
            "documents": int((bins == b).sum()),
            "predicted": float(p[bins == b].mean()),
            "positive": float(positive[bins == b].mean()),
        }
        for b in range(BINS)
        if (bins == b).any()
    ]


def _length_groups(size: np.ndarray) -> np.ndarray:
    edges = np.unique(np.quantile(size, np.linspace(0, 1, LENGTHS + 1)).astype(int))
    group = np.clip(np.searchsorted(edges, size, side="right") - 1, 0, max(len(edges) - 2, 0))
    names = np.array([f"{a:,} to {b:,} characters" for a, b in itertools.pairwise(edges)] or ["all"])
    return np.array([f"{g} {names[g]}" for g in group])


def _groups(names: np.ndarray, facts: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    found = []
    for name in np.unique(names):
        here = names == name
        told = here & (facts["label"] >= 0)
        area = auc(facts["p"][told], facts["positive"][told]) if told.any() else math.nan
        strengths = facts["strength"][here]
        known = strengths[~np.isnan(strengths)]
        found.append(
            {
                "group": str(name),
                "documents": int(here.sum()),
                "mean_score": float(facts["p"][here].mean()),
                "mean_strength": float(known.mean()) if len(known) else None,
                "positive": float(facts["positive"][here].mean()),
                "in_top_10": float(facts["top"][here].mean()),
                "auc": area if math.isfinite(area) else None,
            }
        )
    return found


def shown(values: dict[str, Any]) -> str:
    """The report as text."""
    lines = [
        f"{values['documents']:,} documents of {values['domains']:,} held-out domains: "
        f"{values['positives']:,} positive, {values['negatives']:,} negative",
        f"AUC {_n(values['auc'])} (positives against all others {_n(values['auc_rest'])})",
        f"precision at 10 %: {_n(values['precision_at_10'])} at the pool's prevalence of {_n(values['prevalence'])}; "
        f"{_n(values['precision_at_10_sample'])} at the sample's of {_n(values['prevalence_sample'])}",
        f"rank correlation with strength {_n(values['strength_spearman'])}, "
        f"with length {_n(values['length_spearman'])}",
        "calibration (predicted: positive, documents)",
    ]
    for row in values["calibration"]:
        lines.append(f"  {row['predicted']:.3f}: {row['positive']:.3f}, {row['documents']:,}")
    for kind in ("sources", "lengths"):
        lines.append(f"{kind} (mean score, mean strength, share in the best tenth, AUC)")
        for row in values[kind]:
            lines.append(
                f"  {row['group']}: {_n(row['mean_score'])}, {_n(row['mean_strength'])}, {_n(row['in_top_10'])}, "
                f"{_n(row['auc'])} ({row['documents']:,} documents)"
            )
    for kind, sides in values.get("telling", {}).items():
        for side, features in sides.items():
            lines.append(f"{kind} {side}: " + ", ".join(f"{f['feature']!r}" for f in features[:20]))
    return "\n".join(lines)


def _n(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
