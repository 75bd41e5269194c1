"""Which rows and columns an export takes, from which files, and the stage that this is.

plan = planned(workspace, "best", ExportSettings(selection="best"), named)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.catalog import document_schema
from pipeline.errors import UserError
from pipeline.execute import pending
from pipeline.export.settings import ExportSettings
from pipeline.select.inputs import CorpusInputs, ShardInputs, check_columns, has_held_out, owners_of
from pipeline.stage import Stage
from pipeline.workspace import Workspace, checked_name

VERSION = 1
"""Raised whenever the same settings give other bytes."""
TRAIN, HELD_OUT = "train", "held_out"
OURS = ("id", "text", "source")


@dataclass(frozen=True)
class Part:
    """One input shard of an export."""

    inputs: ShardInputs
    """its scores and the narrow columns that say which rows are kept"""
    selection: str | None
    """the aligned selection table"""
    columns: tuple[str, ...]
    """columns of the documents that are exported"""
    has_held_out: bool


@dataclass(frozen=True)
class Plan:
    """An export before any work."""

    workspace: Workspace
    settings: ExportSettings
    stage: Stage
    inputs: tuple[CorpusInputs, ...]
    selection: tuple[str, dict[str, Any]] | None
    """folder and record"""
    schema: pa.Schema

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return (TRAIN, HELD_OUT) if self.settings.with_held_out else (TRAIN,)

    def parts(self) -> list[Part]:
        """The input shards in order. Raises UserError for what is not there."""
        made = []
        for one in self.inputs:
            missing = {f: s for f, s in one.missing().items() if f != one.corpus.folder or self.selection is None}
            if missing and not self.settings.allow_missing and self.selection is None:
                _refuse(missing)
            own = set(document_schema(one.corpus).names)
            taken = [*self.schema.names, *([self.settings.weight] if self.settings.weight else [])]
            columns = tuple(n for n in dict.fromkeys(taken) if n in own and one.owners.get(n) is None)
            for shard in one.shards():
                file = f"{self.selection[0]}/{one.corpus.name}/{shard.shard}.parquet" if self.selection else None
                made.append(Part(shard, file, columns, has_held_out(one.corpus)))
        return made

    def refuse_incomplete(self) -> None:
        """Raises UserError unless every shard of the selection is there."""
        if self.selection is None:
            return
        folder, record = self.selection
        for one in self.inputs:
            shards = [shard for shard in one.corpus.shards if shard in one.corpus.done]
            lost = [shard for shard, _ in pending(self.workspace, f"{folder}/{one.corpus.name}", shards)]
            if lost or "result" not in record["info"]:
                shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
                raise UserError(
                    f"selection {record['name']!r} ({folder}) is not complete: {shown or 'it was interrupted'}; "
                    f"run the same `tamis select` again"
                )


def planned(workspace: Workspace, name: str, settings: ExportSettings, named: Collection[str] = ()) -> Plan:
    """Resolve names into corpora, columns and a stage. Raises UserError for what is not there."""
    selection = _selection(workspace, settings.selection, named) if settings.selection else None
    names = list(selection[1]["fields"]["corpora"]) if selection else settings.corpora
    if selection and settings.with_held_out and selection[1]["fields"]["settings"]["held_out"]:
        raise UserError(
            f"selection {settings.selection!r} was made with held_out, so its held-out documents may be training "
            f"documents; make it again without, or export without with_held_out"
        )
    inputs = []
    for corpus in workspace.chosen_corpora(dict.fromkeys(names)):
        pinned = list(selection[1]["fields"]["scores"].get(corpus.name, {}).values()) if selection else []
        if selection and selection[1]["fields"]["corpora"][corpus.name] != corpus.hash:
            raise UserError(
                f"corpus {corpus.name!r} is not the one that selection {settings.selection!r} was made from"
            )
        owners = owners_of(corpus, named, pinned)
        check_columns(corpus, owners, settings.scores, "scores")
        check_columns(corpus, owners, [settings.weight] if settings.weight else [], "weight")
        wanted = [*settings.scores, *([settings.weight] if settings.weight else [])]
        wanted = [column for column in dict.fromkeys(wanted) if owners[column] is not None]
        wanted += ["held_out"] if has_held_out(corpus) else []
        inputs.append(CorpusInputs(corpus, owners, tuple(wanted)))
    fields: dict[str, Any] = {
        "version": VERSION,
        "settings": settings.model_dump(mode="json", exclude={"out", "allow_missing", "selection", "corpora"}),
        "selection": selection[1]["hash"] if selection else None,
        "corpora": {one.corpus.name: one.corpus.hash for one in inputs},
        "scores": {one.corpus.name: {a: s.folder for a, s in sorted(one.stages.items())} for one in inputs},
    }
    lost = {folder: sorted(shards) for one in inputs for folder, shards in one.missing().items()}
    if lost and selection is None:
        fields["missing"] = lost
    stage = Stage("export", checked_name(name, "export"), "exports", fields)
    return Plan(workspace, settings, stage, tuple(inputs), selection, _schema(inputs, settings))


def _selection(workspace: Workspace, name: str, named: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The folder and record of a selection: the one in `named`, else the newest of its name."""
    stages = workspace.stages("selections")
    found = {f: r for f, r in stages.items() if r["name"] == name or f == f"selections/{name}"}
    if not found:
        known = ", ".join(sorted({r["name"] for r in stages.values()})) or "none yet; `tamis select` makes one"
        raise UserError(f"no selection {name!r} in {workspace.url} (there: {known})")
    folder = next((f for f in found if f in named), list(found)[-1])
    return folder, found[folder]


def _schema(inputs: Sequence[CorpusInputs], settings: ExportSettings) -> pa.Schema:
    """id, text, source, corpus (if there are several), the documents' columns, the scores, weight."""
    fields = dict(zip(OURS, (pa.string(), pa.large_string(), pa.string()), strict=True))
    if len(inputs) > 1:
        fields["corpus"] = pa.string()
    for name in settings.columns or ():
        if not any(name in document_schema(one.corpus).names for one in inputs):
            have = sorted({n for one in inputs for n in document_schema(one.corpus).names})
            raise UserError(f"columns: no document has a column {name!r} (there: {', '.join(have)})")
    for one in inputs:
        for field in document_schema(one.corpus):
            chosen = field.name != "held_out" if settings.columns is None else field.name in settings.columns
            if chosen and field.name not in OURS:
                _put(fields, field.name, field.type, one.corpus.name)
    for one in inputs:
        for name in settings.scores:
            if (owner := one.owners[name]) is not None:
                _put(fields, name, owner.schema.field(name).type, one.corpus.name)
            elif name not in fields:
                _put(fields, name, document_schema(one.corpus).field(name).type, one.corpus.name)
    if settings.weight is not None:
        if "weight" in fields and settings.weight != "weight":
            raise UserError("weight: there is a column `weight` already; leave it out with `columns`")
        fields["weight"] = pa.float64()
    return pa.schema(list(fields.items()))


def _put(fields: dict[str, pa.DataType], name: str, kind: pa.DataType, corpus: str) -> None:
    if fields.setdefault(name, kind) != kind:
        hint = "; leave it out with `columns`"
        raise UserError(f"column {name!r} is {kind} in corpus {corpus!r} and {fields[name]} before{hint}")


def _refuse(missing: dict[str, dict[str, str]]) -> None:
    lines = [f"{f} lacks {len(s)} shards ({', '.join(list(s)[:5])})" for f, s in missing.items()]
    raise UserError(". ".join(lines) + ". Run the step again, or go on without them with --allow-missing")
