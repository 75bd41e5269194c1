"""Multi-token prediction: mask tokens after a prefix learn to predict the tokens beyond the next (arXiv 2507.11851).

The training side of the paper. Behind chosen positions (anchors) of a row stand k mask tokens, each with an embedding
of its own and the position of the token it stands for: mask j after anchor t predicts token t + 1 + j, while the anchor
itself predicts t + 1 as ever. A mask sees the text up to its anchor and the masks of its block up to itself; the text
sees no mask. Three things are new, the base model is frozen unless `base: trained`:

- mask embeddings (k x width);
- adapters on the linear layers inside the decoder, W x + B A x for masks alone, W x for everything else (gated LoRA):
  without masks the network computes what the base model does, bit for bit;
- a sampler, the mask's state and two layers over [that state; embedding of the token before], through the model's head.

A position adds to the loss the mean over its masks of  cross_entropy x CE(head) + sampler x CE(sampler) +
consistency x mean (h_mask - h)^2, h being the state, without gradient, of the position that predicts the same token.

    model: {checkpoint: ...}
    methods: [{method: multi_token, masks: 4, rank: 32}]

At evaluations, on each set: `accepted/<set>`, tokens per forward pass when the drafts of the sampler are kept as far as
the base model's own greedy choice agrees (1 is a model without heads, 1 + masks the most), and `acceptance_<j>/<set>`,
the share of positions whose first j drafts are all kept. Checkpoints hold the base model as it is, and the rest beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import UserError
from pipeline.trainer.methods.future import Future, GatedLinear, layout, run_body

if TYPE_CHECKING:
    from pipeline.trainer.hooks import Method, Micro
    from pipeline.trainer.model import Trainee

ADAPTED = ("down", "up")


class Settings(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    masks: Annotated[int, Field(ge=1, le=32)] = 4
    """k"""
    rank: Annotated[int, Field(ge=1)] = 32
    """of the adapters; very high ones did harm in the paper"""
    anchors: Annotated[int, Field(ge=1)] = 32
    """positions of a row that have masks, drawn anew in every step; each costs k tokens"""
    base: Literal["frozen", "trained"] = "frozen"
    """trained: an auxiliary loss beside the plain one, with all weights"""
    cross_entropy: Annotated[float, Field(ge=0)] = 1.0
    sampler: Annotated[float, Field(ge=0)] = 1.0
    consistency: Annotated[float, Field(ge=0)] = 1.0
    batches: Annotated[int, Field(ge=1)] = 4
    """micro-batches of each evaluation set on which drafts are tried"""


def make(settings: Settings, seed: int) -> Method:
    """The method for a run."""
    from pipeline.trainer.hooks import Method

    def check(network: Any, processes: int) -> None:
        if processes > 1:
            raise UserError(
                f"method multi_token: cannot run in {processes} processes: its masks go round the sharded model"
            )
        if network.config._attn_implementation not in ("sdpa", "eager"):
            raise UserError(
                "method multi_token: needs model.attention sdpa or eager: masks have an attention of their own"
            )

    def prepare(network: Any, fresh: bool) -> None:
        add_heads(network, settings, seed)

    def losses(step: int, trainee: Trainee, micro: Micro) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        draw = np.random.default_rng([seed, step, 0x317])
        return head_terms(trainee, micro, settings, draw)

    def probe(step: int, trainee: Trainee, micros: Sequence[Micro]) -> dict[str, float]:
        return acceptance(trainee, micros, settings, seed)

    return Method(
        "multi_token",
        check=check,
        prepare=prepare,
        export=plain_weights,
        losses=losses,
        probe=probe,
        probe_every=None,
        probe_batches=settings.batches,
    )


def add_heads(network: Any, settings: Settings, seed: int) -> None:
    """Freeze the base, put adapters on its linear layers and the other new weights at `network.future`."""
    from pipeline.trainer.methods.lost import linears
    from pipeline.trainer.model import _head_splits

    if not _head_splits(network):
        raise UserError(f"method multi_token: {type(network).__name__} does more behind its body than a linear head")
    if settings.base == "frozen":
        network.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    found = list(linears(network))
    if not found:
        raise UserError("method multi_token: the decoder has no linear layers to put adapters on")
    for _, parent, name, linear in found:
        setattr(parent, name, GatedLinear(linear, settings.rank, generator))
    network.future = Future(network.get_input_embeddings().weight, settings.masks, generator)


def plain_weights(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The base model's."""
    return {
        name: value
        for name, value in weights.items()
        if not name.startswith("future.") and name.rpartition(".")[2] not in ADAPTED
    }


