"""Which files a run trains on, and their rows in order: Parquet, JSONL (plain, gzip, zstd), Arrow of save_to_disk.

    for file in find(workspace, data):
        for row in rows(file, ["id", "text"]):
            row.values            # {"id": ..., "text": ...}, or a Bad

Of an export of Tamis the files are those that its lineage lists, of one split: held-out documents never come among
the others. A path that does not exist, NAME or exports/NAME, is the newest export of that name in the workspace.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import models
from pipeline.errors import UserError
from pipeline.export.lineage import FILE as LINEAGE
from pipeline.export.plan import HELD_OUT, TRAIN
from pipeline.ingest.read import Bad, TooLong, compression, damage, is_local, line_blocks, opened
from pipeline.ingest.sources import InputFile, fingerprints
from pipeline.redact import without_addresses
from pipeline.stage import STAGE_FILE
from pipeline.storage import open_patiently
from pipeline.trainer.data import DataSettings
from pipeline.workspace import Workspace

ENDINGS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".jsonl.zst": "jsonl",
    ".ndjson": "jsonl",
    ".arrow": "arrow",
}
ROWS_AT_ONCE = 1024
MAX_LINE = 1 << 30
SHARDS_OF_SPLIT = re.compile(r"(?P<split>\w+)-\d+-of-\d+\.")


@dataclass(frozen=True)
class DataFile:
    """One file. `name`: folder and name, for messages. `digest` changes with its content."""

    name: str
    url: str
    form: str
    digest: str = ""


@dataclass(frozen=True)
class DataRow:
    """One row: where it stands in its file (from 0), and the values of the wanted columns that it has."""

    position: int
    values: dict[str, Any] | Bad


def find(workspace: Workspace, data: DataSettings) -> list[DataFile]:
    """The files in order, each once. Raises UserError if a path has none, or if an export is not complete."""
    found: dict[str, DataFile] = {}
    for path in data.paths:
        for url in _urls(_place(workspace, path), path, data.split):
            form = next((form for ending, form in ENDINGS.items() if url.lower().endswith(ending)), None)
            if form is None:
                raise UserError(f"paths: {url}: expected a name that ends in {', '.join(ENDINGS)}")
            found.setdefault(url, DataFile("/".join(url.rsplit("/", 2)[-2:]), url, form))
    return [DataFile(file.name, file.url, file.form, digest_of(file)) for file in found.values()]


def digest_of(file: DataFile) -> str:
    """sha256 of a local file; size and hash of three parts of a remote one."""
    fs, path = fsspec.core.url_to_fs(file.url)
    if is_local(fs):
        return models.content_hash(Path(path))
    return fingerprints([InputFile(file.name, file.url, fs.info(path)["size"])], {})[file.name]


def _place(workspace: Workspace, path: str) -> str:
    """Where a path is: itself, or the newest export of that name."""
    fs, inner = fsspec.core.url_to_fs(path)
    if any(c in inner for c in "*?[") or fs.exists(inner):
        return path
    name = f"/{path}".rpartition("/exports/")[2] if "exports/" in path else path
    made = {
        folder: record
        for folder, record in workspace.stages("exports").items()
        if name in (record["name"], folder.removeprefix("exports/"))
    }
    if not made:
        raise UserError(f"paths: no file, folder or export {path!r} (working in {os.getcwd()})")
    folder, record = list(made.items())[-1]
    return record["info"].get("out") or workspace.store.address(folder)


def _urls(place: str, given: str, split: str) -> list[str]:
    """The files of one path, sorted (of an export: in its order)."""
    fs, path = fsspec.core.url_to_fs(place)

    def named(paths: list[str]) -> list[str]:
        return [p if is_local(fs) else fs.unstrip_protocol(p) for p in paths]

    if any(c in path for c in "*?["):
        hits = sorted(name for name, info in fs.glob(path, detail=True).items() if info["type"] == "file")
        if not hits:
            raise UserError(f"paths: no file matches {given!r}")
        return named(hits)
    if fs.isfile(path):
        return named([path])
    path = path.rstrip("/")
    if fs.exists(f"{path}/{LINEAGE}"):
        return named(
            [f"{path}/{name}" for name in _exported(orjson.loads(fs.cat_file(f"{path}/{LINEAGE}")), given, split)]
        )
    if fs.exists(f"{path}/dataset_dict.json"):
        path = f"{path}/{split}"
    if fs.exists(f"{path}/state.json"):
        listed = orjson.loads(fs.cat_file(f"{path}/state.json"))["_data_files"]
        return named([f"{path}/{file['filename']}" for file in listed])
    files = sorted(p for p in fs.find(path) if _is_data(p[len(path) + 1 :]))
    splits = {m["split"] for p in files if (m := SHARDS_OF_SPLIT.match(p.rpartition("/")[2]))} - {"part", "data"}
    if splits:
        files = [p for p in files if p.rpartition("/")[2].startswith(f"{split}-")]
    if not files:
        of = f" of a split {split!r} (there: {', '.join(sorted(splits))})" if splits else ""
        raise UserError(f"paths: {given!r} holds no data{of}; expected files that end in {', '.join(ENDINGS)}")
    return named(files)


def _exported(lineage: dict[str, Any], given: str, split: str) -> list[str]:
    """Names of the files of an export's split, as its lineage tells them."""
    if not lineage["complete"]:
        raise UserError(f"paths: the export {given!r} is not complete; run the same `tamis export` again")
    if split not in lineage["splits"]:
        known = ", ".join(lineage["splits"])
        raise UserError(f"paths: the export {given!r} has no split {split!r} (there: {known})")
    form = lineage["export"]["settings"]["format"]
    stem = HELD_OUT if split == HELD_OUT else (TRAIN if form == "hf" else "part")
    count = lineage["splits"][split]["shards"]
    ending = "jsonl.zst" if form == "jsonl" else "parquet"
    return [f"{'data/' if form == 'hf' else ''}{stem}-{i:05d}-of-{count:05d}.{ending}" for i in range(count)]


