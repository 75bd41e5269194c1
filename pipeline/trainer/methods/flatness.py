"""The flatness probe: trace of the Fisher information per token, at every evaluation (arXiv 2210.14199).

Among models of one kind with the same loss those with the smaller trace of the loss's Hessian did better on tasks
downstream. Where the model's distribution is that of the data, the Hessian of the loss is the Fisher information, and
its trace is the mean squared norm of the gradient of log p(y | x) for tokens y that the model itself draws:

    draw y_t ~ p(. | x_<t) at every scored position, contexts stay those of the text
    g = gradient of sum_t log p(y_t | x_<t);     trace = |g|^2 / number of scored positions

(the gradients of different positions have mean zero and are independent given their contexts, so the cross terms are
zero in the mean). Columns `fisher_trace/<set>` and `fisher_trace_se/<set>`, the mean over `batches` micro-batches of
each evaluation set and its standard error.

    methods: [{method: flatness, batches: 16}]

Away from saturation it is the trace of the Fisher information and nothing more. It is not invariant to scale (norms,
tied embeddings, weight decay move it): compare only models of one architecture, tokenizer and recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pipeline.trainer.hooks import Method, Micro
    from pipeline.trainer.model import Trainee


class Settings(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batches: Annotated[int, Field(ge=2)] = 8
    """micro-batches of each evaluation set"""
    every: Annotated[int, Field(ge=1)] | None = None
    """steps; measure on the step's own micro-batches instead, every so many steps"""


def make(settings: Settings, seed: int) -> Method:
    """The method for a run."""
    from pipeline.trainer.hooks import Method

    def probe(step: int, trainee: Trainee, micros: Sequence[Micro]) -> dict[str, float]:
        traces = fisher_traces(trainee, micros, seed)
        error = float(np.std(traces, ddof=1) / np.sqrt(len(traces))) if len(traces) > 1 else float("nan")
        return {"fisher_trace": float(np.mean(traces)), "fisher_trace_se": error}

    return Method("flatness", probe=probe, probe_every=settings.every, probe_batches=settings.batches)


def fisher_traces(trainee: Trainee, micros: Sequence[Micro], seed: int) -> list[float]:
    """One estimate of the trace per token from each micro-batch (those of all ranks count as one). No gradient stays.

    The same positions get the same draws at every call as far as the distributions are the same.
    """
    from pipeline.trainer import parallel

    was, rank = trainee.training, parallel.rank_and_world()[0]
    trainee.eval()
    found = []
    for number, micro in enumerate(micros):
        generator = torch.Generator(device=micro.inputs.device)
        generator.manual_seed(int(np.random.SeedSequence([seed, number, rank]).generate_state(1, np.uint64)[0] >> 1))

        def draw(
            logits: torch.Tensor, labels: torch.Tensor, generator: torch.Generator = generator
        ) -> tuple[torch.Tensor, ...]:
            return (torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0],)

        trainee.zero_grad(set_to_none=True)
        with torch.no_grad():
            (drawn,) = trainee(micro.inputs, micro.positions, micro.where, micro.labels, of_logits=draw)
        trainee(micro.inputs, micro.positions, micro.where, drawn)[0].sum().backward()
        squares = torch.zeros((), dtype=torch.float64, device=micro.inputs.device)
        for parameter in trainee.parameters():
            if parameter.grad is not None:
                own = parameter.grad.to_local() if hasattr(parameter.grad, "to_local") else parameter.grad
                squares += own.double().square().sum()
        # Sharded gradients are sums over ranks already, a part of them on each.
        count = torch.tensor(float(len(micro.where)), dtype=torch.float64, device=squares.device)
        total = parallel.summed(torch.stack([squares, count]))
        found.append(float(total[0] / total[1].clamp_min(1)))
    trainee.zero_grad(set_to_none=True)
    trainee.train(was)
    return found
