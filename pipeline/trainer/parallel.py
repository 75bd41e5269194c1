"""One process or several: `torchrun --nproc-per-node 8 -m cli.main train CONFIG` shards the model with FSDP2.

Every rank takes its rows of each step, and sums over ranks make the same loss as one process would have: the gradient
is the sum over ranks of a loss that is already divided by what all of them scored. Without torchrun everything here
does nothing.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist

from pipeline.trainer.model import Trainee, decoder_layers


def rank_and_world() -> tuple[int, int]:
    """This process' number and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def start(device: str) -> None:
    """Join the other processes that torchrun started, if there are any."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if device == "cuda" else "gloo")


def stop() -> None:
    """Leave them."""
    if dist.is_initialized():
        dist.destroy_process_group()


def summed(values: torch.Tensor) -> torch.Tensor:
    """Sum over all ranks, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def largest(values: torch.Tensor) -> torch.Tensor:
    """Maximum over all ranks, in place."""
    if dist.is_initialized():
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return values


def barrier() -> None:
    """Wait for all ranks."""
    if dist.is_initialized():
        dist.barrier()


def shard(trainee: Trainee, precision: str) -> None:
    """Shard the parameters over all ranks, layer by layer; nothing for one process."""
    if rank_and_world()[1] == 1:
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if precision == "bfloat16" else None, reduce_dtype=torch.float32
    )
    parts: list[Any] = [*decoder_layers(trainee.network), trainee]
    for part in parts:
        fully_shard(part, mp_policy=policy)
        # The loss is divided by the tokens of all ranks already; the mean over ranks would divide once more.
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)  # gloo knows no scaled sum


def full_state(trainee: Trainee, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
    """Whole weights and whole optimizer state, by parameter name, on the CPU of rank 0 (empty on the others)."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    model, state = get_state_dict(trainee, optimizer, options=options)
    return model, state


def load_state(trainee: Trainee, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Bring back the optimizer's state; every rank gives the whole of it, and keeps its part."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict

    set_optimizer_state_dict(trainee, optimizer, optim_state_dict=state, options=StateDictOptions(full_state_dict=True))
