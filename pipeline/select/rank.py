"""One shard's documents as a selection sees them: why a document cannot be ranked, and where it stands if it can.

The ranking is a total order over all corpora: the score, highest first (as 64 bits that sort like the number), then a
64-bit hash of (id, seed), then the id, then the corpus. NULL and NaN are one thing, undefined; -0.0 is 0.0.
"""

from __future__ import annotations

import atexit
import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline import sandbox
from pipeline.errors import UserError
from pipeline.limits import limit
from pipeline.select.inputs import ShardInputs
from pipeline.select.rules import NO_RULES, Rules
from pipeline.workspace import Workspace

BEFORE_RULES = ("held_out", "missing_scores", "where")
AFTER_RULES = ("undefined_score", "undefined_length", "source_cap", "over_budget")
MOST_RULES = 64 - len(BEFORE_RULES) - len(AFTER_RULES)
"""Reasons are bits of a uint64."""
FIRST, LAST = np.uint64(0), np.uint64(2**64 - 1)
"""Keys of undefined scores: no number has them."""


@dataclass(frozen=True)
class Views:
    """The views that a subquery of a predicate may look at."""

    corpora: tuple[str, ...]
    stages: tuple[str, ...]
    run: str
    """a word of its own for each run: a connection kept from an earlier one would show an old workspace"""


@dataclass(frozen=True)
class Ranking:
    """What decides a document's place; the part of the settings that workers need."""

    by: str | None
    ascending: bool
    random: int | None
    undefined: Literal["reject", "last", "first"]
    seed: int
    unit: str | None
    where: str | None
    views: Views | None
    """what a subquery of the predicate sees; None if it has none"""
    held_out: bool
    rules: Rules = NO_RULES

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a document is not kept, in the order in which they are asked; the first that holds is its `reason`."""
        return (*BEFORE_RULES, *self.rules.reasons, *AFTER_RULES)

    def bit(self, reason: str) -> np.uint64:
        """The bit of a reason in `Ranked.reasons`."""
        return np.uint64(1 << self.reasons.index(reason))

    @property
    def tie_seed(self) -> int:
        """Seed of the hash that ranks equal scores."""
        return self.seed if self.random is None else self.random


@dataclass(frozen=True)
class Ranked:
    """A shard's documents, one entry a row."""

    corpus: str
    ids: pa.ChunkedArray
    sources: np.ndarray
    """int32, into source_names"""
    source_names: list[str]
    amount: np.ndarray
    """int64, units of the budget; 0 where undefined"""
    key: np.ndarray
    """uint64, smaller is better"""
    score: pa.ChunkedArray
    """float64, null where undefined"""
    reasons: np.ndarray
    """uint64, bits of Ranking.reasons known before the cut"""
    pooled: np.ndarray
    """bool, whether shares of a budget count the document"""
    lengths: dict[str, np.ndarray]
    """int64, the columns of `lengths` that are there, for the summary"""

    @property
    def eligible(self) -> np.ndarray:
        """bool, whether the document is ranked."""
        return self.reasons == 0


def ordered_bits(scores: np.ndarray) -> np.ndarray:
    """float64 without NaN to uint64 that sort the same way; -0.0 as 0.0."""
    bits = (np.asarray(scores, np.float64) + 0.0).view(np.uint64)
    sign = np.uint64(1 << 63)
    return np.where(bits & sign, ~bits, bits | sign)


def number_of(bits: int) -> float:
    """The float64 of `ordered_bits`."""
    raw = bits ^ (1 << 63) if bits >> 63 else bits ^ (2**64 - 1)
    return float(np.array(raw, np.uint64).view(np.float64))


def hashes(ids: pa.ChunkedArray | pa.Array, seed: int) -> np.ndarray:
    """xxh3 of each id under a seed, uint64."""
    digest = functools.partial(xxhash.xxh3_64_intdigest, seed=seed)
    return np.fromiter(map(digest, ids.cast(pa.large_binary()).to_pylist()), np.uint64, len(ids))


