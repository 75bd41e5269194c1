"""Which input column becomes which output column, and its type.

Documents have `id`, `text`, `source`, `held_out`, then `messages` if they are conversations, then the input's other
columns unchanged. An input column with one of these names that is not used as such is kept as `input_<name>`.

JSON and CSV have no schema: the types are those of most values among the first 1000 rows of up to 16 files spread over
the input. A value that does not fit, and a key that the sample did not show, go as JSON into the column `_extra`.
"""

from __future__ import annotations

import base64
import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import UserError
from pipeline.ingest import chat
from pipeline.ingest.settings import IngestSettings

OURS = ("id", "text", "source", "held_out", "messages", "_extra")
EXTRA = "_extra"
SAMPLE_FILES = 16
SAMPLE_ROWS = 1000
MAX_FIELDS = 64
"""An object with more keys than this is a map, not a struct: it is kept as JSON in `_extra`."""

Types = dict[str, "pa.DataType | None"]
"""{input column: type, None where no value was seen}"""


@dataclass(frozen=True)
class Layout:
    """The columns of a corpus, fixed before its first shard is written."""

    text: str
    id: str | None
    source: str | None
    style: str | None
    columns: dict[str, str]
    """{other input column: its name in the corpus}"""
    wanted: frozenset[str] | None
    """what `_extra` may hold; None: everything"""
    schema: pa.Schema

    @property
    def used(self) -> frozenset[str]:
        """Input columns that `_extra` need not hold."""
        special = [name for name in (self.id, self.source) if name is not None]
        return frozenset([*special, *self.columns, *self.consumed])

    @property
    def consumed(self) -> tuple[str, ...]:
        """Input columns that make the text."""
        return chat.COLUMNS[self.style] if self.style else (self.text,)

    def to_json(self) -> dict[str, Any]:
        """For the plan that a resumed run reads."""
        wanted = None if self.wanted is None else sorted(self.wanted)
        schema = base64.b64encode(self.schema.serialize()).decode()
        return vars(self) | {"wanted": wanted, "schema": schema}

    @staticmethod
    def from_json(record: dict[str, Any]) -> Layout:
        """The inverse of to_json."""
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(record["schema"])))
        wanted = None if record["wanted"] is None else frozenset(record["wanted"])
        return Layout(**(record | {"wanted": wanted, "schema": schema}))


def make_layout(types: Types, settings: IngestSettings, *, schemaless: bool) -> Layout:
    """Raises UserError if a named column is not there, or two columns would get one name."""
    style = _style(types, settings)
    for what in ("id", "source"):
        _require(types, getattr(settings, what), f"--{what}")
    source = settings.source or ("source" if "source" in types else None)
    consumed = chat.COLUMNS[style] if style else (settings.text,)
    for name in settings.columns or ():
        _require(types, name, "--columns")
    special = {settings.id, source, *consumed}
    if style:
        # What `messages` cannot hold stays beside it; rows of JSON decide this row by row.
        special -= {n for n in consumed if not schemaless and types.get(n) and not chat.is_plain(style, n, types[n])}
    columns = {}
    for name, kind in types.items():
        if name not in special and kind is not None and (settings.columns is None or name in settings.columns):
            columns[name] = name if name.lower() not in OURS else f"input_{name.lstrip('_')}"
    twice = [name for name, count in Counter(columns.values()).items() if count > 1]
    if twice:
        raise UserError(f"two input columns would be called {twice[0]!r}; leave one out with --columns")
    fields = [("id", pa.string()), ("text", pa.large_string()), ("source", pa.string()), ("held_out", pa.bool_())]
    fields += [("messages", chat.MESSAGES)] if style else []
    fields += [(new, types[old]) for old, new in columns.items()]
    wanted = None if settings.columns is None else frozenset(settings.columns)
    if schemaless and wanted != frozenset():
        fields.append((EXTRA, pa.string()))
    return Layout(settings.text, settings.id, source, style, columns, wanted, pa.schema(fields))


def _style(types: Types, settings: IngestSettings) -> str | None:
    if settings.messages not in ("auto", "off"):
        _require(types, chat.COLUMNS[settings.messages][0], "--messages")
        return settings.messages
    style = None
    if settings.messages == "auto" and settings.text not in types:
        style = chat.detect(types)
    if style is None and types:
        _require(types, settings.text, "--text")
    return style


