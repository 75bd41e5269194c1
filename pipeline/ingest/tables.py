"""Rows of Parquet and of Hugging Face datasets, checked column by column; single rows only where something is wrong."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.ingest import chat
from pipeline.ingest.checks import check_texts, utf8_problem
from pipeline.ingest.cut import Piece, parquet_file
from pipeline.ingest.layout import Layout, Types, types_of_schemas
from pipeline.ingest.read import BLOCK, Bad, damage
from pipeline.ingest.settings import IngestSettings
from pipeline.ingest.shard import Output
from pipeline.ingest.sources import Dataset, InputFile

MAX_BATCH = 65_536


def read_piece(output: Output, piece: Piece) -> None:
    """Documents and rejects of one piece; positions are row numbers in the file (in the split of a dataset)."""
    file = output.file
    source = _dataset_batches(file, piece) if file.dataset is not None else _parquet_batches(file, piece)
    with damage(file.url):
        for position, batch in source:
            if batch.num_rows:
                add_table(output, batch, position, f"{piece.split}\0" if piece.split else "")


def _parquet_batches(file: InputFile, piece: Piece) -> Iterator[tuple[int, pa.RecordBatch]]:
    with parquet_file(file.url) as opened:
        facts = opened.metadata
        stop = facts.num_row_groups if piece.stop is None else piece.stop
        groups = [facts.row_group(i) for i in range(facts.num_row_groups)]
        position = sum(group.num_rows for group in groups[: piece.start])
        for number in range(piece.start, stop):
            size = max(groups[number].total_byte_size // max(groups[number].num_rows, 1), 1)
            rows = min(max(BLOCK // size, 1), MAX_BATCH)
            for batch in opened.iter_batches(rows, row_groups=[number], use_threads=False):
                yield position, batch
                position += batch.num_rows


def _dataset_batches(file: InputFile, piece: Piece) -> Iterator[tuple[int, pa.RecordBatch]]:
    assert file.dataset is not None
    assert piece.stop is not None
    assert piece.split is not None
    data = open_dataset(file.dataset)[piece.split].with_format("arrow")
    rows = min(max(BLOCK // max(int(data.data.nbytes) // max(len(data), 1), 1), 1), MAX_BATCH)
    for position in range(piece.start, piece.stop, rows):
        table = data[position : min(position + rows, piece.stop)].combine_chunks()
        for batch in table.to_batches():
            yield position, batch
            position += batch.num_rows


@functools.lru_cache(maxsize=4)
def _from_hub(name: str, config: str | None) -> Any:
    """Kept open in a worker: every call asks the hub whether its copy is the newest."""
    from datasets import load_dataset

    return load_dataset(name, config)


def open_dataset(dataset: Dataset) -> dict[str, Any]:
    """{split: datasets.Dataset}, in the dataset's own order. Raises UserError if it is not there."""
    from datasets import DatasetDict, load_dataset, load_from_disk  # seconds to import, and few need it

    try:
        if dataset.saved:
            found = load_from_disk(dataset.location)
        else:
            local = os.path.isdir(dataset.location)
            found = (load_dataset if local else _from_hub)(dataset.location, dataset.config)
    except FileNotFoundError as error:
        raise UserError(f"dataset {dataset.location!r}: {' '.join(str(error).split())[:500]}") from None
    splits = dict(found) if isinstance(found, DatasetDict) else {str(found.split or "train"): found}
    if dataset.split is None:
        return splits
    if dataset.split not in splits:
        raise UserError(f"dataset {dataset.location!r} has no split {dataset.split!r} (it has {', '.join(splits)})")
    return {dataset.split: splits[dataset.split]}


def table_types(form: str, files: list[InputFile], settings: IngestSettings) -> Types:
    """Column types over all files; one that cannot be read is passed over: its shard will fail."""
    from concurrent.futures import ThreadPoolExecutor

    def schemas(file: InputFile) -> list[tuple[str, pa.Schema]]:
        if file.dataset is not None:
            return [(f"{file.path} {s}", d.data.schema) for s, d in open_dataset(file.dataset).items()]
        try:
            with parquet_file(file.url) as opened:
                return [(file.path, opened.schema_arrow)]
        except (ValueError, OSError):
            return []

    with ThreadPoolExecutor(16 if form == "parquet" else 1) as pool:
        found = [pair for pairs in pool.map(schemas, files) for pair in pairs]
    if settings.columns is not None:
        # Columns nobody asked for may differ from file to file.
        named = {settings.text, settings.id, settings.source, "source", *settings.columns}
        named |= {name for names in chat.COLUMNS.values() for name in names}
        found = [(p, pa.schema([f for f in schema if f.name in named])) for p, schema in found]
    return types_of_schemas(found)


def check_types(types: Types, layout: Layout) -> None:
    """Raise UserError where text or id cannot be what they should be in any row."""
    text, id_type = types.get(layout.text), types.get(layout.id or "")
    if layout.style is None and text is not None and not (_is_text(text) or pa.types.is_null(text)):
        raise UserError(f"--text: column {layout.text!r} is {text}, expected strings")
    if id_type is not None and not (_is_text(id_type) or pa.types.is_integer(id_type)):
        raise UserError(f"--id: column {layout.id!r} is {id_type}, expected strings or integers")


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_binary(kind)


