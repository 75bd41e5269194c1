"""What to look at before trusting strengths, as plain JSON, and as text for the terminal.

report(found, table, {"cloze": [...]}, settings, names)["estimators"]["noise"]["histogram"]
print(shown(values))
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.preselect.matrix import REASONS, PanelLosses
from pipeline.preselect.settings import StrengthSettings
from scorers.preselect.diagnostics import Ranks, agreement, by_source, histogram, permuted_orders, relations
from scorers.preselect.strength import Strength, average_ranks

TOP_DOMAINS = 30
NOISE_ORDERS = 120
"""Benchmark orders that `noise` is measured under: it needs every document, the others every order of losses."""


def report(
    found: PanelLosses, table: pa.Table, scores: dict[str, list[float]], settings: StrengthSettings, models: list[str]
) -> dict[str, Any]:
    """Everything about the strengths of a sample, JSON-ready: NaN is null."""
    from pipeline.preselect.strength import measure

    benchmark = np.array(list(scores.values()))
    values = {name: table.column(name).to_numpy() for name in table.column_names if _is_strength(name, settings)}
    per: dict[str, Any] = {}
    rows = _some(len(found.losses), settings.report_rows)
    few, told = found.losses[rows], found.told[rows]
    # All but `noise` see nothing but the order of a document's losses, and there are few orders.
    orders, counts = np.unique(_ranked(few), axis=0, return_counts=True)
    ranks: Ranks = {}
    for name, own in values.items():
        levels = None
        if name == "preselect" and len(scores) == 1:
            levels = len(models) * (len(models) - 1) // 2 + 1 if settings.ties == "paper" else None
        shaped = Strength(name, own, None, 1.0, levels)  # type: ignore[arg-type]
        defined = own[~np.isnan(own)]
        per[name] = {
            "defined": len(defined),
            "mean": float(defined.mean()) if len(defined) else None,
            "histogram": histogram(shaped).to_pylist(),
            "sources": by_source(own, table.column("source")).to_pylist(),
            "domains": by_source(own, table.column("domain")).slice(0, TOP_DOMAINS).to_pylist(),
            "relations": vars(relations(own, found.losses, benchmark, found.chars, ranks)),
        }
        if name in settings.estimators:
            threshold = 1.0 if name == "preselect" else float(np.quantile(defined, 0.8)) if len(defined) else 1.0
            noise = name == "noise"
            strengths = measure(few if noise else orders, told, settings, name)
            dealt = permuted_orders(
                lambda order, strengths=strengths: strengths(order).value,  # type: ignore[misc]
                benchmark if len(benchmark) > 1 else benchmark[0],
                counts=None if noise else counts,
                threshold=threshold,
                most=min(settings.permutations, NOISE_ORDERS) if noise else settings.permutations,
            )
            per[name]["permuted_orders"] = {
                "documents": len(few),
                "orders": len(dealt.means) + 1,
                "threshold": threshold,
                "mean": dealt.mean,
                "high_share": dealt.high,
                "mean_rank": dealt.mean_rank,
                "high_rank": dealt.high_rank,
                "other_means": _quantiles(dealt.means),
                "other_high_shares": _quantiles(dealt.highs),
            }
    se = table.column("se").to_numpy()
    rejected = {REASONS[i]: int((found.reasons == i).sum()) for i in range(1, len(REASONS))}
    whole = {
        "documents": table.num_rows,
        "rejected": {name: count for name, count in rejected.items() if count},
        "models": models,
        "scores": scores,
        "mean_se": float(np.nanmean(se)) if np.isfinite(se).any() else None,
        "bits_per_character": _bits(found, models),
        "estimators": per,
        "agreement": agreement(values, ranks=ranks).to_pylist(),
    }
    return _plain(whole)


def _is_strength(name: str, settings: StrengthSettings) -> bool:
    return name.removesuffix("_shrunk") in settings.estimators


def _ranked(losses: np.ndarray) -> np.ndarray:
    """The ranks of each document's losses, NaN where it was rejected."""
    return np.where(np.isnan(losses), np.nan, average_ranks(losses))


def _bits(found: PanelLosses, models: list[str]) -> dict[str, float]:
    kept = found.reasons == 0
    chars = max(int(found.chars[kept].sum()), 1)
    sums = found.losses[kept].sum(axis=0) / chars / math.log(2)
    return dict(zip(models, map(float, sums), strict=True))


def _some(documents: int, most: int) -> np.ndarray:
    """Places of at most so many documents, drawn; in order."""
    if documents <= most:
        return np.arange(documents)
    return np.sort(np.argpartition(np.random.default_rng(0).random(documents), most)[:most])


def _quantiles(values: np.ndarray) -> dict[str, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return {}
    return {f"q{round(100 * q):02d}": float(np.quantile(values, q)) for q in (0, 0.05, 0.5, 0.95, 1)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def shown(values: dict[str, Any]) -> str:
    """The report as text."""
    lines = [f"{values['documents']:,} documents, {len(values['models'])} models"]
    for reason, count in values["rejected"].items():
        lines.append(f"  {count:,} rejected: {reason}")
    lines.append("bits per character: " + ", ".join(f"{k} {v:.3f}" for k, v in values["bits_per_character"].items()))
    for name, one in values["estimators"].items():
        lines += ["", f"{name}: mean {_n(one['mean'])} over {one['defined']:,} documents"]
        most = max((bar["documents"] for bar in one["histogram"]), default=0) or 1
        for bar in one["histogram"]:
            lines.append(f"  {bar['lower']:6.3f} {bar['documents']:9,} {'#' * round(40 * bar['documents'] / most)}")
        dealt = one.get("permuted_orders")
        if dealt:
            high = dealt["other_high_shares"]
            lines.append(
                f"  real order: {_n(dealt['high_share'])} of the documents reach {_n(dealt['threshold'])}, rank "
                f"{dealt['high_rank']} of {dealt['orders']} orders (others: median {_n(high.get('q50'))}, best "
                f"{_n(high.get('q100'))})"
            )
        related = one["relations"]
        lines.append(
            f"  rank correlation with length {_n(related['length_spearman'])}, with the gap between worst and best "
            f"model {_n(related['gap_spearman'])}"
        )
        for source in one["sources"][:10]:
            lines.append(f"  {source['source']}: mean {_n(source['mean'])} of {source['documents']:,}")
    if values["agreement"]:
        lines += ["", "agreement (rank correlation; overlap of the best fifth, and by chance)"]
        for pair in values["agreement"]:
            lines.append(
                f"  {pair['first']} and {pair['second']}: {_n(pair['spearman'])}; {_n(pair['overlap'])} "
                f"({_n(pair['chance'])})"
            )
    return "\n".join(lines)


def _n(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
