"""Registries for tests: drawn as users draw them, but from a fixed secret, so that chance is the same every time."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from unittest import mock

from pipeline.ghosts.draw import DrawSettings, commit, draw
from pipeline.ghosts.registry import Registry


def fixed_secrets(seed: int = 0) -> AbstractContextManager[object]:
    """While this is held, secret and salt of a commitment follow from the seed."""
    numbers = iter(range(1000))

    def fixed(size: int) -> str:
        return hashlib.shake_256(f"{seed} {next(numbers)}".encode()).hexdigest(size)

    return mock.patch("pipeline.ghosts.draw.secrets.token_hex", fixed)


def drawn(path: str, settings: DrawSettings, seed: int = 0) -> Registry:
    """Commit and draw a registry at a path from a seed."""
    with fixed_secrets(seed):
        commit(path, settings)
    return draw(path, "")
