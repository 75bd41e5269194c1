"""The losses of a panel side by side: pairs/<corpus>/panel-<hash8>/, documents x models, over the same characters.

    stage = make_pairs(sample, panel, losses, pool)      # once per panel, as soon as the losses are there
    found = read_pairs(sample, stage)                    # all that strength needs, without the token losses

One table per sample shard, aligned with the sample. N models in the panel's order, P = N (N - 1) / 2 pairs of them in
the order of ``np.triu_indices(N, 1)``:

    id               string
    chars, tokens    int64, characters scored, and the tokens (or common pieces) by which the models are paired
    reason           int8, why the document is rejected for all models: index in REASONS, 0 for none
    losses           fixed list of N float64, sums in nats; NaN where rejected
    difference       fixed list of P float64, see scorers.preselect.pairs; NaN where rejected
    error            the same

A document is rejected for all models if one of them scored other characters of it, has no token of it, or computed a
loss that is not finite. With one tokenizer the token losses are paired as they are; with several (``align``) they are
summed between the positions at which a token of every model ends.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from pipeline import ledger
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, ledger_row, pending
from pipeline.preselect.sample import Sample
from pipeline.preselect.settings import PanelSettings
from pipeline.select.inputs import check_aligned
from pipeline.shards import file_facts, read_narrow, write_narrow
from pipeline.stage import Stage, saved
from scorers.preselect.pairs import PairStatistics, likely, pair_statistics, steadied
from scorers.preselect.strength import PRIOR_TOKENS

VERSION = 1
REASONS = ("", "no_tokens", "other_characters", "not_finite")


@dataclass(frozen=True)
class PanelLosses:
    """D documents of a sample under N models.

    documents: id, source, domain, weight (D rows). losses: float64 (D, N), sums in nats, NaN where rejected. chars,
    tokens: int64 (D,), characters scored and the tokens (or common pieces) they are paired by. reasons: int8 (D,),
    index in REASONS. pairs: statistics of the paired differences.
    """

    documents: pa.Table
    losses: np.ndarray
    chars: np.ndarray
    tokens: np.ndarray
    reasons: np.ndarray
    pairs: PairStatistics

    @cached_property
    def told(self) -> np.ndarray:
        """float64 (D, P): probability that the first model of a pair has the higher loss, NaN where rejected."""
        return likely(steadied(self.pairs, PRIOR_TOKENS))


@dataclass(frozen=True)
class _Task:
    sample: Sample
    folders: tuple[str, ...]
    align: bool


def pairs_stage(sample: Sample, panel: PanelSettings, losses: Mapping[str, Stage]) -> Stage:
    """The stage of a panel's losses, models in the panel's order."""
    own = [losses[one.name] for one in panel.models]
    return Stage(
        kind="pairs",
        name="panel",
        parent=f"pairs/{sample.corpus}",
        fields={
            "sample": sample.hash,
            "version": VERSION,
            "losses": [stage.hash for stage in own],
            "align": panel.align,
        },
        info={"corpus": sample.corpus, "sample": sample.folder, "losses": [stage.folder for stage in own]},
    )


def make_pairs(sample: Sample, panel: PanelSettings, losses: Mapping[str, Stage], pool: Pool | None = None) -> Stage:
    """Pair what is not paired yet, in the pool's workers or in this process. The caller holds the lock.

    Raises UserError for losses that are not there; ShardsFailed (without a pool what the shard raises) for tokenizers
    that differ without `align`.
    """
    stage = pairs_stage(sample, panel, losses)
    workspace, store = sample.workspace, sample.workspace.store
    todo = pending(workspace, stage.folder, sample.shards)
    if not todo:
        return stage
    folders = tuple(losses[one.name].folder for one in panel.models)
    for folder in folders:
        rows = workspace.rows(folder)
        if lost := [shard for shard in sample.shards if shard not in rows or not rows[shard].done]:
            raise UserError(f"{folder} lacks {len(lost)} shards ({lost[0]}); run `tamis preselect losses` again")
    store.sweep(stage.folder)
    if saved(store, stage.folder) is None:
        stage.save(store)
    task = _Task(sample, folders, panel.align)
    jobs = [Job(workspace, shard, ((stage.folder, attempt),), task) for shard, attempt in todo]
    if pool is None:
        made = []
        for job, (shard, attempt) in zip(jobs, todo, strict=True):
            begun = time.time()
            made.append(ledger_row(stage.folder, shard, attempt, begun, pair_shard(job)[stage.folder]))
        ledger.compact(store, stage.folder, made)
        return stage
    ran = pool.run(jobs, pair_shard, f"pairs {sample.corpus}")
    if failed := {row.shard: row.error or "" for row in ran if not row.done}:
        raise ShardsFailed("preselect pairs", failed, len(ran))
    return stage


def read_pairs(sample: Sample, stage: Stage) -> PanelLosses:
    """All shards of a sample."""
    store = sample.workspace.store
    models = len(stage.fields["losses"])
    number, total = models * (models - 1) // 2, sum(sample.rows[shard].rows_out for shard in sample.shards)
    losses, difference, error = (np.empty((total, width)) for width in (models, number, number))
    chars, tokens, reasons = np.empty(total, np.int64), np.empty(total, np.int64), np.empty(total, np.int8)
    documents, first = [], 0
    for shard in sample.shards:
        own = read_narrow(store, sample.file(shard), ["id", "source", "domain", "weight"])
        file = f"{stage.folder}/{shard}.parquet"
        table = read_narrow(store, file)
        check_aligned(store, file, sample.file(shard), table.column("id"), own.column("id"))
        rows = slice(first, first + own.num_rows)
        chars[rows], tokens[rows], reasons[rows] = (table.column(n).to_numpy() for n in ("chars", "tokens", "reason"))
        for name, target in (("losses", losses), ("difference", difference), ("error", error)):
            target[rows] = _list(table, name).flatten().to_numpy().reshape(-1, target.shape[1])
        documents.append(own)
        first = rows.stop
    return PanelLosses(
        pa.concat_tables(documents), losses, chars, tokens, reasons, PairStatistics(difference, error, tokens)
    )


def pair_shard(job: Job) -> dict[str, Counts | Exception]:
    """Pair the losses of one sample shard."""
    task, store = job.task, job.workspace.store
    [(target, _)] = job.outputs
    table = paired(task.sample, job.shard, task.folders, task.align)
    with store.writing(f"{target}/{job.shard}.parquet") as path:
        # Sums of random digits do not get smaller, and a run on one core reads them five times as fast.
        write_narrow(path, table, compression="none")
        facts = file_facts(path)
    return {target: Counts(rows_in=table.num_rows, rows_out=table.num_rows, **facts)}


def paired(sample: Sample, shard: str, folders: Sequence[str], align: bool) -> pa.Table:
    """The table of one shard. Raises UserError for tokenizers that differ without `align`."""
    store = sample.workspace.store
    ids = read_narrow(store, sample.file(shard), ["id"]).column("id")
    tables = []
    for folder in folders:
        file = f"{folder}/{shard}.parquet"
        table = read_narrow(store, file).combine_chunks()
        check_aligned(store, file, sample.file(shard), table.column("id"), ids)
        tables.append(table)
    tokens, begins, finishes = (_stacked(tables, name) for name in ("tokens", "begin", "finish"))
    sums = _stacked(tables, "loss")
    reasons = np.zeros(len(ids), np.int8)
    reasons[~np.isfinite(sums).all(axis=0)] = 3
    reasons[(begins != begins[0]).any(axis=0) | (finishes != finishes[0]).any(axis=0)] = 2
    reasons[(tokens == 0).any(axis=0)] = 1
    kept = np.flatnonzero(reasons == 0)
    losses = np.where(reasons == 0, sums, np.nan).T
    if not _one_tokenizer(tables, kept, tokens):
        if not align:
            raise UserError(
                f"{folders[0]} and the others have different tokens in {shard}; take models of one tokenizer, or set "
                "`align: true` in the panel"
            )
        values, offsets = _aligned(tables, kept, begins[0])
    else:
        values, offsets = _paired(tables, kept)
    counts = np.zeros(len(ids), np.int64)
    counts[kept] = np.diff(offsets)
    own = pair_statistics(values, offsets)
    difference, error = (np.full((len(ids), own.difference.shape[1]), np.nan) for _ in range(2))
    difference[kept], error[kept] = own.difference, own.error
    chars = (finishes - begins)[0].astype(np.int64)
    columns: dict[str, object] = {"id": ids, "chars": chars, "tokens": counts, "reason": reasons}
    columns |= {"losses": _fixed(losses), "difference": _fixed(difference), "error": _fixed(error)}
    return pa.table(columns)


def _fixed(values: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _stacked(tables: list[pa.Table], name: str) -> np.ndarray:
    return np.stack([table.column(name).to_numpy() for table in tables])


def _list(table: pa.Table, name: str) -> pa.ListArray:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


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
