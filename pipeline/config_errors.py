"""Validation errors a person can act on: which key, what it has, what was expected, the nearest known name."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.errors import UserError

M = TypeVar("M", bound=BaseModel)
MOST_SHOWN = 15
"""Known names that one line of an error lists."""


def parsed(model: type[M], values: Any, where: str) -> M:
    """`model` built from values. Raises UserError with one line per wrong key, each saying where it stands."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_line(model, item, where) for item in error.errors()]
        raise UserError("\n".join(lines)) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean ...?' for the nearest known name, else the list of known names."""
    known = list(known)
    close = difflib.get_close_matches(name, known, 1, 0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    if len(known) > MOST_SHOWN:
        known = [*known[:MOST_SHOWN], f"and {len(known) - MOST_SHOWN} more"]
    return f"; known: {', '.join(known)}" if known else ""


def _line(model: type[BaseModel], item: Any, where: str) -> str:
    place = list(item["loc"])
    shown = f"{where}: " + ".".join(str(part) for part in place)
    if item["type"] == "extra_forbidden":
        return f"{shown}: unknown key{nearest(str(place[-1]), _fields(model, place[:-1]))}"
    if item["type"] == "missing":
        return f"{shown}: missing; expected {_expected(model, place)}"
    text = item["msg"].removeprefix("Value error, ")
    given = item.get("input")
    shown_value = "" if isinstance(given, (dict, list)) else f", got {given!r}"
    return f"{shown}: {text}{shown_value}"


def _fields(model: type[BaseModel], place: list[Any]) -> list[str]:
    """Field names of the model that a place leads to."""
    current: Any = model
    for part in place:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[str(part)].annotation
        while not isinstance(current, type) or typing.get_origin(current) is not None:
            inner = [a for a in typing.get_args(current) if a is not type(None) and a is not str]
            if not inner:
                return []
            current = inner[-1]
    if isinstance(current, type) and issubclass(current, BaseModel):
        return list(current.model_fields)
    return []


def _expected(model: type[BaseModel], place: list[Any]) -> str:
    current: Any = model
    for part in place[:-1]:
        field = getattr(current, "model_fields", {}).get(str(part))
        current = field.annotation if field else None
    field = getattr(current, "model_fields", {}).get(str(place[-1]))
    if field is None:
        return "a value"
    annotation = field.annotation
    name = (
        annotation.__name__
        if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias)
        else str(annotation)
    )
    return name.replace("typing.", "")
