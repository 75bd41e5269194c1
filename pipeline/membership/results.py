"""From draws to p-values: identifiers, owners and the registry, corrected as the registry's plan says.

One test per unit of the plan is primary: its statistic and null, fixed in the commitment, corrected over all units that
the plan counts. Everything else is exploratory: shown, not corrected, not a basis for a claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import UserError
from pipeline.membership.power import expected_power
from pipeline.membership.run import Subject
from pipeline.membership.values import LAST_K, NULL, ORDER, POSITION, TARGET
from pipeline.membership_views import RESULTS
from pipeline.shards import read_narrow, write_narrow
from pipeline.workspace import Workspace
from scorers.ghosts.planning import smallest_level
from scorers.membership.effect import auc_interval
from scorers.membership.lastk import Guesses, last_k_p, positions_test
from scorers.membership.owners import owner_p, standardised
from scorers.membership.pvalues import adjusted, exceedances, last_k_bound, positions_p, rank_p, sequential_p
from scorers.membership.values import PLAIN, tie_band

GENERATOR, PERMUTATION = "generator", "permutation"
SCHEMA = pa.schema(
    [
        ("level", pa.string()),
        ("id", pa.string()),
        ("owner", pa.string()),
        ("test", pa.string()),
        ("statistic", pa.string()),
        ("null", pa.string()),
        ("primary", pa.bool_()),
        ("value", pa.float64()),
        ("effect", pa.float64()),
        ("draws", pa.int64()),
        ("exceedances", pa.int64()),
        ("p", pa.float64()),
        ("p_adjusted", pa.float64()),
        ("found", pa.bool_()),
        ("auc", pa.float64()),
        ("auc_low", pa.float64()),
        ("auc_high", pa.float64()),
        ("identifiers", pa.int64()),
        ("copies", pa.int64()),
        ("level_needed", pa.float64()),
        ("power", pa.float64()),
    ]
)
"""level: identifier, owner or registry. test: rank, last_k or positions. value: of the identifier; effect: that, less
the mean of its draws, over their deviation (of several identifiers: the sum over the root of their number). draws: null
draws looked at, or guesses; exceedances: draws as small as the target, or hits. p_adjusted, found: of the primary test
alone. auc: chance that an identifier's value is smaller than that of a null draw of its own. copies: as inserted, where
known. level_needed: the p that one primary test alone must reach, by the plan's correction; power: the chance that it
does if the model has read the identifiers as often as they were inserted (pipeline.membership.power)."""


@dataclass(frozen=True)
class Draws:
    """The rows of one identifier, as arrays. reference: the same draws under the reference model, or none."""

    id: str
    owner: str
    table: pa.Table
    reference: pa.Table | None
    copies: int | None

    @cached_property
    def _kinds(self) -> np.ndarray:
        return np.array(self.table["kind"].to_pylist())

    def kind(self, kind: str) -> np.ndarray:
        """bool, a row each."""
        return self._kinds == kind

    def values(self, name: str) -> np.ndarray:
        """float64, a row each."""
        if name != "ratio_nll":
            return _numbers(self.table, name)
        assert self.reference is not None
        return _numbers(self.table, "mean_nll") - _numbers(self.reference, "mean_nll")

    def target(self, name: str) -> float:
        """The identifier's own value. Scored anew with each batch of draws: the largest is the careful one."""
        return float(self.values(name)[self.kind(TARGET)].max())

    def draws(self, name: str, kind: str = NULL) -> np.ndarray:
        return self.values(name)[self.kind(kind)]

    def guesses(self, kind: str) -> list[Guesses]:
        """Of the last words (one) or of positions."""
        table = self.table.filter(pa.array(self.kind(kind)))
        return [Guesses(*pair) for pair in zip(table["guesses"].to_pylist(), table["hit"].to_pylist(), strict=True)]

    @property
    def tokens(self) -> float:
        return float(np.nanmean(_numbers(self.table, "tokens")))


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy(zero_copy_only=False).astype(np.float64)


