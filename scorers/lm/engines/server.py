"""A server with OpenAI's completions interface: log-probabilities where it tells them, text where it does not.

What a server can do is tried once, with one token, when it is opened:

- `prompt_logprobs` (vLLM's own extension): log-probabilities of given token ids;
- `echo` with `logprobs` (the old completions interface, llama.cpp and others): the same;
- neither: text only. The last-k test still runs there.

Scores need to know tokens: the server must take prompts as token ids, and `model` must also be a folder or hub name
whose tokenizer is the server's (`tokenizer`). A server does not say its dtype; the record says so.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from scorers.lm.engines.base import Decoding, EngineError, EngineSettings, Prompt
from scorers.lm.engines.text import Codec, checked, read_codec

AT_ONCE = 16
"""Requests in flight."""
SECONDS = 600
LISTED = 20
"""Best tokens that a server is asked to list: what most of them allow at the most."""


class ServerEngine:
    """See scorers.lm.engines.base.Engine."""

    def __init__(self, settings: EngineSettings):
        assert settings.url is not None
        self.url = settings.url.rstrip("/")
        self._key = os.environ.get(settings.key)
        self._model = settings.model
        self.context: int | None = settings.context
        served = self._served()
        self.codec: Codec | None = self._codec(settings, served)
        if self.codec is not None and self.context is None:
            self.context = self.codec.context
        self.way = self._tried() if self.codec is not None else None
        self.scores = self.way is not None
        self.record = {"engine": "server", "model": self._model, "dtype": "unknown", "way": self.way or "text"}

    def _served(self) -> dict[str, Any]:
        models = {one.get("id"): one for one in self._ask("models").get("data", [])}
        if models and self._model not in models:
            raise EngineError(f"{self.url} does not serve {self._model!r}; it serves {', '.join(map(str, models))}")
        return models.get(self._model, {})

    def _codec(self, settings: EngineSettings, served: dict[str, Any]) -> Codec | None:
        for name in (settings.tokenizer, served.get("root"), self._model):
            if name and Path(name).expanduser().is_dir():
                return read_codec(Path(name).expanduser())
        if settings.tokenizer:
            raise EngineError(f"tokenizer {settings.tokenizer}: expected a folder with the server's tokenizer.json")
        return None

    def _tried(self) -> str | None:
        """Which way of asking gives log-probabilities of a prompt."""
        assert self.codec is not None
        ids = [self.codec.first, *self.codec.tokenizer.encode("the the", add_special_tokens=False).ids]
        for way in ("prompt_logprobs", "echo"):
            try:
                found = self._scored(ids, way)
            except EngineError:
                continue
            if len(found) == len(ids) and np.isfinite(found[1:]).all():
                return way
        return None

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self._known().encode(texts)

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self._known().spans(texts)

    def _known(self) -> Codec:
        if self.codec is None or self.way is None:
            raise EngineError(
                f"{self.url} tells no log-probabilities of given tokens"
                + ("" if self.codec else ", or its tokenizer is not known (set `tokenizer` to a folder that has it)")
                + "; the last-k test works with text alone, the perplexity test does not"
            )
        return self.codec

    def logprobs(self, ids: Sequence[np.ndarray]) -> list[np.ndarray]:
        self._known()
        assert self.way is not None
        way = self.way
        checked(ids, self.context, 1)
        return self._all(lambda one: self._scored([int(i) for i in one], way), ids)

    def choices(self, prompts: Sequence[Prompt], allowed: Sequence[int]) -> np.ndarray:
        ids = self._known().prompts(prompts)
        checked(ids, self.context, 1)
        found = np.array(self._all(lambda one: self._listed(one, allowed), ids), np.float32)
        found = found.reshape(len(ids), len(allowed))
        missing = np.argwhere(np.isnan(found))
        longer = [np.append(ids[row], np.int32(allowed[column])) for row, column in missing]
        for (row, column), values in zip(missing, self.logprobs(longer), strict=True):
            found[row, column] = values[-1]
        return found

    def _listed(self, ids: np.ndarray, allowed: Sequence[int]) -> list[float]:
        """Log-probabilities of the allowed tokens among the server's best; NaN for one that it does not list.

        vLLM names tokens by id if asked to; a server that names them by text could mean another token of that text.
        """
        prompt = [int(i) for i in ids]
        how = {"max_tokens": 1, "temperature": 0, "logprobs": LISTED, "return_tokens_as_token_ids": True}
        [choice] = self._complete(prompt, **how)["choices"]
        [best] = (choice.get("logprobs") or {}).get("top_logprobs") or [{}]
        return [float(best.get(f"token_id:{token}", np.nan)) for token in allowed]

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[list[str]]:
        def reply(item: tuple[int, Prompt]) -> list[str]:
            number, prompt = item
            text: Any = prompt if isinstance(prompt, str) else [int(one) for one in prompt]
            if isinstance(text, str) and self.codec is not None:
                text = self.codec.encode([text])[0].tolist()  # as the other engines do, whatever the server would add
            how: dict[str, Any] = {"temperature": 0, "n": 1}
            if decoding.method == "sampled":
                how = {"temperature": decoding.temperature, "n": decoding.n, "seed": decoding.seed + number}
            elif decoding.method == "beam":
                how = {"temperature": 0, "n": decoding.n, "best_of": decoding.n, "use_beam_search": True}
            answer = self._complete(text, max_tokens=decoding.max_tokens, **how)
            return [str(one.get("text", "")) for one in answer["choices"]]

        return self._all(reply, list(enumerate(prompts)))

    def _scored(self, ids: list[int], way: str) -> np.ndarray:
        if len(ids) == 1:
            return np.full(1, np.nan, np.float32)
        if way == "prompt_logprobs":
            [choice] = self._complete(ids, max_tokens=1, temperature=0, prompt_logprobs=0)["choices"]
            found = choice.get("prompt_logprobs") or []
            values = [np.nan if one is None else one[str(i)]["logprob"] for i, one in zip(ids, found, strict=False)]
        else:
            [choice] = self._complete(ids, max_tokens=1, temperature=0, echo=True, logprobs=1)["choices"]
            told = (choice.get("logprobs") or {}).get("token_logprobs") or []
            values = [np.nan if one is None else one for one in told[: len(ids)]]
        if len(values) != len(ids):
            raise EngineError(f"{self.url} told {len(values)} log-probabilities of {len(ids)} tokens")
        return np.array(values, np.float32)

    def _complete(self, prompt: Any, **values: Any) -> dict[str, Any]:
        answer = self._ask("completions", {"model": self._model, "prompt": prompt} | values)
        if not answer.get("choices"):
            raise EngineError(f"{self.url}/completions answered without choices: {json.dumps(answer)[:200]}")
        return answer

    def _ask(self, path: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if values is None else json.dumps(values).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                found = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            text = " ".join(error.read().decode(errors="replace").split())[:300]
            raise EngineError(f"{self.url}/{path} answered {error.code}: {text}") from None
        except (OSError, json.JSONDecodeError) as error:
            raise EngineError(
                f"{self.url}/{path} cannot be asked ({error}); is the server up, and does the URL end in /v1?"
            ) from None
        if not isinstance(found, dict):
            raise EngineError(f"{self.url}/{path} answered no JSON object")
        return found

    @staticmethod
    def _all(ask: Any, items: Sequence[Any]) -> list[Any]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(ask, items))

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> ServerEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
