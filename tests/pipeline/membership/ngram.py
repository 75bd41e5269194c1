"""A language model small enough for a test without torch: trigrams over words, interpolated, that knows its text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from scorers.lm.engines import Decoding, Engine, EngineSettings, Prompt

PIECES = re.compile(r" ?\w+|[^\w ]| ")
WEIGHTS = (0.6, 0.3, 0.0999, 0.0001)
"""Of trigram, bigram, unigram, and of any word at all."""
VOCABULARY = 20_000


class NgramEngine:
    """An engine (scorers.lm.engines.base.Engine). text_only: it tells no log-probabilities."""

    def __init__(self, texts: Sequence[str], text_only: bool = False):
        self.record = {"engine": "ngram", "dtype": "float32"}
        self.context: int | None = 200
        self.scores = not text_only
        self.scored = 0
        self.prompts: list[str] = []
        self._names: list[str] = ["<s>"]
        self._ids = {"<s>": 0}
        self._counts: list[Counter[tuple[int, ...]]] = [Counter(), Counter(), Counter()]
        for ids in self.encode(texts):
            row = tuple(ids.tolist())
            for size, counts in enumerate(self._counts, 1):
                counts.update(row[i : i + size] for i in range(len(row) - size + 1))

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array([0, *(self._id(piece) for piece in PIECES.findall(text))], np.int32) for text in texts]

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array([(0, 0), *(found.span() for found in PIECES.finditer(text))], np.int64) for text in texts]

    def _id(self, piece: str) -> int:
        if piece not in self._ids:
            self._ids[piece] = len(self._names)
            self._names.append(piece)
        return self._ids[piece]

    def logprobs(self, ids: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.scored += len(ids)
        return [
            np.array([np.nan, *(self._log(one.tolist(), i) for i in range(1, len(one)))], np.float32) for one in ids
        ]

    def _log(self, row: list[int], i: int) -> float:
        one, two, three = self._counts
        total = max(1, one.total())
        chance = WEIGHTS[3] / VOCABULARY + WEIGHTS[2] * one[(row[i],)] / total
        if seen := one[(row[i - 1],)]:
            chance += WEIGHTS[1] * two[(row[i - 1], row[i])] / seen
        if i > 1 and (seen := two[(row[i - 2], row[i - 1])]):
            chance += WEIGHTS[0] * three[(row[i - 2], row[i - 1], row[i])] / seen
        return float(np.log(chance))

    def choices(self, prompts: Sequence[Prompt], allowed: Sequence[int]) -> np.ndarray:
        raise AssertionError("no test of membership asks for choices")

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[list[str]]:
        replies = []
        for prompt in prompts:
            assert isinstance(prompt, str)
            self.prompts.append(prompt)
            row = self.encode([prompt])[0].tolist()
            begun = len(row)
            while len(row) < begun + decoding.max_tokens:
                best = [(n, three) for three, n in self._counts[2].items() if list(three[:2]) == row[-2:]]
                if not best:
                    break
                row.append(max(best)[1][2])
            replies.append(["".join(self._names[i] for i in row[begun:])])
        return replies

    def close(self) -> None:
        pass

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def settings(model: str = "ngram") -> EngineSettings:
    return EngineSettings(engine="transformers", model=model)