def add_table(output: Output, batch: pa.RecordBatch, position: int, prefix: str) -> None:
    """Check a batch and hand its rows over."""
    layout, settings = output.task.layout, output.task.settings
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    bad: dict[int, Bad] = {}
    raw: dict[int, bytes] = {}
    if layout.text in columns and _is_binary(columns[layout.text].type):
        columns[layout.text] = columns[layout.text].cast(pa.large_binary()).view(pa.large_string())
    used = (*layout.consumed, *layout.columns, layout.id or "", layout.source or "")
    for name in dict.fromkeys(name for name in used if name in columns):
        columns[name] = _valid(name, columns[name], bad, raw)
    messages: list[Any] | None = None
    if layout.style is None:
        texts = columns.get(layout.text, pa.nulls(batch.num_rows))
        texts = texts.cast(pa.large_string())
    else:
        texts, messages = _conversations(batch.num_rows, columns, layout.style, bad)
    check_texts(texts, layout, settings.max_chars, bad)
    sources = _sources(columns, layout, output.file_source, batch.num_rows)
    ids = _ids(columns, layout.id, batch.num_rows, bad)
    positions: Any = range(position, position + batch.num_rows)
    others = {
        new: _cast(columns, old, layout.schema.field(new).type, batch.num_rows) for old, new in layout.columns.items()
    }
    if bad:
        for i in sorted(bad):
            sample = raw.get(i, (texts[i].as_py() or "")[:1000])
            output.reject(positions[i], bad[i].reason, bad[i].detail, sample, sources[i], ids[i] if ids else None)
        kept = [i for i in range(batch.num_rows) if i not in bad]
        chosen = pa.array(kept, pa.int64())
        texts = texts.take(chosen)
        others = {name: column.take(chosen) for name, column in others.items()}
        sources, positions = [sources[i] for i in kept], [positions[i] for i in kept]
        messages = [messages[i] for i in kept] if messages is not None else None
        ids = [ids[i] for i in kept] if ids is not None else None
    output.keep(positions, ids, texts, sources, messages, others, prefix)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _valid(name: str, column: pa.Array, bad: dict[int, Bad], raw: dict[int, bytes]) -> pa.Array:
    """The column with strings that are UTF-8; rows where they are not become bad and NULL, their bytes go to `raw`."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        column.validate(full=True)
        return column
    except pa.ArrowInvalid:
        pass
    wrong = []
    for i in range(len(column)):
        try:
            column[i].as_py()
        except UnicodeDecodeError as error:
            reason, detail = utf8_problem(error.object, error)
            bad.setdefault(i, Bad(reason, f"column {name!r}: {detail}"))
            raw.setdefault(i, error.object)
            wrong.append(i)
    if not wrong:
        column.validate(full=True)  # damaged in another way: say so
    keep = np.ones(len(column), np.bool_)
    keep[wrong] = False
    positions = pa.array(np.arange(len(column)), mask=~keep)
    return column.take(positions)


def _conversations(
    rows: int, columns: dict[str, pa.Array], style: str, bad: dict[int, Bad]
) -> tuple[pa.Array, list[Any]]:
    names = [name for name in chat.COLUMNS[style] if name in columns]
    values = {name: columns[name].to_pylist() for name in names}
    texts: list[str | None] = []
    messages: list[Any] = []
    for i in range(rows):
        found: list[chat.Message] = []
        if i not in bad:
            try:
                found, _ = chat.conversation({name: values[name][i] for name in names}, style)
            except ValueError as error:
                bad[i] = Bad("bad_messages", str(error))
        messages.append(found)
        texts.append(chat.render(found))
    return pa.array(texts, pa.large_string()), messages


def _sources(columns: dict[str, pa.Array], layout: Layout, default: str, rows: int) -> list[str]:
    column = columns.get(layout.source or "")
    if column is None:
        return [default] * rows
    values = column.to_pylist()
    return [v if type(v) is str and v else default if v in (None, "") else str(v) for v in values]


def _ids(columns: dict[str, pa.Array], name: str | None, rows: int, bad: dict[int, Bad]) -> list[Any] | None:
    if name is None:
        return None
    values = columns.get(name, pa.nulls(rows)).cast(pa.string()).to_pylist()
    for i, value in enumerate(values):
        if value is None:
            bad.setdefault(i, Bad("missing_id", f"no value in column {name!r}"))
        elif not value:
            bad.setdefault(i, Bad("bad_id", f"{name!r} is empty; expected a string or an integer"))
            values[i] = None
    return values


def _cast(columns: dict[str, pa.Array], name: str, kind: pa.DataType, rows: int) -> pa.Array:
    column = columns.get(name)
    if column is None:
        return pa.nulls(rows, kind)
    return column if column.type == kind else pc.cast(column, kind)
