"""The sample of a corpus that the panel reads, as a small corpus of its own: samples/<corpus>-<hash8>/.

    sample = make_sample(workspace, corpus, SampleSettings(domains=3000, per_domain=300), pool)

Rows keep the order of the corpus; the held-out split stays out. Columns: id, text (large_string), source, domain
(strings), weight (float64): how many documents of the pool one of the sample stands for (documents of its domain in the
corpus / in the sample; 1 for a sample by SQL). The paper takes 3,000 domains of 300 documents each and keeps them out
of the pool that is selected from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline import ledger, views
from pipeline.catalog import document_schema
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.preselect.settings import SampleSettings
from pipeline.shards import DocumentWriter, batches, file_facts
from pipeline.stage import Stage, saved
from pipeline.workspace import Corpus, Workspace, shard_name

VERSION = 1
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.large_string()),
        ("source", pa.string()),
        ("domain", pa.string()),
        ("weight", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Sample:
    """A sample that has been begun."""

    workspace: Workspace
    corpus: str
    folder: str
    record: dict[str, Any]

    @property
    def hash(self) -> str:
        """What losses of this sample name as their input."""
        return self.record["hash"]

    @property
    def shards(self) -> list[str]:
        """Base names of its shards."""
        count = self.record["info"]["num_shards"]
        return [shard_name(i, count) for i in range(count)]

    @cached_property
    def rows(self) -> dict[str, ledger.Row]:
        """Ledger rows of the shards that are there."""
        return {shard: row for shard, row in self.workspace.rows(self.folder).items() if row.done}

    def file(self, shard: str) -> str:
        """A shard, relative to the workspace."""
        return f"{self.folder}/{shard}.parquet"

    def table(self, shard: str, columns: list[str]) -> pa.Table:
        """Columns of a shard, rows in order."""
        return pa.concat_tables(list(batches(self.workspace.store, self.file(shard), columns)) or [_empty(columns)])


def _empty(columns: list[str]) -> pa.Table:
    return SCHEMA.empty_table().select(columns)


@dataclass(frozen=True)
class _Task:
    """One sample shard: the document shards it is gathered from, each with the rows wanted (id, domain, weight)."""

    parts: tuple[tuple[str, pa.Table], ...]


def sample_stage(corpus: Corpus, settings: SampleSettings) -> Stage:
    """The stage that a sample makes. A sample by SQL is named by the ids that the query gives."""
    values = settings.model_dump(mode="json")
    if settings.sql is None:
        values.pop("sql")
        values["domain"] = domain_expression(corpus, settings.domain)
    else:
        chosen = _chosen(corpus, settings)
        digest = xxhash.xxh3_128()
        for name, domain in zip(*(chosen.column(c).to_pylist() for c in ("id", "domain")), strict=True):
            digest.update(f"{name}\0{domain}\0".encode())
        values = {"ids": digest.hexdigest(), "shard_rows": settings.shard_rows}
    return Stage(
        kind="sample",
        name=corpus.name,
        parent="samples",
        fields={"corpus": corpus.hash, "version": VERSION, "settings": values},
        info={"corpus": corpus.name, "sql": settings.sql},
    )


def find_sample(corpus: Corpus, settings: SampleSettings) -> Sample | None:
    """The sample that these settings make, if it is whole."""
    stage = sample_stage(corpus, settings)
    record = saved(corpus.workspace.store, stage.folder)
    if record is None:
        return None
    found = Sample(corpus.workspace, corpus.name, stage.folder, record)
    return None if pending(corpus.workspace, stage.folder, found.shards) else found


def count_sample(corpus: Corpus, settings: SampleSettings) -> int:
    """How many documents a sample has or will have."""
    return _chosen(corpus, settings).num_rows


def make_sample(corpus: Corpus, settings: SampleSettings, pool: Pool) -> Sample:
    """Draw what is not drawn yet. The caller holds the lock. Raises UserError where nothing is found."""
    workspace = corpus.workspace
    if (known := find_sample(corpus, settings)) is not None:
        return known
    lost = [shard for shard in corpus.shards if shard not in corpus.done]
    if lost:
        raise UserError(f"corpus {corpus.name!r} lacks {len(lost)} shards ({lost[0]}); run its ingest again")
    chosen = _chosen(corpus, settings)
    if chosen.num_rows == 0:
        raise UserError(
            f"the sample of corpus {corpus.name!r} is empty; look at `domain`, `sql` and the held-out split"
        )
    groups = _groups(corpus, chosen, settings.shard_rows)
    stage = sample_stage(corpus, settings)
    store = workspace.store
    store.sweep(stage.folder)
    if saved(store, stage.folder) is None:
        stage.save(store, num_shards=len(groups), documents=chosen.num_rows)
    record = saved(store, stage.folder)
    assert record is not None
    sample = Sample(workspace, corpus.name, stage.folder, record)
    jobs = []
    for shard, attempt in pending(workspace, stage.folder, sample.shards):
        parts = tuple((corpus.file(name), wanted) for name, wanted in groups[sample.shards.index(shard)])
        jobs.append(Job(workspace, shard, ((stage.folder, attempt),), _Task(parts)))
    rows = pool.run(jobs, _gather, f"sample {corpus.name}")
    if failed := {row.shard: row.error or "" for row in rows if not row.done}:
        raise ShardsFailed(f"sample {corpus.name}", failed, len(rows))
    return Sample(workspace, corpus.name, stage.folder, record)


def domain_expression(corpus: Corpus, wanted: str | None) -> str:
    """SQL for the domain of a document."""
    names = document_schema(corpus).names
    if wanted is not None:
        return f'"{wanted}"' if wanted in names else wanted
    if "domain" in names:
        return '"domain"'
    if "url" in names:
        return r"""lower(regexp_extract(url, '^(?:[a-zA-Z][a-zA-Z0-9+.-]*://)?(?:[^/@?#]*@)?([^/:?#]+)', 1))"""
    return '"source"'


def _chosen(corpus: Corpus, settings: SampleSettings) -> pa.Table:
    """shard, id, domain, weight of the documents of the sample, in order of shard and id."""
    import duckdb

    kept = "WHERE NOT coalesce(held_out, false)" if "held_out" in document_schema(corpus).names else ""
    if settings.sql is not None:
        from pipeline.sql import query

        picked = query(corpus.workspace, settings.sql, [corpus.name])
        if "id" not in picked.column_names:
            raise UserError(f"the sample's sql gives {', '.join(picked.column_names)}; expected a column id")
        own = "domain" in picked.column_names
        expression = "domain" if own else domain_expression(corpus, settings.domain)
        with views.opened(corpus.workspace, [corpus.name]) as connection:
            connection.register("picked", picked.select(["id", "domain"] if own else ["id"]))
            dropped = "text, domain" if own and "domain" in document_schema(corpus).names else "text"
            return _arrow(
                connection.sql(
                    f"""SELECT shard, id, CAST({expression} AS VARCHAR) AS domain, 1.0 AS weight
                    FROM (SELECT * EXCLUDE ({dropped}) FROM documents {kept})
                    JOIN (SELECT DISTINCT ON (id) * FROM picked) USING (id) ORDER BY shard, id"""
                )
            )
    expression = domain_expression(corpus, settings.domain)
    try:
        with views.opened(corpus.workspace, [corpus.name]) as connection:
            return _arrow(
                connection.sql(
                    f"""WITH d AS (SELECT shard, id, CAST({expression} AS VARCHAR) AS domain FROM documents {kept}),
                    top AS (SELECT domain, count(*) AS size FROM d WHERE domain <> '' GROUP BY domain
                      ORDER BY size DESC, domain LIMIT {settings.domains}),
                    drawn AS (SELECT d.*, size FROM d JOIN top USING (domain)
                      QUALIFY row_number() OVER (PARTITION BY domain ORDER BY md5('{settings.seed} ' || id), id)
                        <= {settings.per_domain})
                    SELECT shard, id, domain, size / count(*) OVER (PARTITION BY domain) AS weight
                    FROM drawn ORDER BY shard, id"""
                )
            )
    except (duckdb.BinderException, duckdb.ParserException) as error:
        raise UserError(f"domain {settings.domain!r}: {' '.join(str(error).split())[:300]}") from None


def _arrow(relation: Any) -> pa.Table:
    return relation.to_arrow_table().cast(
        pa.schema([("shard", pa.string()), ("id", pa.string()), ("domain", pa.string()), ("weight", pa.float64())])
    )


def _groups(corpus: Corpus, chosen: pa.Table, shard_rows: int) -> list[list[tuple[str, pa.Table]]]:
    """Document shards with their rows, gathered until a sample shard has about `shard_rows`."""
    counts = {item["values"]: item["counts"] for item in pc.value_counts(chosen.column("shard")).to_pylist()}
    groups: list[list[tuple[str, pa.Table]]] = []
    start = size = 0
    for shard in sorted(counts):
        part = chosen.slice(start, counts[shard]).select(["id", "domain", "weight"])
        start += counts[shard]
        if not groups or size + counts[shard] > shard_rows:
            groups.append([])
            size = 0
        groups[-1].append((shard, part))
        size += counts[shard]
    return groups


def _gather(job: Job) -> dict[str, Counts | Exception]:
    """Write one sample shard."""
    store = job.workspace.store
    [(folder, _)] = job.outputs
    expected = 0
    with store.writing(f"{folder}/{job.shard}.parquet") as path:
        writer = DocumentWriter(path, SCHEMA)
        for file, wanted in job.task.parts:
            expected += wanted.num_rows
            for batch in batches(store, file, ["id", "source", "text"]):
                place = pc.index_in(batch.column("id"), wanted.column("id"))
                found = batch.append_column("place", place).filter(pc.is_valid(place))
                rows = wanted.take(found.column("place"))
                arrays = [found.column(name) for name in ("id", "text", "source")]
                arrays += [rows.column(name) for name in ("domain", "weight")]
                writer.write(pa.table(arrays, names=SCHEMA.names).cast(SCHEMA))
        writer.close()
        facts = file_facts(path)
    if writer.num_rows != expected:
        raise ValueError(f"{writer.num_rows} of {expected} documents of the sample are in the corpus")
    return {folder: Counts(writer.num_rows, writer.num_rows, bytes_in=writer.num_bytes, **facts)}
