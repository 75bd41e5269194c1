"""Dynamic loss-based reweighting: samples count by their loss under the model as it is now (arXiv 2502.06733).

A sample is a document segment of a row. Its loss is the mean over its tokens. Over all samples of the micro-batch (of
all ranks) or of the whole step, losses are brought to h in [-delta, delta] by their least and greatest value; then

    linupper    f = min(h + delta, delta)   the easiest count least, from mid-range on all alike
    quadratic   f = 1 - h^2 / delta^2       mid-range counts most
    extremes    f = |h|                     both ends count most

and weight = document weight x exp(f / r), normalised: what the samples counted together stays as it was. The weights
differ by at most exp(delta / r): 2.7 times for r = 1, 12 times for r = 0.4. Samples of equal loss keep equal weights.

    methods: [{method: reweight, strategy: linupper, r: 0.4, warmup_steps: 1000, over: step}]

`over: step` needs the losses of all micro-batches before the first backward pass: a further forward pass of the step.
`over: micro` costs nothing, but then least and greatest are those of a few samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import torch

    from pipeline.trainer.hooks import Method, Micro

Strategy = Literal["linupper", "quadratic", "extremes"]


class Settings(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Strategy = "linupper"
    delta: Annotated[float, Field(gt=0)] = 1.0
    r: Annotated[float, Field(gt=0)] = 1.0
    """temperature: the larger, the more alike the weights"""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """steps of the plain loss before"""
    over: Literal["micro", "step"] = "micro"
    """samples that are compared with each other"""


def make(settings: Settings, seed: int) -> Method:
    """The method for a run."""
    from pipeline.trainer.hooks import Method

    def shares(step: int, micros: Sequence[Micro], nll: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        if step <= settings.warmup_steps:
            return [micro.shares for micro in micros]
        return reweighted(micros, nll, settings)

    return Method("reweight", shares=shares, whole_step=settings.over == "step")


def reweighted(micros: Sequence[Micro], nll: Sequence[torch.Tensor], settings: Settings) -> list[torch.Tensor]:
    """Shares float32 (n,) of each micro-batch: their sum is kept, samples count by their loss."""
    import torch

    from pipeline.trainer import parallel
    from pipeline.trainer.loss import sample_means

    losses, priors, totals = [], [], []
    for micro, values in zip(micros, nll, strict=True):
        count = len(micro.documents)
        device = values.device
        losses.append(sample_means(values, micro.samples, micro.weights, count))
        priors.append(torch.from_numpy(micro.document_weights).to(device))
        totals.append(micro.shares.sum())
    every, prior = torch.cat(losses), torch.cat(priors)
    far = torch.finfo(every.dtype).min
    ends = torch.stack([every.max(), (-every).max()]) if len(every) else every.new_tensor([far, far])
    highest, lowest = parallel.largest(ends).unbind()
    weights = prior * emphasis(every, -lowest, highest, settings)
    sums = parallel.summed(torch.stack([weights.sum(), torch.stack(totals).sum()]))
    per_sample = weights * (sums[1] / sums[0].clamp_min(1e-30))
    return [
        micro.weights * (own / _token_weight(micro))[micro.samples]
        for micro, own in zip(micros, per_sample.split([len(one) for one in losses]), strict=True)
    ]


def emphasis(losses: torch.Tensor, lowest: Any, highest: Any, settings: Settings) -> torch.Tensor:
    """exp(f / r) of each sample's loss, where lowest and highest are those of all samples compared."""
    import torch

    delta = settings.delta
    spread = highest - lowest
    # Losses that differ by rounding alone are equal: stretching them to [-delta, delta] would weigh by noise.
    alike = spread <= 1e-6 * torch.clamp(highest.abs(), min=1.0)
    h = torch.where(
        alike, torch.zeros_like(losses), delta * (2 * losses - (highest + lowest)) / spread.clamp_min(1e-12)
    )
    if settings.strategy == "linupper":
        f = torch.clamp(h + delta, max=delta)
    elif settings.strategy == "quadratic":
        f = 1 - h.square() / delta**2
    else:
        f = h.abs()
    return torch.exp(f / settings.r)


def _token_weight(micro: Micro) -> torch.Tensor:
    """Sum of the tokens' weights of each sample, float32 (s,)."""
    import torch

    sums = torch.zeros(len(micro.documents), device=micro.weights.device)
    return sums.index_add_(0, micro.samples, micro.weights).clamp_min(1e-30)
