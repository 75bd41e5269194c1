"""Which documents are verified together: components of candidates, gathered into blocks that fit into memory.

In the main process, streaming: pairs are united, components are weighed, and each goes into a block. A component that
is too heavy for one gets blocks of its own, the documents to be preferred in the earlier ones. A group is what one
worker verifies: a block, or all blocks of one heavy component. What is held is 17 bytes per document of the search (in
files that the system pages, where that is more than the buffer), and the members of heavy components.

    near/<alias>-<hash8>/blocks/part-00003.parquet    row, root, block (uint32) of a shard's candidates
    near/<alias>-<hash8>/blocks/groups.parquet        first, count (uint32): the blocks of each group
    near/<alias>-<hash8>/routed/run-00007.parquet     low, high (uint32), pair (uint64), by the blocks of the pair
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import ledger
from pipeline.execute import Counts, next_attempt, pending, write_row
from pipeline.near.documents import Documents
from pipeline.near.keys import read_words
from pipeline.near.pairs import read_pairs
from pipeline.near.ranks import Ranks
from pipeline.shards import file_facts, read_narrow
from scorers.near.union import flatten, unite

BYTES_PER_WORD = 8
BYTES_PER_DOCUMENT = 400
"""What a document's set and its other columns take, beside its n-grams."""
LABELS = pa.schema([("row", pa.uint32()), ("root", pa.uint32()), ("block", pa.uint32())])
GROUPS = pa.schema([("first", pa.uint32()), ("count", pa.uint32())])
ROUTED = pa.schema([("low", pa.uint32()), ("high", pa.uint32()), ("pair", pa.uint64())])
NONE = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True)
class Blocks:
    """What was planned. groups: (first block, number of blocks); runs: files of routed pairs."""

    groups: tuple[tuple[int, int], ...]
    runs: tuple[str, ...]


def label_file(folder: str, number: int) -> str:
    """The labels of the search's n-th shard."""
    return f"{folder}/blocks/part-{number:05d}.parquet"


def make_blocks(documents: Documents, pairs: list[str], folder: str, ranks: Ranks, buffer: int, label: str) -> Blocks:
    """Plan what is not planned yet. groups.parquet is written last: it says that the rest is there."""
    store = documents.workspace.store
    groups_file = f"{folder}/blocks/groups.parquet"
    if pending(documents.workspace, f"{folder}/blocks", ["groups"]):
        begun = time.time()
        number = next_attempt(documents.workspace, f"{folder}/blocks", "groups")
        for name in ("blocks", "routed"):
            store.remove(f"{folder}/{name}")
        with tempfile.TemporaryDirectory(prefix="tamis-near-") as scratch:
            groups, candidates = _plan(documents, pairs, folder, ranks, buffer, scratch)
        with store.writing(groups_file) as path:
            columns = np.array(groups, np.uint32).reshape(-1, 2).T
            pq.write_table(pa.table(list(columns), schema=GROUPS), path)
            facts = file_facts(path)
        counts = Counts(documents.total, candidates, documents.total - candidates, **facts)
        write_row(documents.workspace, f"{folder}/blocks", "groups", number, begun, counts)
        ledger.compact(store, f"{folder}/blocks")
        shown = f"{candidates:,} of {documents.total:,} documents to be verified in {len(groups)} groups"
        print(f"blocks {label}: {shown} in {time.time() - begun:.1f} s", file=sys.stderr)
    table = read_narrow(store, groups_file)
    found = zip(*(table.column(name).to_pylist() for name in GROUPS.names), strict=True)
    return Blocks(tuple(found), tuple(f"{folder}/routed/{name}" for name in sorted(store.sizes(f"{folder}/routed"))))


