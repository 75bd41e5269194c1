"""The page: the figures' queries run, their rows and the script that draws them in one HTML file that needs no network.

Text of documents reaches the page as JSON inside a script element that the browser does not run, with every character
escaped that could end it, and from there the document by `textContent` alone. A Content-Security-Policy lets the
browser run the two scripts below by their hashes and nothing else: no eval (Vega's interpreter evaluates the charts),
no network, no form.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import functools
import hashlib
import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

import duckdb
import orjson
import pyarrow as pa

from pipeline.report.part import Figure, Part
from pipeline.sandbox import stream

DIGITS = 7
"""Significant digits of numbers on the page: those of a float32. Sums of doubles depend on their order beyond that."""
SNIPPET = "window.vegaEmbed = vegaEmbed;"


def answered(connection: duckdb.DuckDBPyConnection, figure: Figure) -> dict[str, Any]:
    """A figure with the rows of its query, as the page's script reads it."""
    schema, batches = stream(connection, figure.sql.strip(), f"report: {figure.title}")
    rows: list[list[Any]] = []
    for batch in batches:
        columns = [column.to_pylist() for column in batch.columns]
        rows += [[plain(value) for value in values] for values in zip(*columns, strict=True)]
    return {
        "title": figure.title,
        "note": figure.note,
        "sql": figure.sql.strip(),
        "kind": figure.kind,
        "charts": figure.charts,
        "choose": figure.choose,
        "axes": figure.axes,
        "reads": figure.reads,
        "half": figure.half,
        "columns": schema.names,
        "numbers": [is_number(field.type) for field in schema],
        "rows": rows,
    }


def is_number(kind: pa.DataType) -> bool:
    """Whether a column is shown as numbers."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def plain(value: Any) -> Any:
    """A value as JSON has it: numbers with DIGITS digits, what is no number as NULL, times as text."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, decimal.Decimal):
        value = float(value) if value != value.to_integral_value() else int(value)
    if isinstance(value, int):
        return value if abs(value) < 2**53 else float(value)
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)


def section(part: Part, figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A part with its answered figures."""
    return {"name": part.name, "title": part.title, "text": part.text, "figures": list(figures)}


def embedded(value: Any) -> str:
    """A value as JSON that can stand inside a script element whatever text it holds."""
    text = orjson.dumps(value).decode()
    # "<" ends scripts and begins comments; the two separators end lines in old scripts. In JSON they only stand in
    # strings, where an escape means the same.
    for character in ("<", ">", "&", "\u2028", "\u2029", "\x7f"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def page(title: str, facts: dict[str, Any], sections: Sequence[dict[str, Any]]) -> str:
    """The whole file."""
    library, script = _library(), _asset("page.js")
    hashes = " ".join(f"'sha256-{_sha256(source)}'" for source in (library, script))
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    filled = _asset("page.html")
    parts = {
        "policy": policy,
        "title": _escaped(title),
        "style": _asset("page.css"),
        "data": embedded({"title": title, "facts": facts, "sections": list(sections)}),
        "library": library,
        "script": script,
    }
    head, *rest = filled.split("{{")
    pieces = [head]
    for piece in rest:  # one pass: what is filled in is never searched for places again
        name, _, after = piece.partition("}}")
        pieces += [parts[name], after]
    return "".join(pieces)


@functools.cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, the same bytes for one version of vl-convert."""
    import vl_convert

    source = vl_convert.javascript_bundle(SNIPPET)
    assert "</script" not in source.lower()
    return source


def _asset(name: str) -> str:
    return resources.files("pipeline.report").joinpath("assets", name).read_text(encoding="utf-8")


def _sha256(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def _escaped(text: str) -> str:
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, name)
    return text
