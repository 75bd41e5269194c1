"""The loss of every token, without the logits of a whole batch, and what each token counts in a step.

    nll, lse = head_losses(hidden, head.weight, head.bias, labels)     # float32 (tokens,), both differentiable
    objective = (shares * nll).sum() + logz * (shares * lse.square()).sum()

The head is applied a piece of positions at a time. Its logits are kept for the backward pass while those of a
micro-batch fit in KEPT_BYTES, and computed again otherwise; the gradient is the same. Any term that is a function of
the tokens' negative log-likelihoods and log-partition values can be built on top: log^2 Z (the "z-loss" of PaLM,
arXiv 2204.02311, weight 1e-4 there), loss-based weights, and so on.

`token_shares` normalises over all micro-batches and ranks of a step (the mean of micro-batch means weighs tokens of
short micro-batches more, which is wrong as soon as there are masks or padding).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

PIECE_BYTES = 64 << 20
"""Of the float32 logits of one piece."""
KEPT_BYTES = 1 << 29
"""Of the logits that a micro-batch keeps for its backward pass."""


def head_losses(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log-likelihood in nats and log-partition of each position, float32 (n,), differentiable.

    hidden: (n, width); weight: (vocabulary, width); labels: int64 (n,). Under autocast the products are taken in its
    dtype; sums and exponentials are float32 always.
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        kind = torch.get_autocast_dtype(device)
        hidden, weight, bias = hidden.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
    return _HeadLosses.apply(hidden, weight, bias, labels)


class _HeadLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: Any, labels: torch.Tensor) -> Any:
        count, rows = len(labels), len(weight)
        size = max(1, PIECE_BYTES // (4 * rows))
        keeps = count * rows * 4 <= KEPT_BYTES
        nll, lse = (torch.empty(count, device=hidden.device) for _ in range(2))
        pieces: list[torch.Tensor] | None = [] if keeps else None
        for first in range(0, count, size):
            part = slice(first, first + size)
            logits = F.linear(hidden[part], weight, bias).float()
            lse[part] = torch.logsumexp(logits, dim=-1)
            nll[part] = lse[part] - logits.gather(1, labels[part, None])[:, 0]
            if pieces is not None:
                pieces.append(logits)
        ctx.save_for_backward(hidden, weight, bias, labels, lse)
        ctx.pieces, ctx.size = pieces, size
        return nll, lse

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        by_nll, by_lse = gradients
        hidden, weight, bias, labels, lse = ctx.saved_tensors
        d_hidden = torch.empty_like(hidden)
        # Sums over pieces are taken in float32, whatever the products are taken in.
        d_weight = torch.zeros(weight.shape, device=weight.device)
        d_bias = None if bias is None else torch.zeros(bias.shape, device=bias.device)
        for number, first in enumerate(range(0, len(labels), ctx.size)):
            part = slice(first, first + ctx.size)
            again = ctx.pieces is None
            logits = F.linear(hidden[part], weight, bias).float() if again else ctx.pieces[number]
            # d nll / d logits = softmax - onehot, d lse / d logits = softmax; in place, for each piece is used once.
            logits.sub_(lse[part, None]).exp_().mul_((by_nll + by_lse)[part, None])
            logits.scatter_add_(1, labels[part, None], -by_nll[part, None])
            if d_bias is not None:
                d_bias += logits.sum(0)
            logits = logits.to(hidden.dtype)
            d_hidden[part] = logits @ weight
            if d_weight.dtype == logits.dtype:
                d_weight.addmm_(logits.T, hidden[part])
            else:
                d_weight += logits.T @ hidden[part]
        ctx.pieces = None
        return d_hidden, d_weight.to(weight.dtype), None if d_bias is None else d_bias.to(bias.dtype), None


def logit_losses(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same from logits (n, vocabulary), for models whose head cannot be applied by itself."""
    logits = logits.float()
    lse = torch.logsumexp(logits, dim=-1)
    return lse - logits.gather(1, labels[:, None])[:, 0], lse


OfLogits = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]
"""(float32 logits (n, vocabulary), labels (n,)) -> tensors of n values each"""


def logit_pieces(
    hidden: torch.Tensor, head: Any, labels: torch.Tensor, of_logits: OfLogits
) -> tuple[torch.Tensor, ...]:
    """of_logits of head(hidden), a piece of positions at a time; the logits are made again for the backward pass."""

    def piece(states: torch.Tensor, own: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return of_logits(head(states).float(), own)

    size = max(1, PIECE_BYTES // (4 * len(head.weight)))
    parts = zip(hidden.split(size), labels.split(size), strict=True)
    found = [checkpoint(piece, states, own, use_reentrant=False, preserve_rng_state=False) for states, own in parts]
    return tuple(torch.cat(column) for column in zip(*found, strict=True))


Per = Literal["token", "sample"]
Divide = Literal["weights", "tokens"]


def token_sums(weights: np.ndarray, samples: np.ndarray, document_weights: np.ndarray, per: Per) -> np.ndarray:
    """What a micro-batch adds to the denominators of its step, float64 (2,): sum of weights, and count.

    weights: float32 (k,), of its scored tokens; samples: int64 (k,), the sample (document segment) of each, rising
    from 0; document_weights: float32 (samples,). Per token: weights of tokens and their number. Per sample: weights of
    the samples and their number, those without a scored token left out.
    """
    if per == "token":
        return np.array([weights.sum(dtype=np.float64), len(weights)])
    there = np.unique(samples)
    return np.array([document_weights[there].sum(dtype=np.float64), len(there)])


def token_shares(
    weights: np.ndarray, samples: np.ndarray, document_weights: np.ndarray, per: Per, denominator: float
) -> np.ndarray:
    """What each scored token counts in the step's loss, float32 (k,); over a whole step they add up to 1.

    denominator: the step's sum (or count) from token_sums. Per token: weight / denominator. Per sample: a sample's
    weight / denominator is shared among its tokens by their weights.
    """
    if denominator == 0:
        return np.zeros(len(weights), np.float32)
    if per == "token":
        return (weights / denominator).astype(np.float32)
    sums = np.bincount(samples, weights, len(document_weights))
    return (weights * (document_weights / np.maximum(sums, 1e-30))[samples] / denominator).astype(np.float32)


def sample_means(values: torch.Tensor, samples: torch.Tensor, weights: torch.Tensor, count: int) -> torch.Tensor:
    """Weighted mean of token values per sample, float32 (count,); 0 for a sample without weight."""
    sums = torch.zeros(2, count, device=values.device)
    sums[0].index_add_(0, samples, values * weights)
    sums[1].index_add_(0, samples, weights)
    return sums[0] / sums[1].clamp_min(1e-30)


def bits_per_byte(nats: float, num_bytes: float) -> float:
    """What a loss in nats over a text of so many UTF-8 bytes is in bits per byte."""
    return float(nats / num_bytes / np.log(2)) if num_bytes else float("nan")


def total(sums: Sequence[np.ndarray]) -> np.ndarray:
    """Sum of token_sums of several micro-batches, float64 (2,)."""
    return np.sum(np.asarray(sums, np.float64).reshape(-1, 2), axis=0)