def _plan(
    documents: Documents, pairs: list[str], folder: str, ranks: Ranks, buffer: int, scratch: str
) -> tuple[list[tuple[int, int]], int]:
    """Write labels and routed pairs; (groups, candidates)."""
    store = documents.workspace.store
    at_once = max(buffer // 100, 1000)

    def array(name: str, kind: type, fill: int) -> np.ndarray:
        if documents.total * 17 <= buffer:
            return np.full(documents.total, fill, kind)
        made = np.lib.format.open_memmap(f"{scratch}/{name}.npy", "w+", kind, (max(documents.total, 1),))
        for start in range(0, len(made), at_once):
            made[start : start + at_once] = fill
        return made

    parents = array("parents", np.uint32, 0)
    for start in range(0, len(parents), at_once):
        parents[start : start + at_once] = np.arange(start, min(start + at_once, len(parents)), dtype=np.uint32)
    for first, second in read_pairs(store, pairs, at_once):
        unite(parents, first, second)
    flatten(parents)
    candidate = array("candidate", np.uint8, 0)
    for start, stop in _chunks(documents.total, at_once):
        numbers = np.arange(start, stop, dtype=np.uint32)
        moved = parents[start:stop] != numbers
        candidate[start:stop] |= moved
        candidate[parents[start:stop][moved]] = 1
    weights = array("weights", np.int64, 0)
    for part in documents.parts:
        rows = np.flatnonzero(candidate[part.base : part.base + part.rows])
        sizes = read_words(store, part.keys)[rows].astype(np.int64) * BYTES_PER_WORD + BYTES_PER_DOCUMENT
        np.add.at(weights, parents[part.base + rows].astype(np.int64), sizes)
    blocks = array("blocks", np.uint32, int(NONE))
    budget = max(buffer // 4, 1)
    groups, heavy = _pack(weights, blocks, budget, at_once)
    for start, stop in _chunks(documents.total, at_once):
        rows = start + np.flatnonzero(candidate[start:stop])
        blocks[rows] = blocks[parents[rows].astype(np.int64)]
    for root, block in heavy:
        _cut(documents, parents, blocks, root, block, groups, ranks, budget)
    for number, part in enumerate(documents.parts):
        own = blocks[part.base : part.base + part.rows]
        rows = np.flatnonzero(candidate[part.base : part.base + part.rows]).astype(np.uint32)
        rows = rows[np.argsort(own[rows], kind="stable")]
        with store.writing(label_file(folder, number)) as path:
            pq.write_table(pa.table([rows, parents[part.base + rows], own[rows]], schema=LABELS), path)
    _route(documents, pairs, blocks, folder, at_once)
    return sorted(groups), int(np.count_nonzero(candidate))


def _chunks(total: int, at_once: int) -> Iterator[tuple[int, int]]:
    for start in range(0, total, at_once):
        yield start, min(start + at_once, total)


def _pack(
    weights: np.ndarray, blocks: np.ndarray, budget: int, at_once: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Give each root a block, in order; (groups, heavy roots with their first block)."""
    groups: list[tuple[int, int]] = []
    heavy: list[tuple[int, int]] = []
    number, filled, used = 0, 0, False
    for start, stop in _chunks(len(weights), at_once):
        roots = start + np.flatnonzero(weights[start:stop])
        for root, weight in zip(roots.tolist(), weights[roots].tolist(), strict=True):
            if weight > budget:
                heavy.append((root, -1))
                continue
            if used and filled + weight > budget:
                groups.append((number, 1))
                number, filled = number + 1, 0
            filled, used = filled + weight, True
            blocks[root] = number
    if used:
        groups.append((number, 1))
        number += 1
    for place, (root, _) in enumerate(heavy):
        count = -(-int(weights[root]) // budget)
        heavy[place] = (root, number)
        groups.append((number, count))
        number += count
    return groups, heavy


def _cut(
    documents: Documents,
    parents: np.ndarray,
    blocks: np.ndarray,
    root: int,
    first: int,
    groups: list[tuple[int, int]],
    ranks: Ranks,
    budget: int,
) -> None:
    """Cut a heavy component into blocks, the documents to be preferred first."""
    store = documents.workspace.store
    members, sizes, order = [], [], []
    for part in documents.parts:
        rows = np.flatnonzero(parents[part.base : part.base + part.rows] == root)
        if len(rows):
            words = read_words(store, part.keys)
            members.append(part.base + rows)
            sizes.append(words[rows].astype(np.int64) * BYTES_PER_WORD + BYTES_PER_DOCUMENT)
            order.append(ranks.of(store, part, rows, words))
    numbers = np.concatenate(members)
    prefer, value = (np.concatenate(column) for column in zip(*order, strict=True))
    place = np.lexsort((numbers, value, prefer))
    filled = np.cumsum(np.concatenate(sizes)[place])
    _, count = next(group for group in groups if group[0] == first)
    blocks[numbers[place]] = first + np.minimum((filled - 1) // budget, count - 1)


def _route(documents: Documents, pairs: list[str], blocks: np.ndarray, folder: str, at_once: int) -> None:
    """Write the pairs again, sorted by the blocks of their documents, a row group per block."""
    store = documents.workspace.store
    for number, (first, second) in enumerate(read_pairs(store, pairs, at_once)):
        one, two = blocks[first], blocks[second]
        low, high = np.minimum(one, two), np.maximum(one, two)
        pair = first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)
        order = np.lexsort((pair, high, low))
        columns = [column[order] for column in (low, high, pair)]
        edges = [0, *(np.flatnonzero(np.diff(columns[0])) + 1).tolist(), len(order)]
        with (
            store.writing(f"{folder}/routed/run-{number:05d}.parquet") as path,
            pq.ParquetWriter(path, ROUTED, compression="zstd", use_dictionary=False) as writer,
        ):
            for start, stop in itertools.pairwise(edges):
                rows = pa.table([column[start:stop] for column in columns], schema=ROUTED)
                writer.write_table(rows, row_group_size=max(stop - start, 1))
