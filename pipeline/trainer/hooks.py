"""Where a method may take part in training, and what it sees there.

A method is a module in pipeline.trainer.methods with a pydantic `Settings` and `make(settings, seed) -> Method`. All
of a method's functions are pure functions of what they are given and of the step, so that a resumed run goes on as if
it had never stopped; what a method must remember lies in the model, the optimizer or the data.

    prepare     changes the modules of the network before it is trained
    export      makes plain weights of the changed network's, for checkpoints
    begin       gets ready, with the model and the optimizer as a run begins or goes on
    batch       changes the micro-batches of a step before they reach the device (numpy)
    losses      makes the losses of a micro-batch instead of the plain pass
    shares      changes what each token counts, once the losses are known
    terms       adds to the loss of a micro-batch
    optimizer   makes the optimizer instead of AdamW
    after_step  changes weights or optimizer after an update
    probe       measures something of its own now and then, for the metrics
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.trainer.settings import OptimizerSettings

if TYPE_CHECKING:
    from pipeline.trainer.batches import Batch
    from pipeline.trainer.model import Trainee


@dataclass
class Micro:
    """One micro-batch on the device: n scored positions, of s samples (document segments).

    inputs, positions: int64 (rows, context). where: int64 (n,), scored positions of the flattened rows, rising.
    labels: int64 (n,). weights: float32 (n,), document weight x token weight. samples: int64 (n,), rising from 0.
    shares: float32 (n,), what each position counts in the step's loss; over a step and all ranks they add up to 1.
    documents: int64 (s,) and document_weights: float32 (s,), of the samples, on the host.
    inputs_run, padding: positions that hold a token, and those that do not.
    marks: int64 (rows, context), what a method's `batch` says of each place to its own other hooks; None: nothing.
    """

    inputs: torch.Tensor
    positions: torch.Tensor
    where: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    samples: torch.Tensor
    shares: torch.Tensor
    documents: np.ndarray
    document_weights: np.ndarray
    inputs_run: int
    padding: int
    marks: torch.Tensor | None = None


Shares = Callable[[int, Sequence[Micro], Sequence[torch.Tensor]], "list[torch.Tensor]"]
"""(step, micro-batches, their token losses without gradient) -> new shares of each micro-batch."""


@dataclass(frozen=True)
class Method:
    """What one method does; None: nothing there."""

    name: str
    prepare: Callable[[Any, bool], None] | None = None
    """(network, fresh); fresh: its weights are those that training begins with; else a checkpoint's come after"""
    export: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor] | None] | None = None
    """the whole state of the changed network -> weights of the architecture as it was; None: it has none"""
    begin: Callable[[Trainee, torch.optim.Optimizer], None] | None = None
    """(model, optimizer), once in every process, after a checkpoint was read: what a method keeps in the optimizer's
    state is there"""
    batch: Callable[[int, list[Batch]], list[Batch]] | None = None
    losses: Callable[[int, Trainee, Micro], tuple[torch.Tensor, torch.Tensor, torch.Tensor]] | None = None
    """(step, model, micro-batch) -> what each scored position adds to the loss, with gradient; and nll and lse for the
    metrics and terms (NaN: there are none)"""
    likelihood: bool = True
    """whether the loss makes a probability of the next token; if not, evaluations give no loss"""
    shares: Shares | None = None
    whole_step: bool = False
    """whether `shares` sees all micro-batches of a step at once: costs a further forward pass"""
    terms: Callable[[int, Micro, torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    """(step, micro-batch, nll, lse), both with gradient -> scalar that is added; `micro.shares` are the step's"""
    optimizer: Callable[[Any, OptimizerSettings], torch.optim.Optimizer] | None = None
    after_step: Callable[[int, Any, torch.optim.Optimizer], None] | None = None
    """(step, network, optimizer)"""
    probe: Callable[[int, Trainee, Sequence[Micro]], dict[str, float]] | None = None
    """(step, model, the step's micro-batches) -> columns for the metrics; leaves no gradient behind"""
    probe_every: int | None = 100
    """steps; None: with every evaluation, on the first micro-batches of each evaluation set, `<column>/<set>`"""
    probe_batches: int = 8
    """micro-batches of an evaluation set"""
    check: Callable[[Any, int], None] | None = None
    """(network, number of processes) -> raises UserError, before the first step, where the method cannot run"""
