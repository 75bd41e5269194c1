"""Score a corpus: one or more scorers in one pass over the text, a narrow table per scorer and shard.

Each shard is read once for all scorers that lack it; each scorer has its own ledger row, so adding a scorer later runs
only that scorer, and one scorer's failure leaves the others' results.

    specs = [ScoreSpec.of("lengths"), ScoreSpec.of("preselect", model="model.bin")]
    score(workspace, [workspace.corpus("web")], specs, pool)
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import ledger, models
from pipeline.config_errors import parsed
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.shards import batches, check_shard, file_facts, write_narrow
from pipeline.stage import Stage, saved
from pipeline.workspace import Corpus, Workspace, checked_name
from scorers import SCORERS, scorer_module
from scorers.texts import Texts


@dataclass(frozen=True)
class ScoreSpec:
    """What to score with: a scorer by name, its alias, and its settings (the scorer module's own frozen model)."""

    scorer: str
    alias: str
    settings: Any

    @classmethod
    def of(cls, scorer: str, alias: str | None = None, **settings: Any) -> ScoreSpec:
        """Check and build. Raises UserError naming an unknown scorer, setting or value."""
        if scorer not in SCORERS:
            raise UserError(f"unknown scorer {scorer!r}; known: {', '.join(SCORERS)}")
        alias = checked_name(alias or scorer, "alias")
        return cls(scorer, alias, parsed(scorer_module(scorer).Settings, settings, f"scorer {scorer}"))

    def files(self) -> dict[str, Path]:
        """{field: local path} of the model files, fetched where they are remote."""
        named = scorer_module(self.scorer).model_files(self.settings)
        return {field: models.local_file(value, field) for field, value in named.items()}


@dataclass(frozen=True)
class _Output:
    """One scorer's part of a job: everything a worker needs to load it."""

    folder: str
    scorer: str
    alias: str
    settings: Any
    files: tuple[tuple[str, str, str], ...]
    """field, path or URL, content hash"""


@dataclass(frozen=True)
class _Task:
    documents: str
    size: int
    digest: str | None
    outputs: tuple[_Output, ...]


def score_stage(corpus: Corpus, spec: ScoreSpec, limit: int | None = None) -> Stage:
    """The stage that a spec makes of a corpus. Fetches and hashes its model files."""
    module = scorer_module(spec.scorer)
    files = spec.files()
    settings = spec.settings.model_dump(mode="json")
    return Stage(
        kind="score",
        name=spec.alias,
        parent=f"scores/{corpus.name}",
        fields={
            "corpus": corpus.hash,
            "scorer": spec.scorer,
            "alias": spec.alias,
            "version": module.VERSION,
            "settings": {key: value for key, value in settings.items() if key not in files},
            "models": {field: models.content_hash(path) for field, path in files.items()},
            "limit": limit,
        },
        info={"models": {field: settings[field] for field in files}},
    )


def score(
    workspace: Workspace,
    corpora: Sequence[Corpus],
    specs: Sequence[ScoreSpec],
    pool: Pool,
    limit: int | None = None,
) -> list[ledger.Row]:
    """Score what is not scored yet. The caller holds the lock. Raises ShardsFailed after all other shards are done.

    limit: only the first so many shards of each corpus.
    """
    aliases = [spec.alias for spec in specs]
    if twice := {alias for alias in aliases if aliases.count(alias) > 1}:
        raise UserError(f"alias {twice.pop()!r} is used twice; give one of them another (ALIAS=SCORER)")
    rows: list[ledger.Row] = []
    for corpus in corpora:
        rows += _score_corpus(workspace, corpus, specs, pool, limit)
    failed = {f"{row.stage}/{row.shard}": row.error or "" for row in rows if not row.done}
    if failed:
        raise ShardsFailed(f"score {' '.join(aliases)}", failed, len(rows))
    return rows


def _score_corpus(
    workspace: Workspace, corpus: Corpus, specs: Sequence[ScoreSpec], pool: Pool, limit: int | None
) -> list[ledger.Row]:
    store = workspace.store
    shards = [shard for shard in corpus.shards[:limit] if shard in corpus.done]
    todo: dict[str, list[tuple[_Output, int]]] = {}
    for spec in specs:
        stage = score_stage(corpus, spec, limit)
        attempts = pending(workspace, stage.folder, shards)
        if not attempts:
            continue
        files = scorer_module(spec.scorer).model_files(spec.settings)
        output = _Output(
            stage.folder,
            spec.scorer,
            spec.alias,
            spec.settings,
            tuple((field, value, stage.fields["models"][field]) for field, value in files.items()),
        )
        schema = _warm(output)
        store.sweep(stage.folder)
        if saved(store, stage.folder) is None:
            stage.save(store, columns={field.name: str(field.type) for field in schema})
        for shard, attempt in attempts:
            todo.setdefault(shard, []).append((output, attempt))
    if not todo:
        print(f"score {corpus.name}: nothing to do, all {len(shards)} shards are scored", file=sys.stderr)
    jobs = [
        Job(
            workspace,
            shard,
            tuple((output.folder, attempt) for output, attempt in outputs),
            _Task(
                corpus.file(shard),
                corpus.done[shard].size,
                corpus.done[shard].digest,
                tuple(output for output, _ in outputs),
            ),
        )
        for shard, outputs in sorted(todo.items())
    ]
    names = " ".join(spec.alias for spec in specs)
    return pool.run(jobs, score_shard, f"score {corpus.name} ({names})")


def _warm(output: _Output) -> pa.Schema:
    """Load once in the main process: wrong models fail before any work, and kernels are compiled and cached once."""
    scorer = _loaded(output)
    scorer.score(Texts.from_arrow(pa.array(["Warm up. Warm up.", ""], pa.large_string())))
    return scorer.schema


@functools.lru_cache(maxsize=16)
def _loaded(output: _Output) -> Any:
    """A scorer, loaded once per process."""
    files = {}
    for field, value, digest in output.files:
        files[field] = models.local_file(value, field)
        if models.content_hash(files[field]) != digest:
            raise UserError(f"{field} {value} changed while the run was under way; run again to score with the new one")
    return scorer_module(output.scorer).load(output.settings, files, output.alias)


def score_shard(job: Job) -> dict[str, Counts | Exception]:
    """Score one shard with all scorers of the job. A scorer that fails fails alone."""
    store = job.workspace.store
    task: _Task = job.task
    check_shard(store, task.documents, task.size, task.digest)
    results: dict[str, Counts | Exception] = {}
    scorers: dict[str, Any] = {}
    columns: dict[str, list[list[pa.Array]]] = {}
    for output in task.outputs:
        try:
            scorers[output.folder] = _loaded(output)
            columns[output.folder] = []
        except (ValueError, OSError) as error:
            results[output.folder] = error
    ids, sources, bytes_in = [], [], 0
    for batch in batches(store, task.documents, ["id", "source", "text"]):
        ids.append(batch.column("id"))
        sources.append(batch.column("source"))
        texts = Texts.from_arrow(batch.column("text"))
        bytes_in += texts.num_bytes
        for folder, scorer in list(scorers.items()):
            try:
                columns[folder].append(scorer.score(texts))
            except Exception as error:
                results[folder] = error
                del scorers[folder]
    id_column = pa.chunked_array([c for part in ids for c in part.chunks], pa.string())
    per_source = rows_by_source(sources)
    for folder, scorer in scorers.items():
        parts = columns[folder]
        arrays = [pa.chunked_array([p[i] for p in parts], field.type) for i, field in enumerate(scorer.schema)]
        table = pa.table([id_column, *arrays], schema=pa.schema([pa.field("id", pa.string()), *scorer.schema]))
        with store.writing(f"{folder}/{job.shard}.parquet") as path:
            write_narrow(path, table)
            facts = file_facts(path)
        results[folder] = Counts(
            rows_in=table.num_rows, rows_out=table.num_rows, bytes_in=bytes_in, sources=per_source, **facts
        )
    return results


def rows_by_source(parts: list[pa.ChunkedArray]) -> list[dict[str, Any]]:
    """Rows of each source, sorted by source."""
    chunks = [chunk for part in parts for chunk in part.chunks]
    if not chunks:
        return []
    counts = pc.value_counts(pa.chunked_array(chunks)).to_pylist()
    return [
        {"source": item["values"], "rows_in": item["counts"], "rows_out": item["counts"], "rejected": 0}
        for item in sorted(counts, key=lambda item: item["values"] or "")
    ]
