"""What a membership test is told, besides what its registry has committed to. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from scorers.lm.engines.base import EngineSettings

Positive = Annotated[int, Field(ge=1)]


class LastKSettings(BaseModel):
    """How replies of the last-k-words test are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["greedy", "beam", "sampled"] = "greedy"
    replies: Positive = 1
    """of each prompt; beams or samples. Each distinct one is a guess and weakens the bound"""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    seed: Annotated[int, Field(ge=0)] = 0
    positions: Annotated[int, Field(ge=0)] = 10
    """last words that are asked for one at a time as well; 0: none"""


class TestSettings(BaseModel):
    """One registry against one model.

    m, statistic, null, unit, alpha, correction and k are not here: they are the registry's, fixed in its commitment.
    """

    __test__ = False  # no test class of pytest
    model_config = ConfigDict(frozen=True, extra="forbid")

    registry: str
    engine: EngineSettings
    reference: EngineSettings | None = None
    """a model that cannot have seen the identifiers: for the statistic ratio_nll"""
    first: Positive = 999
    """null draws that every identifier gets; those that are small among them go on up to the registry's m"""
    orders: Annotated[int, Field(ge=0)] = 199
    """other orders of an identifier's words, for the exploratory permutation null; 0: none"""
    centre: Annotated[int, Field(ge=0)] = 0
    """orders of each draw for the statistic centred_nll, where the plan does not ask for it; each costs a pass more"""
    last_k: LastKSettings | None = LastKSettings()
    limit: Positive | None = None
    """only the first so many identifiers, to try things out"""


class CheckpointTests(BaseModel):
    """The registry's primary test at checkpoints of a training run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registry: str
    every: Positive = 1
    """checkpoints; the last one of a run is always tested"""
    engine: Literal["vllm", "transformers"] = "vllm"
    dtype: Literal["float32", "bfloat16"] = "float32"
    context: Positive | None = None
    python: str | None = None
    """interpreter of the environment that has vLLM"""
    gpu_memory: Annotated[float, Field(gt=0, le=1)] = 0.8
    limit: Positive | None = None
    """only the first so many identifiers"""


CENTRE = 8
"""Orders of each draw where the plan's statistic is centred_nll."""
