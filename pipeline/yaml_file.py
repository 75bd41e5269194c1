"""A YAML file of the user's: read, or one clear line about why not."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UserError


def read_yaml(path: str, what: str) -> dict[str, Any]:
    """The mapping in a file. Raises UserError, whose text begins with `what` and the path."""
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), _UniqueKeys)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{what} {path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise UserError(f"{what} {path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{what} {path}: expected a mapping of keys and values")
    return values


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
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"{option} {item!r}: the value is not valid YAML") from None
    return made


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a later key replace an earlier one of the same name in silence; here it is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.YAMLError(f"key {key!r} stands twice (line {key_node.start_mark.line + 1})")
            seen.add(key)
        return super().construct_mapping(node, deep)
