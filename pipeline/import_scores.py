"""Scores made elsewhere: a table of id + columns becomes a score stage, aligned with the documents.

    import_scores(workspace, workspace.corpus("web"), "judge", "judged/*.parquet")

The table is Parquet or CSV: a file, a folder, a glob, or any fsspec URL. Its rows may come in any order. DuckDB joins
them with the ids of the corpus on disk, so that memory stays bounded for tables of any size. Documents that the table
does not name get NULL; ids that the corpus does not have are counted and left out.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.dataset as pads
from pyarrow.fs import FSSpecHandler, PyFileSystem

from pipeline.catalog import document_schema, shown_stages
from pipeline.config_errors import nearest
from pipeline.errors import ShardsFailed, StoreDown, UserError
from pipeline.execute import Counts, Job, attempt, pending
from pipeline.ledger import compact
from pipeline.patience import patiently
from pipeline.redact import without_addresses
from pipeline.shards import file_facts, read_narrow, write_narrow
from pipeline.stage import Stage, saved
from pipeline.storage import open_patiently
from pipeline.workspace import Corpus, Workspace, checked_name

VERSION = 1
ENDINGS = {".parquet": "parquet", ".csv": "csv", ".csv.gz": "csv", ".tsv": "tsv", ".tsv.gz": "tsv"}
MEMORY = "1GB"
"""What the join may hold before it spills to disk."""


@dataclass(frozen=True)
class _Incoming:
    """The files of a table, and which of their columns are taken under which name."""

    fs: Any
    files: tuple[str, ...]
    format: str
    schema: pa.Schema
    id: str
    columns: dict[str, str]

    def dataset(self) -> pads.Dataset:
        """The rows of all files."""
        return _dataset(self.fs, self.files, self.format)


def import_scores(
    workspace: Workspace,
    corpus: Corpus,
    alias: str,
    table: str,
    id_column: str = "id",
    columns: Sequence[str] = (),
) -> dict[str, Any]:
    """Make a score stage `scores/<corpus>/<alias>-<hash8>`. The caller holds the lock.

    columns: the ones to take, NAME or NAME=NEW; empty: all. Returns `folder`, `documents`, `matched`, `unmatched`
    (documents without a row) and `unknown` (rows whose id the corpus does not have). Raises UserError for a table that
    cannot be read, an id that stands twice, a column that is there already, or if no id matches.
    """
    incoming = _incoming(table, id_column, columns)
    _check_names(corpus, alias, incoming)
    stage = Stage(
        kind="score",
        name=checked_name(alias, "alias"),
        parent=f"scores/{corpus.name}",
        fields={
            "corpus": corpus.hash,
            "scorer": "import",
            "alias": alias,
            "version": VERSION,
            "settings": {"id": id_column, "columns": incoming.columns},
            "table": _content(incoming),
        },
    )
    shards = [shard for shard in corpus.shards if shard in corpus.done]
    todo = dict(pending(workspace, stage.folder, shards))
    record = saved(workspace.store, stage.folder)
    if not todo and record is not None and "result" in record["info"]:
        print(f"import {alias}: nothing to do, the scores are there", file=sys.stderr)
        return record["info"]["result"]
    workspace.store.sweep(stage.folder)
    if record is None:
        stage.save(workspace.store)
    with tempfile.TemporaryDirectory(prefix="tamis-import-") as work, duckdb.connect(f"{work}/join.duckdb") as joined:
        joined.execute(f"SET memory_limit = '{MEMORY}'")
        joined.execute("SET enable_progress_bar = false")
        counts = _load(joined, incoming, corpus, shards, alias)
        failed: dict[str, str] = {}
        for shard, scores in _by_shard(joined, incoming, shards):
            if shard in todo:
                job = Job(workspace, shard, ((stage.folder, todo[shard]),), scores)
                failed |= {row.shard: row.error or "" for row in attempt(_write, job) if not row.done}
    compact(workspace.store, stage.folder)
    if failed:
        raise ShardsFailed(f"import {alias}", failed, len(todo))
    result = {"folder": stage.folder, **counts}
    stage.save(workspace.store, result=result)
    return result


def _incoming(table: str, id_column: str, columns: Sequence[str]) -> _Incoming:
    """Find the files and choose the columns. Raises UserError."""
    try:
        fs, found = patiently(lambda: _found(table), f"table {without_addresses(table)}")
    except (StoreDown, UserError):
        raise
    except FileNotFoundError:
        raise UserError(f"table {table!r}: no such file or folder (working in {os.getcwd()})") from None
    except (OSError, ImportError, ValueError) as error:
        raise UserError(f"table {table!r}: cannot be read ({' '.join(str(error).split())})") from None
    plain = {name: without_addresses(name).lower() for name in sorted(found)}
    formats = {name: next((f for e, f in ENDINGS.items() if shown.endswith(e)), "") for name, shown in plain.items()}
    files = tuple(name for name, format_ in formats.items() if format_)
    if len({formats[name] for name in files}) != 1:
        raise UserError(f"table {table!r}: expected files of one kind of {', '.join(ENDINGS)}")
    try:
        schema = _dataset(fs, files, formats[files[0]]).schema
        names = schema.names  # which may be no UTF-8
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"table {table!r}: cannot be read ({' '.join(str(error).split())})") from None
    if id_column not in names:
        raise UserError(f"table {table!r} has no column {id_column!r}{nearest(id_column, names)}")
    pairs = [text.partition("=") for text in columns] or [(n, "", "") for n in schema.names if n != id_column]
    chosen = {new or name: name for name, _, new in pairs}
    for name in chosen.values():
        if name not in schema.names:
            raise UserError(f"table {table!r} has no column {name!r}{nearest(name, schema.names)}")
    if not chosen or len(chosen) < len(pairs) or "id" in chosen:
        raise UserError(f"table {table!r}: expected columns of different names besides the id, got {list(chosen)}")
    return _Incoming(fs, files, formats[files[0]], schema, id_column, chosen)


def _found(table: str) -> tuple[Any, list[str]]:
    """Where a table is and its files."""
    fs, path = fsspec.core.url_to_fs(table)
    if any(c in path for c in "*?["):
        found = fs.glob(path)
    else:
        found = fs.find(path, maxdepth=1) if fs.isdir(path) else [path]
    if not fs.exists(found[0] if found else path):
        raise FileNotFoundError(path)
    return fs, found


class _Patient(FSSpecHandler):
    """Files that Arrow reads with patience."""

    def open_input_file(self, path: str) -> pa.PythonFile:
        """The file, for reading at any place."""
        if not self.fs.isfile(path):
            raise FileNotFoundError(path)
        return pa.PythonFile(open_patiently(self.fs, path, without_addresses(path)), mode="r")


def _dataset(fs: Any, files: Sequence[str], format_: str) -> pads.Dataset:
    kind = pads.CsvFileFormat(parse_options=csv.ParseOptions(delimiter="\t")) if format_ == "tsv" else format_
    return pads.dataset(list(files), filesystem=PyFileSystem(_Patient(fs)), format=kind)


def _check_names(corpus: Corpus, alias: str, incoming: _Incoming) -> None:
    """Raises UserError for a column that the documents or other scores have: views would not show it."""
    taken = dict.fromkeys(document_schema(corpus).names, "the documents")
    for other, stage in shown_stages(corpus).items():
        if other != alias and stage.done:
            taken |= dict.fromkeys(stage.columns, f"score stage {other!r}")
    for name in incoming.columns:
        if name in taken:
            raise UserError(
                f"column {name!r} is one of {taken[name]} already; take it as {name}=NEW_NAME with --column"
            )


def _content(incoming: _Incoming) -> str:
    """sha256 over the contents of the files, in order of their names."""
    state = hashlib.sha256()
    for name in incoming.files:
        with open_patiently(incoming.fs, name, without_addresses(name)) as file:
            while block := file.read(1 << 20):
                state.update(block)
    return state.hexdigest()


def _load(
    joined: duckdb.DuckDBPyConnection, incoming: _Incoming, corpus: Corpus, shards: Sequence[str], alias: str
) -> dict[str, int]:
    """Bring both sides into the database and count what matches. Raises UserError for duplicates and no match."""
    reader = incoming.dataset().scanner(columns=[incoming.id, *dict.fromkeys(incoming.columns.values())]).to_reader()
    joined.register("incoming", reader)
    names = ", ".join(f"{_quoted(name)} AS {_quoted(new)}" for new, name in incoming.columns.items())
    try:
        joined.execute(
            f"CREATE TABLE scores AS SELECT CAST({_quoted(incoming.id)} AS VARCHAR) AS id, {names} FROM incoming"
        )
    except duckdb.Error as error:
        raise UserError(f"table of {alias}: {' '.join(str(error).split())[:300]}") from None
    joined.execute("DELETE FROM scores WHERE id IS NULL")
    twice = joined.execute("SELECT id FROM scores GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT 5").fetchall()
    if twice:
        raise UserError(f"table of {alias}: ids stand more than once, such as {', '.join(repr(i) for (i,) in twice)}")
    schema = pa.schema([("id", pa.string()), ("shard", pa.int32()), ("place", pa.int64())])
    joined.register("reading", pa.RecordBatchReader.from_batches(schema, _ids(corpus, shards, schema)))
    joined.execute("CREATE TABLE documents AS SELECT * FROM reading")
    documents, matched = _row(joined, "SELECT count(*), count(s.id) FROM documents d LEFT JOIN scores s ON d.id = s.id")
    (rows,) = _row(joined, "SELECT count(*) FROM scores")
    if not matched:
        (example,) = _row(joined, "SELECT min(id) FROM scores")
        (other,) = _row(joined, "SELECT min(id) FROM documents")
        raise UserError(
            f"table of {alias}: none of its {rows} ids is in corpus {corpus.name!r}: {example!r} there, {other!r} here"
        )
    return {"documents": documents, "matched": matched, "unmatched": documents - matched, "unknown": rows - matched}


def _row(joined: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    (row,) = joined.execute(query).fetchall()  # a result that is not read to its end blocks the connection
    return row


def _ids(corpus: Corpus, shards: Sequence[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for number, shard in enumerate(shards):
        ids = read_narrow(corpus.workspace.store, corpus.file(shard), ["id"]).column("id").combine_chunks()
        ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        places = pa.array(np.arange(len(ids)))
        yield pa.record_batch([ids, pa.array(np.full(len(ids), number, np.int32)), places], schema=schema)


def _by_shard(
    joined: duckdb.DuckDBPyConnection, incoming: _Incoming, shards: Sequence[str]
) -> Iterator[tuple[str, pa.Table]]:
    """(shard, its scores in document order), every shard once."""
    names = ", ".join(f"s.{_quoted(name)}" for name in incoming.columns)
    query = (
        f"SELECT d.shard, d.id, {names} FROM documents d LEFT JOIN scores s ON d.id = s.id ORDER BY d.shard, d.place"
    )
    reader = joined.sql(query).to_arrow_reader(100_000)
    schema = pa.schema(list(reader.schema)[1:])
    waiting: list[pa.RecordBatch] = []
    current = 0
    for batch in reader:
        numbers = batch.column(0).to_numpy()
        start = 0
        while start < len(numbers):
            if numbers[start] != current:
                yield shards[current], pa.Table.from_batches(waiting, schema)
                waiting, current = [], current + 1
                continue
            stop = int(np.searchsorted(numbers, current, side="right"))
            waiting.append(batch.select(range(1, batch.num_columns)).slice(start, stop - start))
            start = stop
    while current < len(shards):
        yield shards[current], pa.Table.from_batches(waiting, schema)
        waiting, current = [], current + 1


def _write(job: Job) -> dict[str, Counts | Exception]:
    """Write one shard of scores."""
    table: pa.Table = job.task
    (folder, _) = job.outputs[0]
    with job.workspace.store.writing(f"{folder}/{job.shard}.parquet") as path:
        write_narrow(path, table)
        facts = file_facts(path)
    return {folder: Counts(rows_in=table.num_rows, rows_out=table.num_rows, **facts)}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
