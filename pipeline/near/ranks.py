"""Who is to be kept: the order of preference among near-duplicates.

Sources named in the settings come first, in their order; then the `keep` rule; then the order of the documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.near.documents import Part
from pipeline.near.settings import KEEPS, NearSettings
from pipeline.select.inputs import check_columns, owners_of
from pipeline.shards import read_narrow
from pipeline.storage import Store
from pipeline.workspace import Corpus

ORDERED = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_temporal)
"""Columns that `keep` may name."""


@dataclass(frozen=True)
class Ranks:
    """Rows of a shard to (preference of the source, value); the smallest pair is kept."""

    keep: str
    sources: tuple[str, ...]
    files: dict[str, str]
    """{corpus: folder of the files that hold the column}, if `keep` names one"""

    def of(self, store: Store, part: Part, rows: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(int32, float64) of some rows of a shard. words: of all its rows."""
        prefer = np.zeros(len(rows), np.int32)
        if self.sources:
            column = read_narrow(store, part.documents, ["source"]).column("source").take(pa.array(rows))
            place = pc.index_in(column, pa.array(self.sources, pa.string()))
            prefer = pc.fill_null(place, len(self.sources)).to_numpy().astype(np.int32)
        if self.keep == "first":
            return prefer, np.zeros(len(rows))
        if self.keep == "longest":
            return prefer, -words[rows].astype(np.float64)
        name, ascending = _column(self.keep)
        column = read_narrow(store, f"{self.files[part.corpus]}/{part.shard}.parquet", [name]).column(name)
        value = _numbers(column.take(pa.array(rows)))
        value = value if ascending else -value
        return prefer, np.where(np.isnan(value), np.inf, value)


def ranks_for(corpora: Sequence[Corpus], settings: NearSettings, named: set[str]) -> tuple[Ranks, dict[str, str]]:
    """The ranks, and {corpus: hash of the score stage that `keep` reads}. Raises UserError for a column that is wrong.

    named: folders of score stages that a config names.
    """
    if settings.keep in KEEPS:
        return Ranks(settings.keep, tuple(settings.sources), {}), {}
    name, _ = _column(settings.keep)
    files, inputs = {}, {}
    for corpus in corpora:
        owners = owners_of(corpus, named)
        check_columns(corpus, owners, [name], "keep (longest, first, or a column)")
        owner = owners[name]
        if owner is None:
            files[corpus.name] = corpus.folder
            kind = _schema(corpus).field(name).type
        else:
            files[corpus.name] = owner.folder
            inputs[corpus.name] = owner.record["hash"]
            kind = owner.schema.field(name).type
            if lost := owner.missing():
                raise UserError(f"keep: {owner.folder} lacks {len(lost)} shards ({next(iter(lost))}); score them first")
        if not any(test(kind) for test in ORDERED):
            raise UserError(f"keep: column {name!r} of corpus {corpus.name!r} is {kind}; expected numbers or times")
    return Ranks(settings.keep, tuple(settings.sources), files), inputs


def _column(keep: str) -> tuple[str, bool]:
    return keep.removeprefix("-"), keep.startswith("-")


def _schema(corpus: Corpus) -> pa.Schema:
    from pipeline.catalog import document_schema

    return document_schema(corpus)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_temporal(column.type):
        width = pa.int32() if column.type.bit_width == 32 else pa.int64()
        column = column.cast(width)
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
