"""Which score tables belong to a corpus, and which of them owns a column.

Several stages of one alias may lie side by side (another model, another setting); the one shown is the one the config
names, else the newest. Score tables are aligned with their document shards: pipeline/select/inputs.py lays their
columns side by side, pipeline/views.py joins them in SQL.

    shown = shown_stages(corpus)
    owners = column_owners(corpus, shown.values())       # {"preselect_score": Scores(...), "source": None, ...}
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from pipeline.errors import UserError
from pipeline.ledger import Row
from pipeline.shards import open_parquet
from pipeline.workspace import Corpus

HIDDEN = ("text", "messages")
"""Document columns that the `scored` view leaves out: wide, and never part of a decision by SQL."""


@dataclass(frozen=True)
class Scores:
    """One score stage of one corpus, as shown."""

    corpus: Corpus
    alias: str
    folder: str
    record: dict[str, Any]

    @cached_property
    def rows(self) -> dict[str, Row]:
        """Latest ledger row of each shard that was tried."""
        return self.corpus.workspace.rows(self.folder)

    @cached_property
    def done(self) -> list[str]:
        """Shards whose scores are there, in order."""
        return [shard for shard in self.corpus.shards if shard in self.rows and self.rows[shard].done]

    @cached_property
    def schema(self) -> pa.Schema:
        """`id` and the score columns. Raises UserError if no shard is done."""
        if not self.done:
            raise UserError(f"score stage {self.alias!r} of corpus {self.corpus.name!r} has no finished shard")
        with open_parquet(self.corpus.workspace.store, self.file(self.done[0])) as file:
            return file.schema_arrow

    @property
    def columns(self) -> list[str]:
        """Names of the score columns, without `id`."""
        return [name for name in self.schema.names if name != "id"]

    def file(self, shard: str) -> str:
        """A score shard, relative to the workspace."""
        return f"{self.folder}/{shard}.parquet"

    def missing(self) -> dict[str, str]:
        """{shard: why} of the corpus's shards without these scores."""
        lost = {}
        for shard in self.corpus.shards:
            row = self.rows.get(shard)
            if row is None:
                lost[shard] = "not scored"
            elif not row.done:
                lost[shard] = f"failed: {row.error}"
        return lost


def shown_stages(corpus: Corpus, named: Collection[str] = ()) -> dict[str, Scores]:
    """{alias: Scores}: stages whose folder is in `named`, else the newest of each alias that fits the corpus."""
    shown: dict[str, Scores] = {}
    pinned: set[str] = set()
    for folder, record in corpus.score_stages().items():  # oldest first
        alias = record["name"]
        if record["fields"].get("corpus") != corpus.hash or (alias in pinned and folder not in named):
            continue
        if folder in named:
            pinned.add(alias)
        shown[alias] = Scores(corpus, alias, folder, record)
    return shown


def document_schema(corpus: Corpus) -> pa.Schema:
    """All columns of a corpus's documents. Raises UserError if no shard is done."""
    for shard in corpus.shards:
        if shard in corpus.done:
            with open_parquet(corpus.workspace.store, corpus.file(shard)) as file:
                return file.schema_arrow
    raise UserError(f"corpus {corpus.name!r} has no finished shard; `tamis status` says why")


def column_owners(corpus: Corpus, stages: Iterable[Scores]) -> dict[str, Scores | None]:
    """{column of `scored`: the stage it comes from, None for the documents}. The first owner of a name keeps it."""
    owners: dict[str, Scores | None] = {n: None for n in document_schema(corpus).names if n not in HIDDEN}
    for stage in stages:
        if stage.done:
            for name in stage.columns:
                owners.setdefault(name, stage)
    return owners
