"""Text to token ids and back for the model of a folder, without transformers.

>>> codec = read_codec(Path("models/small"))
>>> codec.encode(["one two"])
[array([  0, 606, 734], dtype=int32)]
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scorers.lm.engines.base import EngineError, Prompt, PromptError
from scorers.lm.tokens import plain_tokenizer

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


@dataclass(frozen=True)
class Codec:
    """A tokenizer that only splits, and the token that stands before every text: BOS, else EOS, so that the first
    token of the text has a log-probability too. context: positions of the model, None if its config names no limit."""

    tokenizer: Tokenizer
    first: int
    context: int | None

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """int32 ids of each text."""
        return [np.array([self.first, *one.ids], np.int32) for one in self._encodings(texts)]

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """int64 (tokens, 2), characters of each id; (0, 0) for the first."""
        return [np.array([(0, 0), *one.offsets], np.int64) for one in self._encodings(texts)]

    def prompts(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        """Ids of each prompt, encoded where it is text."""
        return [self.encode([one])[0] if isinstance(one, str) else np.asarray(one, np.int32) for one in prompts]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a reply; special tokens are left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def _encodings(self, texts: Sequence[str]) -> list[Encoding]:
        return self.tokenizer.encode_batch(list(texts), add_special_tokens=False)


def read_codec(folder: Path) -> Codec:
    """The codec of a model's folder. Raises EngineError if it has no tokenizer.json or names no first token."""
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise EngineError(f"{folder} has no tokenizer.json; token positions in a text need one")
    tokenizer = plain_tokenizer(Tokenizer.from_file(str(file)))
    config = _json(folder / "config.json")
    inner = config.get("text_config", config)
    settings = _json(folder / "tokenizer_config.json")
    for key in ("bos", "eos"):
        named = settings.get(f"{key}_token")
        name = named.get("content") if isinstance(named, dict) else named
        first = tokenizer.token_to_id(name) if name else config.get(f"{key}_token_id")
        first = first[0] if isinstance(first, list) else first
        if first is not None:
            return Codec(tokenizer, int(first), inner.get("max_position_embeddings"))
    raise EngineError(f"{folder}: neither its tokenizer nor its config names a BOS or EOS token to begin a text with")


def flattened(ids: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(int32 ids end to end, int64 offsets)."""
    offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    return np.concatenate([np.zeros(0, np.int32), *(np.asarray(one, np.int32) for one in ids)]), offsets


def fitting(context: int | None, wanted: int | None, default: int) -> int:
    """The context to open a model with. Raises EngineError for more than it has."""
    if wanted is not None and context is not None and wanted > context:
        raise EngineError(f"context {wanted}: the model has {context} positions; expected no more than that")
    return wanted or min(context or default, default)


def checked(ids: Sequence[np.ndarray], context: int | None, reply: int) -> None:
    """Raises PromptError for a prompt that is empty or leaves no room for its reply: nothing is cut in silence."""
    for number, one in enumerate(ids):
        if not len(one):
            raise PromptError(f"prompt {number} is empty; expected at least one token")
        if context is not None and len(one) + reply > context:
            raise PromptError(
                f"prompt {number} has {len(one)} tokens and {reply} more for the reply; the context holds {context}: "
                "set a larger `context`, or shorten what stands before the phrase"
            )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise EngineError(f"{path} is not JSON: {error}") from None
    return found if isinstance(found, dict) else {}
