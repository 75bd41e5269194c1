"""A count of repeated spans from end to end: windows of shards, counts of partitions, coverage of documents.

    count_repeats(workspace, "repeats", SpanSettings(corpora=["web"]), pool)

Makes ``repeats/<alias>-<hash8>`` (pipeline.repeats.report) and, unless it is a sample, a score stage per corpus,
``scores/<corpus>/<alias>-<hash8>`` (pipeline.repeats.cover). What lies between is in ``work-...`` below the first, and
goes once the report is there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from pipeline import ledger
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, next_attempt, pending, write_row
from pipeline.repeats import cover, records, report, steps
from pipeline.repeats.counts import REPORT, REPORT_SHARD
from pipeline.repeats.emit import Sources
from pipeline.repeats.methods import warm
from pipeline.repeats.plan import Plan, check_disk, disk_bytes, estimated, finished, plan_repeats
from pipeline.repeats.settings import CountSettings, Layout, SpanSettings, memory_bytes, sieve_bytes
from pipeline.shards import file_facts
from pipeline.stage import saved
from pipeline.workspace import Corpus, Workspace, shard_name
from scorers.repetition import windows
from scorers.repetition.sieve import BITS_PER_RECORD, Sieve


def count_repeats(
    workspace: Workspace, alias: str, settings: CountSettings, pool: Pool, limit: int | None = None
) -> dict[str, Any]:
    """Count; what is done already is not done again. The caller holds the lock.

    Returns the report: `folder`, `windows`, `distinct`, `totals` or `sampled`. Raises ShardsFailed.
    """
    plan = plan_repeats(workspace, alias, settings, limit)
    store, stage = workspace.store, plan.stage
    if finished(workspace, plan):
        print(f"repeats {alias}: nothing to do, the counts are there", file=sys.stderr)
        return orjson.loads(store.read_bytes(f"{stage.folder}/{REPORT}"))
    memory = memory_bytes(pool.compute.memory or settings.memory)
    searched, references = estimated(plan, plan.corpora), estimated(plan, plan.against)
    # A table holds what is counted. What is only looked up is no more than what a sieve lets through by accident, or
    # passes by slab by slab.
    layout = Layout.of(max(references, searched / BITS_PER_RECORD) if plan.against else searched, memory)
    work = f"{stage.folder}/{layout.name}"
    _tidy(workspace, stage.folder, keep=layout.name)
    sifts = bool(plan.against) and Sieve.fits(int(references), sieve_bytes(memory))
    check_disk(workspace, disk_bytes(plan, 0 if sifts else searched, references), f"{work}/windows")
    if saved(store, stage.folder) is None:
        stage.save(store)
    warm()
    sources = Sources.of([*plan.against, *plan.corpora])
    run = _Run(workspace, plan, layout, work, sources, pool)
    against = run.emit(plan.against, None)
    sieve = run.sift(against) if sifts else None
    if sieve is not None:
        passing = estimated(plan, plan.corpora, steps.read_sieve(store, sieve))
        check_disk(workspace, disk_bytes(plan, passing, references), f"{work}/windows")
    files = against + run.emit(plan.corpora, sieve)
    documents = sum(file.documents for file in files)
    if documents >= plan.method.most_documents:
        raise UserError(f"{documents:,} documents at once; at most {plan.method.most_documents:,}: count corpora apart")
    answers = run.count(files)
    spectrum = report.Spectrum()
    for file in answers:
        spectrum.add(file.spectrum(store))
    result = _totals(plan, files, spectrum)
    if plan.has_scores:
        run.cover(files, answers, sieve)
        parts = (store.read_bytes(f"{work}/parts/{c.name}/{s}.json") for c in plan.corpora for s in plan.shards(c))
        result["totals"] = plan.method.write_tables(store, stage.folder, settings, sources, spectrum, parts)
        assert result["totals"]["words"] == result["words"], "words were lost on the way"
    else:
        report.write(store, f"{stage.folder}/spectrum.parquet", spectrum.table())
        assert isinstance(settings, SpanSettings)
        result["sampled"] = _sampled(settings, files, spectrum)
    begun_attempt = next_attempt(workspace, stage.folder, REPORT_SHARD)
    with store.writing(f"{stage.folder}/{REPORT}") as path:
        with open(path, "wb") as file_out:
            file_out.write(orjson.dumps(result, option=orjson.OPT_INDENT_2))
        facts = file_facts(path)
    rows = int(result["documents"])
    write_row(workspace, stage.folder, REPORT_SHARD, begun_attempt, time.time(), Counts(rows, rows, **facts))
    ledger.compact(store, stage.folder)
    _tidy(workspace, stage.folder, keep=None)
    return result


def _tidy(workspace: Workspace, folder: str, keep: str | None) -> None:
    """Remove the work of other layouts, or all of it."""
    for name in workspace.store.folders(folder):
        if name.startswith("work-") and name != keep:
            workspace.store.remove(ledger.folder(f"{folder}/{name}"))
            workspace.store.remove(f"{folder}/{name}")


def _totals(plan: Plan, files: Sequence[records.RecordsFile], spectrum: report.Spectrum) -> dict[str, Any]:
    """Counts over all, checked: every window of step one was counted in step two."""
    own = len(files) - sum(len(plan.shards(c)) for c in plan.corpora)
    counted = sum(file.records for file in (files[:own] if plan.against else files))
    assert spectrum.windows == counted, f"{counted} windows in, {spectrum.windows} counted: windows were lost"
    return {
        "folder": plan.stage.folder,
        "documents": sum(file.documents for file in files[own:]),
        "words": sum(file.words for file in files[own:]),
        "windows": sum(file.drawn for file in files[own:]),
        "counted": counted,
        "distinct": int(spectrum.rows[:, 2].sum()),
        "reference_documents": sum(file.documents for file in files[:own]),
        "reference_short": sum(file.short for file in files[:own]),
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

    def emit(self, corpora: tuple[Corpus, ...], sieve: str | None) -> list[records.RecordsFile]:
        """Step one; the files."""
        jobs, places = [], []
        for corpus in corpora:
            folder = f"{self.work}/windows/{corpus.name}"
            self.workspace.store.sweep(folder)
            shards = self.plan.shards(corpus)
            places += [(folder, shard) for shard in shards]
            for shard, attempt in pending(self.workspace, folder, shards, ".records"):
                task = steps.EmitTask(
                    self.plan.reader(corpus, self.sources),
                    corpus.file(shard),
                    corpus.done[shard].size,
                    self.layout,
                    f"{folder}/{shard}.records",
                    sieve,
                )
                jobs.append(Job(self.workspace, shard, ((folder, attempt),), task))
        if jobs:
            self._do(jobs, steps.emit_shard, "windows")
        rows = {folder: self.workspace.rows(folder) for folder, _ in places}
        return [
            records.RecordsFile.of(self.workspace.store, f"{folder}/{shard}.records", rows[folder][shard].size)
            for folder, shard in places
        ]

    def sift(self, files: list[records.RecordsFile]) -> str:
        """What stands between, with `against`; the file of the sieve."""
        folder, shard = f"{self.work}/sieve", shard_name(0, 1)
        self.workspace.store.sweep(folder)
        target = f"{folder}/{shard}.bits"
        for _, attempt in pending(self.workspace, folder, [shard], ".bits"):
            task = steps.SieveTask(tuple(files), self.layout, target)
            self._do([Job(self.workspace, shard, ((folder, attempt),), task)], steps.fill_sieve, "sieve")
        return target

    def count(self, files: list[records.RecordsFile]) -> list[records.AnswersFile]:
        """Step two; a file per partition."""
        folder = f"{self.work}/counts"
        self.workspace.store.sweep(folder)
        shards = [shard_name(i, self.layout.partitions) for i in range(self.layout.partitions)]
        own = len(files) - sum(len(self.plan.shards(c)) for c in self.plan.corpora)
        references = sum(file.numbers for file in files[:own]) if self.plan.against else None
        jobs = []
        for shard, attempt in pending(self.workspace, folder, shards, ".answers"):
            target = f"{folder}/{shard}.answers"
            task = steps.CountTask(shards.index(shard), self.layout, tuple(files), own, references, target)
            jobs.append(Job(self.workspace, shard, ((folder, attempt),), task))
        self._do(jobs, steps.count_partition, "counts", "partitions")
        rows = self.workspace.rows(folder)
        store = self.workspace.store
        return [records.AnswersFile.of(store, f"{folder}/{shard}.answers", rows[shard].size) for shard in shards]

    def cover(self, files: list[records.RecordsFile], answers: list[records.AnswersFile], sieve: str | None) -> None:
        """Step three."""
        jobs = []
        numbers = {(c.name, shard): i for i, (c, shard) in enumerate(self.plan.everything)}
        first = np.concatenate([[0], np.cumsum([file.runs for file in files])]).tolist()
        for corpus in self.plan.corpora:
            scores = self.plan.scores(corpus)
            parts = f"{self.work}/parts/{corpus.name}"
            shards = self.plan.shards(corpus)
            store = self.workspace.store
            store.sweep(scores.folder)
            store.sweep(parts)
            if saved(store, scores.folder) is None:
                schema = self.plan.method.schema_of(scores.name, self.plan.settings)
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
                    self.plan.reader(corpus, self.sources),
                    scores.name,
                    corpus.file(shard),
                    corpus.done[shard].size,
                    self.layout,
                    files[number],
                    first[number],
                    tuple(answers),
                    f"{scores.folder}/{shard}.parquet",
                    f"{parts}/{shard}.json",
                    sieve,
                )
                outputs = ((parts, attempts[0]), (scores.folder, attempts[1]))
                jobs.append(Job(self.workspace, shard, outputs, task))
        self._do(jobs, self.plan.method.cover, "coverage")

    def _do(self, jobs: list[Job], work: Any, what: str, unit: str = "shards") -> None:
        rows = self.pool.run(jobs, work, f"repeats {self.plan.stage.name}: {what}", unit)
        failed = {f"{row.stage}/{row.shard}": row.error or "" for row in rows if not row.done}
        if failed:
            raise ShardsFailed(f"repeats {self.plan.stage.name}: {what}", failed, len(rows))
