"""What an engine is, and what is asked of it. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(ge=1)]


class EngineError(ValueError):
    """An engine that is missing, broken or cannot do what was asked: one line, with what mends it."""


class PromptError(EngineError):
    """A prompt that does not fit: the engine is whole, and the next prompt may fit."""


class EngineSettings(BaseModel):
    """Which model, run by what. Everything that shapes a number is hashed: all but UNHASHED."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["vllm", "transformers", "server"] = "vllm"
    model: str
    """folder or hub name; for a server the name by which it serves the model"""
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """of transformers; vLLM takes what its build is for"""
    context: Positive | None = None
    """most tokens of a prompt and its reply; None: the model's own, at most CONTEXT"""
    batch_tokens: Positive = 2048
    """tokens that go through the model at once; prompts are never longer than the larger of this and `context`"""
    trust_remote_code: bool = False
    url: str | None = None
    """of a server, up to and with /v1"""
    tokenizer: str | None = None
    """folder of a server's tokenizer, where the model is no folder here"""
    key: str = "OPENAI_API_KEY"
    """name of the environment variable that holds the server's key, if it wants one"""
    python: str | None = None
    """interpreter with vLLM; see scorers.lm.engines.process"""
    gpu_memory: Annotated[float, Field(gt=0, le=1)] = 0.8
    """share of a GPU's memory that vLLM may take"""

    @model_validator(mode="after")
    def _fits(self) -> EngineSettings:
        if (self.engine == "server") != (self.url is not None):
            raise ValueError("`url` goes with `engine: server`, and a server needs it, such as http://host:8000/v1")
        if self.engine == "transformers" and self.dtype == "float16":
            raise ValueError("dtype float16 is for vLLM; transformers takes float32 or bfloat16")
        return self


UNHASHED = {"python", "gpu_memory", "url", "key", "device", "model", "revision"}
"""Where things lie and run; what they are stands in the engine's record and the model's identity."""
CONTEXT = 2048


@dataclass(frozen=True)
class Decoding:
    """How replies are made. n: replies of each prompt, sampled or the best beams; greedy gives one."""

    method: Literal["greedy", "sampled", "beam"] = "greedy"
    max_tokens: int = 32
    n: int = 1
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.n < 1 or self.temperature <= 0 or self.seed < 0:
            raise EngineError(f"{self}: expected max_tokens, n and temperature above 0 and a seed of at least 0")
        if self.method == "greedy" and self.n != 1:
            raise EngineError("greedy decoding gives one reply; take method beam or sampled for more")


Prompt = str | np.ndarray
"""Text, which is encoded with the model's first token in front, or token ids as they are."""


class Engine(Protocol):
    """A model that is open. One at a time in a process; close it, or use it as a context manager.

    record: what besides model and text decides the numbers: engine, versions, dtype, device.
    context: most tokens of a prompt and its reply; None: not known (a server).
    scores: whether it can tell log-probabilities of given tokens.
    """

    record: dict[str, str]
    context: int | None
    scores: bool

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """int32 token ids of each text, the model's first token (BOS, else EOS) in front."""
        ...

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """int64 (tokens, 2): the characters from begin to end that each id of `encode` stands for; (0, 0) for BOS."""
        ...

    def logprobs(self, ids: Sequence[np.ndarray]) -> list[np.ndarray]:
        """float32 per sequence: log-probability of each token after those before it; the first is NaN."""
        ...

    def choices(self, prompts: Sequence[Prompt], allowed: Sequence[int]) -> np.ndarray:
        """float32 (prompts, allowed): log-probability, over the whole vocabulary, of each as the next token."""
        ...

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[list[str]]:
        """The replies to each prompt as text, the best first."""
        ...

    def close(self) -> None:
        """Give the memory back; safe to call twice."""
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, *error: object) -> None: ...
