"""transformers, in this process: the oracle for vLLM's numbers, and the engine where there is no vLLM. Extra `lm`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from scorers.lm.batching import make_batches
from scorers.lm.engines.base import CONTEXT, Decoding, EngineError, EngineSettings, Prompt
from scorers.lm.engines.text import checked, fitting, read_codec
from scorers.lm.files import check_folder, model_folder
from scorers.lm.model import open_model


class TransformersEngine:
    """See scorers.lm.engines.base.Engine."""

    scores = True

    def __init__(self, settings: EngineSettings):
        assert settings.dtype != "float16"
        # All that can be refused comes before the model is opened: nobody could close it then.
        folder = model_folder(settings.model, settings.revision, settings.trust_remote_code)
        check_folder(folder, settings.trust_remote_code)
        self.codec = read_codec(folder)
        self.context: int | None = fitting(self.codec.context, settings.context, CONTEXT)
        self.model = open_model(
            str(folder),
            dtype=settings.dtype,
            device=device_of(settings),
            trust_remote_code=settings.trust_remote_code,
        )
        self._batch_tokens = settings.batch_tokens
        self.record = {"engine": "transformers"} | self.model.engine

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.codec.encode(texts)

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.codec.spans(texts)

    def logprobs(self, ids: Sequence[np.ndarray]) -> list[np.ndarray]:
        import torch

        checked(ids, self.context, 0)
        found: list[np.ndarray] = [np.full(len(one), np.nan, np.float32) for one in ids]
        for batch, inputs, real in self._batches(ids):
            with torch.inference_mode():
                logits = self.model.network(input_ids=inputs, attention_mask=real, use_cache=False).logits
                values = torch.log_softmax(logits[:, :-1].float(), -1)
                chosen = values.gather(2, inputs[:, 1:, None])[..., 0].cpu().numpy()
            for row, index in enumerate(batch):
                found[index][1:] = chosen[row, : len(ids[index]) - 1]
        return found

    def choices(self, prompts: Sequence[Prompt], allowed: Sequence[int]) -> np.ndarray:
        import torch

        ids = self.codec.prompts(prompts)
        checked(ids, self.context, 1)
        found = np.zeros((len(ids), len(allowed)), np.float32)
        for batch, inputs, real in self._batches(ids):
            with torch.inference_mode():
                states = self.model.network(input_ids=inputs, attention_mask=real, use_cache=False).logits
                last = states[torch.arange(len(batch), device=states.device), real.sum(1) - 1]
                values = torch.log_softmax(last.float(), -1)
                found[batch] = values[:, list(allowed)].cpu().numpy()
        return found

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[list[str]]:
        import torch

        ids = self.codec.prompts(prompts)
        checked(ids, self.context, decoding.max_tokens)
        replies = []
        how: dict[str, Any] = {"max_new_tokens": decoding.max_tokens, "num_return_sequences": decoding.n}
        # top_k and top_p: the model's own generation settings must not narrow what is drawn.
        ways: dict[str, dict[str, Any]] = {
            "greedy": {"do_sample": False, "num_beams": 1},
            "beam": {"do_sample": False, "num_beams": decoding.n},
            "sampled": {
                "do_sample": True,
                "num_beams": 1,
                "temperature": decoding.temperature,
                "top_k": 0,
                "top_p": 1.0,
            },
        }
        how |= ways[decoding.method]
        for number, one in enumerate(ids):
            inputs = torch.from_numpy(one.astype(np.int64))[None].to(self.model.device)
            torch.manual_seed(decoding.seed + number)
            with torch.inference_mode():
                made = self.model.network.generate(
                    input_ids=inputs, attention_mask=torch.ones_like(inputs), pad_token_id=self.codec.first, **how
                )
            replies.append([self.codec.decode(row[len(one) :].tolist()) for row in made])
        return replies

    def _batches(self, ids: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Any, Any]]:
        import torch

        lengths = np.array([len(one) for one in ids], np.int64)
        for batch in make_batches(lengths, self._batch_tokens) if len(ids) else []:
            size = int(lengths[batch].max())
            inputs = torch.zeros((len(batch), size), dtype=torch.int64)
            real = torch.zeros_like(inputs)
            for row, index in enumerate(batch):
                inputs[row, : len(ids[index])] = torch.from_numpy(np.asarray(ids[index], np.int64))
                real[row, : len(ids[index])] = 1
            yield batch, inputs.to(self.model.device), real.to(self.model.device)

    def close(self) -> None:
        self.model.close()

    def __enter__(self) -> TransformersEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def device_of(settings: EngineSettings) -> str:
    """cpu or cuda. Raises EngineError where transformers is not installed."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise EngineError(f"{package} is not installed; the engine transformers needs it: pip install 'tamis[lm]'")
    import torch

    if settings.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return settings.device
