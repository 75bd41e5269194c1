"""The Z-loss of 2016 instead of cross-entropy (arXiv 1604.08859). Not the penalty on log Z that is called z-loss too.

Of the logits o of a position, with their mean mu and deviation sigma over the vocabulary and the label c,

    z_c = (o_c - mu) / sigma,      loss = softplus(a (b - z_c)) / a

It does not change when logits are shifted or scaled. **It gives no perplexity**: softmax of these logits is no
distribution that was trained, so no losses in nats or bits per byte are logged or evaluated (they are NULL). What is
measured at evaluations instead: `znorm_softplus/<set>`, the loss, and `accuracy/<set>`, the share of scored positions
whose label has the largest logit.

    methods: [{method: znorm_softplus, a: 1.0, b: 0.0}]

It is no proper scoring rule, and the speed that the paper reports for large vocabularies comes from an output layer
that never computes its logits; here all logits are computed and nothing is saved. The paper tunes a and b per task.
For the penalty of PaLM set `loss.logz`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pipeline.trainer.hooks import Method, Micro
    from pipeline.trainer.model import Trainee

EPS = 1e-12


class Settings(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    a: Annotated[float, Field(gt=0)] = 1.0
    """sharpness"""
    b: float = 0.0
    """the z above which the loss falls off"""
    batches: Annotated[int, Field(ge=1)] = 8
    """micro-batches of each evaluation set that are measured"""


def make(settings: Settings, seed: int) -> Method:
    """The method for a run."""
    from pipeline.trainer.hooks import Method

    def of_logits(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        right = logits.detach().argmax(-1) == labels
        return znorm_softplus(logits, labels, settings.a, settings.b), right.float()

    def losses(step: int, trainee: Trainee, micro: Micro) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        values, _ = trainee(micro.inputs, micro.positions, micro.where, micro.labels, of_logits=of_logits)
        none = torch.full_like(values, float("nan")).detach()
        return values, none, none

    def probe(step: int, trainee: Trainee, micros: Sequence[Micro]) -> dict[str, float]:
        from pipeline.trainer import parallel

        was = trainee.training
        trainee.eval()
        sums = torch.zeros(3, dtype=torch.float64, device=micros[0].inputs.device)
        with torch.no_grad():
            for micro in micros:
                values, right = trainee(micro.inputs, micro.positions, micro.where, micro.labels, of_logits=of_logits)
                sums += torch.stack(
                    [values.double().sum(), right.double().sum(), right.new_tensor(len(right)).double()]
                )
        trainee.train(was)
        loss, hits, count = parallel.summed(sums).tolist()
        return {"znorm_softplus": loss / max(count, 1), "accuracy": hits / max(count, 1)}

    return Method(
        "znorm_softplus",
        losses=losses,
        likelihood=False,
        probe=probe,
        probe_every=None,
        probe_batches=settings.batches,
    )


def znorm_softplus(logits: torch.Tensor, labels: torch.Tensor, a: float, b: float) -> torch.Tensor:
    """float32 (n,), the loss of each position. logits: float32 (n, vocabulary)."""
    deviation, mean = torch.std_mean(logits, dim=-1, correction=0)
    z = (logits.gather(1, labels[:, None])[:, 0] - mean) / (deviation + EPS)
    return torch.nn.functional.softplus(a * (b - z)) / a
