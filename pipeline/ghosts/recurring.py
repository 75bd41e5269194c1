"""The second stage of finding: the same words in different texts, looked for where `tamis repeats spans` found repeats.

    spans = repeats_of(corpora, size=8)                  # {corpus: its score stage of repeated spans}, or None
    recurring(workspace, "ghosts", spans, size=8, pool)  # recurring/ghosts-<hash8>/<corpus>/<shard>.parquet

Only documents that hold a span of another document are read (`<alias>_docs_2` of the count, which must be of spans no
longer than the phrases that are looked for: a phrase of ten words makes no repeated span of fifty). Of these, every
window of `size` words that could be a phrase's (scorers/ghosts/recurring.py) is hashed, shard by shard; what more than
one document has is joined to stretches; then their pairs of words are counted. One row per copy comes out: `id`, `run`,
`words`, `byte_start`, `byte_stop`, `left`, `right`, `elsewhere` (pairs of neighbouring words that stand in other places
too). The view `ghost_recurring` (pipeline/ghosts/views.py) judges runs by contexts and pairs.

No word of a text is kept, nor is any list of words needed. Without such a count nothing is done: finding in one
document at a time goes without.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import ledger
from pipeline.catalog import Scores, shown_stages
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, Work, pending
from pipeline.ghosts.views import PARENT
from pipeline.shards import batches, file_facts, read_narrow, write_narrow
from pipeline.stage import Stage, saved
from pipeline.storage import Store
from pipeline.workspace import Corpus, Workspace
from scorers.ghosts.recurring import VERSION, content_windows, stretches, word_pairs
from scorers.texts import Texts

WINDOWS = pa.schema([("hash", pa.uint64()), ("row", pa.int64())])
ROW_BITS = 36
"""Of a document's number: its row in the shard; the number of the shard stands above."""
STRETCHES = pa.schema(
    [
        ("id", pa.string()),
        ("run", pa.int64()),
        ("words", pa.int32()),
        ("byte_start", pa.int64()),
        ("byte_stop", pa.int64()),
        ("left", pa.int64()),
        ("right", pa.int64()),
        ("elsewhere", pa.int32()),
    ]
)
PAIRS = pa.field("pairs", pa.list_(pa.uint64()))


@dataclass(frozen=True)
class _Task:
    documents: str
    scores: str
    column: str
    size: int
    known: str
    """the file of what all shards have found in the step before"""


def repeats_of(corpora: Sequence[Corpus], size: int, alias: str | None = None) -> dict[str, Scores] | None:
    """The newest whole count of spans of at most `size` words that every corpus has; None if there is none.

    alias: it must be this one, and may have longer spans. Raises UserError if it is not there or of another kind.
    """
    found: dict[str, Scores] = {}
    for corpus in corpora:
        usable = [one for one in shown_stages(corpus).values() if _usable(one, size if alias is None else None)]
        chosen = [one for one in usable if alias in (None, one.alias)]
        if not chosen and alias is not None:
            raise UserError(
                f"corpus {corpus.name!r} has no whole count of repeated spans {alias!r}; "
                f"`tamis repeats spans --corpus {corpus.name} --window {size} --alias {alias}` makes one"
            )
        if not chosen:
            return None
        found[corpus.name] = chosen[-1]
    return found


def _usable(scores: Scores, longest: int | None) -> bool:
    fields = scores.record["fields"]
    settings = fields.get("settings") or {}
    if fields.get("repeats") is None or "window" not in settings or scores.record["info"].get("against"):
        return False
    if settings.get("tokenizer") or settings.get("winnow"):
        return False
    short = longest is None or settings["window"] <= longest
    return short and not scores.missing() and f"{scores.alias}_docs_2" in scores.columns


