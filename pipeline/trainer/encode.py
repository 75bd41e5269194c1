"""Documents to tokens: what stands before and after them, which tokens are learnt, and how many bytes these are.

- A text is text: a literal ``<|endoftext|>`` in it is spelt out like any other characters.
- A conversation goes through the tokenizer's chat template if it has one, and there the template's special tokens are
  meant. What is learnt of a message is its content and what the template puts behind it (the end of the turn).
- Without a template a conversation is what ingest makes of it, and the contents are learnt.
- BOS comes first, EOS last, and neither twice.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pipeline import models
from pipeline.errors import UserError
from pipeline.ingest.chat import render
from pipeline.trainer.data import DataSettings
from pipeline.trainer.template import compiled
from scorers.lm.tokens import completed


@dataclass(frozen=True)
class Tokenizing:
    """What decides how documents become tokens, as a worker needs it. `digest`: of tokenizer.json.

    vocabulary: one more than the largest id; 0 without a tokenizer.
    """

    file: str | None
    digest: str | None
    bos: int
    eos: int | None
    vocabulary: int
    template: str | None
    specials: tuple[tuple[str, str], ...] = ()
    """name and text of the special tokens, for the template"""


@dataclass(frozen=True)
class Encoded:
    """A document. weights: float32, one per token, or None where all are learnt. bytes: of the tokens learnt."""

    tokens: np.ndarray
    weights: np.ndarray | None
    bytes: int


class Unfit(ValueError):
    """A document that cannot be encoded; the first argument is the reason, the second says more."""


def tokenizing(data: DataSettings) -> Tokenizing:
    """Find the tokenizer and its special tokens. Raises UserError that says what is missing."""
    if data.tokenizer is None:
        if data.tokens is None:
            raise UserError("tokenizer: a text needs one; expected a tokenizer.json, its folder or a hub name")
        if data.bos is None:
            raise UserError("bos: ready tokens without a tokenizer need the id of the token in front of every document")
        return Tokenizing(None, None, data.bos, data.eos, 0, None)
    file = models.local_file(data.tokenizer, "tokenizer")
    file = file / "tokenizer.json" if file.is_dir() else file
    tokenizer = _opened(str(file))
    config = tokenizer_config(data.tokenizer, file)
    specials = special_tokens(config)
    ids = {key: tokenizer.token_to_id(text) for key, text in specials.items()}
    eos = data.eos if data.eos is not None else ids.get("eos_token")
    bos = data.bos if data.bos is not None else ids.get("bos_token")
    bos = eos if bos is None else bos
    if bos is None:
        raise UserError(
            f"tokenizer {data.tokenizer}: names neither a BOS nor an EOS (tokenizer_config.json beside it); set `bos` "
            f"and `eos` to ids, if need be to ones behind its vocabulary of {tokenizer.get_vocab_size()}"
        )
    vocabulary = max([*tokenizer.get_vocab(with_added_tokens=True).values(), bos, -1 if eos is None else eos]) + 1
    template = chat_template(config, file) if data.messages is not None else None
    made = Tokenizing(
        str(file), models.content_hash(file), bos, eos, vocabulary, template, tuple(sorted(specials.items()))
    )
    if template is not None:
        compiled(template, made.specials).check(data.tokenizer)
    return made


def tokenizer_config(named: str, file: Path) -> dict[str, Any]:
    """What tokenizer_config.json says, or special_tokens_map.json where there is none."""
    if not Path(named).expanduser().exists() and "://" not in named:
        for name in ("tokenizer_config.json", "chat_template.jinja"):
            _fetched(named, name)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (file.parent / name).is_file():
            try:
                return orjson.loads((file.parent / name).read_bytes())
            except orjson.JSONDecodeError as error:
                raise UserError(f"{file.parent / name} is not JSON: {error}") from None
    return {}


def _fetched(repository: str, name: str) -> None:
    """Put a file of the hub beside the tokenizer.json that came from there, if it has one."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        hf_hub_download(repository, name)
    except (EntryNotFoundError, LocalEntryNotFoundError):
        return


def special_tokens(config: dict[str, Any]) -> dict[str, str]:
    """{bos_token: "<s>", ...}: what a chat template may name."""
    values = {key: value for key, value in config.items() if key.endswith("_token") and value is not None}
    return {key: value["content"] if isinstance(value, dict) else str(value) for key, value in values.items()}


def chat_template(config: dict[str, Any], file: Path) -> str | None:
    """The source of the template that comes with a tokenizer.json; None without one."""
    beside = file.parent / "chat_template.jinja"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):
        found = next((one["template"] for one in found if one["name"] == "default"), None)
    return found


@functools.lru_cache(maxsize=4)
def _opened(file: str) -> Any:
    from scorers.lengths import load_tokenizer

    return load_tokenizer(file)


@functools.lru_cache(maxsize=4)
def tokenizers_of(how: Tokenizing) -> tuple[Any, Any]:
    """(for texts, for what a template made) of a worker. Raises UserError if the file has changed meanwhile."""
    from tokenizers import Tokenizer

    from scorers.lm.tokens import plain_tokenizer

    assert how.file is not None
    if models.content_hash(Path(how.file)) != how.digest:
        raise UserError(f"tokenizer {how.file} changed while documents were tokenised; run the same command again")
    plain = plain_tokenizer(_opened(how.file))
    with_specials = Tokenizer.from_str(plain.to_str())
    with_specials.encode_special_tokens = False
    return plain, with_specials


def encode_texts(how: Tokenizing, texts: Sequence[str]) -> list[Encoded]:
    """Many texts at once; every token is learnt."""
    encodings = tokenizers_of(how)[0].encode_batch_fast(list(texts), add_special_tokens=False)
    return [
        Encoded(*_framed(how, np.array(encoding.ids, np.int64)), len(text.encode()))
        for text, encoding in zip(texts, encodings, strict=True)
    ]


