"""A count of repeated spans from end to end: windows of shards, counts of partitions, coverage of documents.

    count_spans(workspace, "repeats", SpanSettings(corpora=["web"]), pool)

Makes ``repeats/<alias>-<hash8>`` (pipeline.repeats.report) and, unless it is a sample, a score stage per corpus,
``scores/<corpus>/<alias>-<hash8>`` (pipeline.repeats.cover). What lies between is in ``work-...`` below the first, and
goes once the report is there.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

import scorers.words
from pipeline import ledger, models
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, next_attempt, pending, write_row
from pipeline.repeats import cover, records, report, steps
from pipeline.repeats.emit import Reader, Sources, windows_in
from pipeline.repeats.settings import Layout, SpanSettings, memory_bytes
from pipeline.shards import file_facts
from pipeline.stage import Stage, saved
from pipeline.workspace import Corpus, Workspace, checked_name, shard_name
from scorers.repetition import counting, coverage, fingerprints, items, windows

SCORER = "repeats"
"""What score stages of a count say they are made by."""
VERSIONS = [
    *(module.VERSION for module in (steps, counting, coverage, fingerprints, items, windows)),
    scorers.words.VERSION,
]
SAMPLED = 8
"""Shards whose first batch says how many windows a megabyte has."""
ANSWER_BYTES = 16


@dataclass(frozen=True)
class Plan:
    """What a count takes. Bytes are an estimate from the first megabytes of a few shards."""

    stage: Stage
    settings: SpanSettings
    corpora: tuple[Corpus, ...]
    against: tuple[Corpus, ...]
    limit: int | None

    def shards(self, corpus: Corpus) -> list[str]:
        """Shards of a corpus that take part; of `against` always all."""
        limit = self.limit if corpus in self.corpora else None
        return [shard for shard in corpus.shards[:limit] if shard in corpus.done]

    @property
    def everything(self) -> list[tuple[Corpus, str]]:
        """All shards, those of `against` first."""
        return [(c, shard) for c in (*self.against, *self.corpora) for shard in self.shards(c)]

    def scores(self, corpus: Corpus) -> Stage:
        """The score stage of a corpus."""
        name, settings = self.stage.name, self.stage.fields["settings"]
        fields = {
            "corpus": corpus.hash,
            "scorer": SCORER,
            "alias": name,
            "version": VERSIONS,
            "settings": settings,
            "repeats": self.stage.hash,
            "limit": self.limit,
        }
        return Stage("score", name, f"scores/{corpus.name}", fields)

    @property
    def has_scores(self) -> bool:
        """A sample has no coverage."""
        return self.settings.sample is None


def plan_spans(workspace: Workspace, alias: str, settings: SpanSettings, limit: int | None = None) -> Plan:
    """What a count would be called and made of. Raises UserError for corpora that are not there."""
    checked_name(alias, "alias")
    against = workspace.chosen_corpora(settings.against) if settings.against else []
    names = settings.corpora or [name for name in workspace.corpora() if name not in settings.against]
    corpora = workspace.chosen_corpora(dict.fromkeys(names))
    missing = {c.name: [s for s in c.shards if s not in c.done] for c in (*against, *corpora)}
    fields = {
        "versions": VERSIONS,
        "settings": settings.hashed(),
        "corpora": {corpus.name: corpus.hash for corpus in corpora},
        "against": {corpus.name: corpus.hash for corpus in against},
        "tokenizer": _digest(settings),
        "limit": limit,
    } | ({"missing": lost} if (lost := {name: shards for name, shards in missing.items() if shards}) else {})
    stage = Stage("repeats", alias, "repeats", fields, {"tokenizer": settings.tokenizer})
    plan = Plan(stage, settings, tuple(corpora), tuple(against), limit)
    for corpus in (*against, *corpora):
        if not plan.shards(corpus):
            raise UserError(f"corpus {corpus.name!r} has no finished shard; `tamis status` says why")
    return plan


def _digest(settings: SpanSettings) -> str | None:
    return models.content_hash(models.local_file(settings.tokenizer, "tokenizer")) if settings.tokenizer else None


def estimated(plan: Plan) -> tuple[float, float]:
    """(windows, bytes of disk while it runs, at most), from the first batch of a few shards."""
    everything = plan.everything
    step = max(1, len(everything) // SAMPLED)
    counted = read = 0
    for corpus, shard in everything[::step][:SAMPLED]:
        batch = next(windows_in(corpus.workspace.store, corpus.file(shard), _reader(plan, corpus)), None)
        if batch is not None:
            counted += len(batch.windows)
            read += batch.texts.num_bytes
    total = sum(corpus.done[shard].bytes_in for corpus, shard in everything)
    found = counted * total / read if read else 0.0
    # Every window is a record; every one that is repeated is an answer too.
    return found, found * (counting.RECORD_BYTES + (ANSWER_BYTES if plan.has_scores else 0))


def count_spans(
    workspace: Workspace, alias: str, settings: SpanSettings, pool: Pool, limit: int | None = None
) -> dict[str, Any]:
    """Count; what is done already is not done again. The caller holds the lock.

    Returns the report: `folder`, `windows`, `distinct`, `totals` or `sampled`. Raises ShardsFailed.
    """
    plan = plan_spans(workspace, alias, settings, limit)
    store, stage = workspace.store, plan.stage
    if finished(workspace, plan):
        print(f"repeats {alias}: nothing to do, the counts are there", file=sys.stderr)
        return orjson.loads(store.read_bytes(f"{stage.folder}/{report.REPORT}"))
    num_windows, disk = estimated(plan)
    layout = Layout.of(num_windows, memory_bytes(pool.compute.memory or settings.memory))
    work = f"{stage.folder}/{layout.name}"
    _tidy(workspace, stage.folder, keep=layout.name)
    _check_disk(workspace, disk, f"{work}/windows")
    if saved(store, stage.folder) is None:
        stage.save(store)
    _warm()
    sources = Sources.of([*plan.against, *plan.corpora])
    run = _Run(workspace, plan, layout, work, sources, pool)
    files = run.emit()
    answers = run.count(files)
    spectrum = report.Spectrum()
    for file in answers:
        spectrum.add(file.spectrum(store))
    result = _totals(plan, files, spectrum)
    if plan.has_scores:
        run.cover(files, answers)
        parts = (
            store.read_bytes(f"{stage.folder}/parts/{c.name}/{s}.json") for c in plan.corpora for s in plan.shards(c)
        )
        result["totals"] = report.write_tables(store, stage.folder, settings, sources, spectrum, parts)
        assert result["totals"]["words"] == result["words"], "words were lost on the way"
    else:
        report.write(store, f"{stage.folder}/spectrum.parquet", spectrum.table())
        result["sampled"] = _sampled(settings, files, spectrum)
    begun_attempt = next_attempt(workspace, stage.folder, "report")
    with store.writing(f"{stage.folder}/{report.REPORT}") as path:
        with open(path, "wb") as file_out:
            file_out.write(orjson.dumps(result, option=orjson.OPT_INDENT_2))
        facts = file_facts(path)
    rows = int(result["documents"])
    write_row(workspace, stage.folder, "report", begun_attempt, time.time(), Counts(rows, rows, **facts))
    ledger.compact(store, stage.folder)
    _tidy(workspace, stage.folder, keep=None)
    return result


def finished(workspace: Workspace, plan: Plan) -> bool:
    """Whether the report and every score table are there."""
    there = not pending_report(workspace, plan.stage.folder)
    stages = [(plan.scores(corpus).folder, plan.shards(corpus)) for corpus in plan.corpora] if plan.has_scores else []
    return there and not any(pending(workspace, folder, shards) for folder, shards in stages)


def pending_report(workspace: Workspace, folder: str) -> bool:
    """Whether the report of a count is missing."""
    row = workspace.rows(folder).get("report")
    sizes = workspace.store.sizes(folder)
    return row is None or not row.done or sizes.get(report.REPORT) != row.size


def _reader(plan: Plan, corpus: Corpus, sources: Sources | None = None) -> Reader:
    tokenizer = plan.settings.tokenizer
    named = (tokenizer, plan.stage.fields["tokenizer"]) if tokenizer else None
    return Reader(corpus.name, plan.settings, named, sources or Sources(()))


def _warm() -> None:
    """Compile and cache the kernels once in the main process."""
    words = scorers.words.split_words(np.frombuffer(b"a a a a", np.uint8), np.array([0, 7], np.int64))
    found = windows.windows_of(words.doc_offsets, words.hashes, 2)
    windows.thinned(found, 0.5)
    windows.winnowed(found, 2)
    routed = np.empty_like(found.records)
    counting.route(found.records, 0, routed)
    table = counting.Table(0)
    slab = counting.Slab.of(routed, 0)
    table.add(slab)
    table.seal(2)
    answers = table.answers(slab)
    answered = coverage.Answered(*(np.zeros(len(found), np.uint32) for _ in range(3)))
    rows = np.stack([answers.places.astype(np.uint32), answers.occurrences, answers.documents, answers.sets], axis=1)
    bounds = np.array([0, len(rows)], np.int64)
    coverage.Cursor(np.zeros(1, np.int64), bounds[:1].copy(), bounds[1:], rows).take(
        found.records[:, 0], 0, answered, 0
    )
    coverage.cover(words, found, answered, 2, (2,), np.zeros(1, np.uint8), table.sets)
    coverage.stretches(found, answered, 2)


def _tidy(workspace: Workspace, folder: str, keep: str | None) -> None:
    """Remove the work of other layouts, or all of it."""
    for name in workspace.store.folders(folder):
        if name.startswith("work-") and name != keep:
            workspace.store.remove(ledger.folder(f"{folder}/{name}"))
            workspace.store.remove(f"{folder}/{name}")


def _check_disk(workspace: Workspace, needed: float, there: str) -> None:
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


def _totals(plan: Plan, files: Sequence[records.RecordsFile], spectrum: report.Spectrum) -> dict[str, Any]:
    """Counts over all, checked: every window of step one was counted in step two."""
    own = len(files) - sum(len(plan.shards(c)) for c in plan.corpora)
    counted = sum(file.records for file in (files[:own] if plan.against else files))
    assert spectrum.windows == counted, f"{counted} windows in, {spectrum.windows} counted: windows were lost"
    return {
        "folder": plan.stage.folder,
        "documents": sum(file.documents for file in files[own:]),
        "words": sum(file.words for file in files[own:]),
        "windows": sum(file.records for file in files[own:]),
        "counted": counted,
        "distinct": int(spectrum.rows[:, 2].sum()),
    }


def _sampled(
    settings: SpanSettings, files: Sequence[records.RecordsFile], spectrum: report.Spectrum
) -> list[dict[str, Any]]:
    """Share of all windows that occur at least so often, with the error of a sample."""
    rate = windows.sample_rate(settings.sample or 1.0)
    total = sum(file.windows for file in files)
    found = []
    for level in settings.thresholds:
        mass, error = spectrum.mass(level, rate)
        share, spread = (mass / total, error / total) if total else (0.0, 0.0)
        found.append({"threshold": level, "windows": mass, "share": share, "standard_error": spread})
    return found


@dataclass(frozen=True)
class _Run:
    """The steps of one count."""

    workspace: Workspace
    plan: Plan
    layout: Layout
    work: str
    sources: Sources
    pool: Pool

    def emit(self) -> list[records.RecordsFile]:
        """Step one; the files, those of `against` first."""
        jobs, places = [], []
        for corpus in (*self.plan.against, *self.plan.corpora):
            folder = f"{self.work}/windows/{corpus.name}"
            self.workspace.store.sweep(folder)
            shards = self.plan.shards(corpus)
            places += [(folder, shard) for shard in shards]
            for shard, attempt in pending(self.workspace, folder, shards, ".records"):
                task = steps.EmitTask(
                    _reader(self.plan, corpus, self.sources),
                    corpus.file(shard),
                    corpus.done[shard].size,
                    self.layout,
                    f"{folder}/{shard}.records",
                )
                jobs.append(Job(self.workspace, shard, ((folder, attempt),), task))
        self._do(jobs, steps.emit_shard, "windows")
        rows = {folder: self.workspace.rows(folder) for folder, _ in places}
        files = [
            records.RecordsFile.of(self.workspace.store, f"{folder}/{shard}.records", rows[folder][shard].size)
            for folder, shard in places
        ]
        documents = sum(file.documents for file in files)
        if documents >= windows.MOST_DOCUMENTS:
            raise UserError(f"{documents:,} documents at once; at most {windows.MOST_DOCUMENTS:,}: count corpora apart")
        return files

    def count(self, files: list[records.RecordsFile]) -> list[records.AnswersFile]:
        """Step two; a file per partition."""
        folder = f"{self.work}/counts"
        self.workspace.store.sweep(folder)
        shards = [shard_name(i, self.layout.partitions) for i in range(self.layout.partitions)]
        own = len(files) - sum(len(self.plan.shards(c)) for c in self.plan.corpora)
        references = sum(file.documents for file in files[:own]) if self.plan.against else None
        jobs = []
        for shard, attempt in pending(self.workspace, folder, shards, ".answers"):
            target = f"{folder}/{shard}.answers"
            task = steps.CountTask(shards.index(shard), self.layout, tuple(files), references, target)
            jobs.append(Job(self.workspace, shard, ((folder, attempt),), task))
        self._do(jobs, steps.count_partition, "counts", "partitions")
        rows = self.workspace.rows(folder)
        store = self.workspace.store
        return [records.AnswersFile.of(store, f"{folder}/{shard}.answers", rows[shard].size) for shard in shards]

    def cover(self, files: list[records.RecordsFile], answers: list[records.AnswersFile]) -> None:
        """Step three."""
        jobs = []
        numbers = {(c.name, shard): i for i, (c, shard) in enumerate(self.plan.everything)}
        first = np.concatenate([[0], np.cumsum([file.runs for file in files])]).tolist()
        for corpus in self.plan.corpora:
            scores = self.plan.scores(corpus)
            parts = f"{self.plan.stage.folder}/parts/{corpus.name}"
            shards = self.plan.shards(corpus)
            store = self.workspace.store
            store.sweep(scores.folder)
            store.sweep(parts)
            if saved(store, scores.folder) is None:
                schema = cover.schema_of(scores.name, self.plan.settings)
                scores.save(store, columns={field.name: str(field.type) for field in schema})
            todo = dict(pending(self.workspace, parts, shards, ".json"))
            tables = dict(pending(self.workspace, scores.folder, shards))
            for shard in sorted(todo.keys() | tables.keys()):
                number = numbers[corpus.name, shard]
                attempts = [
                    there.get(shard) or next_attempt(self.workspace, folder, shard)
                    for folder, there in ((parts, todo), (scores.folder, tables))
                ]
                task = cover.CoverTask(
                    _reader(self.plan, corpus, self.sources),
                    scores.name,
                    corpus.file(shard),
                    corpus.done[shard].size,
                    self.layout,
                    files[number],
                    first[number],
                    tuple(answers),
                    f"{scores.folder}/{shard}.parquet",
                    f"{parts}/{shard}.json",
                )
                outputs = ((parts, attempts[0]), (scores.folder, attempts[1]))
                jobs.append(Job(self.workspace, shard, outputs, task))
        self._do(jobs, cover.cover_shard, "coverage")

    def _do(self, jobs: list[Job], work: Any, what: str, unit: str = "shards") -> None:
        rows = self.pool.run(jobs, work, f"repeats {self.plan.stage.name}: {what}", unit)
        failed = {f"{row.stage}/{row.shard}": row.error or "" for row in rows if not row.done}
        if failed:
            raise ShardsFailed(f"repeats {self.plan.stage.name}: {what}", failed, len(rows))