def read_draws(workspace: Workspace, tested: Subject, reference: Subject | None) -> list[Draws]:
    """The draws of the identifiers that are done."""
    copies = tested.registry.repetitions()
    known = bool(tested.registry.insertions().num_rows)
    found = []
    done = {id for id, row in workspace.rows(tested.stage.folder).items() if row.done}
    for one in tested.identifiers:
        if one.id in done:
            table = read_narrow(workspace.store, f"{tested.stage.folder}/{one.id}.parquet")
            other = None
            if reference is not None:
                other = read_narrow(workspace.store, f"{reference.stage.folder}/{one.id}.parquet")
                table, other = _same_draws(table, other)
            found.append(Draws(one.id, one.owner, table, other, copies.get(one.id) if known else None))
    return found


def _same_draws(a: pa.Table, b: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows with values that both tables have, in one order."""
    keys = [list(zip(one["kind"].to_pylist(), one["draw"].to_pylist(), strict=True)) for one in (a, b)]
    scored = (TARGET, NULL, ORDER)
    both = [key for key in keys[0] if key[0] in scored and key in set(keys[1])]
    return tuple(one.take([own.index(key) for key in both]) for one, own in zip((a, b), keys, strict=True))  # type: ignore[return-value]


def results(tested: Subject, draws: Sequence[Draws], dtype: str) -> pa.Table:
    """All tests (SCHEMA), the primary ones first."""
    plan = tested.registry.plan
    rows: list[dict[str, Any]] = []
    scored = [one for one in draws if one.kind(TARGET).any()]
    statistics = [name for name in (*PLAIN, "centred_nll", "ratio_nll") if all(_has(one, name) for one in scored)]
    if scored and plan.statistic not in statistics:
        raise UserError("the plan's statistic is ratio_nll: name the reference model (--reference)")
    for name in statistics if scored else []:
        for null, kind in ((GENERATOR, NULL), (PERMUTATION, ORDER)):
            # The centred value has the other orders of the words in it: ranked among them it says nothing more.
            if (name, null) != ("centred_nll", PERMUTATION) and all(one.kind(kind).any() for one in scored):
                rows += _ranked(tested, scored, name, null, kind, dtype)
    asked = [one for one in draws if one.kind(LAST_K).any()]
    rows += _last_words(tested, asked) if asked else []
    for row in rows:
        row["primary"] = (row["level"], row["test"], row["statistic"], row["null"]) == (
            plan.unit,
            "rank",
            plan.statistic,
            plan.null,
        )
    primary = [row for row in rows if row["primary"]]
    # Units without a result yet count as tests that found nothing: the correction is for what was planned.
    p = [row["p"] for row in primary] + [1.0] * max(0, tested.registry.tests - len(primary))
    for row, value in zip(primary, adjusted(p, plan.correction), strict=False):
        row["p_adjusted"], row["found"] = float(value), bool(value <= plan.alpha)
    level = smallest_level(max(tested.registry.tests, len(primary)), plan.alpha, plan.correction)
    for row in primary:
        copies = [one.copies for one in draws if row["id"] == _unit(tested, one, row["level"])]
        row["level_needed"] = level
        row["power"] = expected_power(copies, plan.statistic, level, plan.m) if plan.null == GENERATOR else None
    rows.sort(key=lambda row: not row["primary"])
    return pa.Table.from_pylist(rows, SCHEMA)


def _unit(tested: Subject, one: Draws, level: str) -> str:
    """What a row of that level calls the unit that an identifier belongs to."""
    return {"identifier": one.id, "owner": one.owner, "registry": Path(tested.registry.path).stem}[level]


def _has(one: Draws, name: str) -> bool:
    if name == "ratio_nll":
        return one.reference is not None
    return bool(np.isfinite(one.values(name)[one.kind(TARGET)]).all())


def _ranked(
    tested: Subject, draws: Sequence[Draws], name: str, null: str, kind: str, dtype: str
) -> list[dict[str, Any]]:
    rows = []
    base: dict[str, Any] = {"test": "rank", "statistic": name, "null": null}
    for one in draws:
        target, own = one.target(name), one.draws(name, kind)
        tie = tie_band(dtype, name, one.tokens)
        p = sequential_p(target, own, tested.plan.m, tie) if tested.plan.sequential and kind == NULL else None
        rows.append(
            base
            | {
                "level": "identifier",
                "id": one.id,
                "owner": one.owner,
                "value": target,
                "effect": standardised(target, own)[0],
                "draws": len(own),
                "exceedances": exceedances(target, own, tie),
                # None: not sequential, or another statistic than the plan's, for which the draws ended too early.
                "p": rank_p(target, own, tie) if p is None else p,
                "identifiers": 1,
                "copies": one.copies,
            }
        )
    owners = sorted({one.owner for one in draws})
    groups = [("owner", owner, [one for one in draws if one.owner == owner]) for owner in owners]
    groups.append(("registry", Path(tested.registry.path).stem, list(draws)))
    # Draws that stopped early depend on the target: what is added up over identifiers is the part that all have.
    count = min(tested.plan.first, tested.plan.m) if kind == NULL else None
    for level, id, mine in groups:
        targets, own_draws = [one.target(name) for one in mine], [one.draws(name, kind)[:count] for one in mine]
        p, effect = owner_p(targets, own_draws, seed=tested.plan.seed)
        area = float(np.mean([_above(a, b) for a, b in zip(targets, own_draws, strict=True)]))
        low, high = auc_interval(area, len(mine), sum(map(len, own_draws)))
        copies = [one.copies for one in mine if one.copies is not None]
        rows.append(
            base
            | {
                "level": level,
                "id": id,
                "owner": id if level == "owner" else None,
                "effect": effect,
                "draws": sum(map(len, own_draws)),
                "p": p,
                "auc": area,
                "auc_low": low,
                "auc_high": high,
                "identifiers": len(mine),
                "copies": sum(copies) if copies else None,
            }
        )
    return rows


def _above(target: float, draws: np.ndarray) -> float:
    return float(((draws > target) + (draws == target) / 2).mean())


def _last_words(tested: Subject, draws: Sequence[Draws]) -> list[dict[str, Any]]:
    generator, size, k = tested.registry.generator, len(tested.registry.words), tested.registry.plan.last_k
    rows: list[dict[str, Any]] = []
    for one in draws:
        common = {"level": "identifier", "id": one.id, "owner": one.owner, "identifiers": 1, "copies": one.copies}
        [tail] = one.guesses(LAST_K)
        places = one.guesses(POSITION)
        rows.append(
            common
            | {
                "test": "last_k",
                "statistic": f"last_{k}",
                "null": GENERATOR,
                "draws": tail.guesses,
                "exceedances": int(tail.hit),
                "p": last_k_p(tail, generator, size, k),
            }
        )
        if places:
            rows.append(
                common
                | {
                    "test": "positions",
                    "statistic": f"last_{len(places)}_singly",
                    "null": GENERATOR,
                    "draws": sum(one.guesses for one in places),
                    "exceedances": sum(one.hit for one in places),
                    "p": positions_test(places, generator, size),
                }
            )
    for owner in sorted({one.owner for one in draws}):
        mine = [one.guesses(LAST_K)[0] for one in draws if one.owner == owner]
        chances = [last_k_bound(one.guesses, size, generator.length, k, generator.replacement) for one in mine]
        hits = sum(one.hit for one in mine)
        rows.append(
            {
                "level": "owner",
                "id": owner,
                "owner": owner,
                "test": "last_k",
                "statistic": f"last_{k}",
                "null": GENERATOR,
                "draws": sum(one.guesses for one in mine),
                "exceedances": hits,
                "p": positions_p(hits, chances),
                "identifiers": len(mine),
            }
        )
    return rows


def save(workspace: Workspace, tested: Subject, table: pa.Table) -> None:
    """Write the results beside the draws that they follow from."""
    with workspace.store.writing(f"{tested.stage.folder}/{RESULTS}") as path:
        write_narrow(path, table)
