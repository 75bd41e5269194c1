"""Suspect documents without identifiers: dataset inference, and the split that makes a p-value possible.

    tamis membership split DOCUMENTS -o split          # before publication: publish one half, keep the other
    tamis membership documents SUSPECT HELD_OUT -m MODEL --split split.json

`split` deals documents out by chance and prints a commitment, SHA-256 over salt and the two lists of documents' hashes;
it is to be published or time-stamped before the documents are. A later comparison is given a p-value only if the
texts are those of such a split, each on its side. Every other comparison gets a score, a control that never asks the
model, and a sentence that says what it cannot show.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.ingest.read import compression, line_blocks, opened
from pipeline.storage import Store
from scorers.lm.engines import EngineSettings, open_engine
from scorers.membership.inference import Inference, inferred
from scorers.membership.values import measured

FORMAT = "tamis split 1"
AT_ONCE = 256
"""Documents that go to the engine at once."""


@dataclass(frozen=True)
class Split:
    """A committed split: hashes of the texts of both sides."""

    commitment: str
    salt: str
    published: tuple[str, ...]
    held_out: tuple[str, ...]

    def made(self) -> str:
        """The commitment that follows from the rest."""
        text = "\n".join([FORMAT, self.salt, *self.published, "", *self.held_out])
        return hashlib.sha256(text.encode()).hexdigest()


def digest_of(text: str) -> str:
    """What a split knows of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_texts(path: str, column: str = "text") -> list[str]:
    """The texts of a JSONL (plain, .gz, .zst) or Parquet file; UserError for a row without one."""
    try:
        if path.endswith(".parquet"):
            table = pq.read_table(path)
            if column not in table.column_names:
                raise UserError(f"{path}: no column {column!r}; there: {', '.join(table.column_names)}")
            found: list[Any] = table[column].to_pylist()
        else:
            found = []
            with opened(path, compression(path)) as read:
                for _, block in line_blocks(read, 0, None, 1 << 30):
                    assert isinstance(block, bytes)
                    found += [orjson.loads(line).get(column) for line in block.splitlines() if line.strip()]
    except (OSError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: cannot be read as documents ({' '.join(str(error).split())[:200]})") from None
    for row, text in enumerate(found):
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{path}, row {row + 1}: {column!r} is {text!r:.60}; expected a text that is not empty")
    return found


def make_split(path: str, out: str, column: str = "text", share: float = 0.5) -> Split:
    """Deal the documents of a file out by chance: OUT-published.jsonl, OUT-held-out.jsonl and OUT.json.

    Documents of the same text are one. Raises UserError if a file is there already: a second split would be a choice.
    """
    texts = list(dict.fromkeys(read_texts(path, column)))
    names = {name: f"{out}{name}" for name in ("-published.jsonl", "-held-out.jsonl", ".json")}
    for name in names.values():
        if Path(name).exists():
            raise UserError(f"{name} exists already: a split is made once; give it another name")
    count = round(share * len(texts))
    if min(count, len(texts) - count) < 5:
        raise UserError(f"{path}: {len(texts)} different documents; expected at least 5 for either side")
    order = sorted(range(len(texts)), key=lambda _: secrets.randbits(128))
    sides = [[texts[i] for i in sorted(part)] for part in (order[:count], order[count:])]
    published, held_out = (tuple(sorted(map(digest_of, side))) for side in sides)
    split = Split("", secrets.token_hex(32), published, held_out)
    split = Split(**asdict(split) | {"commitment": split.made()})
    for name, side in zip(names.values(), sides, strict=False):
        _write(name, b"".join(orjson.dumps({"text": text}) + b"\n" for text in side))
    _write(names[".json"], orjson.dumps(asdict(split), option=orjson.OPT_INDENT_2))
    return split


def read_split(path: str) -> Split:
    """A split. Raises UserError if it is damaged or its commitment does not follow from it."""
    try:
        values = orjson.loads(Path(path).read_bytes())
        lists = {name: tuple(values[name]) for name in ("published", "held_out")}
        split = Split(values["commitment"], values["salt"], **lists)
        if not all(isinstance(text, str) for text in (split.commitment, split.salt, *split.published, *split.held_out)):
            raise ValueError("expected texts and lists of texts")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"split {path}: cannot be read ({error}); `tamis membership split` makes one") from None
    if split.made() != split.commitment:
        raise UserError(f"split {path}: its commitment does not follow from its content; it was changed")
    return split


def check_split(split: Split, suspect: list[str], held_out: list[str]) -> None:
    """Raises UserError unless the texts are all of those of a split, each on its side."""
    for name, texts, known in (("suspect", suspect, split.published), ("held-out", held_out, split.held_out)):
        found = {digest_of(text) for text in texts}
        if len(found) < len(texts):
            raise UserError(f"the {name} documents hold the same text twice; a split knows each once")
        if extra := found - set(known):
            raise UserError(f"{len(extra)} of {len(texts)} {name} documents are not on that side of the split")
        if missing := set(known) - found:
            raise UserError(
                f"{len(missing)} documents of the split's {name} side are missing: leaving some out could be a choice"
            )


def compare_documents(
    suspect: list[str],
    held_out: list[str],
    engine_settings: EngineSettings,
    value: str = "mean_nll",
    split: Split | None = None,
    reference: EngineSettings | None = None,
    seed: int = 0,
) -> Inference:
    """Score both sides, shuffled together, and compare them. Texts beyond the context are cut, on both sides alike."""
    if split is not None:
        check_split(split, suspect, held_out)
    texts = suspect + held_out
    found = _values(texts, engine_settings, value, seed)
    if reference is not None:
        found = found - _values(texts, reference, value, seed)
    return inferred(found[: len(suspect)], found[len(suspect) :], texts, split is not None, seed)


def _values(texts: list[str], settings: EngineSettings, value: str, seed: int) -> np.ndarray:
    found = np.empty(len(texts))
    order = np.random.default_rng(seed).permutation(len(texts))
    with open_engine(settings) as engine:
        for first in range(0, len(order), AT_ONCE):
            some = order[first : first + AT_ONCE]
            ids = engine.encode([texts[i] for i in some])
            ends = [spans[:, 1] for spans in engine.spans([texts[i] for i in some])]
            room = (engine.context or max(map(len, ids)) + 1) - 1
            logprobs = [one[1:] for one in engine.logprobs([one[:room] for one in ids])]
            kept = [texts[i][: int(end[:room].max())] for i, end in zip(some, ends, strict=True)]
            found[some] = measured(logprobs, kept)[value]
    return found


def _write(path: str, data: bytes) -> None:
    file = Path(path).expanduser().absolute()
    Store(str(file.parent)).write_bytes(file.name, data)


def shown(found: Inference, value: str) -> str:
    """The comparison for a person."""
    lines = [
        f"{found.suspect} suspect and {found.held_out} held-out documents, {value} (small: likely to the model)",
        f"mean difference, suspect less held out: {found.difference:.4f}",
        f"AUC: {found.auc:.3f} ({found.auc_low:.3f} to {found.auc_high:.3f}); 0.5: no difference",
        f"control, which never asks the model: {found.control:.3f} ({found.control_low:.3f} to "
        f"{found.control_high:.3f}); should be about 0.5",
        "p-value: none" if found.p is None else f"p-value: {found.p:.4g} (random relabelings of the committed split)",
        found.says,
    ]
    return "\n".join(lines)