def _is_data(name: str) -> bool:
    hidden = any(part.startswith((".", "_")) for part in name.split("/"))
    return not hidden and name != STAGE_FILE and any(name.lower().endswith(ending) for ending in ENDINGS)


def rows(file: DataFile, columns: list[str], optional: list[str]) -> Iterator[DataRow]:
    """Every row in order. Raises ValueError that names the file if it is damaged, or if a column is not there.

    A column of JSON that a row lacks is no error of the file: the row's value is None.
    """
    if file.form == "jsonl":
        yield from _json_rows(file, [*columns, *optional])
        return
    position = 0
    with damage(file.url):
        for schema, batch in _arrow_batches(file, [*columns, *optional]):
            for name in columns:
                if name not in schema.names:
                    raise ValueError(f"{file.url} has no column {name!r} (it has {', '.join(schema.names)})")
            lists = {name: _values(batch.column(name)) for name in batch.schema.names}
            for values in zip(*lists.values(), strict=True) if lists else itertools.repeat((), batch.num_rows):
                yield DataRow(position, dict(zip(lists, values, strict=True)))
                position += 1


def _arrow_batches(file: DataFile, wanted: list[str]) -> Iterator[tuple[pa.Schema, pa.RecordBatch]]:
    fs, path = fsspec.core.url_to_fs(file.url)
    with open_patiently(fs, path, without_addresses(file.url)) as raw:
        if file.form == "parquet":
            parquet = pq.ParquetFile(raw, pre_buffer=not is_local(fs))
            schema = parquet.schema_arrow
            names = [name for name in schema.names if name in wanted]
            for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=names, use_threads=False):
                yield schema, batch
            return
        with pa.ipc.open_stream(raw) as stream:
            names = [name for name in stream.schema.names if name in wanted]
            for batch in stream:
                yield stream.schema, batch.select(names)


def _values(column: pa.Array) -> list[Any]:
    """Python values; lists of numbers as arrays."""
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not is_list or not (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)):
        return column.to_pylist()
    if column.values.null_count:
        return column.to_pylist()
    offsets, values = column.offsets.to_numpy(), column.values.to_numpy()
    there = column.is_valid().to_pylist()
    return [values[offsets[i] : offsets[i + 1]] if there[i] else None for i in range(len(column))]


def _json_rows(file: DataFile, wanted: list[str]) -> Iterator[DataRow]:
    position = 0
    with opened(file.url, compression(file.url)) as read:
        for _, block in line_blocks(read, 0, None, MAX_LINE):
            if isinstance(block, TooLong):
                yield DataRow(position, Bad("too_long", f"a line of {block.length} bytes"))
                position += 1
                continue
            for line in block.split(b"\n"):
                if line.strip():
                    yield DataRow(position, _parsed(line, wanted))
                    position += 1


def _parsed(line: bytes, wanted: list[str]) -> dict[str, Any] | Bad:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Bad("broken_json", str(error))
    if not isinstance(row, dict):
        return Bad("broken_json", f"a {type(row).__name__}, expected an object")
    return {name: row[name] for name in wanted if name in row}


def count(file: DataFile, most: int) -> int:
    """Rows of a file, or `most` if it has more."""
    if file.form == "parquet":
        fs, path = fsspec.core.url_to_fs(file.url)
        with damage(file.url), open_patiently(fs, path, without_addresses(file.url)) as raw:
            return min(pq.ParquetFile(raw).metadata.num_rows, most)
    return sum(1 for _ in itertools.islice(rows(file, [], []), most))
