"""Rows to a person or to the next program: a table, CSV, JSON lines or Parquet, on stdout or in a file.

    write(schema, batches, "json", out=None)

Data goes to stdout, notes to stderr. In a table, rows after the first `rows` and the end of long values are left out;
the other formats are whole. CSV: NULL is an empty field, an empty string is "", lists and structs are JSON. JSON: one
object a line, NULL and NaN are null, timestamps ISO 8601.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import io
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Literal, get_args

import orjson
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from pipeline.errors import UserError

Format = Literal["table", "csv", "json", "parquet"]
ROWS = 100
"""Rows of a table, unless more are asked for."""
WIDTH = 60
"""Characters of a value in a table."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def write(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    format: Format = "table",
    out: str | None = None,
    rows: int = ROWS,
) -> None:
    """Write rows as they come. `out`: a local file, which appears whole or not at all [stdout]."""
    if format not in get_args(Format):
        raise UserError(f"--format {format}: expected one of {', '.join(get_args(Format))}")
    if format == "parquet" and out is None and sys.stdout.isatty():
        raise UserError("--format parquet is binary: give --out FILE, or send it to another program")
    writers: dict[str, Callable[[BinaryIO, pa.Schema, Iterable[pa.RecordBatch]], None]]
    writers = {"csv": _csv, "json": _json, "parquet": _parquet}
    with _target(out) as file:
        if format == "table":
            _table(file, schema, batches, rows, styled=out is None and sys.stdout.isatty())
        else:
            writers[format](file, schema, batches)


@contextlib.contextmanager
def _target(out: str | None) -> Iterator[BinaryIO]:
    if out is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # The reader has enough (`| head`): that is no error, and what is still buffered has nowhere to go. Click
            # would end the command with exit code 1.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return
    with written(out) as file:
        yield file


@contextlib.contextmanager
def written(out: str) -> Iterator[BinaryIO]:
    """A local file to write, which appears whole when the block ends, or not at all."""
    temporary = f"{out}.tmp-{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, out)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _csv(file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    flat = pa.schema([(f.name, f.type if _flat(f.type) else pa.string()) for f in schema])
    buffer = io.BytesIO()
    writer = csv.CSVWriter(buffer, flat)
    for batch in batches:
        columns = [
            column if _flat(column.type) else pa.array([_as_text(v) for v in column.to_pylist()], pa.string())
            for column in batch.columns
        ]
        writer.write_batch(pa.record_batch(columns, schema=flat))
        _move(buffer, file)
    writer.close()
    _move(buffer, file)


def _move(buffer: io.BytesIO, file: BinaryIO) -> None:
    # Written here and not by Arrow, so that a broken pipe stays a BrokenPipeError.
    file.write(buffer.getvalue())
    buffer.seek(0)
    buffer.truncate()


def _flat(kind: pa.DataType) -> bool:
    t = pa.types
    tests = (t.is_integer, t.is_floating, t.is_boolean, t.is_string, t.is_large_string, t.is_date, t.is_decimal)
    return any(test(kind) for test in tests)


def _json(file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    names = schema.names
    for batch in batches:
        # By position, not to_pylist(): two columns may have one name, and the last would win.
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            row = dict(zip(names, values, strict=True))
            file.write(orjson.dumps(row, default=_plain, option=_ORJSON))


_ORJSON = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


def _plain(value: Any) -> Any:
    """What orjson does not know, as something it does."""
    if isinstance(value, decimal.Decimal):
        whole = value == value.to_integral_value()
        return int(value) if whole and abs(value) < 2**63 else str(value) if whole else float(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return str(value)


def _parquet(file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    try:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
    except pa.ArrowNotImplementedError as error:
        raise UserError(f"--format parquet: {error}; cast the column to a type that Parquet has") from None


def _table(
    file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch], rows: int, styled: bool = False
) -> None:
    shown: list[list[str]] = []
    more = False
    for batch in batches:
        columns = [column.to_pylist() for column in batch.slice(0, rows + 1 - len(shown)).columns]
        shown += [[shown_value(value) for value in values] for values in zip(*columns, strict=True)]
        if len(shown) > rows:
            more = True
            break
    shown = shown[:rows]
    # A plan is drawn with line breaks and spaces: it is the one value that is shown as it is.
    if schema.names == ["explain_key", "explain_value"]:
        file.write(b"".join(f"{value}\n".encode() for value in batch.column(1).to_pylist()))
        return
    right = [pa.types.is_integer(f.type) or pa.types.is_floating(f.type) or pa.types.is_decimal(f.type) for f in schema]
    (_styled if styled else _aligned)(file, [clean(name) for name in schema.names], shown, right)
    if more:
        print(f"the first {rows} rows; --rows N shows more, --format csv, json or parquet gives all", file=sys.stderr)


def _aligned(file: BinaryIO, names: list[str], rows: list[list[str]], right: list[bool]) -> None:
    widths = [max(len(name), *(len(row[i]) for row in rows), 0) for i, name in enumerate(names)]
    for row in [names, ["-" * width for width in widths], *rows]:
        cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        file.write(("  ".join(cells).rstrip() + "\n").encode())


def _styled(file: BinaryIO, names: list[str], rows: list[list[str]], right: list[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE)
    for name, is_number in zip(names, right, strict=True):
        table.add_column(Text(name), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout).print(table)


def shown_value(value: Any) -> str:
    """A value as a table shows it, on one line and not too long."""
    if value is None:
        return ""
    if isinstance(value, float):
        return (
            f"{value:.6g}" if not math.isfinite(value) or value != int(value) or abs(value) >= 1e15 else f"{value:.1f}"
        )
    text = clean(_as_text(value) or "")
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, dict)):
        return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    return value.hex() if isinstance(value, bytes) else str(value)


def clean(text: str) -> str:
    """Text of documents on one line: line breaks, and what could drive a terminal, become spaces."""
    return CONTROL.sub(" ", text)
