"""AdamW over two groups of parameters, and the learning rate as a pure function of the step.

Matrices are decayed; embeddings, norms and biases are not. The rate depends on the step alone, so that resuming needs
no state of a scheduler.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from pipeline.trainer.settings import OptimizerSettings, ScheduleSettings


def parameter_groups(network: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimizer: matrices outside the embeddings with decay, the rest without."""
    embedded = {id(p) for module in network.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    head = network.get_output_embeddings()
    embedded |= {id(p) for p in head.parameters()} if head is not None else set()
    named = [p for p in network.parameters() if p.requires_grad]
    decayed = [p for p in named if p.ndim >= 2 and id(p) not in embedded]
    chosen = {id(p) for p in decayed}
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": [p for p in named if id(p) not in chosen], "weight_decay": 0.0},
    ]


def make_adamw(network: Any, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The default optimizer; fused where the kernel exists."""
    return torch.optim.AdamW(
        parameter_groups(network, settings.weight_decay),
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        fused=True,
    )


def rate(step: int, steps: int, schedule: ScheduleSettings) -> float:
    """The share of the peak learning rate in step 1..steps."""
    warmup = round(schedule.warmup * steps)
    if step <= warmup:
        return step / warmup
    left = (steps - step) / max(1, steps - warmup)  # 1 at the end of the warm-up, 0 in the last step
    if schedule.shape == "constant":
        return 1.0
    if schedule.shape == "cosine":
        shape = 0.5 * (1 + math.cos(math.pi * (1 - left)))
    elif schedule.shape == "linear":
        shape = left
    else:
        fall = max(1, round(schedule.decay * steps))
        shape = min(1.0, (steps - step) / fall)
    return schedule.final + (1 - schedule.final) * shape


def set_rate(optimizer: torch.optim.Optimizer, peak: float, share: float) -> float:
    """Set and return the learning rate. Groups may have a factor of their own, `lr_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = peak * share * group.get("lr_scale", 1.0)
    return peak * share


def clip(parameters: Iterable[nn.Parameter], largest: float | None) -> float:
    """Norm of the whole gradient before it is clipped to `largest`."""
    norm = torch.nn.utils.clip_grad_norm_(list(parameters), math.inf if largest is None else largest)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
