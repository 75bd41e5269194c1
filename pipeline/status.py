"""Where a workspace stands: stages and shards done, failed and missing, rows, speed, and what to do about failures.

for stage in status(Workspace("workspace")).stages:
    print(stage.folder, stage.done, stage.failed)
"""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline import lock
from pipeline.causes import Cause, causes
from pipeline.errors import UserError
from pipeline.ledger import Row
from pipeline.redact import message
from pipeline.views import ledger_folders
from pipeline.workspace import Workspace

PER_CORPUS = (
    "scores",
    "losses",
    "pairs",
    "answers",
    "strengths",
    "token-passes",
    "tokens",
    "token-selections",
)
"""Folders with a folder of each corpus in them."""
ORDER = (
    "ingest",
    "sample",
    "losses",
    "pairs",
    "answers",
    "strength",
    "preselect-train",
    "train",
    "score",
    "repeats",
    "token-pass",
    "tokens",
    "token-selection",
    "token-export",
    "select",
    "export",
    "pack",
    "run",
    "membership",
    "signatures",
)
"""Kinds of stages as they are listed."""


IN_USE = "in use"


@dataclass(frozen=True)
class StageStatus:
    """One stage of a workspace, on one corpus."""

    kind: str
    """ingest, train, score, select, export, pack"""
    name: str
    """corpus, alias, selection, ... as the user calls it"""
    corpus: str | None
    folder: str
    total: int | None
    """shards; None while it is not known how many there will be"""
    done: int
    failed: dict[str, str]
    """{shard: error of its last attempt}"""
    rows: int
    rejected: int
    megabytes: float
    """10^6 bytes of text read by the shards that are done"""
    speed: float | None
    """megabytes a second and worker"""
    retry: str
    """what runs the shards that are not done"""

    @property
    def causes(self) -> list[Cause]:
        """The failures by cause, the most frequent first."""
        return causes(self.failed)

    @property
    def missing(self) -> int | None:
        """Shards that were not tried yet."""
        return None if self.total is None else max(self.total - self.done - len(self.failed), 0)


@dataclass(frozen=True)
class Status:
    """What `tamis status` shows. `holder`: a line about the run that holds the workspace, None if none does."""

    workspace: str
    holder: str | None
    stages: list[StageStatus]

    @property
    def is_running(self) -> bool:
        """Whether a run holds the workspace and has renewed its lock lately."""
        return self.holder is not None and self.holder.startswith(IN_USE)


