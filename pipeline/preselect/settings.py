"""What the user may say about each stage of PreSelect. Imports nothing but pydantic.

A panel file (YAML) holds a PanelSettings:

    models:
      - {name: small, model: models/small, scores: {cloze: 31.0}}
      - {name: large, model: huggyllama/llama-65b, results: lm-eval/llama-65b}
    benchmarks: {hellaswag: acc_norm, arc_easy: acc_norm}      # what is read from lm-eval-harness results
    dtype: bfloat16
    device: cuda
    context: 2048
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(gt=0, lt=1)]
Estimator = Literal["preselect", "spearman", "margin", "noise"]


class SampleSettings(BaseModel):
    """Which documents the panel reads: the most frequent domains, so many documents of each; or any SQL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domains: Annotated[int, Field(ge=1)] = 3000
    per_domain: Annotated[int, Field(ge=1)] = 300
    domain: str | None = None
    """column of the documents, or an SQL expression over them; None: `domain` if there is such a column, else the host
    of `url`, else `source`"""
    sql: str | None = None
    """instead of the rule: a SELECT over the workspace's views that gives `id`, and `domain` if it likes"""
    seed: Annotated[int, Field(ge=0)] = 0
    """which documents of a domain: the lowest md5 of (seed, id)"""
    shard_rows: Annotated[int, Field(ge=1)] = 4096
    """documents of one sample shard, about: whole corpus shards are gathered until there are so many"""


class PanelModel(BaseModel):
    """One model: where it is, and its downstream scores, higher is better."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: str
    """a folder, or a name on the Hugging Face hub"""
    revision: str | None = None
    scores: dict[str, float] = {}
    """{benchmark: score}; give errors and losses a minus sign"""
    results: str | None = None
    """a results file of lm-evaluation-harness, or a folder of them (the newest counts)"""


class PanelSettings(BaseModel):
    """The models, and how all of them are run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Annotated[list[PanelModel], Field(min_length=2)]
    benchmarks: dict[str, str] = {}
    """{task: metric} to read from `results`"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    attention: Literal["sdpa", "eager"] = "sdpa"
    context: Annotated[int, Field(ge=2)] | None = None
    """tokens of one window, the same for all models; None: the shortest limit among the models' configs"""
    overlap: Annotated[int, Field(ge=0)] | None = None
    """tokens of a window that are run again as context of the next; None: a sixteenth of the context"""
    token_budget: Annotated[int, Field(ge=1)] = 8192
    """tokens of one batch, padding included"""
    threads: Annotated[int, Field(ge=1)] | None = None
    """of torch on a CPU, part of the hash, for sums round by it; None: one per core"""
    trust_remote_code: bool = False
    """run code that comes with the models"""
    align: bool = False
    """let the models have different tokenizers, and compare them over the pieces of text between common boundaries"""

    @model_validator(mode="after")
    def _distinct(self) -> PanelSettings:
        names = [model.name for model in self.models]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two models are called {twice[0]!r}")
        for model in self.models:
            if bool(model.scores) == (model.results is not None):
                raise ValueError(f"model {model.name!r}: give `scores` or `results`, one of the two")
            if model.results is not None and not self.benchmarks:
                raise ValueError("`results` needs `benchmarks`: {task: metric}, such as {hellaswag: acc_norm}")
        return self


class StrengthSettings(BaseModel):
    """Which estimators, and how they treat ties, several benchmarks and short documents; see scorers.preselect."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    estimators: Annotated[list[Estimator], Field(min_length=1)] = ["preselect", "spearman", "margin", "noise"]
    benchmarks: list[str] = []
    """those of the panel to use; empty: all"""
    ties: Literal["paper", "half"] = "paper"
    combine: Literal["mean", "zscore", "rank"] = "mean"
    pooling: Literal["mean", "product"] = "mean"
    """of `noise`: the mean of the pairs' probabilities, or their geometric mean, for benchmarks of exact order"""
    kappa: Annotated[float, Field(ge=0)] | None = None
    """tokens that a domain's mean is worth: adds a column `<estimator>_shrunk` for each; None: none"""
    permutations: Annotated[int, Field(ge=1)] = 720
    """benchmark orders to compare the real one with; all of them where there are fewer"""
    report_rows: Annotated[int, Field(ge=100)] = 20_000
    """documents that the report's permuted orders are measured on, the first by md5"""


class LabelSettings(BaseModel):
    """From strengths to positives and negatives, and which domains are held out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str = "preselect"
    """column of the strengths"""
    rule: Literal["paper", "quantile"] = "paper"
    positive: Share = 0.2
    negative: Share = 0.2
    per_domain: Annotated[int, Field(ge=1)] | None = None
    """at most so many positives, and so many negatives, of a domain"""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """share of the domains that is kept for the evaluation, drawn by a hash"""
    seed: Annotated[int, Field(ge=0)] = 0
    zero_eos: bool = True
    """set the weight of the end-of-sentence token to zero, as the paper does"""
