"""Active and temporary forgetting: the token embeddings are drawn anew every so often (arXiv 2406.00053).

After every `every` steps all rows of the input embedding are drawn from N(0, std), std being the config's
initializer_range, and the optimizer's moments and step count of that one matrix begin anew. Active forgetting goes on
to the end; temporary forgetting stops at `until` and trains on as usual. What a model knows by heart of single tokens
is lost each time, what it does with tokens it has not seen before stays.

    methods: [{method: forget, every: 1000}]                  # active
    methods: [{method: forget, every: 1000, until: 10000}]    # temporary

Three things are done otherwise than in the authors' public code: the moments of the embedding alone are reset, not
those of every parameter; they are reset in active runs too; and the draw has the model's own deviation, not 1.

Where the output is tied to the embedding it would be forgotten too, and with it what the model knows of predicting
tokens. That is refused unless `tied: both` says that it is wanted. The draw is a function of seed and step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.trainer.hooks import Method


class Settings(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: Annotated[int, Field(ge=1)] = 1000
    until: Annotated[int, Field(ge=1)] | None = None
    """no forgetting after this step; None: to the end"""
    tied: Literal["refuse", "both"] = "refuse"
    """what to do where input and output embedding are one matrix"""

    @model_validator(mode="after")
    def _happens(self) -> Settings:
        if self.until is not None and self.until < self.every:
            raise ValueError(f"`until` ({self.until}) comes before the first time (`every`: {self.every})")
        return self


def make(settings: Settings, seed: int) -> Method:
    """The method for a run."""
    from pipeline.trainer.hooks import Method

    def check(network: Any, processes: int) -> None:
        if settings.tied == "refuse" and is_tied(network):
            raise UserError(
                "method forget: the model's output is tied to its embedding, both would be forgotten; set "
                "tie_word_embeddings: false in the model's config, or `tied: both` if that is wanted"
            )

    def after_step(step: int, network: Any, optimizer: torch.optim.Optimizer) -> None:
        if step % settings.every == 0 and (settings.until is None or step <= settings.until):
            forget(network, optimizer, step, seed)

    return Method("forget", check=check, after_step=after_step)


def is_tied(network: Any) -> bool:
    """Whether the output embedding is the input's matrix."""
    head = network.get_output_embeddings()
    return head is not None and head.weight is network.get_input_embeddings().weight


@torch.no_grad()
def forget(network: Any, optimizer: torch.optim.Optimizer, step: int, seed: int) -> None:
    """Draw the embedding anew, and begin its moments anew."""
    from pipeline.trainer.methods.frugal import like

    embedding = network.get_input_embeddings()
    weight = embedding.weight
    std = getattr(network.config.get_text_config(), "initializer_range", 0.02)
    key = int(np.random.SeedSequence([seed, step, 0xF0]).generate_state(1, np.uint64)[0] >> 1)
    drawn = torch.empty(weight.shape).normal_(0, std, generator=torch.Generator().manual_seed(key))
    if embedding.padding_idx is not None:
        drawn[embedding.padding_idx] = 0
    weight.copy_(like(weight, drawn.to(weight.device, weight.dtype)))
    for value in optimizer.state.get(weight, {}).values():
        if torch.is_tensor(value):
            value.zero_()
