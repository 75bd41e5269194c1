"""FRUGAL, blockwise: AdamW on a part of the matrices, sign descent on the rest (arXiv 2411.07837).

The matrices of the linear layers outside embeddings and head are cut into blocks of whole matrices. Of every
`update_gap` steps one block is active: its matrices have AdamW's moments, begun anew at every switch; the others have
no moments at all and take W <- W - lr x scale x inactive_scale x sign(g). Everything else (embeddings, norms, biases,
head) is plain AdamW always. Decoupled decay comes first, for all matrices alike.

    methods: [{method: frugal, density: 0.25, update_gap: 200}]

density counts matrices, as the authors' code does, not parameters: round(n x density) of n are active. The order of
the blocks is drawn from a generator of its own, the same on every rank, so that all ranks have the same block active
under FSDP2 (the authors' code draws from the global generator). In ceil(n / active) switches every matrix has had its
turn. Which block is active is a function of the count of steps alone, which is saved with the moments.

density 0 is sign descent on all matrices, density 1 with no switch in reach is AdamW.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.trainer.hooks import Method
    from pipeline.trainer.settings import OptimizerSettings

Order = Literal["random", "ascending", "descending", "mirror"]


class Settings(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    density: Annotated[float, Field(ge=0, le=1)] = 0.25
    """share of the matrices, by number, that have moments"""
    update_gap: Annotated[int, Field(ge=1)] = 200
    """steps between switches"""
    order: Order = "random"
    """of the blocks; mirror: ascending, then descending, and so on"""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """learning rate of the matrices by that of the rest"""
    inactive_scale: Annotated[float, Field(ge=0)] = 1.0
    """learning rate of the sign step by that of the matrices; the authors take 0.1 for fine-tuning"""


def make(settings: Settings, seed: int) -> Method:
    """The method for a run."""
    from pipeline.trainer.hooks import Method

    def optimizer(network: Any, common: OptimizerSettings) -> torch.optim.Optimizer:
        from pipeline.trainer.optimizer import parameter_groups

        matrices, rest = parameter_groups(network, common.weight_decay)
        inner = {id(p) for p in linear_weights(network)}
        blocks = [p for p in matrices["params"] if id(p) in inner]
        others = [p for p in matrices["params"] if id(p) not in inner]
        groups = [
            matrices | {"params": blocks, "blocks": True, "lr_scale": settings.scale},
            rest | {"blocks": False},
        ]
        if others:
            groups.insert(1, matrices | {"params": others, "blocks": False})
        return Frugal(groups, common, settings, seed)

    def check(network: Any, processes: int) -> None:
        if not linear_weights(network):
            raise UserError("method frugal: the model's decoder layers have no linear layers; expected some")

    return Method("frugal", check=check, optimizer=optimizer)


def linear_weights(network: Any) -> list[nn.Parameter]:
    """Weights of the linear layers inside the decoder layers, in order."""
    from pipeline.trainer.model import decoder_layers

    found = []
    for layer in decoder_layers(network):
        for module in layer.modules():
            # GPT-2 keeps its matrices in modules of its own.
            if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D":
                found.append(module.weight)
    return found


def active(count: int, settings: Settings, switch: int, seed: int) -> set[int]:
    """The matrices of `count` that have moments after the switch with this number, from 0."""
    size = round(count * settings.density)
    if size == 0:
        return set()
    per_cycle = -(-count // size)
    cycle, block = divmod(switch, per_cycle)
    if settings.order == "random":
        generator = torch.Generator().manual_seed((seed << 20) + cycle)
        order = torch.randperm(count, generator=generator).tolist()
    else:
        order = list(range(count))
        if settings.order == "descending" or (settings.order == "mirror" and cycle % 2):
            order.reverse()
    # The last block of a cycle is filled up from its beginning.
    return {order[place % count] for place in range(block * size, (block + 1) * size)}


class Frugal(torch.optim.Optimizer):
    """See the module. Groups with `blocks` hold the matrices; `steps` of a group counts the steps done."""

    def __init__(self, groups: list[dict[str, Any]], common: OptimizerSettings, settings: Settings, seed: int):
        self.settings, self.seed = settings, seed
        usual = {"lr": common.lr, "betas": common.betas, "eps": common.eps, "weight_decay": 0.0, "lr_scale": 1.0}
        super().__init__(groups, usual | {"steps": 0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update."""
        assert closure is None
        for group in self.param_groups:
            chosen = self._chosen(group, group["steps"])
            if group["blocks"] and group["steps"] % self.settings.update_gap == 0:
                for parameter in group["params"]:
                    # Moments are let go. Something stays: a checkpoint wants a state for every parameter.
                    self.state[parameter] = {"begun": torch.tensor(float(group["steps"]))}
            moved = [p for p in group["params"] if p.grad is not None]
            begun = group["steps"] % self.settings.update_gap if group["blocks"] else group["steps"]
            self._adamw([p for p in moved if id(p) in chosen], group, begun)
            for parameter in moved:
                if id(parameter) not in chosen:
                    _sign_step(parameter, group["lr"], self.settings.inactive_scale, group["weight_decay"])
            group["steps"] += 1

    def _chosen(self, group: dict[str, Any], steps: int) -> set[int]:
        """Ids of the parameters of a group with moments in the step after so many."""
        parameters = group["params"]
        if not group["blocks"]:
            return {id(p) for p in parameters}
        numbers = active(len(parameters), self.settings, steps // self.settings.update_gap, self.seed)
        return {id(parameters[number]) for number in numbers}

    def _adamw(self, parameters: list[torch.Tensor], group: dict[str, Any], steps: int) -> None:
        from torch.optim.adamw import adamw

        states = []
        for parameter in parameters:
            state = self.state[parameter]
            if "exp_avg" not in state:
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            states.append(state)
        if not parameters:
            return
        adamw(
            parameters,
            [p.grad for p in parameters],  # type: ignore[misc]
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [torch.tensor(float(steps), device=p.device) for p in parameters],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Bring back a state. Moments are kept for the active matrices alone, sharded as these are."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            # After a step the block that is active is that of the step before.
            chosen = self._chosen(group, max(group["steps"] - 1, 0))
            for parameter in group["params"]:
                state = self.state.get(parameter, {})
                for name in ("exp_avg", "exp_avg_sq"):
                    if id(parameter) not in chosen:
                        state.pop(name, None)
                    elif name in state:
                        state[name] = like(parameter, state[name])


def _sign_step(parameter: torch.Tensor, lr: float, scale: float, decay: float) -> None:
    assert parameter.grad is not None
    parameter.mul_(1 - lr * decay)
    parameter.add_(parameter.grad.sign(), alpha=-lr * scale)


def like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A whole tensor cut as the parameter is; as it stands where nothing is sharded."""
    if hasattr(parameter, "device_mesh") and not hasattr(value, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value
