"""Scores of the response tokens of one shard, as keys that have an order without ties.

    tokens = ranked(table, settings)
    tokens.scores, tokens.orders, tokens.ties, tokens.control

Only tokens that compete are there: of documents that take part (with tokens, not held out, of the part that is asked
for), in responses, with a score that is a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.errors import UserError
from pipeline.tokens.settings import SelectTokensSettings
from scorers.sstoken.keys import orders, ties
from scorers.sstoken.scores import difference, mix, normalised

PROMPT = ("mass_system", "mass_user", "mass_earlier")
SINK = "mass_sink"


@dataclass(frozen=True)
class Ranked:
    """n rows, of which the tokens that compete are flat, row after row.

    offsets: int64 (rows + 1,), competing tokens before each row. places: int64, position of each in its row.
    scores: float32. orders: uint32, ties: uint64. control: uint64, ties of another seed: the random order.
    reasons: per row, why it does not take part, or None. lengths: int64, tokens of each row.
    """

    offsets: np.ndarray
    places: np.ndarray
    scores: np.ndarray
    orders: np.ndarray
    ties: np.ndarray
    control: np.ndarray
    reasons: list[str | None]
    lengths: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Competing tokens of each row."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> np.ndarray:
        """The row of each competing token."""
        return np.repeat(np.arange(len(self.lengths)), self.counts)


def columns_needed(settings: SelectTokensSettings, there: Sequence[str], table: str) -> list[str]:
    """The columns of a token table that a selection reads. Raises UserError for losses or masses that it lacks."""
    needed = ["id", "reason", "loss_mask"]
    if settings.uses_losses:
        for role in settings.compared:
            if f"nll_{role}" not in there:
                known = ", ".join(name.removeprefix("nll_") for name in there if name.startswith("nll_"))
                raise UserError(
                    f"{settings.method} compares {' and '.join(settings.compared)}, and {table} has losses of {known}: "
                    "score with the one that is missing, or name others with `weaker` and `stronger`"
                )
            needed.append(f"nll_{role}")
    if settings.uses_attention:
        if PROMPT[0] not in there:
            raise UserError(f"{settings.method} needs attention, and {table} has none: score with `layer: -1`")
        needed += [*PROMPT, SINK]
    return needed + [name for name in ("held_out",) if name in there]


def ranked(table: pa.Table, settings: SelectTokensSettings) -> Ranked:
    """table: the columns that are needed, of one shard."""
    ids = table.column("id").to_pylist()
    reasons = _reasons(table, ids, settings)
    takes = np.array([reason is None for reason in reasons], bool)
    mask, offsets = flat(table, "loss_mask")
    lengths = np.diff(offsets)
    row = np.repeat(np.arange(len(ids)), lengths)
    competes = (mask != 0) & takes[row]
    losses: np.ndarray | None = None
    prompt: np.ndarray | None = None
    if settings.uses_losses:
        weaker, stronger = settings.compared
        losses = difference(flat(table, f"nll_{weaker}")[0], flat(table, f"nll_{stronger}")[0])
        competes &= ~np.isnan(losses)
    if settings.uses_attention:
        columns = (*PROMPT, SINK) if settings.sinks == "keep" else PROMPT
        prompt = np.asarray(np.sum([flat(table, name)[0] for name in columns], axis=0, dtype=np.float32))
        competes &= ~np.isnan(prompt)
    chosen = np.flatnonzero(competes)
    counts = np.bincount(row[chosen], minlength=len(ids))
    cuts = np.append(0, np.cumsum(counts))
    scores = _scores(losses, prompt, chosen, cuts, settings)
    places = chosen - offsets[:-1][row[chosen]]
    return Ranked(
        cuts,
        places,
        scores,
        orders(scores),
        ties(ids, counts, places, settings.seed, "tie"),
        ties(ids, counts, places, settings.seed, "control"),
        reasons,
        lengths,
    )


def _scores(
    losses: np.ndarray | None,
    prompt: np.ndarray | None,
    chosen: np.ndarray,
    offsets: np.ndarray,
    settings: SelectTokensSettings,
) -> np.ndarray:
    if settings.method == "random":
        return np.zeros(len(chosen), np.float32)
    if settings.method != "sstoken":
        own = prompt if losses is None else losses
        assert own is not None
        return own[chosen].astype(np.float32)
    normal = None if losses is None else normalised(losses[chosen], offsets, settings.normalise)
    if normal is None or prompt is None:
        return prompt[chosen] if normal is None else normal  # type: ignore[index]
    return mix(normal, prompt[chosen], settings.gamma)


def _reasons(table: pa.Table, ids: list[str], settings: SelectTokensSettings) -> list[str | None]:
    """Why each row does not take part."""
    held = table.column("held_out").to_pylist() if "held_out" in table.column_names else [False] * len(ids)
    found: list[str | None] = []
    for name, reason, out in zip(ids, table.column("reason").to_pylist(), held, strict=True):
        if reason is None and out:
            reason = "held_out"
        if (
            reason is None
            and settings.part is not None
            and part_of(name, settings.part[1], settings.seed) != (settings.part[0])
        ):
            reason = "other_part"
        found.append(reason)
    return found


def part_of(name: str, parts: int, seed: int) -> int:
    """Which part a document is in."""
    return xxhash.xxh3_64_intdigest(f"part\0{seed}\0{name}".encode()) % parts


def flat(table: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(values one after the other, offsets) of a list column; a NULL has no values."""
    column = table.column(name).combine_chunks()
    lengths = pc.fill_null(column.value_lengths(), 0).to_numpy().astype(np.int64)
    values = pc.list_flatten(column)
    return values.to_numpy(zero_copy_only=False), np.append(0, np.cumsum(lengths))
