"""How long a document is: code points, UTF-8 bytes, words of the default split, and tokens of a named tokenizer.

Tokens are counted with the ``tokenizers`` library, without special tokens, truncation or padding: what the text itself
costs. The tokenizer is a ``tokenizer.json`` or a folder that holds one.

    scorer = load(Settings(tokenizer="org/name"), {"tokenizer": "/local/copy/tokenizer.json"}, "lengths")
    chars, num_bytes, words, tokens = scorer.score(texts)      # int64 each
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from scorers.texts import Texts

VERSION = 1

_BYTES_AT_ONCE = 1 << 20  # the tokenizer keeps ids, offsets and more for every token of a call


class Settings(BaseModel):
    """tokenizer: path or URL of a tokenizer.json or of a folder that holds one; None writes no token counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokenizer: str | None = None


def model_files(settings: Settings) -> dict[str, str]:
    """The tokenizer, if one is set."""
    return {} if settings.tokenizer is None else {"tokenizer": settings.tokenizer}


def load(settings: Settings, files: dict[str, str], name: str) -> Lengths:
    """The scorer; under a name other than "lengths" its columns start with ``<name>_``.

    Raises ValueError if the tokenizer is missing or cannot be read.
    """
    prefix = "" if name == "lengths" else f"{name}_"
    names = ["chars", "bytes", "words"] + (["tokens"] if settings.tokenizer is not None else [])
    tokenizer = load_tokenizer(files["tokenizer"]) if settings.tokenizer is not None else None
    return Lengths(tokenizer, pa.schema([(prefix + name, pa.int64()) for name in names]))


def load_tokenizer(path: str) -> Any:
    """A ``tokenizers.Tokenizer`` from a tokenizer.json or its folder, truncation and padding off."""
    # One worker has one core: threads of the tokenizer's own would fight the other workers for theirs.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    file = Path(path)
    if file.is_dir():
        file = file / "tokenizer.json"
    if not file.is_file():
        raise ValueError(f"tokenizer {path}: no tokenizer.json there; expected such a file or a folder that holds one")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except BaseException as error:  # the library raises bare Exception, and panics, which are no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise ValueError(f"tokenizer {file}: not a tokenizer.json that tokenizers can read ({error})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@dataclass(frozen=True)
class Lengths:
    """A loaded scorer. tokenizer: a ``tokenizers.Tokenizer`` or None."""

    tokenizer: Any
    schema: pa.Schema

    def score(self, texts: Texts) -> list[pa.Array]:
        """One int64 array per field of ``schema``."""
        import numpy as np

        from scorers.words import count_characters

        words = np.diff(texts.words.doc_offsets)
        columns = [count_characters(texts.data, texts.offsets), np.diff(texts.offsets), words]
        if self.tokenizer is not None:
            columns.append(self._count_tokens(texts))
        return [pa.array(values, pa.int64()) for values in columns]

    def _count_tokens(self, texts: Texts) -> Any:
        import numpy as np

        counts = np.zeros(len(texts), np.int64)
        batch: list[str] = []
        size = done = 0
        for doc in range(len(texts)):
            text = texts.data[texts.offsets[doc] : texts.offsets[doc + 1]].tobytes()
            batch.append(text.decode())
            size += len(text)
            if size >= _BYTES_AT_ONCE or doc + 1 == len(texts):
                try:
                    encoded = self.tokenizer.encode_batch_fast(batch, add_special_tokens=False)
                except BaseException as error:
                    if isinstance(error, (KeyboardInterrupt, SystemExit)):
                        raise
                    raise ValueError(f"the tokenizer cannot encode a text: {error}") from None
                counts[done : doc + 1] = [len(encoding) for encoding in encoded]
                batch, size, done = [], 0, doc + 1
        return counts
