"""One step: batches to the device, what each token counts, forward and backward passes, one update.

The denominator of the loss is summed over all micro-batches and ranks before the first backward pass, so a step is
the same however its rows are dealt out. The random state is set from (seed, step, rank): dropout needs no state of its
own to resume.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.errors import TamisError
from pipeline.trainer import parallel
from pipeline.trainer.batches import Batch
from pipeline.trainer.hooks import Method, Micro
from pipeline.trainer.loss import token_shares, token_sums, total
from pipeline.trainer.model import Trainee
from pipeline.trainer.optimizer import clip, rate, set_rate
from pipeline.trainer.settings import LossSettings, TrainSettings


class TrainingFailed(TamisError):
    """The run cannot go on; the checkpoints before are whole."""


@dataclass(frozen=True)
class Outcome:
    """What a step came to, over all ranks. loss: what was minimised; nll, log_z2: plain means over scored tokens."""

    loss: float
    nll: float
    log_z2: float
    grad_norm: float
    lr: float
    scored: int
    inputs: int
    padding: int
    stop: bool


def to_micro(batch: Batch, document_weights: np.ndarray | None, device: torch.device) -> Micro:
    """A batch on the device. document_weights: float32 of all documents; None: 1 each. Shares are zero as yet."""
    weights = batch.weights.reshape(-1)
    where = np.flatnonzero(weights > 0)
    rows = where // batch.inputs.shape[1]
    keys = rows * (int(batch.segments.max(initial=0)) + 1) + batch.segments.reshape(-1)[where]
    _, firsts, samples = np.unique(keys, return_index=True, return_inverse=True)
    documents = batch.documents.reshape(-1)[where][firsts]
    own = np.ones(len(documents), np.float32) if document_weights is None else document_weights[documents]
    run = int((batch.segments >= 0).sum())

    def there(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(device, non_blocking=True)

    return Micro(
        inputs=there(batch.inputs),
        positions=there(batch.positions),
        where=there(where),
        labels=there(batch.labels.reshape(-1)[where]),
        weights=there(weights[where]),
        samples=there(samples),
        shares=torch.zeros(len(where), device=device),
        documents=documents,
        document_weights=own,
        inputs_run=run,
        padding=batch.inputs.size - run,
        marks=None if batch.marks is None else there(batch.marks),
    )


def share_out(micros: Sequence[Micro], settings: LossSettings, stop: bool = False) -> tuple[np.ndarray, bool]:
    """Set `shares` of the step's micro-batches; (denominators over all ranks, whether any rank wants to stop).

    The denominators are float64 (4,): sum of weights, count, inputs run, padding.
    """
    host = [(m.weights.cpu().numpy(), m.samples.cpu().numpy(), m.document_weights) for m in micros]
    sums = total([token_sums(*one, settings.per) for one in host])
    more = [float(sum(m.inputs_run for m in micros)), float(sum(m.padding for m in micros)), float(stop)]
    device = micros[0].inputs.device
    whole = parallel.summed(torch.tensor([*sums, *more], dtype=torch.float64, device=device)).cpu().numpy()
    denominator = whole[0] if settings.divide == "weights" else whole[1]
    for micro, one in zip(micros, host, strict=True):
        micro.shares = torch.from_numpy(token_shares(*one, settings.per, denominator)).to(device)
    return whole[:4], bool(whole[4])


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Products in bfloat16 where the run asks for it."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def losses_of(trainee: Trainee, micro: Micro) -> tuple[torch.Tensor, torch.Tensor]:
    """Token losses and log-partitions of a micro-batch."""
    return trainee(micro.inputs, micro.positions, micro.where, micro.labels)


def update(
    step: int,
    steps: int,
    trainee: Trainee,
    optimizer: torch.optim.Optimizer,
    micros: Sequence[Micro],
    methods: Sequence[Method],
    settings: TrainSettings,
    stop: bool = False,
) -> Outcome:
    """Run step `step` of `steps`. Raises TrainingFailed, before anything is changed, for a loss that is not finite."""
    device = micros[0].inputs.device
    rank, _ = parallel.rank_and_world()
    torch.manual_seed(int(np.random.SeedSequence([settings.seed, step, rank]).generate_state(1, np.uint64)[0] >> 1))
    sums, stop = share_out(micros, settings.loss, stop)
    weigh = next((m for m in methods if m.shares is not None), None)
    other = next((m.losses for m in methods if m.losses is not None), None)
    shares = [micro.shares for micro in micros]
    if weigh is not None and weigh.whole_step:
        assert weigh.shares is not None
        with torch.no_grad(), autocast(device, settings.precision):
            before = [(losses_of(trainee, m) if other is None else other(step, trainee, m))[0] for m in micros]
        shares = weigh.shares(step, micros, before)

    seen, scored = torch.zeros(3, dtype=torch.float64, device=device), 0
    optimizer.zero_grad(set_to_none=True)
    for micro, share in zip(micros, shares, strict=True):
        with autocast(device, settings.precision):
            if other is None:
                nll, lse = losses_of(trainee, micro)
                values = nll
            else:
                values, nll, lse = other(step, trainee, micro)
        if weigh is not None and not weigh.whole_step:
            assert weigh.shares is not None
            share = weigh.shares(step, [micro], [values.detach()])[0]
        objective = (share * values).sum()
        if settings.loss.logz:
            objective = objective + settings.loss.logz * (share * lse.square()).sum()
        for method in methods:
            if method.terms is not None:
                objective = objective + method.terms(step, micro, nll, lse)
        objective.backward()
        plain, partition = nll.detach().double(), lse.detach().double()
        seen += torch.stack([objective.detach().double(), plain.sum(), partition.square().sum()])
        scored += len(nll)
    loss, nats, squares, scored = parallel.summed(torch.cat([seen, seen.new_tensor([scored])])).tolist()
    norm = clip(trainee.parameters(), settings.optimizer.clip)
    if not (math.isfinite(loss) and math.isfinite(norm)):
        optimizer.zero_grad(set_to_none=True)
        raise TrainingFailed(f"step {step}: the loss is {loss} and the gradient's norm {norm}; nothing was updated")
    lr = set_rate(optimizer, settings.optimizer.lr, rate(step, steps, settings.schedule))
    optimizer.step()
    for method in methods:
        if method.after_step is not None:
            method.after_step(step, trainee.network, optimizer)
    return Outcome(
        loss=loss,
        nll=nats / max(scored, 1),
        log_z2=squares / max(scored, 1),
        grad_norm=norm,
        lr=lr,
        scored=int(scored),
        inputs=int(sums[2]),
        padding=int(sums[3]),
        stop=stop,
    )
