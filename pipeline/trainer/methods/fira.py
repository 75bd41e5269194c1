"""Fira: Adam in a low-rank part of the gradient, and the rest scaled by what Adam did there (arXiv 2410.01623).

For every matrix of the linear layers inside the decoder, with gradient G and P the r leading singular vectors of its
smaller side (refreshed every `update_gap` steps), R = P^T G and Adam's direction psi = m / (sqrt(v) + eps) of R:

    phi_i = |psi_i| / |R_i|  per column            S = phi x (G - P R)
    S <- S / |S| x gamma |S_before|   where |S| / |S_before| > gamma
    W <- W - lr' (alpha P psi + S)                 lr' = lr sqrt(1 - beta2^t) / (1 - beta1^t)

All else is AdamW. Moments are r x n instead of m x n, and are not reset when P changes.

    methods: [{method: fira, rank: 128, residual: paper}]

`residual: paper` is the formula. `residual: code` is what the authors' programs do: there P R is multiplied by alpha
before it is taken from G, so that a share 1 - alpha of the gradient in the subspace is added a second time; take it to
repeat their numbers. The projection needs the whole gradient of a matrix, so several processes are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.trainer.hooks import Method
    from pipeline.trainer.settings import OptimizerSettings

TINY = 1e-8
"""In the denominator of phi."""


class Settings(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: Annotated[int, Field(ge=1)] = 128
    """r; a smaller side of a matrix is its limit"""
    update_gap: Annotated[int, Field(ge=1)] = 200
    """steps between new projections"""
    alpha: Annotated[float, Field(gt=0)] = 0.25
    """the authors take 0.0625 from one billion parameters on"""
    gamma: Annotated[float, Field(ge=1)] | None = 1.01
    """how fast |S| may grow; None: no limit"""
    residual: Literal["paper", "code"] = "paper"
    eps: Annotated[float, Field(gt=0)] = 1e-6
    """beside the square root of the projected second moment"""
    stagger: bool = False
    """project the matrices anew in turns instead of all in one step, which takes as long as many others"""


def make(settings: Settings, seed: int) -> Method:
    """The method for a run."""
    from pipeline.trainer.hooks import Method
    from pipeline.trainer.methods.frugal import linear_weights

    def check(network: Any, processes: int) -> None:
        if processes > 1:
            raise UserError(
                f"method fira: cannot run in {processes} processes: its projection needs the whole gradient of a "
                "matrix, and FSDP2 gives each process a part; run it in one process, or take frugal"
            )
        if not linear_weights(network):
            raise UserError("method fira: the model's decoder layers have no linear layers; expected some")

    def optimizer(network: Any, common: OptimizerSettings) -> torch.optim.Optimizer:
        from pipeline.trainer.optimizer import parameter_groups

        projected = {id(p) for p in linear_weights(network)}
        groups = []
        for group in parameter_groups(network, common.weight_decay):
            for own in (True, False):
                chosen = [p for p in group["params"] if (id(p) in projected) == own]
                if chosen:
                    groups.append(group | {"params": chosen, "projected": own})
        return Fira(groups, common, settings)

    return Method("fira", check=check, optimizer=optimizer)


class Fira(torch.optim.AdamW):
    """AdamW, but for the groups with `projected`."""

    param_groups: list[dict[str, Any]]

    def __init__(self, groups: list[dict[str, Any]], common: OptimizerSettings, settings: Settings):
        self.settings = settings
        super().__init__(groups, lr=common.lr, betas=common.betas, eps=common.eps, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update."""
        assert closure is None
        every: list[dict[str, Any]] = self.param_groups
        try:
            self.param_groups = [group for group in every if not group["projected"]]
            super().step()
        finally:
            self.param_groups = every
        number = 0
        for group in every:
            for parameter in group["params"] if group["projected"] else ():
                if parameter.grad is not None:
                    self._projected(parameter, group, number)
                number += 1

    def _projected(self, parameter: torch.Tensor, group: dict[str, Any], number: int) -> None:
        settings, gradient, state = self.settings, parameter.grad, self.state[parameter]
        assert gradient is not None
        beta1, beta2 = group["betas"]
        if "step" not in state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["limit"] = torch.full((), float("inf"), device=parameter.device)
        done = int(state["step"])
        turn = number * settings.update_gap // max(len(group["params"]), 1) if settings.stagger else 0
        if "projection" not in state or (done + turn) % settings.update_gap == 0:
            state["projection"] = projection(gradient, settings.rank)
        wide = gradient.shape[0] < gradient.shape[1]
        own = gradient if wide else gradient.T
        basis = state["projection"]
        inner = basis.T @ own
        if "exp_avg" not in state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(inner), torch.zeros_like(inner)
        state["exp_avg"].mul_(beta1).add_(inner, alpha=1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(inner, inner, value=1 - beta2)
        state["step"] += 1
        direction = state["exp_avg"] / state["exp_avg_sq"].sqrt().add_(settings.eps)
        moved, state["limit"] = update(own, basis, inner, direction, state["limit"], settings)
        steps = done + 1
        rate = group["lr"] * (1 - beta2**steps) ** 0.5 / (1 - beta1**steps)
        parameter.add_(moved if wide else moved.T, alpha=-rate)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])


def projection(gradient: torch.Tensor, rank: int) -> torch.Tensor:
    """(side, r): the leading singular vectors of the smaller side (of the columns' side for square matrices)."""
    wide = gradient.shape[0] < gradient.shape[1]
    own = (gradient if wide else gradient.T).float()
    vectors = torch.linalg.svd(own, full_matrices=False).U
    return vectors[:, :rank].contiguous().to(gradient.dtype)


def update(
    gradient: torch.Tensor,
    basis: torch.Tensor,
    inner: torch.Tensor,
    direction: torch.Tensor,
    limit: torch.Tensor,
    settings: Settings,
) -> tuple[torch.Tensor, torch.Tensor]:
    """alpha P psi + S, and |S| for the limit of the next step. limit: |S| of the step before; infinite: none yet."""
    share = settings.alpha if settings.residual == "code" else 1.0
    phi = direction.norm(dim=0) / (inner.norm(dim=0) + TINY)
    rest = phi * (gradient - share * (basis @ inner))
    size = rest.norm()
    if settings.gamma is not None:
        most = settings.gamma * (limit + TINY)  # not zero: after a step without a gradient S could never come back
        rest = rest * torch.clamp(most / (size + TINY), max=1.0)
        size = torch.minimum(size, most)
    return settings.alpha * (basis @ direction) + rest, size
