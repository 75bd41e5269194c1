"""vLLM, in a process of its own: `worker` does the work, this is its face.

Why a process: vLLM wants packages at versions of its own, a GPU's memory is given back for certain only when its
process ends, and on a CPU it breaks where numba was imported before it. What is fixed: no prefix caching, no
speculative decoding, one dtype, prompts as token ids with the first token put there by us.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scorers.lm.engines.base import CONTEXT, Decoding, EngineError, EngineSettings, Prompt
from scorers.lm.engines.process import Worker, vllm_python, vllm_version
from scorers.lm.engines.text import checked, fitting, flattened, read_codec
from scorers.lm.engines.worker import MAX_LOGPROBS
from scorers.lm.files import check_folder, model_folder


class VllmEngine:
    """See scorers.lm.engines.base.Engine."""

    scores = True

    def __init__(self, settings: EngineSettings):
        python = vllm_python(settings.python)
        vllm_version(python)
        folder = model_folder(settings.model, settings.revision, settings.trust_remote_code)
        check_folder(folder, settings.trust_remote_code)
        self.codec = read_codec(folder)
        self.context: int | None = fitting(self.codec.context, settings.context, CONTEXT)
        self._worker = Worker(python, {"HF_HUB_OFFLINE": "1"})
        try:
            facts, _ = self._worker.ask(
                {
                    "op": "open",
                    "model": str(folder),
                    "dtype": settings.dtype,
                    "context": self.context,
                    "batch_tokens": max(settings.batch_tokens, self.context),
                    "trust_remote_code": settings.trust_remote_code,
                    "gpu_memory": settings.gpu_memory,
                }
            )
        except BaseException:
            self._worker.close()
            raise
        self.record = {"engine": "vllm", "dtype": settings.dtype, "device": facts["device"]} | facts["versions"]

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.codec.encode(texts)

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.codec.spans(texts)

    def logprobs(self, ids: Sequence[np.ndarray]) -> list[np.ndarray]:
        checked(ids, self.context, 1)
        if not ids:
            return []
        flat, offsets = flattened(ids)
        _, [values] = self._worker.ask({"op": "logprobs"}, flat, offsets)
        assert len(values) == len(flat), (len(values), len(flat))
        return np.split(values, offsets[1:-1])

    def choices(self, prompts: Sequence[Prompt], allowed: Sequence[int]) -> np.ndarray:
        ids = self.codec.prompts(prompts)
        checked(ids, self.context, 1)
        if not ids or not len(allowed):
            return np.zeros((len(ids), len(allowed)), np.float32)
        _, [values] = self._worker.ask({"op": "choices", "allowed": [int(one) for one in allowed]}, *flattened(ids))
        return values.reshape(len(ids), len(allowed))

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[list[str]]:
        ids = self.codec.prompts(prompts)
        checked(ids, self.context, decoding.max_tokens)
        if decoding.method == "beam" and 2 * decoding.n > MAX_LOGPROBS:
            raise EngineError(f"{decoding.n} beams: expected at most {MAX_LOGPROBS // 2}")
        if not ids:
            return []
        answer, _ = self._worker.ask({"op": "generate"} | vars(decoding), *flattened(ids))
        return [[self.codec.decode(reply) for reply in replies] for replies in answer["replies"]]

    def close(self) -> None:
        self._worker.close()

    def __enter__(self) -> VllmEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
