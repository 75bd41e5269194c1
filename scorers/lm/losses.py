"""Negative log-likelihoods of every token of every document, in nats.

    found = token_losses(model, ["First document.", "Second."])
    found.sums                                # of the documents
    found.values[found.offsets[0] : found.offsets[1]]  # of the tokens of document 0

Every document is scored by itself: no other document's text is ever in its context. The logits are turned into losses
a few positions at a time, in float32, so that memory never holds tokens x vocabulary of a batch: one piece of logits
is kept and written over, for fresh memory costs a CPU as much as the softmax does. Positions that are not scored
(padding, the overlap of windows) do not reach the head at all.

Padding is on the right and the attention mask names it. Causal attention never looks right, and positions count from
the start of the window, which is what every architecture does by itself under right padding.

The same shard gives the same bytes on a rerun with the same engine record, number of torch threads and machine. The
caller fixes the threads (torch.set_num_threads): their number decides how sums are cut up. In float32 other batches,
thread counts, kernels and devices agree within 1e-4; in bfloat16 single tokens may differ by more than 1, their mean
over a document by about 0.05.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scorers.lm.batching import Windows, Work, cut_windows, default_overlap, make_batches, measure
from scorers.lm.model import LanguageModel
from scorers.lm.tokens import Tokens, tokenize

if TYPE_CHECKING:
    import torch

# Floats of one piece of logits: 64 MB, 512 MB. Smaller pieces make the multiplication by the head slow. Another number
# rounds differently: raise VERSION with it.
_PIECE = {"cpu": 2**24, "cuda": 2**27}
# Floats whose softmax is taken at once: on a CPU what stays in the cache of a core between its four passes.
_BLOCK = {"cpu": 2**18, "cuda": 2**27}
_WHOLE_LOGITS = 2**28  # floats of one batch's logits, for the models whose head cannot be applied piece by piece


@dataclass(frozen=True)
class TokenLosses:
    """Losses of the scored tokens of n documents; an empty document has none.

    values: float32 (tokens,), nats. NaN or infinite if the model computed that.
    offsets: int64 (n + 1,); document d has the tokens ``offsets[d]`` up to ``offsets[d + 1]``.
    ends: int64 (tokens,), characters of the document that are whole after the token (see tokens, align).
    begins: int64 (n,), the character at which scoring begins: 0, or with a tokenizer without BOS the end of the first
        token. finishes: int64 (n,), the character at which it ends. Models scored the same characters of a document if
        both agree.
    sums: float64 (n,), of values. chars, bytes: int64 (n,), code points and UTF-8 bytes from begin to finish.
    work: the tokens scored, run and padded.
    """

    values: np.ndarray
    offsets: np.ndarray
    ends: np.ndarray
    begins: np.ndarray
    finishes: np.ndarray
    sums: np.ndarray
    chars: np.ndarray
    bytes: np.ndarray
    work: Work

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def tokens(self) -> np.ndarray:
        """int64 (n,): scored tokens per document."""
        return np.diff(self.offsets)


def token_losses(
    model: LanguageModel,
    texts: Sequence[str],
    *,
    context: int | None = None,
    overlap: int | None = None,
    token_budget: int = 8192,
) -> TokenLosses:
    """The losses of all tokens of ``texts``, which are one shard: its batches depend on nothing else.

    context: tokens per window, by default the model's own limit. Panels name one that all their models have, for with
        another context a long document is another task.
    overlap: inputs of a window that are run again as context of the next, by default context // 16.
    token_budget: tokens per batch with its padding.
    Raises ValueError for a context beyond the model's, or a token that the model has no embedding for.
    """
    context = checked_context(model, context)
    tokens = tokenize(model.tokenizer, model.bos, texts)
    check_ids(model, tokens.ids, tokens.offsets)
    sizes = np.diff(tokens.offsets)
    windows = cut_windows(sizes, tokens.leads, context, default_overlap(context) if overlap is None else overlap)
    if not model.split_head:
        token_budget = max(1, min(token_budget, _WHOLE_LOGITS // model.rows))
    batches = make_batches(windows.lengths, token_budget)
    values = _run(model, tokens, windows, batches)
    return _collect(values, tokens, texts, measure(windows, batches))


def checked_context(model: LanguageModel, context: int | None) -> int:
    """The context to use. Raises ValueError if there is none, or it is beyond the model's."""
    limit = model.context
    if context is None and limit is None:
        raise ValueError(f"{model.folder} names no longest context; say how many tokens a window may hold (context)")
    if context is not None and limit is not None and context > limit:
        raise ValueError(f"context {context}: {model.folder} has at most {limit} positions; expected no more than that")
    chosen = limit if context is None else context
    assert chosen is not None
    return chosen


def check_ids(model: LanguageModel, ids: np.ndarray, offsets: np.ndarray) -> None:
    """Raises ValueError for a token that the model has no embedding for. offsets: of the documents."""
    if (ids >= model.rows).any():
        where = int(np.argmax(ids >= model.rows))
        doc = int(np.searchsorted(offsets, where, side="right")) - 1
        raise ValueError(
            f"{model.folder}: its tokenizer gives id {int(ids[where])} in document {doc}, but the model has "
            f"only {model.rows} embeddings; the tokenizer is not this model's"
        )


