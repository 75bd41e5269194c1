"""The section `tokens` of a config: each entry is a token table, with the selections and exports made from it.

tokens:
  chat:
    corpus: chat
    earlier: models/base
    later: models/tuned
    selections: {sstoken: {rho: 0.6}}
    exports: {sstoken-trl: {selection: sstoken, to: trl}}
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config_errors import nearest, parsed
from pipeline.errors import UserError
from pipeline.execute import Compute, Pool, pending
from pipeline.resident import on_gpu
from pipeline.stage import Stage
from pipeline.tokens.export import export_stage, export_tokens
from pipeline.tokens.passes import make_passes, planned, shards_of
from pipeline.tokens.select import select_tokens, selection_stage
from pipeline.tokens.settings import (
    ExportTokensSettings,
    ScoreTokensSettings,
    SelectTokensSettings,
    TokensSettings,
)
from pipeline.tokens.table import make_table, open_table, table_stage
from pipeline.workspace import Workspace, checked_name


@dataclass(frozen=True)
class Step:
    """A stage, the shards that its ledger should have, and what its files are called ("": they lie elsewhere)."""

    stage: Stage
    shards: list[str]
    file: str = "{shard}.parquet"


def checked(
    name: str, settings: TokensSettings, where: str, place: Callable[[str], str], out: Callable[[str], str]
) -> TokensSettings:
    """The settings with paths as seen from the config's folder. Raises UserError for what does not fit together.

    place: a path beside the config if there is one there, else as it stands. out: a path that need not be there.
    """
    checked_name(name, f"{where}: name")
    for selection in settings.selections:
        checked_name(selection, f"{where}.selections: name")
        selection_settings(name, settings, selection, where)
    for export in settings.exports:
        checked_name(export, f"{where}.exports: name")
        one = export_settings(settings, export, where)
        if one.selection not in settings.selections:
            known = nearest(one.selection, settings.selections)
            raise UserError(f"{where}.exports.{export}.selection: {one.selection!r} is not in this entry{known}")
    changes: dict[str, Any] = {
        key: place(value) for key in ("tokenizer", "template") if (value := getattr(settings, key)) is not None
    }
    for role, checkpoint in settings.checkpoints.items():
        adapter = None if checkpoint.adapter is None else place(checkpoint.adapter)
        changes[role] = checkpoint.model_copy(update={"model": place(checkpoint.model), "adapter": adapter})
    exports = {
        key: value | {"out": out(value["out"])} if isinstance(value.get("out"), str) else value
        for key, value in settings.exports.items()
    }
    return settings.model_copy(update=changes | {"exports": exports})


def scoring(settings: TokensSettings) -> ScoreTokensSettings:
    """What of an entry decides about the table."""
    return ScoreTokensSettings.model_validate(settings.model_dump(exclude={"selections", "exports"}))


def selection_settings(
    name: str, settings: TokensSettings, selection: str, where: str = "tokens"
) -> SelectTokensSettings:
    """The settings of one selection of an entry."""
    values = {"corpus": settings.corpus, "scores": name} | settings.selections[selection]
    return parsed(SelectTokensSettings, values, f"{where}.selections.{selection}")


def export_settings(settings: TokensSettings, export: str, where: str = "tokens") -> ExportTokensSettings:
    """The settings of one export of an entry."""
    values = {"corpus": settings.corpus} | settings.exports[export]
    return parsed(ExportTokensSettings, values, f"{where}.exports.{export}")


def check_files(settings: TokensSettings) -> None:
    """Raises UserError for a local model or template that is not there; names of the hub are not asked for."""
    for role, one in settings.checkpoints.items():
        for value in (one.model, one.adapter):
            if value is not None and value.startswith(("/", ".", "~")) and not Path(value).expanduser().is_dir():
                raise UserError(f"{role}: no folder {value!r}; expected a model's folder, or a hub name")
    if settings.template is not None and not Path(settings.template).expanduser().is_file():
        raise UserError(f"template: no file {settings.template!r}")


def known_steps(workspace: Workspace, name: str, settings: TokensSettings) -> list[Step]:
    """The stages as far as they can be named: selections need the table, exports the selections. Fetches models."""
    passes = planned(workspace, scoring(settings))
    shards = shards_of(workspace.corpus(settings.corpus))
    steps = [Step(one.stage, shards) for one in passes.values()]
    joined = table_stage(workspace, name, passes)
    steps.append(Step(joined, shards))
    if pending(workspace, joined.folder, shards):
        return steps
    table = open_table(workspace, settings.corpus, joined.folder.rsplit("/", 1)[1])
    for selection in settings.selections:
        steps.append(Step(selection_stage(table, selection, selection_settings(name, settings, selection)), shards))
    if any(pending(workspace, step.stage.folder, shards) for step in steps):
        return steps
    return steps + [
        Step(export_stage(workspace, export, export_settings(settings, export)), shards, "")
        for export in settings.exports
    ]


def for_models(device: str, compute: Compute) -> Compute:
    """Where models run: in one worker on this machine, or in those with the resource GPU of the run's cluster."""
    offers = {"GPU": 1.0} if on_gpu(device) else None
    return Compute(1, compute.scheduler, None if compute.scheduler is None else compute.memory, offers)


def make_tokens(
    workspace: Workspace, name: str, settings: TokensSettings, pool: Pool, limit: int | None = None
) -> None:
    """Make what is not made yet. The caller holds the lock. Models run in the workers of `for_models`."""
    passes = planned(workspace, scoring(settings), limit)
    shards = shards_of(workspace.corpus(settings.corpus), limit)
    if any(pending(workspace, one.stage.folder, shards) for one in passes.values()):
        compute = for_models(settings.device, pool.compute)
        with nullcontext(pool) if pool.compute == compute else Pool(compute, workspace) as own:
            make_passes(workspace, passes, own, limit)
    make_table(workspace, name, passes, pool, limit)
    for selection in settings.selections:
        select_tokens(workspace, selection, selection_settings(name, settings, selection), pool)
    for export in settings.exports:
        export_tokens(workspace, export, export_settings(settings, export), pool)
