"""What a training run is told. Imports nothing but pydantic.

name: best-4m
data: {paths: [exports/best], tokenizer: tokenizer.json}     # pipeline.trainer.data.DataSettings
evaluation:
  held_out: {paths: [exports/held-out]}                      # the tokenizer is the data's
model: {config: {model_type: llama, hidden_size: 256, ...}}  # or {checkpoint: folder or hub name}
context: 512
batch: 32
tokens: 10_000_000
methods:
  - {method: reweight, strategy: linupper}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.membership.settings import CheckpointTests
from pipeline.trainer.data import DataSettings

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class ModelSettings(BaseModel):
    """From scratch (a config) or from a checkpoint, one of the two."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: dict[str, Any] | str | None = None
    """a Hugging Face config: its values with `model_type`, or the path of a config.json; a missing vocab_size is the
    tokenizer's"""
    checkpoint: str | None = None
    """folder or hub name of a causal language model in safetensors"""
    revision: str | None = None
    trust_remote_code: bool = False
    attention: Literal["sdpa", "eager", "flex_attention", "flash_attention_2", "flash_attention_3"] = "sdpa"

    @model_validator(mode="after")
    def _one(self) -> ModelSettings:
        if (self.config is None) == (self.checkpoint is None):
            raise ValueError("give `config` (from scratch) or `checkpoint` (go on from a model), one of the two")
        return self


class LossSettings(BaseModel):
    """How tokens add up to the loss of a step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per: Literal["token", "sample"] = "token"
    """mean over tokens, or over samples (document segments) of their mean"""
    divide: Literal["weights", "tokens"] = "weights"
    """by the sum of the weights, or by the number of tokens (samples) with a weight: then weights change the step's
    size too"""
    logz: Annotated[float, Field(ge=0)] = 0.0
    """weight of the log^2 Z penalty; 1e-4 is usual"""


class OptimizerSettings(BaseModel):
    """AdamW; norms, biases and embeddings are not decayed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: Annotated[float, Field(gt=0)] = 1e-3
    betas: tuple[Share, Share] = (0.9, 0.95)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    """largest norm of the gradient; None: not clipped"""


class ScheduleSettings(BaseModel):
    """Learning rate over the run: warm-up, then one of the shapes, down to `final` times the peak."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Literal["cosine", "linear", "wsd", "constant"] = "cosine"
    warmup: Share = 0.02
    """share of the steps"""
    decay: Share = 0.2
    """share of the steps in which wsd falls"""
    final: Share = 0.1


class TrainSettings(BaseModel):
    """One run. Exactly one of `tokens`, `steps` and `epochs` says how long it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    data: DataSettings
    evaluation: dict[str, DataSettings] = {}
    """sets that are never trained on: {name: data}; without a tokenizer of their own they take the data's"""
    model: ModelSettings
    context: Positive = 1024
    """inputs of one row; longer documents are cut"""
    batch: Positive = 32
    """rows of one step, over all micro-batches and ranks"""
    micro_batch: Positive = 8
    """rows that go through the model at once"""
    tokens: Positive | None = None
    """inputs run in all, exactly; the last row is cut"""
    steps: Positive | None = None
    epochs: Positive | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    """of the initial weights and of dropout"""
    data_seed: Annotated[int, Field(ge=0)] | None = None
    """of the order of the documents; None: the seed"""
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    methods: list[dict[str, Any]] = []
    """further methods by name with their settings; see pipeline.trainer.methods"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: products under autocast; parameters and optimizer stay float32"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: bool = False
    """torch.compile of every decoder layer"""
    evaluate_every: Positive | None = None
    """steps; None: at the end only"""
    checkpoint_every: Positive | None = None
    """steps; None: ten times over the run. At the end, and when the run is interrupted, there is one anyway"""
    keep: Positive = 2
    """checkpoints that stay, the newest"""
    loader_workers: Annotated[int, Field(ge=0)] = 0
    """processes that put batches together; the batches are the same for any number"""
    threads: Positive | None = None
    """of torch on a CPU; None: one per core"""
    tensorboard: bool = False
    membership: CheckpointTests | None = None
    """tests of a registry of identifiers at checkpoints; see pipeline.membership.training"""

    @model_validator(mode="after")
    def _length(self) -> TrainSettings:
        given = [key for key in ("tokens", "steps", "epochs") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of `tokens`, `steps` and `epochs`; {' and '.join(given) or 'none'} is given")
        if self.batch % self.micro_batch:
            raise ValueError(f"`batch` ({self.batch}) must be a multiple of `micro_batch` ({self.micro_batch})")
        return self


UNHASHED = {"name", "keep", "loader_workers", "tensorboard", "evaluate_every", "checkpoint_every", "membership"}
"""Settings that change nothing about the weights that come out."""