def recurring(workspace: Workspace, alias: str, spans: Mapping[str, Scores], size: int, pool: Pool) -> str:
    """Look for what recurs; the folder. The caller holds the lock. Raises ShardsFailed."""
    fields = {
        "version": VERSION,
        "size": size,
        "corpora": {name: scores.corpus.hash for name, scores in spans.items()},
        "repeats": {name: scores.record["hash"] for name, scores in spans.items()},
    }
    info = {"repeats": {name: scores.alias for name, scores in spans.items()}}
    stage = Stage(PARENT, alias, PARENT, fields, info)
    store = workspace.store
    if saved(store, stage.folder) is None:
        stage.save(store)
    if not any(pending(workspace, f"{stage.folder}/{name}", s.corpus.shards) for name, s in spans.items()):
        print(f"recurring {alias}: nothing to do", file=sys.stderr)
        return stage.folder
    work = f"{stage.folder}/work"
    step = partial(_step, workspace, spans, pool, f"recurring {alias}", size)
    files = partial(_files, spans, work)
    step(f"{work}/windows", windows_shard)
    known = _kept(store, f"{work}/known.parquet", _shared(store, files("windows")))
    step(f"{work}/stretches", stretches_shard, known)
    pairs = _kept(store, f"{work}/pairs.parquet", _pairs(store, files("stretches")))
    step(f"{work}/pairs", pairs_shard, pairs)
    judged = _kept(store, f"{work}/elsewhere.parquet", _elsewhere(store, files("stretches"), files("pairs")))
    step(stage.folder, judged_shard, judged)
    store.remove(ledger.folder(work))
    store.remove(work)
    return stage.folder


def _shards(spans: Mapping[str, Scores]) -> Iterator[tuple[str, str]]:
    return ((name, shard) for name, scores in spans.items() for shard in scores.corpus.shards)


def _files(spans: Mapping[str, Scores], work: str, kind: str) -> list[str]:
    return [f"{work}/{kind}/{name}/{shard}.parquet" for name, shard in _shards(spans)]


def _kept(store: Store, file: str, table: pa.Table) -> str:
    with store.writing(file) as path:
        write_narrow(path, table)
    return file


def _step(
    workspace: Workspace,
    spans: Mapping[str, Scores],
    pool: Pool,
    label: str,
    size: int,
    parent: str,
    work: Work,
    known: str = "",
) -> None:
    jobs = []
    for name, scores in spans.items():
        folder = f"{parent}/{name}"
        workspace.store.sweep(folder)
        for shard, attempt in pending(workspace, folder, scores.corpus.shards):
            task = _Task(scores.corpus.file(shard), scores.file(shard), f"{scores.alias}_docs_2", size, known)
            jobs.append(Job(workspace, shard, ((folder, attempt),), task))
    pool.run(jobs, work, f"{label}: {work.__name__.partition('_')[0]}")
    failed: dict[str, str] = {}
    for name, scores in spans.items():
        rows = workspace.rows(f"{parent}/{name}")
        failed |= {shard: rows[shard].error or "" for shard in scores.corpus.shards if not rows[shard].done}
    if failed:
        raise ShardsFailed(label, failed, len([*_shards(spans)]))


def _shared(store: Store, files: Sequence[str]) -> pa.Table:
    """Hashes that more than one document has, sorted, with their copies. What memory cannot hold goes to disk."""

    def parts() -> Iterator[pa.RecordBatch]:
        for number, file in enumerate(files):
            table = read_narrow(store, file)
            document = pc.add(table.column("row"), number << ROW_BITS)
            yield from pa.table([table.column("hash"), document], schema=schema).to_batches()

    schema = pa.schema([("hash", pa.uint64()), ("document", pa.int64())])
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect(config={"temp_directory": scratch}) as connection:
        connection.register("windows", pa.RecordBatchReader.from_batches(schema, parts()))
        return connection.sql(
            """SELECT hash, count(*) AS copies FROM windows GROUP BY hash HAVING min(document) <> max(document)
            ORDER BY hash"""
        ).to_arrow_table()


def _pairs(store: Store, files: Sequence[str]) -> pa.Table:
    """The different pairs of all stretches, sorted."""
    lists = [read_narrow(store, file, [PAIRS.name]).column(0).combine_chunks().flatten().to_numpy() for file in files]
    return pa.table({"hash": np.unique(np.concatenate(lists))})


def _elsewhere(store: Store, stretched: Sequence[str], counted: Sequence[str]) -> pa.Table:
    """Of each run, how many of its pairs occur more often than the run does."""
    connection = duckdb.connect()
    copies = pa.concat_tables([read_narrow(store, file, ["run", PAIRS.name]) for file in stretched])
    connection.register("copies", copies)
    connection.register("counts", pa.concat_tables([read_narrow(store, file) for file in counted]))
    return connection.sql(
        """WITH runs AS (SELECT run, count(*) AS copies, any_value(pairs) AS pairs FROM copies GROUP BY run),
          totals AS (SELECT hash, sum(count) AS total FROM counts GROUP BY hash)
        SELECT run, count_if(total > copies)::INTEGER AS elsewhere
        FROM (SELECT run, copies, unnest(pairs) AS hash FROM runs) JOIN totals USING (hash) GROUP BY run ORDER BY run"""
    ).to_arrow_table()


