"""WHAT is measured: Arrow in, Arrow out. Scorers know no files, no Dask and no network.

A scorer is a module with four names, listed once in SCORERS below:

- ``VERSION``: an int, raised whenever the module's output changes for the same settings;
- ``Settings``: a frozen pydantic model (unknown keys are errors) of everything that shapes the output;
- ``model_files(settings) -> dict[str, str]``: the settings that name files or folders, as {field: path or URL};
  the pipeline fetches them, hashes their content and hands local paths to ``load``;
- ``load(settings, files, name) -> Scorer``: ``files`` maps the same fields to local paths, ``name`` is the alias
  of the stage and prefixes the columns where several models of one scorer may live side by side.

The names here are imported by command lines that must answer fast: nothing heavy is imported at the top.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from scorers.texts import Texts

SCORERS: dict[str, str] = {
    "preselect": "scorers.fasttext.preselect",
    "fasttext": "scorers.fasttext.labels",
    "lengths": "scorers.lengths",
    "repetition": "scorers.repetition",
    "ghosts": "scorers.ghosts.find",
    "profile": "scorers.profiles",
}


class Scorer(Protocol):
    """A loaded scorer. ``schema`` has the score columns only, without ``id``."""

    schema: pa.Schema

    def score(self, texts: Texts) -> list[pa.Array]:
        """One array per field of ``schema``, each of ``len(texts)`` rows; an undefined score is null."""
        ...


def scorer_module(scorer: str) -> ModuleType:
    """The module of a scorer by its name in SCORERS. Raises KeyError for a name that is not listed."""
    return importlib.import_module(SCORERS[scorer])
