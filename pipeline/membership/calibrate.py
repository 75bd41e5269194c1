"""Do p-values keep their promise? Identifiers that were never inserted, each with draws of its own.

The registry's reserves come first; more are drawn from its generator under a key of this module. Whatever the model has
been trained on, their p-values must not be small more often than they say: at most about alpha x n of n are at most
alpha. "About" is a binomial limit that an honest test passes all but once in a thousand times.

    calibrations lie beside the tests:  memberships/calibration-<registry>-<model>-<hash8>/calibration.parquet
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.ghosts.registry import Identifier, Registry
from pipeline.membership.results import Draws, read_draws
from pipeline.membership.run import Subject, default_name, score, subject
from pipeline.membership.settings import TestSettings
from pipeline.membership.values import NULL, ORDER
from pipeline.shards import write_narrow
from pipeline.workspace import Workspace
from scorers.ghosts.generator import draw
from scorers.membership.owners import owner_p
from scorers.membership.pvalues import binomial_limit, rank_p, sequential_p, uniform_p
from scorers.membership.values import PLAIN, tie_band

CALIBRATION = "calibration.parquet"
LEVELS = (0.05, 0.01, 0.001)
GROUP = 4
"""Identifiers of a made-up owner."""
SCHEMA = pa.schema(
    [
        ("statistic", pa.string()),
        ("null", pa.string()),
        ("test", pa.string()),
        ("alpha", pa.float64()),
        ("tests", pa.int64()),
        ("below", pa.int64()),
        ("limit", pa.int64()),
        ("holds", pa.bool_()),
        ("uniform_p", pa.float64()),
    ]
)
"""test: rank, sequential or owner. below: of so many tests, p-values at most alpha; limit: the most that an honest test
reaches all but once in a thousand times. uniform_p: of too many small p-values at all levels together."""


def fresh(registry: Registry, count: int, seed: int) -> tuple[Identifier, ...]:
    """Identifiers that stand nowhere: the reserves, then others of the same generator."""
    found = list(registry.reserves)[:count]
    key = hashlib.sha256(f"calibration {registry.commitment} {seed}".encode()).digest()
    generator, words = registry.generator, registry.words
    rows = draw(generator, words, key, 0, count - len(found))
    for number, row in enumerate(rows):
        phrase = generator.phrase(words, row)
        sentence = generator.sentence(phrase, generator.carrier(key, number))
        found.append(
            Identifier(
                id=f"fresh-{seed}-{number:06d}",
                number=number,
                owner="",
                reserve=True,
                phrase=phrase,
                words=tuple(words.words[i] for i in row),
                places=tuple(int(i) for i in row),
                carrier=sentence.carrier,
                element=generator.element,
                sentence=sentence.text,
                begin=sentence.begin,
                end=sentence.end,
            )
        )
    return tuple(found)


def calibration_of(
    registry: Registry, settings: TestSettings, count: int, m: int, seed: int = 0, name: str | None = None
) -> Subject:
    """Fresh identifiers against a model: what is to be scored."""
    alone = settings.model_copy(update={"last_k": None, "first": m, "limit": None})
    plan = replace(registry, plan=replace(registry.plan, m=m, unit="identifier"))
    chosen = name or f"calibration-{default_name(registry, settings.engine)}"[:100]
    return subject(plan, alone, settings.engine, chosen, fresh(registry, count, seed), {"calibration": True})


def calibrate(
    workspace: Workspace,
    registry: Registry,
    settings: TestSettings,
    count: int,
    m: int,
    seed: int = 0,
    name: str | None = None,
) -> tuple[Subject, pa.Table]:
    """Score fresh identifiers and count small p-values (SCHEMA). The caller holds the lock; resumes per identifier."""
    tested = calibration_of(registry, settings, count, m, seed, name)
    score(workspace, tested, settings.engine, settings.model_copy(update={"last_k": None}))
    table = counted(read_draws(workspace, tested, None), m, settings.engine.dtype, seed)
    with workspace.store.writing(f"{tested.stage.folder}/{CALIBRATION}") as path:
        write_narrow(path, table)
    return tested, table


def counted(draws: list[Draws], m: int, dtype: str, seed: int = 0) -> pa.Table:
    """How many p-values are small, per statistic, null and kind of test."""
    rows: list[dict[str, Any]] = []
    names = [*PLAIN, *(["centred_nll"] if all(_centred(one) for one in draws) else [])]
    for name in names:
        for null, kind in (("generator", NULL), ("permutation", ORDER)):
            if (name, kind) == ("centred_nll", ORDER) or not all(one.kind(kind).any() for one in draws):
                continue
            targets = [one.target(name) for one in draws]
            own = [one.draws(name, kind) for one in draws]
            ties = [tie_band(dtype, name, one.tokens) for one in draws]
            tests = {"rank": [rank_p(*each) for each in zip(targets, own, ties, strict=True)]}
            if kind == NULL:
                found = [sequential_p(a, b, m, tie) for a, b, tie in zip(targets, own, ties, strict=True)]
                tests["sequential"] = [p for p in found if p is not None]
            groups = range(0, len(draws) - GROUP + 1, GROUP)
            tests["owner"] = [
                owner_p(targets[i : i + GROUP], own[i : i + GROUP], resamples=1999, seed=seed + i)[0] for i in groups
            ]
            rows += [_row(name, null, test, p, alpha) for test, p in tests.items() if p for alpha in LEVELS]
    return pa.Table.from_pylist(rows, SCHEMA)


def _centred(one: Draws) -> bool:
    return bool(np.isfinite(one.values("centred_nll")[one.kind(NULL)]).all())


def _row(name: str, null: str, test: str, p: list[float], alpha: float) -> dict[str, Any]:
    below, limit = int((np.array(p) <= alpha).sum()), binomial_limit(len(p), alpha)
    return {
        "statistic": name,
        "null": null,
        "test": test,
        "alpha": alpha,
        "tests": len(p),
        "below": below,
        "limit": limit,
        "holds": below <= limit,
        "uniform_p": uniform_p(p),
    }
