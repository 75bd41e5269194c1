"""Registries for tests: drawn as users draw them, but from a fixed secret, so that chance is the same every time."""

from __future__ import annotations

import hashlib
from unittest import mock

from pipeline.ghosts.draw import DrawSettings, commit, draw
from pipeline.ghosts.registry import Registry


def drawn(path: str, settings: DrawSettings, seed: int = 0) -> Registry:
    """Commit and draw a registry at a path; secret and salt follow from the seed."""
    numbers = iter(range(1000))

    def fixed(size: int) -> str:
        return hashlib.shake_256(f"{seed} {next(numbers)}".encode()).hexdigest(size)

    with mock.patch("pipeline.ghosts.draw.secrets.token_hex", fixed):
        commit(path, settings)
    return draw(path, "")
