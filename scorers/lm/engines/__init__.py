"""Log-probabilities and replies of a causal language model, whatever runs it.

    from scorers.lm.engines import Decoding, EngineSettings, open_engine

    with open_engine(EngineSettings(engine="vllm", model="models/small", dtype="float32")) as engine:
        engine.logprobs(engine.encode(["one two"]))       # [array([nan, -7.1, -6.3], dtype=float32)]
        engine.choices(["Is it? Answer:"], allowed=[5, 9])  # log-probabilities of the next token, (1, 2)
        engine.generate(["Once upon"], Decoding(max_tokens=8))

base: the interface and its settings. vllm: vLLM in a process of its own, whose interpreter may be another
environment's (process, worker). local: transformers in this process. server: OpenAI-compatible servers. In float32 the
same numbers come from vLLM and transformers within 1e-3 per token; never compare across engines or dtypes all the same.
"""

from __future__ import annotations

from scorers.lm.engines.base import UNHASHED, Decoding, Engine, EngineError, EngineSettings, Prompt, PromptError

__all__ = [
    "UNHASHED",
    "Decoding",
    "Engine",
    "EngineError",
    "EngineSettings",
    "Prompt",
    "PromptError",
    "engine_facts",
    "open_engine",
]


def engine_facts(settings: EngineSettings) -> dict[str, str]:
    """What besides the model decides its numbers, without opening it: what a stage hashes.

    Raises EngineError or ValueError where the engine is not to be had.
    """
    facts: dict[str, str] = {"engine": settings.engine, "dtype": settings.dtype}
    if settings.engine == "vllm":
        from scorers.lm.engines.process import vllm_python, vllm_version

        return facts | vllm_version(vllm_python(settings.python))
    if settings.engine == "transformers":
        from scorers.lm.engines.local import device_of
        from scorers.lm.model import engine_record

        return facts | engine_record(facts["dtype"], device_of(settings), "sdpa")  # type: ignore[arg-type]
    return {"engine": "server", "url": str(settings.url), "model": settings.model}


def open_engine(settings: EngineSettings) -> Engine:
    """Open a model. Raises EngineError or ValueError, one line that says how to mend it."""
    if settings.engine == "vllm":
        from scorers.lm.engines.vllm import VllmEngine

        return VllmEngine(settings)
    if settings.engine == "transformers":
        from scorers.lm.engines.local import TransformersEngine

        return TransformersEngine(settings)
    from scorers.lm.engines.server import ServerEngine

    return ServerEngine(settings)
