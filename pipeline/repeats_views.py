"""What repeats over corpora, in SQL: `repeat_spectrum`, `repeat_classes`, `repeat_sources`, `repeat_shared`,
`repeat_spans`, `repeat_units` and `repeat_unit_counts`.

The newest count of each name, which stands in the column `repeats`; the other columns are those of the tables that
pipeline.repeats.report and pipeline.repeats.units describe. Coverage of documents is a score stage like any other.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from pipeline.repeats.counts import finished_counts
from pipeline.repeats.report import CLASSES, SHARED, SPANS, SPECTRUM, sources_schema
from pipeline.repeats.settings import SpanSettings
from pipeline.repeats.units import UNIT_COUNTS, UNITS
from pipeline.workspace import Workspace

TABLES: dict[str, tuple[str, pa.Schema]] = {
    "repeat_spectrum": ("spectrum.parquet", SPECTRUM),
    "repeat_classes": ("classes.parquet", CLASSES),
    "repeat_sources": ("sources.parquet", sources_schema(SpanSettings())),
    "repeat_shared": ("shared.parquet", SHARED),
    "repeat_spans": ("spans.parquet", SPANS),
    "repeat_units": ("units.parquet", UNITS),
    "repeat_unit_counts": ("unit_counts.parquet", UNIT_COUNTS),
}
"""{view: (file, its columns)}; those of repeat_sources depend on the thresholds."""
VIEWS = tuple(TABLES)


def repeat_selects(
    workspace: Workspace, view: str, listed: Callable[[list[str]], str], text: Callable[[str], str]
) -> list[str]:
    """SELECTs of a view, one per count. listed: makes files known to the connection, and gives the list's variable."""
    file, schema = TABLES[view]
    selects = []
    for name, folder in finished_counts(workspace).items():
        if file in workspace.store.sizes(folder):
            read = f"read_parquet(getvariable('{listed([f'{folder}/{file}'])}'))"
            selects.append(f"SELECT {text(name)} AS repeats, * FROM {read}")
    if selects:
        return selects
    columns = ", ".join(f'NULL::{_sql(field.type)} AS "{field.name}"' for field in schema)
    return [f"SELECT NULL::VARCHAR AS repeats, {columns} LIMIT 0"]


def _sql(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_sql(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return f"STRUCT({', '.join(f'{f.name!r} {_sql(f.type)}' for f in kind)})".replace("'", '"')
    return "VARCHAR" if pa.types.is_string(kind) else "INTEGER" if kind == pa.int32() else "BIGINT"