def _repeated(job: Job) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """Batches of the documents that hold a span of another document, and their rows in the shard."""
    task: _Task = job.task
    store = job.workspace.store
    shared = pc.fill_null(pc.greater(read_narrow(store, task.scores, [task.column]).column(0), 0), False)
    chosen, first = shared.combine_chunks().to_numpy(zero_copy_only=False), 0
    for batch in batches(store, task.documents, ["id", "text"]):
        rows = np.flatnonzero(chosen[first : first + batch.num_rows])
        if len(rows):
            yield batch.take(pa.array(rows)), rows + first
        first += batch.num_rows


def windows_shard(job: Job) -> dict[str, Counts | Exception]:
    """Hash the windows of one shard."""
    found = [WINDOWS.empty_table()]
    documents = read = 0
    for batch, rows in _repeated(job):
        texts = Texts.from_arrow(batch.column("text"))
        windows = content_windows(texts, job.task.size)
        found.append(pa.table([windows.hashes, rows[windows.docs]], schema=WINDOWS))
        documents, read = documents + batch.num_rows, read + texts.num_bytes
    return _written(job, pa.concat_tables(found), documents, read)


def stretches_shard(job: Job) -> dict[str, Counts | Exception]:
    """The stretches of one shard."""
    known = read_narrow(job.workspace.store, job.task.known)
    hashes, copies = known.column("hash").to_numpy(), known.column("copies").to_numpy()
    schema = pa.schema([*STRETCHES][:-1]).append(PAIRS)
    rows: list[dict[str, Any]] = []
    documents = read = 0
    for batch, _ in _repeated(job):
        texts = Texts.from_arrow(batch.column("text"))
        ids = batch.column("id").to_pylist()
        for one in stretches(texts, content_windows(texts, job.task.size), hashes, copies):
            rows.append({"id": ids[one.doc]} | {name: getattr(one, name) for name in schema.names[1:]})
        documents, read = documents + batch.num_rows, read + texts.num_bytes
    return _written(job, pa.Table.from_pylist(rows, schema), documents, read)


def pairs_shard(job: Job) -> dict[str, Counts | Exception]:
    """How often the pairs of the stretches stand in one shard."""
    known = read_narrow(job.workspace.store, job.task.known).column("hash").to_numpy()
    counts = np.zeros(len(known), np.int64)
    documents = read = 0
    for batch, _ in _repeated(job):
        texts = Texts.from_arrow(batch.column("text"))
        if len(known):
            pairs = word_pairs(texts)
            places = np.minimum(np.searchsorted(known, pairs), len(known) - 1)
            counts += np.bincount(places[known[places] == pairs], minlength=len(known))
        documents, read = documents + batch.num_rows, read + texts.num_bytes
    there = np.flatnonzero(counts)
    return _written(job, pa.table({"hash": known[there], "count": counts[there]}), documents, read)


def judged_shard(job: Job) -> dict[str, Counts | Exception]:
    """The stretches of one shard with what was counted of their pairs."""
    store, [(folder, _)] = job.workspace.store, job.outputs
    parent, _, corpus = folder.rpartition("/")
    table = read_narrow(store, f"{parent}/work/stretches/{corpus}/{job.shard}.parquet")
    judged = read_narrow(store, job.task.known)
    places = pc.index_in(table.column("run"), judged.column("run").combine_chunks())
    found = judged.column("elsewhere").take(places).cast(pa.int32())
    made = pa.table([*(table.column(name) for name in STRETCHES.names[:-1]), found], schema=STRETCHES)
    return _written(job, made, 0, 0)


def _written(job: Job, table: pa.Table, documents: int, read: int) -> dict[str, Counts | Exception]:
    [(folder, _)] = job.outputs
    with job.workspace.store.writing(f"{folder}/{job.shard}.parquet") as path:
        write_narrow(path, table)
        facts = file_facts(path)
    return {folder: Counts(documents, documents, bytes_in=read, **facts)}