def ranked(inputs: ShardInputs, ranking: Ranking) -> Ranked:
    """Read one shard's narrow columns and judge every document. Raises UserError for a predicate that cannot be."""
    table = inputs.table()
    rows = table.num_rows
    ids = table.column("id")
    sources, names = _coded(table.column("source"))
    reasons = np.zeros(rows, np.uint64)
    held = pc.fill_null(table.column("held_out"), False).to_numpy() if "held_out" in table.schema.names else None
    pooled = np.ones(rows, bool) if held is None or ranking.held_out else ~held
    reasons[~pooled] |= ranking.bit("held_out")
    if inputs.missing:
        reasons |= ranking.bit("missing_scores")
    elif ranking.where is not None and rows:
        reasons[~_kept(inputs, ranking, table)] |= ranking.bit("where")
    if not inputs.missing:
        for reason, over in ranking.rules.exceeded(table).items():
            reasons[over] |= ranking.bit(reason)
    lengths = {name: _integers(table.column(name))[0] for name in ("tokens", "chars") if name in table.schema.names}
    amount = np.ones(rows, np.int64)
    if ranking.unit not in (None, "documents"):
        amount, known = _integers(table.column(ranking.unit))
        if not inputs.missing:
            reasons[~known] |= ranking.bit("undefined_length")
    key, score = np.zeros(rows, np.uint64), pa.chunked_array([pa.nulls(rows, pa.float64())])
    if ranking.random is not None:
        # 53 bits fill a float64 in [0, 1); the tie hash is the same hash and orders what they leave equal.
        drawn = (hashes(ids, ranking.random) >> np.uint64(11)) * 2.0**-53
        key, score = ~ordered_bits(drawn), pa.chunked_array([pa.array(drawn)])
    elif ranking.by is not None:
        numbers = pc.cast(table.column(ranking.by), pa.float64(), safe=False)
        score = pc.if_else(pc.fill_null(pc.is_nan(numbers), True), pa.scalar(None, pa.float64()), numbers)
        undefined = pc.is_null(score).to_numpy()
        bits = ordered_bits(pc.fill_null(score, 0.0).to_numpy())
        key = bits if ranking.ascending else ~bits
        key[undefined] = FIRST if ranking.undefined == "first" else LAST
        if ranking.undefined == "reject" and not inputs.missing:
            reasons[undefined] |= ranking.bit("undefined_score")
    return Ranked(inputs.corpus, ids, sources, names, amount, key, score, reasons, pooled, lengths)


def reason_columns(reasons: np.ndarray, names: tuple[str, ...]) -> tuple[pa.Array, pa.Array]:
    """Bits to `reason` (string, null if kept) and `reasons` (list of strings, empty if kept)."""
    sets = np.array([*names, None], object)
    bits = (reasons[:, None] >> np.arange(len(names), dtype=np.uint64)) & np.uint64(1)
    first = np.where(reasons == 0, len(names), bits.argmax(axis=1))
    ends = np.concatenate([[0], np.cumsum(bits.sum(axis=1))]).astype(np.int32)
    values = pa.array(sets[np.nonzero(bits)[1]], pa.string())
    return pa.array(sets[first], pa.string()), pa.ListArray.from_arrays(pa.array(ends), values)


def _coded(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """Codes and names of the sources; a null source is the empty one."""
    coded = pc.fill_null(column, "").combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int32), coded.dictionary.to_pylist()


def _integers(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """int64 values with 0 for null, and where they are not null."""
    return pc.fill_null(pc.cast(column, pa.int64()), 0).to_numpy(), pc.is_valid(column).to_numpy()


def _kept(inputs: ShardInputs, ranking: Ranking, table: pa.Table) -> np.ndarray:
    assert ranking.where is not None
    for name, value in (("corpus", inputs.corpus), ("shard", inputs.shard)):
        if name not in table.schema.names:
            table = table.append_column(name, pa.repeat(value, table.num_rows))
    connection, _ = _opened(inputs.workspace, ranking.views)
    return sandbox.predicate(connection, ranking.where, table).to_numpy(zero_copy_only=False)


@functools.lru_cache(maxsize=2)
def _opened(workspace: Workspace, views: Views | None) -> tuple[Any, Any]:
    """A connection for predicates, kept for the shards that follow, and what keeps it open."""
    if views is None:
        return sandbox.connect({}), None
    from pipeline.views import opened

    context = opened(workspace, views.corpora, views.stages, locked=True)
    return context.__enter__(), context


atexit.register(_opened.cache_clear)  # at the very end what closes a connection is gone before it


def check_predicate(workspace: Workspace, ranking: Ranking, schema: pa.Schema) -> None:
    """Try a predicate on no rows. Raises UserError that names what is wrong with it.

    Its subqueries run in full, and no task sets them a limit here: one that no task could end is refused.
    """
    if ranking.where is not None:
        connection, _ = _opened(workspace, ranking.views)
        sandbox.predicate(connection, ranking.where, schema.empty_table(), limit(None))


def check_rankable(name: str, kind: pa.DataType) -> None:
    """Raises UserError unless a column can be ranked by."""
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    ):
        raise UserError(f"by {name!r}: cannot rank by a column of type {kind}; expected numbers")
