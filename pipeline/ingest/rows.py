"""Rows of JSON lines, CSV and text files, checked one by one: a row is a document or a reject, never lost.

Every bad line is known by its position: the byte offset of a line of JSON (decompressed), the number of a record of
CSV, 0 for text.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Any

import orjson
import pyarrow as pa

from pipeline.errors import UserError
from pipeline.ingest import chat
from pipeline.ingest.checks import check_texts, utf8_problem
from pipeline.ingest.cut import Piece
from pipeline.ingest.layout import EXTRA, Layout, Types, as_array, csv_value, infer_csv, types_of_rows
from pipeline.ingest.lines import Batch, json_rows, scanned_rows
from pipeline.ingest.read import (
    BLOCK,
    BOM,
    Bad,
    TooLong,
    compression,
    csv_records,
    line_blocks,
    opened,
    ranged_blocks,
)
from pipeline.ingest.settings import IngestSettings
from pipeline.ingest.shard import Output
from pipeline.ingest.sources import InputFile
from pipeline.ingest.split import csv_header, delimiter

SAMPLE_BYTES = 2 << 20
SCAN_BYTES = 1 << 20
"""A block of JSON lines smaller than this is not worth the import of Numba."""


def read_piece(output: Output, piece: Piece) -> None:
    """Documents and rejects of one piece."""
    file, settings = output.file, output.task.settings
    reader = {"jsonl": _json_batches, "csv": _csv_batches, "text": _text_batches}[output.task.form]
    for batch in reader(output, piece, file, settings):
        if batch.rows:
            add_rows(output, batch)


def add_rows(output: Output, batch: Batch) -> None:
    """Check a batch of rows and hand them over. What is bad is replaced in `batch.rows`."""
    layout, settings, rows, positions = output.task.layout, output.task.settings, batch.rows, batch.positions
    bad: dict[int, Bad] = {}
    if set(map(type, rows)) != {dict}:
        for i, row in enumerate(rows):
            if type(row) is not dict:
                bad[i] = row if type(row) is Bad else Bad("not_an_object", f"the line is a {type(row).__name__}")
                rows[i] = {}
    messages: list[Any] | None = None
    originals: dict[int, Any] = {}
    if layout.style is None:
        texts = _texts(batch, layout.text, bad)
    else:
        rendered, messages = _conversations(rows, layout.style, bad, originals)
        texts = pa.array(rendered, pa.large_string())
    check_texts(texts, layout, settings.max_chars, bad)
    sources = _sources(rows, layout, output.file_source)
    ids = _ids(rows, layout.id, bad) if layout.id is not None else None
    if bad:
        for i in sorted(bad):
            output.reject(positions[i], bad[i].reason, bad[i].detail, batch.raw(i), sources[i], ids[i] if ids else None)
        kept = [i for i in range(len(rows)) if i not in bad]
        originals = {new: originals[old] for new, old in enumerate(kept) if old in originals}
        texts = texts.take(pa.array(kept, pa.int64()))
        rows, sources, positions = [rows[i] for i in kept], [sources[i] for i in kept], [positions[i] for i in kept]
        messages = [messages[i] for i in kept] if messages is not None else None
        ids = [ids[i] for i in kept] if ids is not None else None
    others = _others(rows, layout, output.task.form == "csv", originals)
    output.keep(positions, ids, texts, sources, messages, others)


def _texts(batch: Batch, name: str, bad: dict[int, Bad]) -> pa.Array:
    """The column of texts; empty, and the row bad, where there is none."""
    holders = range(len(batch.rows)) if batch.texts is None else batch.odd
    texts = [batch.rows[i].get(name) for i in holders]
    if set(map(type, texts)) != {str}:
        for at, (i, text) in enumerate(zip(holders, texts, strict=True)):
            if type(text) is not str:
                if text is None:
                    bad.setdefault(i, Bad("missing_text", f"no value in column {name!r}"))
                else:
                    bad.setdefault(i, Bad("text_not_string", f"{name!r} is a {type(text).__name__}"))
                texts[at] = ""
    column = pa.array(texts, pa.large_string())
    if batch.texts is None:
        return column
    if not any(texts):
        return batch.texts
    behind = [i + 1 for i in holders]
    between = [batch.texts[a:b] for a, b in zip([0, *behind], [*holders, len(batch.rows)], strict=True)]
    own = [column[at : at + 1] for at in range(len(column))]
    return pa.concat_arrays([part for parts in zip_longest(between, own) for part in parts if part is not None])


def _conversations(
    rows: list[dict[str, Any]], style: str, bad: dict[int, Bad], originals: dict[int, Any]
) -> tuple[list[Any], list[Any]]:
    texts: list[Any] = []
    messages: list[Any] = []
    for i, row in enumerate(rows):
        found: list[chat.Message] = []
        if i not in bad:
            try:
                found, more = chat.conversation(row, style)
                if more:
                    originals[i] = {name: row[name] for name in chat.COLUMNS[style] if row.get(name) is not None}
            except ValueError as error:
                bad[i] = Bad("bad_messages", str(error))
        messages.append(found)
        texts.append(chat.render(found))
    return texts, messages


def _sources(rows: list[dict[str, Any]], layout: Layout, default: str) -> list[str]:
    if layout.source is None:
        return [default] * len(rows)
    values: list[Any] = [row.get(layout.source) for row in rows]
    if set(map(type, values)) == {str} and "" not in values:
        return values
    return [v if type(v) is str and v else default if v in (None, "") else _json(v) for v in values]


def _ids(rows: list[dict[str, Any]], name: str, bad: dict[int, Bad]) -> list[Any]:
    values = [row.get(name) for row in rows]
    if set(map(type, values)) == {str} and "" not in values:
        return values
    for i, value in enumerate(values):
        if value is None:
            bad.setdefault(i, Bad("missing_id", f"no value in column {name!r}"))
        elif type(value) is int:
            values[i] = str(value)
        elif type(value) is not str or not value:
            bad.setdefault(i, Bad("bad_id", f"{name!r} is {_json(value)}; expected a string or an integer"))
            values[i] = None
    return values


def _others(rows: list[dict[str, Any]], layout: Layout, is_csv: bool, originals: dict[int, Any]) -> dict[str, pa.Array]:
    """Columns beside the text; what does not fit them, as JSON, in `_extra`."""
    has_extra = EXTRA in layout.schema.names
    arrays: dict[str, pa.Array] = {}
    extras: dict[int, dict[str, Any]] = originals if has_extra else {}
    if has_extra:
        used, wanted = layout.used, layout.wanted
        for i, row in enumerate(rows):
            if not row.keys() <= used:
                more = {k: v for k, v in row.items() if k not in used and v is not None}
                if wanted is not None:
                    more = {k: v for k, v in more.items() if k in wanted}
                if more:
                    extras[i] = extras.get(i, {}) | more
    for old, new in layout.columns.items():
        kind = layout.schema.field(new).type
        values = [row.get(old) for row in rows]
        if is_csv and not pa.types.is_string(kind):
            values = [None if value is None else csv_value(value, kind) for value in values]
        arrays[new], misfits = as_array(values, kind)
        for i in misfits:
            extras[i] = extras.get(i, {}) | {old: values[i]}
    if has_extra:
        arrays[EXTRA] = pa.array([_json(extras[i]) if i in extras else None for i in range(len(rows))], pa.string())
    return arrays


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _lines(output: Output, piece: Piece, file: InputFile, settings: IngestSettings) -> Iterator[tuple[int, Any]]:
    """Blocks of lines of a piece, positions counted in the whole file."""
    store = output.workspace.store
    if piece.chunk is not None:
        with opened(store.address(piece.chunk), None) as read:
            start = piece.start if output.task.form == "jsonl" else 0
            yield from line_blocks(read, start, None, settings.max_line)
    elif piece.stop is not None:
        yield from ranged_blocks(file.url, piece.start, piece.stop, settings.max_line)
    else:
        with opened(file.url, compression(file.path)) as read:
            yield from line_blocks(read, 0, None, settings.max_line)


def _json_batches(output: Output, piece: Piece, file: InputFile, settings: IngestSettings) -> Iterator[Batch]:
    layout = output.task.layout
    # A scanned row lacks its text, which must not be asked of it under another name.
    apart = layout.style is None and layout.text not in (layout.id, layout.source)
    for offset, data in _lines(output, piece, file, settings):
        if isinstance(data, TooLong):
            yield Batch([Bad("too_long", f"a line of {data.length} bytes")], [offset], [data.head].__getitem__)
        elif apart and len(data) >= SCAN_BYTES:
            yield scanned_rows(offset, data, layout.text)
        else:
            yield json_rows(offset, data)


def _csv_batches(output: Output, piece: Piece, file: InputFile, settings: IngestSettings) -> Iterator[Batch]:
    header = csv_header(file, settings)
    records = csv_records(_lines(output, piece, file, settings), delimiter(file.path, settings), settings.max_chars)
    position = piece.start
    if piece.chunk is None:
        next(records)
    rows: list[Any] = []
    raw: list[Any] = []
    size = 0
    for record, _ in records:
        rows.append(csv_row(record, header))
        raw.append("" if isinstance(record, Bad) else delimiter(file.path, settings).join(record)[:1000])
        size += 100 if isinstance(record, Bad) else sum(map(len, record)) + 100
        if size > BLOCK:
            yield Batch(rows, range(position, position + len(rows)), raw.__getitem__)
            position += len(rows)
            rows, raw, size = [], [], 0
    yield Batch(rows, range(position, position + len(rows)), raw.__getitem__)


def csv_row(record: list[str] | Bad, header: list[str]) -> Any:
    """A record as an object, or Bad."""
    if isinstance(record, Bad):
        return record
    if len(record) != len(header):
        return Bad("wrong_number_of_columns", f"{len(record)} fields, expected {len(header)}")
    if not all(map(str.isascii, record)):
        try:
            "".join(record).encode()
        except UnicodeEncodeError:
            data = "\n".join(record).encode("utf-8", "surrogateescape")
            try:
                data.decode()
            except UnicodeDecodeError as error:
                return Bad(*utf8_problem(data, error))
    return dict(zip(header, record, strict=True))


def _text_batches(output: Output, piece: Piece, file: InputFile, settings: IngestSettings) -> Iterator[Batch]:
    limit = 4 * settings.max_chars + len(BOM)  # no character takes more bytes
    parts: list[bytes] = []
    size = 0
    with opened(file.url, compression(file.path)) as read:
        while size <= limit and (part := read(min(BLOCK, limit + 1 - size))):
            parts.append(part)
            size += len(part)
    data = b"".join(parts).removeprefix(BOM)
    row: Any
    if size > limit:
        row = Bad("too_long", f"more than {settings.max_chars} characters")
    else:
        try:
            row = {output.task.layout.text: data.decode(), "path": file.path}
        except UnicodeDecodeError as error:
            row = Bad(*utf8_problem(data, error))
    yield Batch([row], [0], [data[:1000]].__getitem__)


def sample_types(form: str, files: list[InputFile], settings: IngestSettings, max_rows: int) -> Types:
    """Column types of the first rows of these files. A file that cannot be read is passed over: its shard will fail."""
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            found = _sample_csv(file, settings) if form == "csv" else _sample_json(file, settings)
            rows += [row for row in islice(found, max_rows) if type(row) is dict]
        except UserError:
            raise
        except (ValueError, OSError):
            continue
    if form == "csv":
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: infer_csv(row.get(name, "") for row in rows) for name in names}
    return types_of_rows(rows)


def _sample_json(file: InputFile, settings: IngestSettings) -> Iterator[Any]:
    with opened(file.url, compression(file.path)) as read:
        for offset, data in line_blocks(read, 0, None, settings.max_line, 256 << 10):
            if not isinstance(data, TooLong):
                rows = json_rows(offset, data).rows
                if offset == 0 and data.lstrip()[:1] == b"[" and not any(type(row) is dict for row in rows):
                    raise UserError(
                        f"{file.url} is one JSON array; expected one object a line (jq -c '.[]' FILE > FILE.jsonl)"
                    )
                yield from rows
            if offset > SAMPLE_BYTES:
                return


def _sample_csv(file: InputFile, settings: IngestSettings) -> Iterator[Any]:
    header = csv_header(file, settings)
    with opened(file.url, compression(file.path)) as read:
        blocks = line_blocks(read, 0, None, settings.max_line, 256 << 10)
        records = csv_records(blocks, delimiter(file.path, settings), settings.max_chars)
        next(records)
        for record, consumed in records:
            yield csv_row(record, header)
            if consumed > SAMPLE_BYTES:
                return
