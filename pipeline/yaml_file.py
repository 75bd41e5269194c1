"""YAML of the user's, a file or a value on the command line: read, or one clear line about why not."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UserError

MOST_VALUES = 200_000
"""Values of a file, its aliases followed: a few lines of aliases of aliases stand for more than any memory holds."""


def read_yaml(path: str, what: str) -> dict[str, Any]:
    """The mapping in a file. Raises UserError, whose text begins with `what` and the path."""
    where = f"{what} {path}"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: cannot be read ({error})") from None
    values = _loaded(text, where)
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a mapping of keys and values")
    return values


def read_value(text: str, where: str) -> Any:
    """A value as YAML has it: 3, [a, b], or a text without quotes. Raises UserError that begins with `where`."""
    return _loaded(text, where)


def _loaded(text: str, where: str) -> Any:
    try:
        values = yaml.load(text, _UniqueKeys)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {_short(error)}") from None
    except ValueError as error:  # a date such as 2026-13-01, a number of thousands of digits
        raise UserError(f"{where}: holds a value that YAML cannot make: {_short(error)}") from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply") from None
    waiting, seen = [values], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple, set)):
            waiting += value
        if seen + len(waiting) > MOST_VALUES:
            raise UserError(f"{where}: more than {MOST_VALUES:,} values, its aliases (*name) followed")
    return values


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."


def placed(value: str, base: Path) -> str:
    """A path as seen from the folder of the file that names it; URLs and absolute paths as they are."""
    return value if "://" in value or value.startswith(("/", "~")) else str(base / value)


def changed(values: dict[str, Any], items: Iterable[str], option: str) -> dict[str, Any]:
    """The values with KEY=VALUE texts set in them; a key may be dotted (optimizer.lr), a value is as in YAML."""
    made = copy.deepcopy(values)
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UserError(f"{option} {item!r}: expected KEY=VALUE")
        *outer, last = key.split(".")
        place = made
        for name in outer:
            inner = place.setdefault(name, {})
            if not isinstance(inner, dict):
                raise UserError(f"{option} {item!r}: {name!r} has no keys of its own")
            place = inner
        place[last] = read_value(value, f"{option} {item!r}")
    return made


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a later key replace an earlier one of the same name in silence; here it is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise yaml.YAMLError(f"expected a mapping (line {node.start_mark.line + 1})")
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            try:
                again = key in seen
            except TypeError:
                raise yaml.YAMLError(f"a list or a mapping cannot be a key (line {line})") from None
            if again:
                raise yaml.YAMLError(f"key {str(key)[:100]!r} stands twice (line {line})")
            seen.add(key)
        return super().construct_mapping(node, deep)
