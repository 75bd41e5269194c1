"""A search for near-duplicates, step by step; each step goes on where it stopped."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import ledger
from pipeline.catalog import document_schema, shown_stages
from pipeline.errors import UserError
from pipeline.execute import Pool, pending
from pipeline.near import pairs
from pipeline.near.blocks import make_blocks
from pipeline.near.clusters import make_verdicts
from pipeline.near.documents import documents
from pipeline.near.keys import make_signatures, signature_stage
from pipeline.near.ranks import Ranks, ranks_for
from pipeline.near.sets import make_sets
from pipeline.near.settings import NearSettings
from pipeline.near.summary import NearAlarm, alarms, summary
from pipeline.near.table import make_tables, schema_for
from pipeline.stage import Stage, saved
from pipeline.workspace import Corpus, Workspace, checked_name
from scorers.near.candidates import pairs_of_runs
from scorers.near.choice import Choice
from scorers.near.grams import common, gram_sets
from scorers.near.minhash import words_of
from scorers.near.union import flatten, unite
from scorers.texts import Texts

VERSION = 1


@dataclass(frozen=True)
class Search:
    """What a search will make: a score stage per corpus, and `work`, where it keeps what is under way."""

    corpora: tuple[Corpus, ...]
    stages: dict[str, Stage]
    work: Stage
    ranks: Ranks


def search(
    workspace: Workspace,
    alias: str,
    settings: NearSettings,
    named: Collection[str] = (),
    limit: int | None = None,
) -> Search:
    """The stages of a search. named: folders of score stages that a config names. Raises UserError."""
    corpora = workspace.chosen_corpora(settings.corpora)
    if len({corpus.name for corpus in corpora}) < len(corpora):
        raise UserError(f"corpora: {', '.join(settings.corpora)}: one of them is named twice")
    alias = checked_name(alias, "alias")
    _check_columns(corpora, alias, named)
    ranks, inputs = ranks_for(corpora, settings, set(named))
    fields = {
        "corpora": {corpus.name: corpus.hash for corpus in corpora},
        "order": [corpus.name for corpus in corpora],
        "scorer": "near",
        "alias": alias,
        "version": VERSION,
        "signatures": [signature_stage(corpus, settings).hash for corpus in corpora],
        "settings": settings.hashed(),
        "keep": inputs,
        "limit": limit,
    }
    stages = {
        corpus.name: Stage("score", alias, f"scores/{corpus.name}", {"corpus": corpus.hash, **fields})
        for corpus in corpora
    }
    work = Stage("near", alias, "near", fields, {"corpora": [corpus.name for corpus in corpora]})
    return Search(tuple(corpora), stages, work, ranks)


def near(
    workspace: Workspace,
    alias: str,
    settings: NearSettings,
    pool: Pool,
    named: Collection[str] = (),
    limit: int | None = None,
) -> dict[str, Any]:
    """Search, and write the score tables. The caller holds the lock.

    Returns what was found (pipeline.near.summary) and `folders`. Raises ShardsFailed; NearAlarm once all is written.
    """
    found = search(workspace, alias, settings, named, limit)
    folders = {name: stage.folder for name, stage in found.stages.items()}
    result = _done(workspace, found, limit)
    if result is None:
        result = _search(workspace, found, settings, pool, limit)
    else:
        print(f"near-duplicates {alias}: nothing to do, they are found", file=sys.stderr)
    result = {"folders": folders, **result}
    if lines := alarms(result, settings):
        raise NearAlarm(lines, result)
    return result


def _done(workspace: Workspace, found: Search, limit: int | None) -> dict[str, Any] | None:
    """What was found, if every table is there."""
    result = None
    for corpus in found.corpora:
        folder = found.stages[corpus.name].folder
        record = saved(workspace.store, folder)
        if record is None or "result" not in record["info"] or pending(workspace, folder, corpus.shards[:limit]):
            return None
        result = record["info"]["result"]
    return result


def _search(
    workspace: Workspace, found: Search, settings: NearSettings, pool: Pool, limit: int | None
) -> dict[str, Any]:
    store, work, label = workspace.store, found.work.folder, found.work.name
    signed = [make_signatures(corpus, settings, pool, limit) for corpus in found.corpora]
    numbered = documents(found.corpora, signed, limit)
    record = saved(store, work)
    if record is None:
        count = pairs.partitions(numbered, settings.buffer)
        found.work.save(store, partitions=count, buffer_mb=settings.buffer_mb)
        record = saved(store, work)
    assert record is not None
    # Files that are there were cut for the buffer they were begun with.
    count, buffer = record["info"]["partitions"], int(record["info"]["buffer_mb"] * 10**6)
    if record["info"]["buffer_mb"] != settings.buffer_mb:
        print(
            f"near-duplicates {label}: goes on with buffer_mb {record['info']['buffer_mb']}, with which it was begun",
            file=sys.stderr,
        )
    _warm()
    candidates = pairs.make_pairs(numbered, f"{work}/pairs", count, pool, label)
    blocks = make_blocks(numbered, candidates, work, found.ranks, buffer, label)
    make_sets(numbered, work, found.ranks, settings.verify_ngram, settings.fold, pool, label)
    jaccard = settings.measure == "jaccard"
    verdicts = make_verdicts(numbered, blocks, work, jaccard, settings.threshold, buffer, pool, label)
    result = summary(numbered, found.corpora, verdicts)
    columns = {field.name: str(field.type) for field in schema_for(label)}
    for stage in found.stages.values():
        store.sweep(stage.folder)
        if saved(store, stage.folder) is None:
            stage.save(store, columns=columns)
    folders = {name: stage.folder for name, stage in found.stages.items()}
    make_tables(numbered, verdicts, folders, label, pool)
    for stage in found.stages.values():
        stage.save(store, columns=columns, result=result)
    remove_work(workspace, work)
    return result


def _warm() -> None:
    """Compile every kernel once in the main process: workers find them in the cache."""
    texts = Texts(np.frombuffer(b"Warm up. Warm up.", np.uint8), np.array([0, 9, 17]))
    sets = gram_sets(words_of(texts), 1)
    docs = np.arange(2)
    pairs_of_runs(np.zeros(2, np.uint64), docs, 2)
    common(sets, sets, docs, docs)
    Choice(False, 1.0, 1).settle(docs, np.zeros(2, np.int64), docs, sets)
    unite(docs, docs, docs)
    flatten(docs)


def remove_work(workspace: Workspace, work: str) -> None:
    """Remove what a finished search kept under way; the signatures stay."""
    workspace.store.remove(ledger.folder(work))
    workspace.store.remove(work)


def _check_columns(corpora: Sequence[Corpus], alias: str, named: Collection[str]) -> None:
    """Raises UserError for a column that the documents or other scores have: views would not show it."""
    for corpus in corpora:
        taken = dict.fromkeys(document_schema(corpus).names, "the documents")
        for other, stage in shown_stages(corpus, named).items():
            if other != alias and stage.done:
                taken |= dict.fromkeys(stage.columns, f"score stage {other!r}")
        for name in schema_for(alias).names:
            if name in taken:
                raise UserError(
                    f"column {name!r} is one of {taken[name]} of corpus {corpus.name!r}; choose another --alias"
                )
