"""A workspace: the folder or object-store prefix that holds everything one project of a user makes.

corpora/<corpus>/          stage.json, part-NNNNN-of-MMMMM.parquet, rejects/
scores/<corpus>/<alias>-<hash8>/
models/<name>-<hash8>/
selections/<name>-<hash8>/<corpus>/
exports/<name>-<hash8>/
packs/<name>-<hash8>/      documents as token ids, for the trainer
runs/<name>-<hash8>/       checkpoints/, metrics/, evaluations/ of one training
comparisons/<name>-<hash8>/
memberships/<name>-<hash8>/  draws and results of a membership test
ledger/<one of the folders above>/
lock.json                  while a run holds the workspace
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline import ledger, stage
from pipeline.errors import UserError
from pipeline.storage import Store

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*(-[A-Za-z0-9_.]+)*")
"""Names of corpora, aliases, selections and exports: they become folders and columns."""


def checked_name(name: str, what: str) -> str:
    """The name itself, if it can be a folder. Raises UserError."""
    if not NAME.fullmatch(name) or len(name) > 100 or ".." in name:
        raise UserError(f"{what} {name!r}: expected letters, digits, '_', '.' and single '-', at most 100")
    return name


def default_url() -> str:
    """Where a command works when -w is not given: TAMIS_WORKSPACE, then ./workspace."""
    return os.environ.get("TAMIS_WORKSPACE") or "workspace"


def shard_name(index: int, count: int) -> str:
    """Base name of a shard, without ending: part-00003-of-00064. Names sort as their numbers do, however many."""
    width = max(5, len(str(count - 1)))
    return f"part-{index:0{width}d}-of-{count:05d}"


@dataclass(frozen=True)
class Workspace:
    """Reading side of a workspace; pickles to its URL."""

    url: str

    @cached_property
    def store(self) -> Store:
        """The files."""
        return Store(self.url)

    def __getstate__(self) -> dict[str, str]:
        return {"url": self.url}

    def corpora(self) -> list[str]:
        """Names of the corpora that have been begun."""
        return self.store.folders("corpora")

    def corpus(self, name: str) -> Corpus:
        """A corpus by name. Raises UserError that lists the known ones."""
        record = stage.saved(self.store, f"corpora/{checked_name(name, 'corpus')}")
        if record is None:
            known = ", ".join(self.corpora()) or "none yet; `tamis ingest` makes one"
            raise UserError(f"no corpus {name!r} in {self.url} (there: {known})")
        return Corpus(self, name, record)

    def chosen_corpora(self, names: Iterable[str] = ()) -> list[Corpus]:
        """The named corpora, or all of them. Raises UserError if there is none."""
        found = [self.corpus(name) for name in (names or self.corpora())]
        if not found:
            raise UserError(f"no corpus in {self.url}; `tamis ingest SRC --corpus NAME` makes one")
        return found

    def rows(self, folder: str) -> dict[str, ledger.Row]:
        """The row that counts of each shard of a stage."""
        return ledger.latest(ledger.read(self.store, folder))

    def stages(self, parent: str) -> dict[str, dict[str, Any]]:
        """{folder: record} of the stages below a parent folder, oldest first."""
        found = {}
        for name in self.store.folders(parent):
            record = stage.saved(self.store, f"{parent}/{name}")
            if record is not None:
                found[f"{parent}/{name}"] = record
        return dict(sorted(found.items(), key=lambda item: (item[1]["info"].get("created", ""), item[0])))


@dataclass(frozen=True)
class Corpus:
    """A corpus that has been begun; `record` is its stage.json."""

    workspace: Workspace
    name: str
    record: dict[str, Any]

    @property
    def folder(self) -> str:
        """Relative to the workspace."""
        return f"corpora/{self.name}"

    @property
    def hash(self) -> str:
        """What scores of this corpus name as their input."""
        return self.record["hash"]

    @property
    def cut(self) -> bool:
        """Whether ingest has cut its shards, done or not: an input that could not be split leaves none."""
        return self.record["info"].get("num_shards") is not None

    @cached_property
    def shards(self) -> list[str]:
        """Base names of all its shards, done or not. Raises UserError while ingest has not cut them yet."""
        if not self.cut:
            raise UserError(f"corpus {self.name!r} is not ingested yet; run the same `tamis ingest` again")
        count = self.record["info"]["num_shards"]
        return [shard_name(i, count) for i in range(count)]

    @cached_property
    def done(self) -> dict[str, ledger.Row]:
        """Ledger rows of the shards that are there."""
        return {shard: row for shard, row in self.workspace.rows(self.folder).items() if row.done}

    def file(self, shard: str) -> str:
        """A document shard, relative to the workspace."""
        return f"{self.folder}/{shard}.parquet"

    def score_stages(self) -> dict[str, dict[str, Any]]:
        """{folder: record} of its score stages, oldest first."""
        return self.workspace.stages(f"scores/{self.name}")
