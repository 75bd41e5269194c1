"""What a judge is asked, as token ids whose next token is the answer.

Listwise: the rubric, then texts marked [A], [B], ...; the answer is a letter. Pointwise: the rubric and one text; the
answer is a grade, asked from the worst to the best or the other way round. The rubric comes first, so that servers that
keep prefixes read it once.

    asker = Asker.of(tokenizer, ("<|im_start|>user\\n", "<|im_end|>\\n<|im_start|>assistant\\n"), LETTERS[:8])
    ids = asker.ids(listwise(rubric, excerpts))
    engine.choices([ids], asker.answers)

Documents are text: a special token spelt out in one is characters, and a "[B]" in one becomes "(B)".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import xxhash

from scorers.lm.tokens import plain_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
LETTER_OPENERS = (("[", ""), ("Answer: [", ""), ("Answer:", " "), ("", ""), ("Answer: ", ""), ("", " "))
GRADE_OPENERS = (("", ""), ("Grade: ", ""), ("Grade:", " "), ("", " "))
"""How the reply begins, and what stands before the symbol within its token; the first that fits is used."""
LONGEST_TOKEN = 24
"""Characters per token that a cut allows for before it counts tokens."""
_MARK = re.compile(r"\[([A-Z])\]")

Place = Literal["head", "random"]


@dataclass(frozen=True)
class Asker:
    """A tokenizer, the frame of a conversation around what is asked, and the tokens that are answers.

    answers: token ids of the symbols, in their order, each proven to be one token behind `opener`.
    """

    plain: Tokenizer
    before: tuple[int, ...]
    after: tuple[int, ...]
    opener: str
    answers: tuple[int, ...]

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        frame: tuple[str, str],
        symbols: Sequence[str],
        first: int | None = None,
        openers: Sequence[tuple[str, str]] = LETTER_OPENERS,
    ) -> Asker:
        """frame: what a chat template puts before and after the question. first: a token before all, where there is no
        template to put it there. Raises ValueError if the symbols are no single tokens anywhere."""

        def encode(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text, add_special_tokens=False).ids)

        before = encode(frame[0]) if first is None else (first, *encode(frame[0]))
        for opener, lead in openers:
            after = encode(frame[1] + opener)
            ends = [encode(frame[1] + opener + lead + symbol) for symbol in symbols]
            if all(len(end) == len(after) + 1 and end[:-1] == after for end in ends):
                answers = tuple(end[-1] for end in ends)
                if len(set(answers)) == len(symbols):
                    return cls(plain_tokenizer(tokenizer), before, after, opener + lead, answers)
        raise ValueError(
            f"the tokenizer makes no single tokens of {', '.join(symbols)} at the start of a reply; "
            "take fewer documents a prompt, or another judge"
        )

    def ids(self, content: str) -> np.ndarray:
        """int32 ids of a prompt."""
        middle = self.plain.encode(content, add_special_tokens=False).ids
        return np.array([*self.before, *middle, *self.after], np.int32)

    def excerpt(self, text: str, tokens: int, place: Place = "head", key: str = "", seed: int = 0) -> str:
        """At most so many tokens of a text: its beginning, or a place that follows from `key` and `seed`."""
        start = 0
        if place == "random":
            room = max(len(text) - 4 * tokens, 0)
            start = xxhash.xxh3_64_intdigest(key.encode(), seed=seed) % (room + 1)
            if start:
                space = re.compile(r"\s").search(text, start)
                start = space.end() if space and space.end() < len(text) else start
        piece = text[start : start + LONGEST_TOKEN * tokens]
        encoding = self.plain.encode(piece, add_special_tokens=False)
        if len(encoding.ids) > tokens:
            piece = piece[: encoding.offsets[tokens][0]]
        return _MARK.sub(r"(\1)", piece).strip()


def listwise(rubric: str, excerpts: Sequence[str]) -> str:
    """The question about several texts."""
    texts = "\n\n".join(f"[{letter}]\n{text}" for letter, text in zip(LETTERS, excerpts, strict=False))
    return (
        f"{rubric.strip()}\n\nBelow are {len(excerpts)} texts, each under its letter.\n\n{texts}\n\n"
        f"Which of the texts [{LETTERS[0]}] to [{LETTERS[len(excerpts) - 1]}] is the best by what was said at the "
        "beginning? Reply with its letter in brackets and nothing else."
    )


def pointwise(rubric: str, excerpt: str, grades: int, falling: bool = False) -> str:
    """The question about one text; `grades` of them from 0."""
    scale = f"0 (worst) to {grades - 1} (best)"
    if falling:
        scale = f"{grades - 1} (best) to 0 (worst)"
    return (
        f"{rubric.strip()}\n\nThe text:\n\n{excerpt}\n\n"
        f"Grade the text from {scale} by what was said at the beginning. Reply with the grade and nothing else."
    )
