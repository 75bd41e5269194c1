"""The documents of a pack as token ids, read from mapped memory: opening costs little, whatever the size.

packed = open_packed(workspace, "packs/best-1a2b3c4d")
packed.lengths, packed.weights, packed.tokens(0)

A shard is an uncompressed Arrow file: id, source, weight (float32), bytes (int64), tokens (list of uint16 or uint32)
and, where there are any, token_weights (list of float32). Shards of a remote workspace are fetched into the cache
folder once.
"""

from __future__ import annotations

import bisect
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.ledger import Row
from pipeline.stage import saved
from pipeline.workspace import Workspace, shard_name
from scorers.cache import cache_folder


def shard_schema(vocabulary: int) -> pa.Schema:
    """The columns of a shard."""
    token = pa.uint16() if vocabulary <= 1 << 16 else pa.uint32()
    return pa.schema(
        [
            ("id", pa.string()),
            ("source", pa.string()),
            ("weight", pa.float32()),
            ("bytes", pa.int64()),
            ("tokens", pa.list_(token)),
            ("token_weights", pa.list_(pa.float32())),
        ]
    )


@dataclass(frozen=True)
class Packed:
    """An open pack of n documents; they are numbered in the order of the input. Pickles to the names of its files.

    fingerprint: hash of all that decided about its bytes. vocabulary: one more than the largest id that may occur.
    bos, eos: the tokens before and after every document; eos may be None.
    """

    files: tuple[str, ...]
    fingerprint: str
    vocabulary: int
    bos: int
    eos: int | None

    def __getstate__(self) -> dict[str, Any]:
        names = ("files", "fingerprint", "vocabulary", "bos", "eos")
        return {name: getattr(self, name) for name in names}

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def _batches(self) -> list[pa.RecordBatch]:
        found = []
        for file in self.files:
            reader = pa.ipc.open_file(pa.memory_map(file))
            found += [reader.get_batch(i) for i in range(reader.num_record_batches)]
        return found

    @cached_property
    def _firsts(self) -> list[int]:
        """Number of the first document of each record batch."""
        counts = [batch.num_rows for batch in self._batches]
        return np.concatenate([[0], np.cumsum(counts[:-1])]).astype(np.int64).tolist() if counts else []

    @cached_property
    def _lists(self) -> dict[str, list[tuple[np.ndarray, np.ndarray] | None]]:
        """{column: (offsets, values) of each record batch, None where it has only nulls}."""
        return {name: [_parts(batch.column(name)) for batch in self._batches] for name in ("tokens", "token_weights")}

    def _column(self, name: str, kind: Any) -> np.ndarray:
        return np.concatenate([np.zeros(0, kind), *(batch.column(name).to_numpy() for batch in self._batches)])

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 (n,): tokens of each document, BOS and EOS included."""
        parts = [np.diff(part[0]) for part in self._lists["tokens"] if part is not None]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    @cached_property
    def weights(self) -> np.ndarray:
        """float32 (n,): weight of each document, 1 where there is no such column."""
        return self._column("weight", np.float32)

    @cached_property
    def bytes(self) -> np.ndarray:
        """int64 (n,): UTF-8 bytes of the text of each document's tokens whose weight is not 0."""
        return self._column("bytes", np.int64)

    @cached_property
    def sources(self) -> list[str]:
        """The sources, sorted."""
        return sorted({value for batch in self._batches for value in batch.column("source").unique().to_pylist()})

    @cached_property
    def source_of(self) -> np.ndarray:
        """int32 (n,): the place of each document's source in `sources`."""
        known = pa.array(self.sources, pa.string())
        found = [pc.index_in(batch.column("source"), known).to_numpy() for batch in self._batches]
        return np.concatenate([np.zeros(0, np.int32), *found])

    def ids(self, documents: Iterable[int]) -> list[str]:
        """The ids of some documents."""
        found = []
        for document in documents:
            batch, row = self._place(int(document))
            found.append(self._batches[batch].column("id")[row].as_py())
        return found

    def tokens(self, document: int) -> np.ndarray:
        """uint16 or uint32: the tokens of a document, a view into the file."""
        batch, row = self._place(document)
        offsets, values = self._lists["tokens"][batch] or _NOTHING
        return values[offsets[row] : offsets[row + 1]]

    def token_weights(self, document: int) -> np.ndarray | None:
        """float32: the weight of each of its tokens; None where all count 1."""
        batch, row = self._place(document)
        part = self._lists["token_weights"][batch]
        if part is None or part[0][row] == part[0][row + 1]:
            return None
        return part[1][part[0][row] : part[0][row + 1]]

    def _place(self, document: int) -> tuple[int, int]:
        batch = bisect.bisect_right(self._firsts, document) - 1
        return batch, document - self._firsts[batch]


_NOTHING = (np.zeros(1, np.int64), np.zeros(0, np.uint16))


def _parts(column: pa.ListArray) -> tuple[np.ndarray, np.ndarray] | None:
    """(int64 offsets, values) without a copy of the values; a null has no values."""
    if len(column) and column.null_count == len(column):
        return None
    return column.offsets.to_numpy().astype(np.int64), column.values.to_numpy()


def open_packed(workspace: Workspace, folder: str) -> Packed:
    """A pack that is complete. Raises UserError if it is not, or if a file is gone or has another size."""
    record = saved(workspace.store, folder)
    if record is None:
        raise UserError(f"{workspace.store.shown(folder)} is not there; run the same command again to make it")
    info, rows = record["info"], workspace.rows(folder)
    shards = [shard_name(i, info["num_shards"]) for i in range(info["num_shards"])]
    missing = [shard for shard in shards if shard not in rows or not rows[shard].done]
    if missing:
        raise UserError(
            f"{workspace.store.shown(folder)} lacks {len(missing)} of {len(shards)} shards; "
            f"run the same command again to make it whole"
        )
    files = tuple(_local(workspace, f"{folder}/{shard}.arrow", rows[shard]) for shard in shards)
    packed = Packed(files, record["hash"], info["vocabulary"], info["bos"], info["eos"])
    return packed if packed.vocabulary else replace(packed, vocabulary=_largest(packed) + 1)


def _largest(packed: Packed) -> int:
    """The largest id that occurs: without a tokenizer nobody else knows."""
    parts = [part for part in packed._lists["tokens"] if part is not None]
    return max(packed.bos, packed.eos or 0, *(int(values.max(initial=0)) for _, values in parts))


def _local(workspace: Workspace, name: str, row: Row) -> str:
    """The path of a shard on this machine."""
    store = workspace.store
    if store.is_local:
        path = Path(store.path(name))
        if not path.exists() or path.stat().st_size != row.size:
            raise UserError(f"{path} is gone or has another size than when it was written; run the same command again")
        return str(path)
    path = cache_folder() / "packs" / f"{row.digest}.arrow"
    if not path.exists() or path.stat().st_size != row.size:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        store.fetch(name, str(temporary))
        os.replace(temporary, path)
    return str(path)
