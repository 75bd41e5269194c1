"""The losses of a panel side by side: documents x models, over the same characters, or not at all.

    panel_losses = read_losses(sample, ["losses/web/a-1234", "losses/web/b-5678"], align=False, pairs=True)

A document is rejected for all models if one of them scored other characters of it, has no token of it, or computed a
loss that is not finite. With one tokenizer the token losses are paired as they are; with several (``align``) they are
summed between the positions at which a token of every model ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.errors import UserError
from pipeline.preselect.sample import Sample
from pipeline.select.inputs import check_aligned
from pipeline.shards import read_narrow
from scorers.preselect.pairs import PairStatistics, pair_statistics

REASONS = ("", "no_tokens", "other_characters", "not_finite")


@dataclass(frozen=True)
class PanelLosses:
    """D documents of a sample under N models.

    documents: id, source, domain, weight (D rows). losses: float64 (D, N), sums in nats, NaN where rejected. chars,
    tokens: int64 (D,), characters scored and the tokens (or common pieces) they are paired by. reasons: int8 (D,),
    index in REASONS. pairs: statistics of the paired differences, None if they were not asked for.
    """

    documents: pa.Table
    losses: np.ndarray
    chars: np.ndarray
    tokens: np.ndarray
    reasons: np.ndarray
    pairs: PairStatistics | None


def read_losses(sample: Sample, folders: Sequence[str], align: bool, pairs: bool = True) -> PanelLosses:
    """All shards of a sample. Raises UserError for missing tables and for tokenizers that differ without `align`."""
    for folder in folders:
        rows = sample.workspace.rows(folder)
        if lost := [shard for shard in sample.shards if shard not in rows or not rows[shard].done]:
            raise UserError(f"{folder} lacks {len(lost)} shards ({lost[0]}); run `tamis preselect losses` again")
    parts = [_shard(sample, shard, folders, align, pairs) for shard in sample.shards]
    statistics = None
    if pairs:
        found = [part.pairs for part in parts if part.pairs is not None]
        statistics = PairStatistics(
            np.concatenate([one.difference for one in found]),
            np.concatenate([one.error for one in found]),
            np.concatenate([one.tokens for one in found]),
        )
    return PanelLosses(
        pa.concat_tables([part.documents for part in parts]),
        np.concatenate([part.losses for part in parts]),
        np.concatenate([part.chars for part in parts]),
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([part.reasons for part in parts]),
        statistics,
    )


def _shard(sample: Sample, shard: str, folders: Sequence[str], align: bool, pairs: bool) -> PanelLosses:
    store = sample.workspace.store
    documents = sample.table(shard, ["id", "source", "domain", "weight"])
    tables = []
    for folder in folders:
        file = f"{folder}/{shard}.parquet"
        table = read_narrow(store, file).combine_chunks()
        check_aligned(store, file, sample.file(shard), table.column("id"), documents.column("id"))
        tables.append(table)
    tokens, begins, finishes = (_stacked(tables, name) for name in ("tokens", "begin", "finish"))
    sums = _stacked(tables, "loss")
    reasons = np.zeros(documents.num_rows, np.int8)
    reasons[~np.isfinite(sums).all(axis=0)] = 3
    reasons[(begins != begins[0]).any(axis=0) | (finishes != finishes[0]).any(axis=0)] = 2
    reasons[(tokens == 0).any(axis=0)] = 1
    kept = np.flatnonzero(reasons == 0)
    losses = np.where(reasons == 0, sums, np.nan).T.copy()
    chars = (finishes - begins)[0].astype(np.int64)
    if not _one_tokenizer(tables, kept, tokens):
        if not align:
            raise UserError(
                f"{folders[0]} and the others have different tokens in {shard}; take models of one tokenizer, or set "
                "`align: true` in the panel"
            )
        paired, offsets = _aligned(tables, kept, begins[0])
    else:
        paired, offsets = _paired(tables, kept)
    counts = np.zeros(documents.num_rows, np.int64)
    counts[kept] = np.diff(offsets)
    statistics = None
    if pairs:
        own = pair_statistics(paired, offsets)
        number = own.difference.shape[1]
        difference = np.full((documents.num_rows, number), np.nan)
        error = np.full((documents.num_rows, number), np.nan)
        difference[kept], error[kept] = own.difference, own.error
        statistics = PairStatistics(difference, error, counts)
    return PanelLosses(documents, losses, chars, counts, reasons, statistics)


def _stacked(tables: list[pa.Table], name: str) -> np.ndarray:
    return np.stack([table.column(name).to_numpy() for table in tables])


def _list(table: pa.Table, name: str) -> pa.ListArray:
    array = table.column(name).combine_chunks()
    return array.chunk(0) if isinstance(array, pa.ChunkedArray) else array


def _rows(table: pa.Table, name: str, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat values and offsets of some rows of a list column."""
    taken = _list(table, name)
    if len(kept) < len(taken):
        taken = taken.take(pa.array(kept))
    offsets = taken.offsets.to_numpy().astype(np.int64)
    return taken.flatten().to_numpy(), offsets - offsets[0]


def _one_tokenizer(tables: list[pa.Table], kept: np.ndarray, tokens: np.ndarray) -> bool:
    if (tokens[:, kept] != tokens[0, kept]).any():
        return False
    first = _rows(tables[0], "widths", kept)[0]
    return all(np.array_equal(first, _rows(table, "widths", kept)[0]) for table in tables[1:])


def _paired(tables: list[pa.Table], kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Token losses, float32 (models, tokens), of the documents that are kept."""
    found = [_rows(table, "values", kept) for table in tables]
    return np.stack([values for values, _ in found]), found[0][1]


def _aligned(tables: list[pa.Table], kept: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same over the common pieces of several tokenizations."""
    from scorers.lm.align import align_to_characters, common_boundaries

    values = [_rows(table, "values", kept) for table in tables]
    widths = [_rows(table, "widths", kept) for table in tables]
    pieces: list[np.ndarray] = []
    offsets = [0]
    for row, doc in enumerate(kept):
        begin = int(begins[doc])
        ends = [begin + np.cumsum(flat[at[row] : at[row + 1]]) for flat, at in widths]
        edges = common_boundaries(*ends, begins=[begin] * len(ends))
        sums = [
            align_to_characters(flat[at[row] : at[row + 1]], own, edges, begin)
            for (flat, at), own in zip(values, ends, strict=True)
        ]
        pieces.append(np.stack(sums).astype(np.float32))
        offsets.append(offsets[-1] + len(edges) - 1)
    joined = np.concatenate(pieces, axis=1) if pieces else np.zeros((len(tables), 0), np.float32)
    return joined, np.array(offsets, np.int64)
