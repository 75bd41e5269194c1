"""What a count would be made of, what it would take, and whether it is there."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import models
from pipeline.errors import UserError
from pipeline.execute import pending
from pipeline.repeats.counts import REPORT, REPORT_SHARD
from pipeline.repeats.emit import Reader, Sources
from pipeline.repeats.methods import Method, method_of, reader_of
from pipeline.repeats.settings import CountSettings, memory_bytes, sieve_bytes
from pipeline.stage import Stage
from pipeline.workspace import Corpus, Workspace, checked_name
from scorers.repetition.counting import RECORD_BYTES
from scorers.repetition.sieve import BITS_PER_RECORD, Sieve

SAMPLED = 8
"""Shards whose first batch says how many windows a megabyte has."""
ANSWER_BYTES = 16


@dataclass(frozen=True)
class Plan:
    """What a count takes. Bytes are an estimate from the first megabytes of a few shards."""

    stage: Stage
    settings: CountSettings
    corpora: tuple[Corpus, ...]
    against: tuple[Corpus, ...]
    limit: int | None

    @property
    def method(self) -> Method:
        """The kind of count."""
        return method_of(self.settings)

    def reader(self, corpus: Corpus, sources: Sources) -> Reader:
        """How records are made of a corpus."""
        return reader_of(self.settings, corpus.name, sources, self.stage.fields["tokenizer"])

    def shards(self, corpus: Corpus) -> list[str]:
        """Shards of a corpus that take part; of `against` always all."""
        limit = self.limit if corpus in self.corpora else None
        return [shard for shard in corpus.shards[:limit] if shard in corpus.done]

    @property
    def everything(self) -> list[tuple[Corpus, str]]:
        """All shards, those of `against` first."""
        return [(c, shard) for c in (*self.against, *self.corpora) for shard in self.shards(c)]

    @property
    def stages(self) -> dict[str, Stage]:
        """{corpus: its score stage}."""
        return {corpus.name: self.scores(corpus) for corpus in self.corpora} if self.has_scores else {}

    def scores(self, corpus: Corpus) -> Stage:
        """The score stage of a corpus."""
        name, settings = self.stage.name, self.stage.fields["settings"]
        fields = {
            "corpus": corpus.hash,
            "scorer": self.method.scorer,
            "alias": name,
            "version": list(self.method.versions),
            "settings": settings,
            "repeats": self.stage.hash,
            "limit": self.limit,
        }
        return Stage("score", name, f"scores/{corpus.name}", fields, self.stage.info)

    @property
    def has_scores(self) -> bool:
        """A sample has no coverage."""
        return getattr(self.settings, "sample", None) is None


def plan_repeats(workspace: Workspace, alias: str, settings: CountSettings, limit: int | None = None) -> Plan:
    """What a count would be called and made of. Raises UserError for corpora that are not there."""
    checked_name(alias, "alias")
    against = workspace.chosen_corpora(settings.against) if settings.against else []
    names = settings.corpora or [name for name in workspace.corpora() if name not in settings.against]
    corpora = workspace.chosen_corpora(dict.fromkeys(names))
    missing = {c.name: [s for s in c.shards if s not in c.done] for c in (*against, *corpora)}
    fields = {
        "scorer": method_of(settings).scorer,
        "versions": list(method_of(settings).versions),
        "settings": settings.hashed(),
        "corpora": {corpus.name: corpus.hash for corpus in corpora},
        "against": {corpus.name: corpus.hash for corpus in against},
        "tokenizer": _digest(settings),
        "limit": limit,
    } | ({"missing": lost} if (lost := {name: shards for name, shards in missing.items() if shards}) else {})
    tokenizer = getattr(settings, "tokenizer", None)
    info = {"corpora": [c.name for c in corpora], "against": [c.name for c in against], "tokenizer": tokenizer}
    stage = Stage("repeats", alias, "repeats", fields, info)
    plan = Plan(stage, settings, tuple(corpora), tuple(against), limit)
    for corpus in (*against, *corpora):
        if not plan.shards(corpus):
            raise UserError(f"corpus {corpus.name!r} has no finished shard; `tamis status` says why")
    return plan


def _digest(settings: Any) -> str | None:
    return models.content_hash(models.local_file(settings.tokenizer, "tokenizer")) if settings.tokenizer else None


def estimated(plan: Plan, corpora: tuple[Corpus, ...], sieve: Sieve | None = None) -> float:
    """Windows of some of the corpora, from the first batch of a few shards. sieve: those that pass it."""
    everything = [(corpus, shard) for corpus in corpora for shard in plan.shards(corpus)]
    step = max(1, len(everything) // SAMPLED)
    counted = read = 0
    for corpus, shard in everything[::step][:SAMPLED]:
        batch = next(plan.reader(corpus, Sources(())).batches(corpus.workspace.store, corpus.file(shard)), None)
        if batch is not None:
            passed = batch.records if sieve is None else np.flatnonzero(sieve.passes(batch.records))
            counted += len(passed)
            read += batch.texts.num_bytes
    total = sum(corpus.done[shard].bytes_in for corpus, shard in everything)
    return counted * total / read if read else 0.0


def disk_bytes(plan: Plan, searched: float, references: float) -> float:
    """What so many windows take while a count runs, at most: each is a record, each that is repeated an answer too."""
    return searched * (RECORD_BYTES + (ANSWER_BYTES if plan.has_scores else 0)) + references * RECORD_BYTES


def takes(plan: Plan) -> str:
    """One line for a person: what a count will need."""
    searched, references = estimated(plan, plan.corpora), estimated(plan, plan.against)
    disk = f"up to {disk_bytes(plan, searched, references) / 1e9:.2f} GB of disk while it runs"
    if plan.against and Sieve.fits(int(references), sieve_bytes(memory_bytes(plan.settings.memory))):
        least = disk_bytes(plan, 0, references) + searched / BITS_PER_RECORD * RECORD_BYTES
        disk += f" ({least / 1e9:.2f} GB if nothing is found)"
    return (
        f"{len(plan.everything)} shards, about {searched + references:,.0f} records: {disk}, {plan.settings.memory} of "
        "memory a worker"
    )


def finished(workspace: Workspace, plan: Plan) -> bool:
    """Whether the report and every score table are there."""
    there = not pending_report(workspace, plan.stage.folder)
    return there and not any(
        pending(workspace, plan.stages[corpus.name].folder, plan.shards(corpus))
        for corpus in plan.corpora
        if plan.has_scores
    )


def pending_report(workspace: Workspace, folder: str) -> bool:
    """Whether the report of a count is missing."""
    row = workspace.rows(folder).get(REPORT_SHARD)
    sizes = workspace.store.sizes(folder)
    return row is None or not row.done or sizes.get(REPORT) != row.size


def check_disk(workspace: Workspace, needed: float, there: str) -> None:
    """Raises UserError where the disk would run full half-way."""
    store = workspace.store
    if not store.is_local:
        return
    os.makedirs(store.path(""), exist_ok=True)
    written = sum(sum(store.sizes(f"{there}/{name}").values()) for name in store.folders(there))
    free = shutil.disk_usage(store.path("")).free + written
    if needed > free:
        raise UserError(
            f"the count needs up to {needed / 1e9:.1f} GB of disk while it runs, {store.shown('')} has "
            f"{free / 1e9:.1f} GB free; give a workspace on a larger disk, or count a sample (--sample 0.01) or "
            "winnowed (--winnow 20)"
        )
