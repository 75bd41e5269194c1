"""`tamis membership test` from end to end: draws of the model, of its reference if there is one, results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import ShardsFailed, UserError
from pipeline.ghosts.registry import Registry, read
from pipeline.membership.results import read_draws, results, save
from pipeline.membership.run import Subject, default_name, model_identity, score, subject
from pipeline.membership.settings import TestSettings
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Tested:
    """What a test came to. table: pipeline.membership.results.SCHEMA."""

    subject: Subject
    table: pa.Table

    @property
    def registry(self) -> Registry:
        return self.subject.registry


def run_test(
    workspace: Workspace, settings: TestSettings, name: str | None = None, info: dict[str, Any] | None = None
) -> Tested:
    """Test a registry. The caller holds the lock. Raises UserError, EngineError, or ShardsFailed with results saved."""
    registry = read(settings.registry)
    _check_reference(registry, settings)
    chosen = name or default_name(registry, settings.engine)
    tested = subject(registry, settings, settings.engine, chosen, info=info)
    reference = None
    if settings.reference is not None:
        alone = settings.model_copy(update={"last_k": None})
        reference = subject(registry, alone, settings.reference, default_name(registry, settings.reference), info=info)
        score(workspace, reference, settings.reference, alone)
    failed: ShardsFailed | None = None
    try:
        score(workspace, tested, settings.engine, settings)
    except ShardsFailed as error:
        failed = error
    # A server does not say its dtype: ties are taken as wide as for the coarsest.
    dtype = "unknown" if settings.engine.engine == "server" else settings.engine.dtype
    table = results(tested, read_draws(workspace, tested, reference), dtype)
    save(workspace, tested, table)
    if failed is not None:
        raise failed
    return Tested(tested, table)


def _check_reference(registry: Registry, settings: TestSettings) -> None:
    plan = registry.plan
    if plan.statistic == "ratio_nll" and settings.reference is None:
        raise UserError(
            f"registry {registry.path}: its primary statistic is ratio_nll with the reference {plan.reference!r}; name "
            "that model (--reference)"
        )
    if settings.reference is None:
        return
    if settings.reference.dtype != settings.engine.dtype or settings.reference.engine != settings.engine.engine:
        raise UserError("the reference model must run with the engine and dtype of the model that is tested")
    found = model_identity(settings.reference)
    if plan.statistic == "ratio_nll" and plan.reference not in (settings.reference.model, found, found[:16]):
        raise UserError(
            f"registry {registry.path}: the committed reference is {plan.reference!r}, not {settings.reference.model} "
            f"({found[:16]}); another reference could be chosen after the fact"
        )
    if found == model_identity(settings.engine):
        raise UserError("the reference model is the model that is tested; expected one that cannot have seen the text")
