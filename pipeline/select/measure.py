"""What a selection keeps, counted by corpus and source, and each cut as a person reads it.

for corpus, counts in answers(pool, Measure(ranking, cuts), shards):
    ...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.select.cut import Group, Place, beyond, boundary_score
from pipeline.select.inputs import ShardInputs
from pipeline.select.rank import Ranked, Ranking, ranked
from pipeline.select.settings import SelectSettings


@dataclass(frozen=True)
class Cuts:
    """Where each source's cap and each group's budget end."""

    caps: dict[Group, Place | None]
    budget: dict[Group, Place | None]


def judged(shard: Ranked, ranking: Ranking, cuts: Cuts) -> np.ndarray:
    """All reasons of each document, as bits."""
    reasons = shard.reasons.copy()
    reasons[beyond(shard, ranking, shard.eligible, cuts.caps)] |= ranking.bit("source_cap")
    reasons[beyond(shard, ranking, reasons == 0, cuts.budget)] |= ranking.bit("over_budget")
    return reasons


@dataclass(frozen=True)
class Measure:
    """What the cuts keep of one shard, by source."""

    ranking: Ranking
    cuts: Cuts

    def __call__(self, inputs: ShardInputs) -> tuple[str, dict[str, dict[str, Any]]]:
        shard = ranked(inputs, self.ranking)
        reasons = judged(shard, self.ranking, self.cuts)
        kept = reasons == 0
        size = len(shard.source_names)
        worst, join = (-np.inf, np.maximum) if self.ranking.ascending else (np.inf, np.minimum)
        last = np.full(size, worst)
        scores = pc.fill_null(shard.score, worst).to_numpy()
        join.at(last, shard.sources[kept], scores[kept])
        defined = per_source(shard, kept & pc.is_valid(shard.score).to_numpy())
        names = self.ranking.reasons
        bits = np.array([self.ranking.bit(name) for name in names])
        first = np.where(kept, len(names), (reasons[:, None] & bits != 0).argmax(axis=1))
        rejected = np.stack([per_source(shard, first == n) for n in range(len(names))], axis=1)
        columns = {
            "documents": per_source(shard),
            "pool": per_source(shard, shard.pooled),
            "eligible": per_source(shard, shard.eligible),
            "kept": per_source(shard, kept),
            "kept_units": per_source(shard, kept, shard.amount),
        }
        for name, values in shard.lengths.items():
            columns[name] = per_source(shard, None, values)
            columns[f"kept_{name}"] = per_source(shard, kept, values)
        counts = {
            source: {name: int(column[code]) for name, column in columns.items()}
            | {
                "last_score": float(last[code]) if defined[code] else None,
                "reasons": {r: int(n) for r, n in zip(names, rejected[code], strict=True) if n},
            }
            for code, source in enumerate(shard.source_names)
        }
        return inputs.corpus, counts


def per_source(shard: Ranked, rows: np.ndarray | None = None, values: np.ndarray | None = None) -> np.ndarray:
    """Rows of each source, or their sum of values; int64, one entry per source."""
    total = np.zeros(len(shard.source_names), np.int64)
    chosen = slice(None) if rows is None else rows
    np.add.at(total, shard.sources[chosen], 1 if values is None else values[chosen])
    return total


def added(counts: dict[str, Any], more: dict[str, Any], ranking: Ranking) -> None:
    """Add one shard's counts of a source to those of others."""
    for name, value in more.items():
        if name == "reasons":
            held = counts.setdefault("reasons", {})
            for reason, rows in value.items():
                held[reason] = held.get(reason, 0) + rows
            counts["reasons"] = {reason: held[reason] for reason in ranking.reasons if reason in held}
        elif name == "last_score":
            both = [score for score in (counts.get(name), value) if score is not None]
            counts[name] = (max(both) if ranking.ascending else min(both)) if both else None
        else:
            counts[name] = counts.get(name, 0) + value


def shown_cuts(
    kind: str,
    cuts: Mapping[Group, Place | None],
    limits: Mapping[Group, int],
    sources: Mapping[str, Mapping[str, Mapping[str, Any]]],
    settings: SelectSettings,
) -> list[dict[str, Any]]:
    """Each cut with what it kept. `short`: units that its limit had room for when it ran out of documents."""
    shown = []
    for group, cut in cuts.items():
        if group is None and kind == "budget" and settings.shares and not limits[group]:
            continue
        members = [
            counts
            for of_corpus in sources.values()
            for source, counts in of_corpus.items()
            if source == group or (group is None and source not in cuts)
        ]
        lowest = [counts["last_score"] for counts in members if counts["last_score"] is not None]
        kept = sum(counts["kept_units"] for counts in members)
        assert kept <= limits[group], f"{kind} of {group}: kept {kept} of {limits[group]}"
        shown.append(
            {
                "kind": kind,
                "source": group,
                "limit": limits[group],
                "kept": kept,
                "short": limits[group] - kept if cut is None else 0,
                "last_score_in": (max(lowest) if settings.ascending else min(lowest)) if lowest else None,
                "first_score_out": boundary_score(cut, settings.ascending),
            }
        )
    return shown