def _run(model: LanguageModel, tokens: Tokens, windows: Windows, batches: list[np.ndarray]) -> np.ndarray:
    """float32 values of all scored tokens, in the order of the documents."""
    import torch

    counts = windows.stops - windows.fresh
    places = np.cumsum(np.append(0, counts))  # windows are in order and score each token once: no gaps
    values = np.empty(int(places[-1]), np.float32)
    with torch.inference_mode():
        piece = new_piece(model)
        for batch in batches:
            ids, real, scored, targets = batch_arrays(tokens, windows, batch)
            found = _batch_losses(model, piece, ids, real, scored, targets)
            first = 0
            for window in batch:
                values[places[window] : places[window + 1]] = found[first : first + counts[window]]
                first += counts[window]
    return values


def batch_arrays(tokens: Tokens, windows: Windows, batch: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of shape (windows, longest): ids int64, which are real int64, which are scored bool; and the targets, flat."""
    lengths = windows.lengths[batch]
    columns = np.arange(int(lengths.max()))
    real = columns < lengths[:, None]
    scored = real & (columns >= (windows.fresh - windows.starts)[batch, None])
    origin = tokens.offsets[windows.docs[batch]] + windows.starts[batch]
    positions = np.where(real, origin[:, None] + columns, origin[:, None])
    # Padding repeats the window's first token: a valid id for every model, and masked anyway.
    return tokens.ids[positions], real.astype(np.int64), scored, tokens.ids[positions[scored] + 1]


def new_piece(model: LanguageModel) -> torch.Tensor | None:
    """Where the logits of one piece go, (positions, vocabulary); None for a head that is not a plain product."""
    import torch

    head = model.network.get_output_embeddings()
    if not model.split_head or type(head) is not torch.nn.Linear or head.bias is not None:
        return None
    positions = max(1, _PIECE[model.device.type] // model.rows)
    return torch.empty((positions, len(head.weight)), dtype=head.weight.dtype, device=head.weight.device)


def _batch_losses(
    model: LanguageModel,
    piece: torch.Tensor | None,
    ids: np.ndarray,
    real: np.ndarray,
    scored: np.ndarray,
    targets: np.ndarray,
) -> np.ndarray:
    """float32, the losses of the scored positions of a batch, row after row. piece: from new_piece, written over."""
    import torch

    device = model.device
    inputs: dict[str, Any] = {
        "input_ids": torch.from_numpy(ids).to(device),
        "attention_mask": torch.from_numpy(real).to(device),
        "use_cache": False,
    }
    keep, wanted = torch.from_numpy(scored).to(device), torch.from_numpy(targets).to(device)
    states, head = head_inputs(model, inputs, keep)
    return torch.cat([_cross_entropy(*part) for part in logit_blocks(model, piece, states, head, wanted)]).cpu().numpy()


def head_inputs(model: LanguageModel, inputs: dict[str, Any], keep: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """What the head is applied to at the positions `keep`, (n, width), and the head.

    For the models whose head cannot be applied by itself: their logits, and a head that does nothing.
    """
    import torch

    if model.split_head:
        return model.network.base_model(**inputs)[0][keep], model.network.get_output_embeddings()
    return model.network(**inputs).logits[keep], torch.nn.Identity()


def logit_blocks(
    model: LanguageModel, piece: torch.Tensor | None, states: torch.Tensor, head: Any, wanted: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(logits, targets) of some positions at a time, in order; the logits may be overwritten. piece: from new_piece."""
    import torch

    kind = model.device.type
    size, rows = (max(1, floats[kind] // model.rows) for floats in (_PIECE, _BLOCK))
    for some, own in zip(states.split(size), wanted.split(size), strict=True):
        logits = head(some) if piece is None else torch.mm(some, head.weight.t(), out=piece[: len(some)])
        yield from zip(logits.split(rows), own.split(rows), strict=True)


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """float32 (p,): log-sum-exp of the logits (p, vocabulary) less the target's. Overwrites the logits."""
    # In place: on a CPU a fifth faster than logsumexp or cross_entropy, which write the piece once more.
    logits = logits.float()
    top = logits.amax(dim=-1, keepdim=True)
    above = top[:, 0] - logits.gather(1, targets[:, None])[:, 0]
    return logits.sub_(top).exp_().sum(dim=-1).log_().add_(above)


def _collect(values: np.ndarray, tokens: Tokens, texts: Sequence[str], work: Work) -> TokenLosses:
    counts = np.diff(tokens.offsets) - tokens.leads
    offsets = np.cumsum(np.append(0, counts))
    ends = np.empty(len(values), np.int64)
    sums = np.zeros(len(texts))
    begins, finishes, num_bytes = (np.zeros(len(texts), np.int64) for _ in range(3))
    for doc, text in enumerate(texts):
        first, last = tokens.offsets[doc], tokens.offsets[doc + 1]
        if first == last:
            continue
        own = tokens.ends[first:last]
        lead = int(tokens.leads[doc])
        mine = slice(offsets[doc], offsets[doc + 1])
        ends[mine] = own[lead:]
        sums[doc] = values[mine].sum(dtype=np.float64)
        begins[doc], finishes[doc] = own[lead - 1], own[-1]
        num_bytes[doc] = len(text[begins[doc] : finishes[doc]].encode())
    return TokenLosses(values, offsets, ends, begins, finishes, sums, finishes - begins, num_bytes, work)
