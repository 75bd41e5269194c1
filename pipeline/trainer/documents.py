"""The rows of one file on their way into a shard: checked, encoded some at a time, written a record batch at a time.

Every row ends as a document or as a reject with a reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.ingest.chat import conversation
from pipeline.ingest.read import Bad
from pipeline.ingest.shard import RejectWriter, printable
from pipeline.trainer.data import DataSettings
from pipeline.trainer.encode import (
    Encoded,
    Tokenizing,
    Unfit,
    encode_conversation,
    encode_text,
    encode_texts,
    encode_tokens,
)
from pipeline.trainer.read import DataFile, rows

CHARACTERS_AT_ONCE = 1 << 20
"""Of text that is tokenised in one call."""
TOKENS_AT_ONCE = 4 << 20
"""Of one record batch, about."""

Facts = tuple[str, str, float, int]
"""id, source, weight and place in the file"""


@dataclass(frozen=True)
class PackTask:
    """One file to pack. limit: its first so many rows alone."""

    data: DataSettings
    how: Tokenizing
    file: DataFile
    limit: int | None


@dataclass
class _Waiting:
    """Documents of a record batch: checked ones that wait to be encoded, encoded ones that wait to be written."""

    facts: list[Facts] = field(default_factory=list)
    contents: list[tuple[Any, np.ndarray | None]] = field(default_factory=list)
    """text, tokens or messages, and weights of tokens"""
    characters: int = 0


class Packing:
    """What became of the rows of one file so far. counts: rows `in` and `out`, and `bytes` of text that is learnt."""

    def __init__(self, task: PackTask, schema: pa.Schema, rejects: RejectWriter, writer: Any):
        self.task, self.data, self.schema, self.rejects, self.writer = task, task.data, schema, rejects, writer
        self.counts: Counter[str] = Counter({"in": 0, "out": 0, "bytes": 0})
        self.rows_in: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.waiting = _Waiting()
        self.encoded: list[tuple[Facts, Encoded]] = []
        self.tokens = 0

    def run(self) -> None:
        """All rows of the file, or as many as the task wants."""
        data = self.data
        named = [data.tokens or data.messages or data.text, data.weight, data.token_weights]
        needed = [name for name in named if name is not None]
        optional = [data.id, data.source, *([data.text] if data.tokens else [])]
        for row in rows(self.task.file, needed, [name for name in optional if name not in needed]):
            if row.position == self.task.limit:
                break
            self.add(row.position, row.values)
        self.encode()
        self.write()

    def add(self, position: int, values: dict[str, Any] | Bad) -> None:
        """Check one row."""
        self.counts["in"] += 1
        known = {} if isinstance(values, Bad) else values
        source = known.get(self.data.source)
        source = source if isinstance(source, str) else ""
        name = known.get(self.data.id)
        name = f"{self.task.file.name}:{position}" if name is None else str(name)
        self.rows_in[source] += 1
        facts = (name, source, 1.0, position)
        try:
            if isinstance(values, Bad):
                raise Unfit(values.reason, values.detail)
            facts = (name, source, _weight(values, self.data.weight), position)
            content, size = _content(values, self.data)
            weights = _token_weights(values, self.data.token_weights)
        except Unfit as error:
            self.reject(facts, error)
            return
        self.waiting.facts.append(facts)
        self.waiting.contents.append((content, weights))
        self.waiting.characters += size
        if self.waiting.characters >= CHARACTERS_AT_ONCE:
            self.encode()

    def reject(self, facts: Facts, error: Unfit) -> None:
        """Keep a row that cannot be trained on."""
        name, source, _, position = facts
        reason, detail = error.args
        self.rejected[source] += 1
        self.reasons[reason] += 1
        self.rejects.add((name, source, self.task.file.name, position, reason, printable(detail), None))

    def encode(self) -> None:
        """Tokenise what waits."""
        waiting, self.waiting = self.waiting, _Waiting()
        for facts, made in zip(waiting.facts, self._made(waiting.contents), strict=True):
            if isinstance(made, Unfit):
                self.reject(facts, made)
                continue
            self.encoded.append((facts, made))
            self.tokens += len(made.tokens)
        if self.tokens >= TOKENS_AT_ONCE:
            self.write()

    def _made(self, contents: list[tuple[Any, np.ndarray | None]]) -> list[Encoded | Unfit]:
        how, data = self.task.how, self.data
        if data.tokens is None and data.messages is None and data.token_weights is None:
            return [*encode_texts(how, [text for text, _ in contents])]
        found: list[Encoded | Unfit] = []
        for content, weights in contents:
            try:
                if data.tokens is not None:
                    found.append(encode_tokens(how, content[0], weights, content[1]))
                elif data.messages is not None:
                    found.append(encode_conversation(how, content, data.roles))
                elif weights is not None:
                    found.append(encode_text(how, content, weights))
                else:
                    found += encode_texts(how, [content])
            except Unfit as error:
                found.append(error)
        return found

    def write(self) -> None:
        """Write what is encoded as one record batch."""
        if not self.encoded:
            return
        facts, made = zip(*self.encoded, strict=True)
        kind = self.schema.field("tokens").type.value_type.to_pandas_dtype()
        nothing = np.zeros(0, np.float32)
        arrays = [
            pa.array([fact[0] for fact in facts], pa.string()),
            pa.array([fact[1] for fact in facts], pa.string()),
            pa.array([fact[2] for fact in facts], pa.float32()),
            pa.array([one.bytes for one in made], pa.int64()),
            _lists([one.tokens.astype(kind) for one in made]),
            _lists([nothing if one.weights is None else one.weights.astype(np.float32) for one in made]),
        ]
        self.writer.write_batch(pa.record_batch(arrays, schema=self.schema))
        self.counts["out"] += len(made)
        self.counts["bytes"] += sum(one.bytes for one in made)
        self.encoded, self.tokens = [], 0


def _lists(parts: list[np.ndarray]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(parts)))


def _weight(values: dict[str, Any], column: str | None) -> float:
    """Raises Unfit unless it is finite as a float32, and not negative."""
    if column is None:
        return 1.0
    value = values.get(column)
    if not isinstance(value, (int, float)) or not (0 <= value <= float(np.finfo(np.float32).max)):
        raise Unfit("bad_weight", f"{value!r}, expected a finite number, not negative")
    return float(value)


def _content(values: dict[str, Any], data: DataSettings) -> tuple[Any, int]:
    """(text, or tokens and text, or messages; a size to bound what is tokenised at once). Raises Unfit."""
    text = values.get(data.text)
    if data.tokens is not None:
        tokens = _numbers(values.get(data.tokens), "no_tokens", np.integer)
        return (tokens.astype(np.int64), text if isinstance(text, str) else None), len(tokens)
    if data.messages is not None:
        try:
            messages, more = conversation({"messages": values.get(data.messages)}, "messages")
        except ValueError as error:
            raise Unfit("bad_messages", str(error)) from None
        if more:
            raise Unfit("bad_messages", "messages hold more than role and content (tool calls, images), which is lost")
        return messages, sum(len(message["content"]) for message in messages)
    if not isinstance(text, str) or not text:
        raise Unfit("no_text", f"{data.text} is {'empty' if text == '' else type(text).__name__}, expected a text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unfit("no_text", f"not UTF-8: {error}") from None
    return text, len(text)


def _token_weights(values: dict[str, Any], column: str | None) -> np.ndarray | None:
    """float32, or None where the row has none. Raises Unfit unless all are finite and not negative."""
    if column is None or values.get(column) is None:
        return None
    weights = _numbers(values[column], "bad_token_weights", np.number).astype(np.float32)
    if len(weights) and not (np.isfinite(weights).all() and weights.min() >= 0):
        raise Unfit("bad_token_weights", "expected finite numbers, not negative")
    return weights


def _numbers(value: Any, reason: str, kind: Any) -> np.ndarray:
    """A list of numbers as an array. Raises Unfit if it is something else."""
    try:
        found = np.asarray(value if value is not None else "none")
    except ValueError:
        found = np.asarray("ragged")
    if found.ndim == 1 and not len(found):
        return np.zeros(0, np.int64)
    if found.ndim != 1 or not np.issubdtype(found.dtype, kind):
        raise Unfit(reason, f"a {type(value).__name__} of {found.dtype}, expected a list of numbers")
    return found