def head_terms(
    trainee: Trainee, micro: Micro, settings: Settings, draw: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What each scored position adds to the loss; its nll and lse. Anchors stand for all: they count for the others."""
    from pipeline.trainer.loss import head_losses

    network = trainee.network
    plan = layout(micro, settings.masks, settings.anchors, draw)
    embed = network.get_input_embeddings()
    masks = network.future.embeddings[plan.offsets]
    states, drafts = run_body(network, micro, plan, masks, gated=True)
    head = network.get_output_embeddings()
    bias = getattr(head, "bias", None)
    text = states.flatten(0, 1)
    nll, lse = head_losses(text[micro.where], head.weight, bias, micro.labels)
    if not len(plan.targets):
        return nll + 0 * network.future.embeddings.sum(), nll, lse
    terms = settings.cross_entropy * head_losses(drafts, head.weight, bias, plan.targets)[0]
    if settings.sampler:
        sampled = network.future.sample(drafts, embed(plan.before))
        terms = terms + settings.sampler * head_losses(sampled, head.weight, bias, plan.targets)[0]
    if settings.consistency:
        apart = (drafts - text.detach()[plan.alike]).float()
        terms = terms + settings.consistency * apart.square().mean(-1)
    count = torch.zeros(len(micro.where), device=terms.device).index_add_(0, plan.scored, torch.ones_like(terms))
    mean = torch.zeros_like(count).index_add(0, plan.scored, terms) / count.clamp_min(1)
    stand = micro.shares.sum() / micro.shares[count > 0].sum().clamp_min(1e-30)
    return nll + stand * mean, nll, lse


@torch.no_grad()
def acceptance(trainee: Trainee, micros: Sequence[Micro], settings: Settings, seed: int) -> dict[str, float]:
    """Tokens per pass, and the share of positions whose first j drafts are kept, j from 1."""
    network, was = trainee.network, trainee.training
    trainee.eval()
    embed, head = network.get_input_embeddings(), network.get_output_embeddings()
    kept, tried = np.zeros(settings.masks), 0
    for number, micro in enumerate(micros):
        plan = layout(micro, settings.masks, settings.anchors, np.random.default_rng([seed, number]), whole=True)
        if not len(plan.targets):
            continue
        states, found = run_body(network, micro, plan, network.future.embeddings[plan.offsets], gated=True)
        found = found.reshape(-1, settings.masks, found.shape[-1])
        # The anchor's own greedy token, then the sampler's, each fed with the one before.
        tokens = [head(states.flatten(0, 1)[plan.anchors]).argmax(-1)]
        for j in range(settings.masks):
            sampled = network.future.sample(found[:, j], embed(tokens[-1]))
            tokens.append(head(sampled).argmax(-1))
        drafted = torch.stack(tokens, dim=1)
        # What the base model says after the anchor's token and each draft: one pass over the drafts without the last.
        fed = embed(drafted[:, :-1].flatten())
        _, checked = run_body(network, micro, plan, fed, gated=False)
        greedy = head(checked).argmax(-1).reshape(-1, settings.masks)
        agreed = (greedy == drafted[:, 1:]).long().cumprod(dim=1)
        kept += agreed.sum(0).cpu().numpy()
        tried += len(agreed)
    trainee.train(was)
    shares = kept / max(tried, 1)
    return {"accepted": 1 + float(shares.sum())} | {f"acceptance_{j + 1}": float(s) for j, s in enumerate(shares)}
