"""Losses of ready token sequences, and where the attention of their responses goes: one forward pass for both.

    sequences = Sequences(ids, offsets, responses, classes)
    found = score_sequences(model, sequences, context=2048, layer=-1)
    found.nll                # float32 (tokens,), aligned to the tokens: entry j is the loss of token j, the first NaN
    found.masses             # float32 (tokens, CLASSES): what token j, once read, attends to; NaN outside of responses

Every sequence is by itself: a row of its own, padded on the right (causal attention never looks there, so no mask is
needed), or several in a row whose positions restart, where the model keeps them apart. Both give the same numbers
within the rounding of float32. Tokens beyond the context are not run and have NaN.

The loss of token j is read at position j - 1; its attention at position j, so that all tokens are run, also the last.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scorers.lm.attention import CLASSES, Span, attention_masses, layer_index, watched
from scorers.lm.batching import make_batches, pack_rows
from scorers.lm.losses import check_ids, checked_context, head_inputs, logit_blocks, new_piece
from scorers.lm.model import LanguageModel

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sequences:
    """n token sequences, one after the other.

    ids: int64 (tokens,). offsets: int64 (n + 1,).
    responses: int64 (r, 2), first and end of each response as places in `ids`, rising; none crosses a sequence.
    classes: int8 (tokens,), the class of each token for the responses after it (scorers.lm.attention).
    """

    ids: np.ndarray
    offsets: np.ndarray
    responses: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class SequenceScores:
    """Aligned to the tokens. nll: float32 (tokens,), nats. entropy: float32, of the prediction of the token, nats.
    ranks: int32, how many tokens the model held more likely; -1 where there is no loss. masses: float32
    (tokens, CLASSES). None: not asked for."""

    nll: np.ndarray
    entropy: np.ndarray | None
    ranks: np.ndarray | None
    masses: np.ndarray | None


def score_sequences(
    model: LanguageModel,
    sequences: Sequences,
    *,
    context: int | None = None,
    token_budget: int = 8192,
    packed: bool = False,
    layer: int | None = None,
    entropy: bool = False,
    ranks: bool = False,
) -> SequenceScores:
    """Scores of all sequences, which are one shard: the batches depend on nothing else.

    layer: whose attention is measured, -1 the last; None: none. packed: several sequences in a row.
    Raises ValueError for a context beyond the model's, ids that it does not have, or a model that does not keep the
    sequences of a row apart.
    """
    import torch

    context = checked_context(model, context)
    check_ids(model, sequences.ids, sequences.offsets)
    if layer is not None:
        layer = layer_index(model.network, layer)
    count = len(sequences.ids)
    found = SequenceScores(
        np.full(count, np.nan, np.float32),
        np.full(count, np.nan, np.float32) if entropy else None,
        np.full(count, -1, np.int32) if ranks else None,
        None if layer is None else np.full((count, CLASSES), np.nan, np.float32),
    )
    lengths = np.minimum(np.diff(sequences.offsets), context)
    with torch.inference_mode():
        if packed:
            _check_apart(model)
        piece = new_piece(model)
        for rows in _rows(lengths, context, token_budget, packed):
            _run(model, piece, sequences, lengths, rows, layer, found)
    return found


def _rows(lengths: np.ndarray, context: int, budget: int, packed: bool) -> list[list[np.ndarray]]:
    """The batches: of each of its rows, the sequences in it. Those of fewer than two tokens have nothing to run."""
    some = np.flatnonzero(lengths > 1)
    if not packed:
        return [[some[[i]] for i in batch] for batch in make_batches(lengths[some], budget)]
    rows = [some[row] for row in pack_rows(lengths[some], context)]
    return [[rows[i] for i in batch] for batch in make_batches(np.array([lengths[row].sum() for row in rows]), budget)]


def _run(
    model: LanguageModel,
    piece: torch.Tensor | None,
    sequences: Sequences,
    lengths: np.ndarray,
    rows: list[np.ndarray],
    layer: int | None,
    found: SequenceScores,
) -> None:
    """One batch; its scores are written to their places."""
    import torch

    places, positions = _layout(sequences, lengths, rows)
    real = places >= 0
    ids = np.where(real, sequences.ids[places], sequences.ids[places[:, :1]])
    follows = np.zeros_like(real)
    follows[:, :-1] = real[:, :-1] & real[:, 1:] & (positions[:, 1:] > positions[:, :-1])
    targets = places[follows] + 1
    device = model.device
    inputs: dict[str, Any] = {"input_ids": torch.from_numpy(ids).to(device), "use_cache": False}
    if any(len(row) > 1 for row in rows):
        inputs["position_ids"] = torch.from_numpy(positions).to(device)
    watching = contextlib.nullcontext() if layer is None else watched(model.network, layer)
    with watching as seen:
        states, head = head_inputs(model, inputs, torch.from_numpy(follows).to(device))
    wanted = torch.from_numpy(sequences.ids[targets]).to(device)
    parts = [
        _values(logits, own, found.entropy is not None, found.ranks is not None)
        for logits, own in logit_blocks(model, piece, states, head, wanted)
    ]
    nll, spread, ranks = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    found.nll[targets] = nll
    if found.entropy is not None:
        found.entropy[targets] = spread
    if found.ranks is not None:
        found.ranks[targets] = ranks
    if seen is not None:
        assert found.masses is not None
        spans, at = _spans(sequences, lengths, rows)
        classes = np.where(real, sequences.classes[places], 0).astype(np.int64)
        masses = attention_masses(seen.states, spans, torch.from_numpy(classes).to(device))
        found.masses[at] = masses.cpu().numpy()


def _layout(sequences: Sequences, lengths: np.ndarray, rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """int64 (rows, longest) twice: the place of each token in `ids`, -1 at padding, and its position."""
    shape = (len(rows), max(int(lengths[row].sum()) for row in rows))
    places, positions = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
    for number, row in enumerate(rows):
        at = 0
        for one in row:
            run = np.arange(lengths[one])
            places[number, at : at + len(run)] = sequences.offsets[one] + run
            positions[number, at : at + len(run)] = run
            at += len(run)
        positions[number, at:] = np.arange(shape[1] - at)
    return places, positions


def _spans(sequences: Sequences, lengths: np.ndarray, rows: list[np.ndarray]) -> tuple[list[Span], np.ndarray]:
    """The responses of a batch, as far as they were run, and the places of their tokens in `ids`."""
    spans, places = [], [np.zeros(0, np.int64)]
    firsts = sequences.responses[:, 0]
    for number, row in enumerate(rows):
        begin = 0
        for one in row:
            start, end = int(sequences.offsets[one]), int(sequences.offsets[one] + lengths[one])
            for first, last in sequences.responses[np.searchsorted(firsts, start) : np.searchsorted(firsts, end)]:
                stop = min(int(last), end)
                spans.append(Span(number, begin, begin + int(first) - start, begin + stop - start))
                places.append(np.arange(first, stop))
            begin += int(lengths[one])
    return spans, np.concatenate(places)


def _values(
    logits: torch.Tensor, targets: torch.Tensor, entropy: bool, ranks: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(loss, entropy, rank) of each position; what is not asked for is empty. Overwrites the logits."""
    import torch

    logits = logits.float()
    own = logits.gather(1, targets[:, None])
    rank = (logits > own).sum(dim=-1, dtype=torch.int32) if ranks else own[:0, 0]
    top = logits.amax(dim=-1, keepdim=True)
    logits.sub_(top)
    if not entropy:
        return logits.exp_().sum(dim=-1).log_().add_((top - own)[:, 0]), own[:0, 0], rank
    weights = logits.exp()
    sums = weights.sum(dim=-1)
    log = sums.log()
    return log + (top - own)[:, 0], log - weights.mul_(logits).sum(dim=-1) / sums, rank


def _check_apart(model: LanguageModel) -> None:
    """Raises ValueError if what stands in one sequence of a row moves the next one."""
    import torch

    ids = torch.arange(12, device=model.device) * 7 % model.rows
    other = ids.clone()
    other[:6] = (ids[:6] + 3) % model.rows
    positions = torch.arange(6, device=model.device).repeat(2)[None]
    keep = torch.zeros((1, 12), dtype=torch.bool, device=model.device)
    keep[:, 6:] = True
    first, second = (
        head_inputs(model, {"input_ids": one[None], "position_ids": positions, "use_cache": False}, keep)[0]
        for one in (ids, other)
    )
    # Not to the bit: a mixture of experts sums the tokens of both together.
    if not torch.allclose(first.float(), second.float(), atol=1e-3, rtol=1e-3):
        raise ValueError(
            f"{type(model.network).__name__} with attention {model.engine['attention']!r} does not keep the sequences "
            "of a row apart; score with layout: padded"
        )
