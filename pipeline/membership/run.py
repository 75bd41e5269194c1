"""A registry against a model, identifier by identifier: what is done is not done again.

    memberships/<name>-<hash8>/stage.json, <identifier>.parquet (its draws), results.parquet

The hash is over the registry, the model's content, the engine and its version, and the draws. A ledger row per
identifier follows its file. No phrase, guess or secret is written anywhere: draws are numbers, names are ids.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import ledger
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, pending, write_row
from pipeline.ghosts.registry import Identifier, Registry
from pipeline.membership.settings import TestSettings
from pipeline.membership.values import Plan, identifier_values, last_words, plan_of
from pipeline.membership_views import PARENT
from pipeline.progress import Progress
from pipeline.shards import file_facts, write_narrow
from pipeline.stage import Stage
from pipeline.workspace import Workspace, checked_name
from scorers.lm.engines import Engine, EngineError, EngineSettings, PromptError, engine_facts, open_engine
from scorers.lm.files import identity, model_folder
from scorers.membership import VERSION

KIND = "membership"


@dataclass(frozen=True)
class Subject:
    """What is tested: identifiers of a registry against a model. stage: where its draws are."""

    stage: Stage
    registry: Registry
    identifiers: tuple[Identifier, ...]
    plan: Plan


def subject(
    registry: Registry,
    settings: TestSettings,
    engine: EngineSettings,
    name: str,
    identifiers: Sequence[Identifier] | None = None,
    info: dict[str, Any] | None = None,
) -> Subject:
    """The stage of a test. identifiers: other than the registry's active ones. Raises UserError, EngineError."""
    chosen = tuple(registry.active if identifiers is None else identifiers)
    if not chosen:
        raise UserError(f"registry {registry.path}: no identifier to test")
    if identifiers is None:
        check_draws(registry)
    if settings.limit:
        chosen = chosen[: settings.limit]
    plan = plan_of(registry, settings)
    known = hashlib.sha256("\n".join(f"{one.id} {one.sentence}" for one in chosen).encode()).hexdigest()
    fields = {
        "version": VERSION,
        "generator": registry.generator.hash,
        "commitment": registry.commitment,
        "identifiers": known,
        "draws": asdict(plan),
        "last_k": None if settings.last_k is None else settings.last_k.model_dump() | {"k": registry.plan.last_k},
        "model": model_identity(engine),
        "engine": engine_facts(engine) | {"batch_tokens": engine.batch_tokens, "context": engine.context},
    }
    about = {
        "registry": Path(registry.path).stem,
        "model": engine.model,
        "num_identifiers": len(chosen),
        "plan": asdict(registry.plan),
    }
    stage = Stage(KIND, checked_name(name, "name"), PARENT, fields, about | (info or {}))
    return Subject(stage, registry, chosen, plan)


def check_draws(registry: Registry) -> None:
    """Raises UserError if no test of the registry can come out with its m, naming the m that can."""
    plan, needed = registry.plan, registry.required_draws
    if plan.statistic == "centred_nll" and plan.null == "permutation":
        raise UserError(
            f"registry {registry.path}: centred_nll is a mean less that of the words' other orders, so it cannot be "
            "ranked among them; a plan has one of the two"
        )
    if plan.m < needed:
        raise UserError(
            f"registry {registry.path}: with m = {plan.m:,} null draws none of its {registry.tests:,} tests can come "
            f"out at alpha {plan.alpha:g} with correction {plan.correction}: the smallest p is 1/{plan.m + 1:,}; "
            f"expected at least m = {needed:,} (a new registry: m is part of the commitment), or one test per owner"
        )


def model_identity(engine: EngineSettings) -> str:
    """What a model is: its content, or for a server its name there."""
    if engine.engine == "server":
        return f"{engine.model} at {engine.url}"
    return identity(model_folder(engine.model, engine.revision, engine.trust_remote_code), engine.trust_remote_code)


def default_name(registry: Registry, engine: EngineSettings) -> str:
    """<registry>-<model>, in letters that a folder may have."""
    words = f"{Path(registry.path).stem}-{Path(engine.model.rstrip('/')).name}"
    kept = "".join(c if c.isalnum() or c in "_." else "-" for c in words)
    return "-".join(part for part in kept.split("-") if part).lstrip(".")[:100]


def score(workspace: Workspace, tested: Subject, engine_settings: EngineSettings, settings: TestSettings) -> None:
    """Score the identifiers that are not done. The caller holds the lock. Raises ShardsFailed at the end.

    An identifier that fails (a carrier that the context does not hold, say) is recorded and the others go on; an engine
    that breaks ends the run.
    """
    stage = tested.stage
    todo = pending(workspace, stage.folder, [one.id for one in tested.identifiers])
    stage.save(workspace.store)
    if not todo:
        return
    by_id = {one.id: one for one in tested.identifiers}
    failed: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(open_engine(engine_settings))
        if not engine.scores and settings.last_k is None:
            engine.encode(["x"])  # says what the engine cannot do
        progress = stack.enter_context(Progress(f"membership {stage.name}", len(todo), "identifiers"))
        for id, attempt in todo:
            begun = time.time()
            outcome: Counts | Exception
            try:
                table = _values(engine, tested, by_id[id], settings)
                outcome = _written(workspace, f"{stage.folder}/{id}.parquet", table)
            except ValueError as error:
                outcome = error
                failed[id] = str(error)
            row = write_row(workspace, stage.folder, id, attempt, begun, outcome, shown=True)
            progress.advance([row])
            if isinstance(outcome, EngineError) and not isinstance(outcome, PromptError):
                ledger.compact(workspace.store, stage.folder)
                raise outcome
    ledger.compact(workspace.store, stage.folder)
    if failed:
        raise ShardsFailed(stage.label, failed, len(todo))


def _values(engine: Engine, tested: Subject, one: Identifier, settings: TestSettings) -> pa.Table:
    tables = []
    if engine.scores:
        tables.append(identifier_values(engine, tested.registry, one, tested.plan))
    if settings.last_k is not None:
        tables.append(last_words(engine, tested.registry, one, settings.last_k))
    return pa.concat_tables(tables)


def _written(workspace: Workspace, name: str, table: pa.Table) -> Counts:
    with workspace.store.writing(name) as path:
        write_narrow(path, table)
        return Counts(rows_in=table.num_rows, rows_out=table.num_rows, **file_facts(path))