def status(workspace: Workspace) -> Status:
    """Read the ledger of every stage. Raises nothing on an empty workspace: it has no stages."""
    records = _records(workspace)
    totals: dict[str, int | None] = {}
    for name in workspace.corpora():
        try:
            totals[name] = len(workspace.corpus(name).shards)
        except UserError:  # not cut into shards yet
            totals[name] = None
    folders = dict.fromkeys([f for f, r in records.items() if r["kind"] in ("ingest", "score", "repeats", "run")])
    folders |= dict.fromkeys(folder for folder in ledger_folders(workspace) if _stage_folder(folder, records))
    samples = {r["hash"]: r["info"].get("num_shards") for r in records.values() if r["kind"] == "sample"}
    stages = []
    for folder in folders:
        record = records[_stage_folder(folder, records)]
        corpus = _corpus(folder)
        total = totals.get(corpus) if corpus and record["kind"] in ("ingest", "score", "select") else None
        if record["kind"] == "signatures":
            corpus = record["name"]
            total = totals.get(corpus)
        if record["kind"] in ("sample", "pack"):
            total = record["info"].get("num_shards")
        elif record["kind"] == "membership":
            total = record["info"].get("num_identifiers")
        elif record["kind"] in ("run", "repeats"):
            total = 1
        elif record["kind"] == "answers":
            total = -(-record["info"]["prompts"] // record["fields"]["settings"]["batch"])
        elif record["kind"] in ("losses", "pairs", "strength"):
            total = samples.get(record["fields"]["sample"])
        if record["fields"].get("limit") and total is not None and record["kind"] == "score":
            total = min(total, record["fields"]["limit"])
        stages.append(_status(workspace, folder, record, corpus, total))
    places = {kind: i for i, kind in enumerate(ORDER)}
    stages.sort(key=lambda s: (places.get(s.kind, len(ORDER)), s.corpus or "", s.name, s.folder))
    return Status(message(workspace.url), _holder(workspace), stages)


def _records(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """{folder: stage.json} of all stages."""
    found: dict[str, dict[str, Any]] = {}
    plain = ("corpora", "samples", "signatures", "repeats", "models", "selections", "exports", "packs", "runs")
    for parent in (*plain, "memberships", "model-repeats"):
        found |= workspace.stages(parent)
    for parent in PER_CORPUS:
        for corpus in workspace.store.folders(parent):
            found |= workspace.stages(f"{parent}/{corpus}")
    return found


def _stage_folder(folder: str, records: dict[str, dict[str, Any]]) -> str:
    """The folder of the stage that a ledger folder speaks of: a selection has one below it per corpus. '' if pruned."""
    return next((f for f in (folder, folder.rpartition("/")[0]) if f in records), "")


def _corpus(folder: str) -> str | None:
    parts = folder.split("/")
    if parts[0] == "corpora" or parts[0] in PER_CORPUS:
        return parts[1]
    return parts[2] if len(parts) > 2 else None


def _status(
    workspace: Workspace, folder: str, record: dict[str, Any], corpus: str | None, total: int | None
) -> StageStatus:
    rows: dict[str, Row] = workspace.rows(folder)
    done = [row for row in rows.values() if row.done]
    megabytes, seconds = sum(row.bytes_in for row in done) / 1e6, sum(row.seconds for row in done)
    return StageStatus(
        kind=record["kind"],
        name=record["name"],
        corpus=corpus,
        folder=folder,
        total=total,
        done=len(done),
        failed={shard: row.error or "" for shard, row in rows.items() if not row.done},
        rows=sum(row.rows_out for row in done),
        rejected=sum(row.rejected for row in done),
        megabytes=megabytes,
        speed=megabytes / seconds if seconds and megabytes else None,
        retry=_retry(workspace, record, corpus),
    )


_COUNTS = {"repeats": "spans", "units": "units"}
_FLAGS = {"corpora": "--corpus", "against": "--against"}


def _retry(workspace: Workspace, record: dict[str, Any], corpus: str | None) -> str:
    """The command that goes on with a stage; where its settings came from a config, running that does it too."""
    name, fields, info = record["name"], record["fields"], record["info"]
    if record["kind"] == "ingest" and info.get("sources"):
        words = ["ingest", *info["sources"], "--corpus", name]
    elif record["kind"] == "score" and fields.get("scorer") == "near":
        words = ["repeats", "near", "--alias", name, *(w for one in fields["order"] for w in ("--corpus", one))]
        words += [w for key, value in fields["settings"].items() for w in ("--set", f"{key}={_yaml(value)}")]
        words += ["--limit", str(fields["limit"])] if fields.get("limit") else []
    elif fields.get("scorer") in _COUNTS:
        words = ["repeats", _COUNTS[fields["scorer"]], "--alias", name]
        words += [word for key in ("corpora", "against") for one in info[key] for word in (_FLAGS[key], one)]
        settings = {k: v for k, v in (fields["settings"] | {"tokenizer": info["tokenizer"]}).items() if v is not None}
        words += [word for key, value in settings.items() for word in ("--set", f"{key}={_yaml(value)}")]
        words += ["--limit", str(fields["limit"])] if fields.get("limit") else []
    elif record["kind"] == "score" and "scorer" in fields:
        settings = {k: v for k, v in fields.get("settings", {}).items() if v is not None} | info.get("models", {})
        words = ["score", name if fields["scorer"] == name else f"{name}={fields['scorer']}", "--corpus", str(corpus)]
        words += [word for key, value in settings.items() for word in ("--set", f"{name}.{key}={_yaml(value)}")]
        words += ["--limit", str(fields["limit"])] if fields.get("limit") else []
    elif info.get("command"):
        return shlex.join(info["command"])
    else:
        return "the command or config that made it, run again"
    return shlex.join(["tamis", *words, "-w", message(workspace.url)])


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) and value.strip() == value and value else orjson.dumps(value).decode()


def _holder(workspace: Workspace) -> str | None:
    try:
        holder = orjson.loads(workspace.store.read_bytes(lock.LOCK))
    except (FileNotFoundError, orjson.JSONDecodeError):  # released, or being written, at this moment
        return None
    age = max(int(time.time() - holder["renewed"]), 0)
    run = f"pid {holder['pid']} on {holder['host']}"
    if age > lock.STALE_SECONDS:
        return f"left locked by {run}, which has not renewed it for {age} s"
    return f"{IN_USE} by {run} (renewed {age} s ago)"