def encode_text(how: Tokenizing, text: str, weights: np.ndarray) -> Encoded:
    """A text with a weight for each of its own tokens, float32. Raises Unfit if they are not as many."""
    encoding = tokenizers_of(how)[0].encode(text, add_special_tokens=False)
    ids = np.array(encoding.ids, np.int64)
    _check_length(weights, ids)
    return Encoded(*_framed(how, ids, weights), int(_token_bytes(text, encoding)[weights > 0].sum()))


def encode_tokens(how: Tokenizing, tokens: np.ndarray, weights: np.ndarray | None, text: str | None) -> Encoded:
    """Ready ids, int64, with or without BOS and EOS. weights: float32, one per id. Raises Unfit.

    text: what they are of, if it is known: its bytes count. Without it, or where not all tokens are learnt, the bytes
    are those of the tokens decoded; without a tokenizer 0.
    """
    if not len(tokens):
        raise Unfit("no_tokens", "the list is empty")
    largest = how.vocabulary or 1 << 32
    if tokens.min() < 0 or tokens.max() >= largest:
        raise Unfit("bad_tokens", f"ids from {tokens.min()} to {tokens.max()}, expected 0 to {largest - 1}")
    if weights is not None:
        _check_length(weights, tokens)
    size = 0
    if weights is None and text is not None:
        size = len(text.encode())
    elif how.file is not None:
        learnt = tokens if weights is None else tokens[weights > 0]
        size = len(tokenizers_of(how)[0].decode(learnt.tolist(), skip_special_tokens=True).encode())
    front = bool(tokens[0] == how.bos)
    back = bool(tokens[-1] == how.eos) and len(tokens) > front
    return Encoded(*_framed(how, tokens, weights, 1.0, front, back), size)


def encode_conversation(how: Tokenizing, messages: list[dict[str, str]], roles: Sequence[str]) -> Encoded:
    """A conversation of role and content; the loss is on the messages of some roles. Raises Unfit."""
    plain, with_specials = tokenizers_of(how)
    learnt = [message["role"] in roles for message in messages]
    front = back = False
    if how.template is None:
        text, contents = plain_text(messages)
        spans = [span for span, wanted in zip(contents, learnt, strict=True) if wanted]
        encoding = plain.encode(text, add_special_tokens=False)
    else:
        check_contents(how, messages)
        try:
            text, spans = compiled(how.template, how.specials).render(messages, learnt)
        except ValueError as error:
            raise Unfit("template", str(error)) from None
        encoding = with_specials.encode(text, add_special_tokens=False)
        front = encoding.ids[:1] == [how.bos]
        back = how.eos is not None and text.rstrip().endswith(with_specials.id_to_token(how.eos) or "\0")
    offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
    weights = np.zeros(len(offsets), np.float32)
    for start, end in spans:
        weights[(offsets[:, 0] < end) & (offsets[:, 1] > start)] = 1
    if not weights.any():
        raise Unfit("nothing_to_learn", f"no message of {', '.join(roles)} says anything")
    size = int(_token_bytes(text, encoding)[weights > 0].sum())
    return Encoded(*_framed(how, np.array(encoding.ids, np.int64), weights, float(learnt[-1]), front, back), size)


def check_contents(how: Tokenizing, messages: list[dict[str, str]]) -> None:
    """Raises Unfit for words that would be read as a special token."""
    for token in special_texts(how):
        if any(token in message["content"] for message in messages):
            raise Unfit("special_in_content", f"a message holds {token!r}, which would be read as that token")


@functools.lru_cache(maxsize=4)
def special_texts(how: Tokenizing) -> tuple[str, ...]:
    """The special tokens as they are written."""
    added = tokenizers_of(how)[1].get_added_tokens_decoder().values()
    return tuple(token.content for token in added if token.special)


def plain_text(messages: list[dict[str, str]]) -> tuple[str, list[tuple[int, int]]]:
    """The text as ingest writes it, and the characters of each content."""
    spans, at = [], 0
    for message in messages:
        start = at + len(message["role"]) + len(": ")
        at = start + len(message["content"]) + len("\n\n")
        spans.append((start, start + len(message["content"])))
    return render(messages), spans


def _check_length(weights: np.ndarray, ids: np.ndarray) -> None:
    if len(weights) != len(ids):
        raise Unfit("token_weights_length", f"{len(weights)} weights for {len(ids)} tokens")


def _token_bytes(text: str, encoding: Any) -> np.ndarray:
    """int64, one per token: UTF-8 bytes of the characters that it completes."""
    ends = completed(np.array(encoding.offsets, np.int64).reshape(-1, 2))
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    sizes = 1 + (codes > 0x7F).astype(np.int64) + (codes > 0x7FF) + (codes > 0xFFFF)
    return np.diff(np.append(0, np.cumsum(sizes))[np.append(0, ends)])


def _framed(
    how: Tokenizing,
    ids: np.ndarray,
    weights: np.ndarray | None = None,
    end: float = 1.0,
    front: bool = False,
    back: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """(ids, weights) with BOS in front and EOS behind. front, back: it is there already. end: the weight of the EOS."""
    before = [] if front else [how.bos]
    after = [] if back or how.eos is None else [how.eos]
    whole = np.concatenate([np.array(before, np.int64), ids, np.array(after, np.int64)])
    if weights is None:
        return whole, None
    parts = [np.zeros(len(before), np.float32), weights, np.full(len(after), end, np.float32)]
    return whole, np.concatenate(parts)
