"""JSON lines into rows. orjson reads every line whole, or, of large blocks, what scan.py leaves of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import orjson
import pyarrow as pa

from pipeline.ingest.checks import utf8_problem
from pipeline.ingest.read import BOM, Bad

BLANK = Bad("blank", "")
"""A line of white space is no row."""
MAX_ODD = 8
"""Where more than one line in so many is not plain, all are read one by one."""


@dataclass(frozen=True)
class Batch:
    """Rows of one input file, in order."""

    rows: list[Any]
    """an object, or Bad"""
    positions: Sequence[int]
    raw: Callable[[int], bytes | str]
    """what a row looked like"""
    texts: pa.Array | None = None
    """large_string: the texts of all rows but the odd ones; None: every row holds its own"""
    odd: Sequence[int] = ()
    """rows that hold their own text; theirs in `texts` is empty"""


def json_rows(offset: int, data: bytes) -> Batch:
    """Parsed lines of a block that begins at `offset`; blank lines are no rows."""
    offset, data = _without_mark(offset, data)
    lines = data.split(b"\n")
    loads = orjson.loads
    rows: list[Any] = []
    for line in lines:
        try:
            rows.append(loads(line))
        except orjson.JSONDecodeError as error:
            rows.append(_broken(line, error))
    positions = list(accumulate((len(line) + 1 for line in lines), initial=offset))
    positions.pop()  # where the next block begins
    return _without_blanks(Batch(rows, positions, lines.__getitem__))


def scanned_rows(offset: int, data: bytes, text: str) -> Batch:
    """As json_rows, but the values of key `text` are in a column of their own, the odd rows' excepted."""
    from pipeline.ingest.scan import scan  # imports Numba

    offset, data = _without_mark(offset, data)
    block = scan(data, text)
    plain = block.plain.tolist()
    odd = [i for i, is_plain in enumerate(plain) if not is_plain]
    if len(odd) * MAX_ODD > len(plain):
        return json_rows(offset, data)
    try:
        parsed = iter(orjson.loads(block.rest))
    except orjson.JSONDecodeError:
        parsed = (parsed_line(block.rest_of(i)) for i, is_plain in enumerate(plain) if is_plain)
    rows = [next(parsed) if is_plain else parsed_line(block.line(i)) for i, is_plain in enumerate(plain)]
    for i, row in enumerate(rows):
        if type(row) is Bad and plain[i]:
            rows[i] = parsed_line(block.line(i))  # bad all the same, but the error names the column in the whole line
    positions = (block.starts[:-1] + offset).tolist()
    return _without_blanks(Batch(rows, positions, block.line, block.texts, odd))


def _without_mark(offset: int, data: bytes) -> tuple[int, bytes]:
    return (len(BOM), data[len(BOM) :]) if offset == 0 and data.startswith(BOM) else (offset, data)


def _without_blanks(batch: Batch) -> Batch:
    kept = [i for i, row in enumerate(batch.rows) if row is not BLANK]
    if len(kept) == len(batch.rows):
        return batch
    texts = None if batch.texts is None else batch.texts.take(pa.array(kept, pa.int64()))
    odd = set(batch.odd)
    return Batch(
        [batch.rows[i] for i in kept],
        [batch.positions[i] for i in kept],
        lambda i: batch.raw(kept[i]),
        texts,
        [new for new, old in enumerate(kept) if old in odd],
    )


def parsed_line(line: bytes) -> Any:
    """The value of one line of JSON, or Bad."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _broken(line, error)


def _broken(line: bytes, error: Exception) -> Bad:
    if not line.strip():
        return BLANK
    try:
        text = line.decode()
    except UnicodeDecodeError as problem:
        return Bad(*utf8_problem(line, problem))
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return Bad("lone_surrogate", f"an escape of half a character: {error}")
    except (ValueError, RecursionError):
        pass  # broken for Python's parser too
    return Bad("broken_json", str(error))
