"""Documents to tokens of which role and turn are known.

    made = encode_document(how, {"text": ..., "messages": [...]})
    made.ids, made.roles, made.turns, made.starts, made.ends

A conversation goes through the tokenizer's chat template: its ids are those of `apply_chat_template`. The tokens of a
message are those of its words and what ends its turn. What stands in front of an answer (`<|im_start|>assistant`) is
counted to the message before it, for the answer is asked for there; what stands in front of any other message, to that
message. What the template writes before the first words, and after the last turn, is nobody's: role 0, turn -1. A
token that reaches into an answer is the answer's. Answers of the assistant are what may carry loss.

Without a template a conversation is the text that ingest makes of it, with BOS and EOS as the trainer has them. A
document without messages is one response of role `text`.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UserError
from pipeline.trainer.data import DataSettings
from pipeline.trainer.encode import Tokenizing, Unfit, check_contents, plain_text, tokenizers_of, tokenizing
from pipeline.trainer.template import compiled

NOBODY, SYSTEM, USER, ASSISTANT, OTHER, TEXT = range(6)
ROLES = ("", "system", "user", "assistant", "other", "text")
"""Names of the role codes; other: tools, and whatever a template knows besides."""
_CODES = {"system": SYSTEM, "developer": SYSTEM, "user": USER, "assistant": ASSISTANT}
LOSSES = (ASSISTANT, TEXT)


@dataclass(frozen=True)
class Encoded:
    """The tokens of a document. ids, starts, ends: int64; roles: int8, turns: int16, -1 outside of messages.

    starts, ends: characters of `text`, which is what was tokenised: the template's rendering.
    """

    text: str
    ids: np.ndarray
    roles: np.ndarray
    turns: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @property
    def responses(self) -> np.ndarray:
        """int64 (r, 2): first and end of each response."""
        turns = np.where(np.isin(self.roles, LOSSES), self.turns.astype(np.int64), -2)
        edges = np.flatnonzero(np.diff(np.concatenate([[-2], turns, [-2]])))
        spans = np.stack([edges[:-1], edges[1:]], axis=1) if len(edges) else np.zeros((0, 2), np.int64)
        return spans[turns[spans[:, 0]] != -2] if len(spans) else spans


def tokenizing_of(tokenizer: str, template: str | None) -> Tokenizing:
    """The tokenizer with its template, or the template of a file. Raises UserError."""
    how = tokenizing(DataSettings(paths=["-"], tokenizer=tokenizer, messages="messages"))
    if template is None:
        return how
    try:
        source = Path(template).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"template {template}: cannot be read ({error})") from None
    compiled(source, how.specials).check(template)
    return replace(how, template=source)


@functools.lru_cache(maxsize=8)
def identity(how: Tokenizing) -> str:
    """sha256 over what the tokenizer does to a text and over the template, in hex.

    Not over the file: saving a tokenizer again writes it otherwise, and padding or truncation in it mean nothing here.
    """
    plain, _ = tokenizers_of(how)
    parts = [plain.to_str(), how.template or "", repr(how.specials), str(how.bos), str(how.eos)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def encode_document(how: Tokenizing, text: str, messages: list[dict[str, str]] | None) -> Encoded:
    """Raises Unfit(reason, detail) where role and turn of the tokens cannot be told."""
    if not messages:
        return _framed(how, _plain(how, text, [(0, len(text))], [(TEXT, 0)]), TEXT)
    codes = [(_CODES.get(message["role"], OTHER), turn) for turn, message in enumerate(messages)]
    if how.template is None:
        whole, contents = plain_text(messages)
        return _framed(how, _plain(how, whole, contents, codes), codes[-1][0])
    check_contents(how, messages)
    try:
        whole, parts = compiled(how.template, how.specials).parts(messages)
    except ValueError as error:
        raise Unfit("template", str(error)) from None
    lost = [turn for (role, turn), part in zip(codes, parts, strict=True) if role == ASSISTANT and part is None]
    if lost:
        raise Unfit("template", f"the chat template leaves out message {lost[0] + 1}")
    spans = [part for part in parts if part is not None]
    codes = [code for code, part in zip(codes, parts, strict=True) if part is not None]
    encoding = tokenizers_of(how)[1].encode(whole, add_special_tokens=False)
    return _assigned(whole, encoding, spans, codes)


def _plain(how: Tokenizing, text: str, spans: list[tuple[int, int]], codes: list[tuple[int, int]]) -> Encoded:
    return _assigned(text, tokenizers_of(how)[0].encode(text, add_special_tokens=False), spans, codes)


def _assigned(text: str, encoding: Any, spans: list[tuple[int, int]], codes: list[tuple[int, int]]) -> Encoded:
    """Tokens with the roles and turns of the messages at these characters."""
    role, turn = np.full(len(text) + 1, NOBODY, np.int8), np.full(len(text) + 1, -1, np.int16)
    order = sorted(zip(spans, codes, strict=True))
    for number, ((start, end), code) in enumerate(order):
        role[start:end], turn[start:end] = code
        if number:
            (_, before), other = order[number - 1]
            role[before:start], turn[before:start] = other if code[0] in LOSSES else code
    offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
    starts, ends = offsets[:, 0], offsets[:, 1]
    # By the last character: the space in front of a word is often one token with it.
    at = np.maximum(ends - 1, starts)
    roles, turns = role[at], turn[at]
    for (start, end), code in order:
        if code[0] in LOSSES:
            inside = (starts < end) & (ends > start)
            roles[inside], turns[inside] = code
    return Encoded(text, np.array(encoding.ids, np.int64), roles, turns, starts, ends)


def _framed(how: Tokenizing, made: Encoded, last: int) -> Encoded:
    """With BOS in front, and EOS behind, which an answer at the end learns."""
    size = len(made.text)
    after = [] if how.eos is None else [how.eos]
    code = (last, int(made.turns[-1]) if len(made.turns) else 0) if last in LOSSES else (NOBODY, -1)

    def around(before: int, values: np.ndarray, value: int) -> np.ndarray:
        return np.concatenate([[before], values, [value] * len(after)]).astype(values.dtype)

    return Encoded(
        made.text,
        around(how.bos, made.ids, how.eos or 0),
        around(NOBODY, made.roles, code[0]),
        around(-1, made.turns, code[1]),
        around(0, made.starts, size),
        around(0, made.ends, size),
    )
