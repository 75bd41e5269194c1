"""LOST layers: every matrix as a low-rank part and a few whole input channels (arXiv 2508.02668).

The linear layers inside the decoder are replaced before training. Of a matrix W (out x in) with singular values s_i,
the first r make the low-rank part, A = U_r sqrt(S_r) (in x r) and B = sqrt(S_r) V_r^T (r x out) of W^T; of the
`complement_rank` after them, W_c = sum s_i u_i v_i^T, the input channels I with the largest columns are kept whole,
W_s = W[:, I] of the matrix itself, max(1, density x in) of them, for good. Then

    y = gamma act(x A) B + (1 - gamma) x[I] W_s^T + bias

with r (in + out) + density in out parameters instead of in x out; gradients and moments shrink alike.

    methods: [{method: lost, rank: 64, density: 0.05, gamma: 0.5, activation: identity}]

With the identity as `act` the layer is a matrix again, and checkpoints hold these plain weights beside the parts. With
`silu`, the paper's, it is not: there are no plain weights, and checkpoints have no model.safetensors, only the parts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.trainer.hooks import Method

INNER = ("low_in", "low_out", "sparse", "channels")


class Settings(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: Annotated[int, Field(ge=1)] = 64
    density: Annotated[float, Field(gt=0, le=1)] = 0.05
    """share of the input channels that are kept whole"""
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.5
    """share of the low-rank part; the authors' scripts take 0.7"""
    activation: Literal["identity", "silu"] = "identity"
    complement_rank: Annotated[int, Field(ge=1)] | None = None
    """singular values after the first r by which channels are chosen; None: as many as the rank"""


def make(settings: Settings, seed: int) -> Method:
    """The method for a run."""
    from pipeline.trainer.hooks import Method

    def prepare(network: Any, fresh: bool) -> None:
        count = 0
        for _, parent, name, linear in linears(network):
            setattr(parent, name, LostLinear(linear, settings, fresh))
            count += 1
        if not count:
            raise UserError("method lost: the model's decoder layers have no linear layers; expected some")
        if fresh and settings.activation != "identity":
            print(
                f"method lost: with the activation {settings.activation} there are no plain weights to export; the "
                "checkpoints hold the layers' parts, which only this trainer reads",
                file=sys.stderr,
            )

    def export(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        return plain_weights(weights, settings.gamma) if settings.activation == "identity" else None

    return Method("lost", prepare=prepare, export=export)


def linears(network: Any) -> Iterator[tuple[str, nn.Module, str, nn.Linear]]:
    """(name, parent, attribute, layer) of the linear layers inside the decoder layers; safe to replace on the way."""
    from pipeline.trainer.model import decoder_layers

    inside = {id(module) for layer in decoder_layers(network) for module in layer.modules()}
    for name, parent in list(network.named_modules()):
        if id(parent) in inside:
            for attribute, child in list(parent.named_children()):
                if isinstance(child, nn.Linear):
                    yield f"{name}.{attribute}", parent, attribute, child


class LostLinear(nn.Module):
    """See the module."""

    channels: torch.Tensor

    def __init__(self, linear: nn.Linear, settings: Settings, fresh: bool):
        super().__init__()
        self.gamma, self.activation = settings.gamma, settings.activation
        self.in_features, self.out_features = linear.in_features, linear.out_features
        rank = min(settings.rank, linear.in_features, linear.out_features)
        if fresh:
            low_in, low_out, sparse, channels = split(linear.weight.detach(), rank, settings)
        else:
            count = max(1, int(settings.density * linear.in_features))
            low_in, low_out = torch.zeros(linear.in_features, rank), torch.zeros(rank, linear.out_features)
            sparse, channels = torch.zeros(linear.out_features, count), torch.zeros(count, dtype=torch.int64)
        self.low_in, self.low_out, self.sparse = nn.Parameter(low_in), nn.Parameter(low_out), nn.Parameter(sparse)
        self.bias = linear.bias
        self.register_buffer("channels", channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The formula above."""
        inner = x @ self.low_in
        inner = F.silu(inner) if self.activation == "silu" else inner
        whole = F.linear(x[..., self.channels], self.sparse)
        found = self.gamma * (inner @ self.low_out) + (1 - self.gamma) * whole
        return found if self.bias is None else found + self.bias


def split(weight: torch.Tensor, rank: int, settings: Settings) -> tuple[torch.Tensor, ...]:
    """A, B, W_s and I of a matrix (out, in)."""
    left, values, right = torch.linalg.svd(weight.float().T, full_matrices=False)
    root = values[:rank].sqrt()
    after = slice(rank, rank + (settings.complement_rank or rank))
    complement = (left[:, after] * values[after]) @ right[after]  # (in, out): a row is an input channel
    sizes = complement.norm(dim=1) if complement.numel() and values[after].numel() else weight.float().norm(dim=0)
    count = max(1, int(settings.density * weight.shape[1]))
    channels = sizes.topk(count).indices.sort().values
    return (
        (left[:, :rank] * root).contiguous(),
        (root[:, None] * right[:rank]).contiguous(),
        weight[:, channels].clone(),
        channels,
    )


def plain_weights(weights: Mapping[str, torch.Tensor], gamma: float) -> dict[str, torch.Tensor]:
    """The state of the network with matrices instead of LOST layers without an activation."""
    plain = {}
    for name, value in weights.items():
        stem, _, last = name.rpartition(".")
        if last == "low_in":
            matrix = gamma * (value @ weights[f"{stem}.low_out"]).T
            matrix[:, weights[f"{stem}.channels"]] += (1 - gamma) * weights[f"{stem}.sparse"]
            plain[f"{stem}.weight"] = matrix.contiguous()
        elif last not in INNER or f"{stem}.low_in" not in weights:
            plain[name] = value
    return plain
