"""Packages that come with an extra: one clear line where they are missing."""

from __future__ import annotations

import importlib.util

from pipeline.errors import UserError


def needed(what: str, extra: str, *packages: str) -> None:
    """Raises UserError, with the command that mends it, if one of the packages is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{package} is not installed; {what} needs the extra {extra}: pip install 'tamis[{extra}]'")