def _require(types: Types, name: str | None, option: str) -> None:
    if name is None or name in types or not types:
        return
    near = difflib.get_close_matches(name, types, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UserError(f"{option}: the input has no column {name!r} (it has {', '.join(types) or 'none'}){hint}")


def sampled(files: Sequence[Any]) -> list[Any]:
    """Up to SAMPLE_FILES of the files, spread evenly, first and last among them."""
    if len(files) <= SAMPLE_FILES:
        return list(files)
    return [files[i * (len(files) - 1) // (SAMPLE_FILES - 1)] for i in range(SAMPLE_FILES)]


def types_of_rows(rows: Iterable[dict[str, Any]]) -> Types:
    """Column types of a sample of parsed JSON rows, in the order in which keys appear."""
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    return {name: infer(column) for name, column in values.items()}


def infer(values: Iterable[Any]) -> pa.DataType | None:
    """The Arrow type of most of these JSON values; None if nothing is known or it would be no column."""
    by_kind: dict[type, list[Any]] = {}
    for value in values:
        if value is not None:
            by_kind.setdefault(type(value), []).append(value)
    if float in by_kind and int in by_kind:
        by_kind[float] += by_kind.pop(int)
    if not by_kind:
        return None
    kind = max(by_kind, key=lambda k: (len(by_kind[k]), k.__name__))
    if kind is list:
        inner = infer(item for value in by_kind[list] for item in value)
        return None if inner is None else pa.list_(inner)
    if kind is dict:
        if len({name for value in by_kind[dict] for name in value}) > MAX_FIELDS:
            return None
        fields = [(name, t) for name, t in types_of_rows(by_kind[dict]).items() if t is not None]
        return pa.struct(fields) if fields else None
    return {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}[kind]


def infer_csv(values: Iterable[str]) -> pa.DataType:
    """int64 or float64 if all values that are not empty are such numbers in plain spelling; else string."""
    found = [value for value in values if value]
    for kind in (pa.int64(), pa.float64()):
        if found and all(type(csv_value(value, kind)) is not str for value in found):
            return kind
    return pa.string()


def csv_value(value: str, kind: pa.DataType) -> Any:
    """A field of CSV as a column's type; unchanged if it is no such number (00123 is a name, not a number)."""
    if pa.types.is_string(kind):
        return value
    if value == "":
        return None
    convert = int if pa.types.is_int64(kind) else float
    try:
        number = convert(value)
    except ValueError:
        return value
    same = str(number) == value or (convert is float and value.removeprefix("-")[:1].isdigit() and "_" not in value)
    padded = len(value) > 1 and value.removeprefix("-").startswith("0") and not value.removeprefix("-").startswith("0.")
    return number if same and not padded and abs(number) < 2**63 else value


def fits(value: Any, kind: pa.DataType) -> bool:
    """Whether a column of this type holds the JSON value whole."""
    if value is None:
        return True
    if pa.types.is_int64(kind):
        return type(value) is int and -(2**63) <= value < 2**63
    if pa.types.is_float64(kind):
        return type(value) is float or (type(value) is int and abs(value) <= 2**53)
    if pa.types.is_string(kind):
        return type(value) is str
    if pa.types.is_boolean(kind):
        return type(value) is bool
    if pa.types.is_list(kind):
        return type(value) is list and all(fits(item, kind.value_type) for item in value)
    if type(value) is not dict:
        return False
    fields = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
    return all(v is None or (name in fields and fits(v, fields[name])) for name, v in value.items())


_PLAIN: dict[pa.DataType, set[type]] = {
    pa.int64(): {int},
    pa.float64(): {float, int},
    pa.string(): {str},
    pa.bool_(): {bool},
}


def as_array(values: list[Any], kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    """(column, positions of values that do not fit and are NULL in it)."""
    if kind in _PLAIN and set(map(type, values)) <= _PLAIN[kind] | {type(None)}:
        try:
            return pa.array(values, kind), []
        except (OverflowError, pa.ArrowInvalid):
            pass  # an integer out of range: found below
    misfits = [i for i, value in enumerate(values) if not fits(value, kind)]
    if misfits:
        values = list(values)
        for i in misfits:
            values[i] = None
    return pa.array(values, kind), misfits


def types_of_schemas(schemas: Sequence[tuple[str, pa.Schema]]) -> Types:
    """Column types over (name, schema) of all files, widened where they differ. Raises UserError if they clash."""
    types: dict[str, pa.DataType] = {}
    seen: dict[str, str] = {}
    for place, schema in schemas:
        for name, kind in zip(schema.names, schema.types, strict=True):
            kind = _stored(kind)
            if types.setdefault(name, kind) != kind:
                try:
                    one = [pa.schema([(name, k)]) for k in (types[name], kind)]
                    types[name] = pa.unify_schemas(one, promote_options="permissive").field(0).type
                except pa.ArrowException:
                    raise UserError(
                        f"column {name!r} is {types[name]} in {seen[name]} but {kind} in {place}; "
                        f"leave it out with --columns or ingest them apart"
                    ) from None
            seen.setdefault(name, place)
    return dict(types)


def _stored(kind: pa.DataType) -> pa.DataType:
    """Dictionaries and views are decoded: the order of a dictionary would change the bytes."""
    if pa.types.is_dictionary(kind):
        return _stored(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    return kind
