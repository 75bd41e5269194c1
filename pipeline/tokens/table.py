"""The token table: tokens/<corpus>/<name>-<hash8>/, everything that is known of every token, and where it is from.

    stage = make_table(workspace, "tokens", passes, pool)
    for table in open_table(workspace, "chat", "tokens").shards(): ...

    id                          string
    held_out                    bool, if the corpus has a held-out split
    reason                      string, why a document has no tokens (its lists are NULL)
    input_ids                   list<int32>
    roles, turns                list<int8>, list<int16>: pipeline.tokens.encode
    loss_mask                   list<int8>, 1: a response token, which may carry loss
    starts, ends                list<int32>, characters of the rendered conversation
    nll_<checkpoint>            list<float32>, nats; the first one NaN
    entropy_, rank_<checkpoint> if asked for
    mass_<class>                list<float32>: mean attention of the token on system, user, earlier answers, its own
                                answer and the sinks; adds up to 1; NaN outside of responses

All lists of a row have one length. The file's metadata says which tokenizer, template, models, adapters and engine made
it; a reader that has another tokenizer or model at hand is refused (`expect`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.ingest.shard import reason_counts
from pipeline.shards import file_facts, open_parquet, read_narrow, write_narrow
from pipeline.stage import Stage, saved
from pipeline.tokens.encode import LOSSES, Encoded, identity
from pipeline.tokens.passes import (
    Pass,
    adapter_identity,
    encoded,
    has_messages,
    lists,
    model_identity,
    read_documents,
    shards_of,
)
from pipeline.tokens.settings import ScoreTokensSettings
from pipeline.trainer.encode import Tokenizing, Unfit
from pipeline.workspace import Corpus, Workspace, checked_name

VERSION = 1
PROVENANCE = b"tamis.tokens"


@dataclass(frozen=True)
class _Task:
    settings: ScoreTokensSettings
    how: Tokenizing
    documents: str
    messages: bool
    held_out: bool
    passes: dict[str, str]
    provenance: bytes


@dataclass(frozen=True)
class TokenTable:
    """A token table that is whole."""

    workspace: Workspace
    corpus: Corpus
    folder: str
    record: dict[str, Any]
    shards: tuple[str, ...]

    def file(self, shard: str) -> str:
        """A shard, relative to the workspace."""
        return f"{self.folder}/{shard}.parquet"

    def read(self, shard: str, columns: list[str] | None = None) -> pa.Table:
        """A shard. Raises ValueError if the file was not made by this stage."""
        store = self.workspace.store
        with open_parquet(store, self.file(shard)) as file:
            found = (file.schema_arrow.metadata or {}).get(PROVENANCE)
        if found is None or orjson.loads(found)["hash"] != self.record["hash"]:
            raise UserError(f"{store.shown(self.file(shard))} is not of {self.folder}: it was put there or changed")
        return read_narrow(store, self.file(shard), columns)

    @property
    def provenance(self) -> dict[str, Any]:
        """What made it."""
        return self.record["info"]["provenance"]

    @property
    def columns(self) -> list[str]:
        """Names of its columns."""
        with open_parquet(self.workspace.store, self.file(self.shards[0])) as file:
            return file.schema_arrow.names

    def expect(self, how: Tokenizing | None = None, models: Mapping[str, tuple[str, str | None]] | None = None) -> None:
        """Raises UserError unless the table was made with this tokenizer and template and these {role: (folder of the
        model, folder of the adapter)}."""
        made = self.provenance
        if how is not None and identity(how) != made["tokenizer"]:
            raise UserError(
                f"{self.folder} was made with another tokenizer or chat template than {how.file}: its tokens would not "
                "line up; score again with this one, or name the other"
            )
        for role, (place, adapter) in (models or {}).items():
            one = made["models"].get(role)
            if one is None:
                raise UserError(f"{self.folder} has no losses of {role!r} (there: {', '.join(made['models'])})")
            own = [model_identity(place), None if adapter is None else adapter_identity(adapter)]
            if own != [one["model"], one["adapter"]]:
                raise UserError(f"{self.folder}: {place} is not the model that {role!r} was when it was made")


def table_stage(workspace: Workspace, name: str, passes: Mapping[str, Pass]) -> Stage:
    """The stage that joins the passes."""
    one = next(iter(passes.values()))
    corpus = workspace.corpus(one.settings.corpus)
    provenance = {
        "tokenizer": identity(one.how),
        "template": one.how.template is not None,
        "vocabulary": one.how.vocabulary,
        "corpus": {"name": corpus.name, "hash": corpus.hash},
        "context": one.context,
        "layer": one.settings.layer,
        "attention": one.settings.watched,
        "sinks": one.settings.sinks,
        "models": {
            role: {
                **{key: p.stage.fields[key] for key in ("model", "adapter", "engine", "threads")},
                "pass": p.stage.hash,
                "named": p.settings.checkpoints[role].model,  # type: ignore[index]
            }
            for role, p in sorted(passes.items())
        },
    }
    fields = {"version": VERSION, "corpus": corpus.hash, "passes": {r: p.stage.hash for r, p in sorted(passes.items())}}
    info = {"provenance": provenance, "tokenizer": one.how.file, "settings": one.settings.model_dump(mode="json")}
    return Stage("tokens", checked_name(name, "token table"), f"tokens/{corpus.name}", fields, info)


def make_table(
    workspace: Workspace, name: str, passes: Mapping[str, Pass], pool: Pool, limit: int | None = None
) -> Stage:
    """Join what is not joined yet. The caller holds the lock."""
    stage = table_stage(workspace, name, passes)
    one = next(iter(passes.values()))
    corpus = workspace.corpus(one.settings.corpus)
    store = workspace.store
    todo = pending(workspace, stage.folder, shards_of(corpus, limit))
    if not todo:
        return stage
    store.sweep(stage.folder)
    if saved(store, stage.folder) is None:
        stage.save(store, shards=shards_of(corpus, limit))
    provenance = orjson.dumps(stage.info["provenance"] | {"hash": stage.hash}, option=orjson.OPT_SORT_KEYS)
    folders = {role: p.stage.folder for role, p in sorted(passes.items())}
    from pipeline.catalog import document_schema

    marked = "held_out" in document_schema(corpus).names
    jobs = []
    for shard, attempt in todo:
        task = _Task(one.settings, one.how, corpus.file(shard), has_messages(corpus), marked, folders, provenance)
        jobs.append(Job(workspace, shard, ((stage.folder, attempt),), task))
    rows = pool.run(jobs, join_shard, f"tokens {name}")
    if failed := {row.shard: row.error or "" for row in rows if not row.done}:
        raise ShardsFailed(f"tokens {name}", failed, len(rows))
    return stage


def join_shard(job: Job) -> dict[str, Counts | Exception]:
    """Tokens of a shard beside what the checkpoints said of them."""
    store, task = job.workspace.store, job.task
    [(target, _)] = job.outputs
    documents = read_documents(job, task.documents, task.messages, ["held_out"] if task.held_out else [])
    made = encoded(task.settings, task.how, documents)
    fit = [document for document in made if isinstance(document, Encoded)]
    there = np.array([isinstance(document, Encoded) for document in made], bool)
    offsets = np.cumsum([0, *(len(document.ids) for document in fit)])

    def joined(values: list[np.ndarray], kind: Any) -> pa.ListArray:
        return lists(np.concatenate([np.zeros(0, kind), *values]).astype(kind), offsets, there)

    columns: dict[str, Any] = {"id": documents.column("id")}
    if task.held_out:
        columns["held_out"] = documents.column("held_out")
    columns |= {
        "reason": pa.array([None if isinstance(d, Encoded) else d.args[0] for d in made], pa.string()),
        "input_ids": joined([d.ids for d in fit], np.int32),
        "roles": joined([d.roles for d in fit], np.int8),
        "turns": joined([d.turns for d in fit], np.int16),
        "loss_mask": joined([np.isin(d.roles, LOSSES) for d in fit], np.int8),
        "starts": joined([d.starts for d in fit], np.int32),
        "ends": joined([d.ends for d in fit], np.int32),
    }
    masses: dict[str, Any] = {}
    for role, folder in task.passes.items():
        table = read_narrow(store, f"{folder}/{job.shard}.parquet")
        if table.column("id").to_pylist() != documents.column("id").to_pylist():
            raise ValueError(f"{folder}/{job.shard} is not of the documents of this corpus; remove it and score again")
        for column in table.column_names[1:]:
            if column.startswith("mass_"):
                masses[column] = table.column(column)
            else:
                columns[f"{column}_{role}"] = table.column(column)
    table = pa.table(columns | masses).replace_schema_metadata({PROVENANCE: task.provenance})
    lengths = table.column("roles").combine_chunks().value_lengths()
    for column in table.column_names[table.column_names.index("input_ids") :]:
        if not table.column(column).combine_chunks().value_lengths().equals(lengths):
            raise ValueError(f"{job.shard}: {column} has other lengths than the tokens; remove the passes, score again")
    with store.writing(f"{target}/{job.shard}.parquet") as path:
        write_narrow(path, table)
        facts = file_facts(path)
    reasons = Counter(document.args[0] for document in made if isinstance(document, Unfit))
    return {target: Counts(table.num_rows, table.num_rows, reasons=reason_counts(reasons), **facts)}


def open_table(workspace: Workspace, corpus: str, name: str) -> TokenTable:
    """The newest whole token table of a name. Raises UserError."""
    source = workspace.corpus(corpus)
    stages = workspace.stages(f"tokens/{corpus}")
    found = {f: r for f, r in stages.items() if name in (r["name"], f.rsplit("/", 1)[1])}
    fresh = {f: r for f, r in found.items() if r["fields"]["corpus"] == source.hash}
    if not fresh:
        known = ", ".join(sorted({r["name"] for r in stages.values()})) or "none yet; `tamis tokens score` makes one"
        raise UserError(f"corpus {corpus!r} has no token table {name!r} (there: {known})")
    folder, record = list(fresh.items())[-1]
    shards = record["info"]["shards"]
    if lost := [shard for shard, _ in pending(workspace, folder, shards)]:
        raise UserError(
            f"{folder} lacks {len(lost)} of {len(shards)} shards ({lost[0]}); run `tamis tokens score` again"
        )
    return TokenTable(workspace, source, folder, record, tuple(shards))


def tables(workspace: Workspace) -> Iterator[TokenTable]:
    """The newest whole table of each name and corpus."""
    for corpus in workspace.store.folders("tokens"):
        for name in dict.fromkeys(record["name"] for record in workspace.stages(f"tokens/{corpus}").values()):
            try:
                yield open_table(workspace, corpus, name)
            except UserError:
                continue
