"""Rows of packed documents as arrays of fixed shape, step after step.

The bytes of a step depend on the packed documents, the plan and the number of the step alone: not on the number of
loader workers, and each rank takes its slice of the same rows whatever the number of ranks. So a run goes on from the
number of its step.

    for micros in batches(packed, rows, range(10, 20), rows_per_step=32, micro=8, workers=2):
        for batch in micros:
            ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.trainer.packed import Packed
from pipeline.trainer.plan import Plan, Rows

AHEAD = 4
"""Steps that each loader worker makes ahead."""


@dataclass(frozen=True)
class Batch:
    """b rows of T places each. Every piece of a document is a segment of its own; places after the last are padding.

    inputs, labels: int64 (b, T); the label is the token that follows the input. 0 at padding.
    weights: float32 (b, T), document weight times the weight of the label; 0 at padding.
    positions: int64 (b, T), from 0 in every piece; the padding counts as a piece.
    segments: int32 (b, T), 0, 1, 2, ... within the row; -1 at padding.
    documents: int64 (b, T), number of the document; -1 at padding.
    marks: int64 (b, T), of a method that changed the batch, for its other hooks (pipeline.trainer.hooks); else None.
    """

    inputs: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    documents: np.ndarray
    marks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def rows(self, first: int, last: int) -> Batch:
        """The rows first..last-1, as views."""
        parts: dict[str, Any] = {name: None if a is None else a[first:last] for name, a in vars(self).items()}
        return Batch(**parts)


def collate(packed: Packed, pieces: Plan, weighted: bool = True) -> Batch:
    """The rows of a plan. weighted: whether documents' weights multiply (not where the plan drew by them)."""
    b, context = pieces.num_rows, pieces.context
    lengths = pieces.lengths.astype(np.int64)
    per_row = np.diff(pieces.row_offsets)
    first_piece = np.repeat(pieces.row_offsets[:-1], per_row)
    ends = np.cumsum(lengths)
    begins = ends - lengths
    # Where each piece begins in the flat array of all places.
    places = begins - begins[first_piece] + np.repeat(np.arange(b) * context, per_row)
    piece = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(piece)) - begins[piece]
    at = places[piece] + within

    inputs, labels = np.zeros(b * context, np.int64), np.zeros(b * context, np.int64)
    weights = np.zeros(b * context, np.float32)
    weights[at] = packed.weights[pieces.documents][piece] if weighted else 1.0
    for document, start, length, place in zip(
        pieces.documents.tolist(), pieces.starts.tolist(), pieces.lengths.tolist(), places.tolist(), strict=True
    ):
        tokens = packed.tokens(document)
        inputs[place : place + length] = tokens[start : start + length]
        labels[place : place + length] = tokens[start + 1 : start + length + 1]
        of_tokens = packed.token_weights(document)
        if of_tokens is not None:
            weights[place : place + length] *= of_tokens[start + 1 : start + length + 1]

    row_ends = np.concatenate([[0], ends])[pieces.row_offsets]
    filled = np.diff(row_ends)[:, None]
    positions = np.arange(context) - np.where(np.arange(context) >= filled, filled, 0)
    positions.reshape(-1)[at] = within
    segments, documents = np.full(b * context, -1, np.int32), np.full(b * context, -1, np.int64)
    segments[at] = (np.arange(len(lengths)) - first_piece)[piece]
    documents[at] = pieces.documents[piece]
    shape = (b, context)
    return Batch(
        inputs.reshape(shape),
        labels.reshape(shape),
        weights.reshape(shape),
        positions,
        segments.reshape(shape),
        documents.reshape(shape),
    )


@dataclass(frozen=True)
class Steps:
    """The micro-batches of one rank by step: a map-style dataset."""

    packed: Packed
    rows: Rows
    rows_per_step: int
    micro: int
    rank: int = 0
    world: int = 1

    def __getitem__(self, step: int) -> list[Batch]:
        share = self.rows_per_step // self.world
        first = step * self.rows_per_step + self.rank * share
        whole = collate(self.packed, self.rows.rows(first, first + share), weighted=not self.rows.resampled)
        return [whole.rows(at, at + self.micro) for at in range(0, share, self.micro)]


def batches(
    packed: Packed,
    rows: Rows,
    steps: range,
    rows_per_step: int,
    micro: int,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
) -> Iterator[list[Batch]]:
    """The micro-batches of each step, in order: `micro` rows each, all of one shape, also where the rows end.

    workers: processes that prepare steps ahead (torch's DataLoader); 0: made when asked for.
    Raises ValueError if the rows of a step do not divide among ranks and micro-batches.
    """
    if rows_per_step % (micro * world):
        raise ValueError(
            f"{rows_per_step} rows a step do not divide into micro-batches of {micro} on {world} ranks; "
            f"expected a multiple of {micro * world}"
        )
    made = Steps(packed, rows, rows_per_step, micro, rank, world)
    if not len(steps):
        return
    if workers == 0:
        for step in steps:
            yield made[step]
        return
    rows.rows(steps[0] * rows_per_step, steps[0] * rows_per_step + 1)  # planned once, before the workers are forked
    import torch
    from torch.utils.data import DataLoader

    # A generator of its own: the loader draws from it, and the run's random numbers must not depend on the workers.
    loader: DataLoader[list[Batch]] = DataLoader(
        made,  # type: ignore[arg-type]
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        collate_fn=_as_it_is,
        prefetch_factor=AHEAD,
        generator=torch.Generator(),
    )
    yield from loader


def _as_it_is(batch: list[Batch]) -> list[Batch]:
    return batch
