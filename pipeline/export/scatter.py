"""Pass A of an export: the kept rows of a few input shards, sorted by their place in the output.

A row's place is a 64-bit key. The range of keys is cut into equal slices, about sixteen per output shard; a piece has
one Arrow record batch per slice that has rows, so that pass B reads just its own. Row filters are positional: the
selection table is aligned with the documents, so nothing is joined.

    tmp/export-<hash8>/<split>/piece-00003.arrow   the rows
    tmp/export-<hash8>/<split>/piece-00003.json    its slices, and the bytes of text in each
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.execute import Counts, Job
from pipeline.export.plan import HELD_OUT, Part
from pipeline.select.inputs import check_aligned, metadata_bytes
from pipeline.select.rank import hashes
from pipeline.shards import open_parquet, read_narrow
from pipeline.storage import Store

PIECE_BYTES = 128 << 20
"""Kept text that one task of pass A holds and sorts."""
SLICES_PER_SHARD = 16
KEY, FROM = "__key", "__from"
"""Columns of pieces: the place in the output, and the number of the corpus, which ranks equal ids."""


@dataclass(frozen=True)
class Size:
    """What one input shard gives to each split."""

    kept: dict[str, int]
    """{split: rows}"""
    text: dict[str, int]
    """{split: bytes of text, estimated from the footer}"""


@dataclass(frozen=True)
class Measured:
    """Sizes of one input shard; for pipeline.select.spread."""

    splits: tuple[str, ...]

    def __call__(self, item: tuple[int, Part]) -> tuple[int, Size]:
        index, part = item
        store = part.inputs.workspace.store
        whole = metadata_bytes(store, part.inputs.documents, ["text"])
        kept, text = {}, {}
        for split in self.splits:
            mask = kept_rows(part, split)
            kept[split] = int(mask.sum())
            text[split] = whole * kept[split] // max(len(mask), 1)
        return index, Size(kept, text)


def kept_rows(part: Part, split: str) -> np.ndarray:
    """bool, the rows of an input shard that belong to a split."""
    store = part.inputs.workspace.store
    columns = ["id", "held_out"] if part.has_held_out else ["id"]
    documents = read_narrow(store, part.inputs.documents, columns)
    held = np.zeros(documents.num_rows, bool)
    if part.has_held_out:
        held = pc.fill_null(documents.column("held_out"), False).to_numpy()
    if split == HELD_OUT:
        return held
    if part.selection is None:
        return ~held
    selection = read_narrow(store, part.selection, ["id", "kept"])
    check_aligned(store, part.selection, part.inputs.documents, selection.column("id"), documents.column("id"))
    return selection.column("kept").to_numpy()


@dataclass(frozen=True)
class Piece:
    """The work of one task of pass A."""

    split: str
    file: str
    """without ending"""
    parts: tuple[tuple[Part, int, int], ...]
    """input shard, number of its corpus, rows of the split before it"""
    schema: pa.Schema
    weight: str | None
    slices: int
    """a power of two"""
    seed: int
    step: int
    """distance of neighbouring keys in input order; 0: keys are hashes"""


def scatter(job: Job) -> dict[str, Counts | Exception]:
    """Write one piece and what is in it."""
    task: Piece = job.task
    store = job.workspace.store
    (folder, _) = job.outputs[0]
    tables, rows_in = [], 0
    for part, corpus, before in task.parts:
        mask = kept_rows(part, task.split)
        rows_in += len(mask)
        if mask.any():
            tables.append(_keyed(task, part, corpus, before, mask))
    schema = _piece_schema(task.schema)
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    del tables
    keys = table.column(KEY).to_numpy()
    ids = table.column("id").combine_chunks()
    order = np.lexsort((table.column(FROM).to_numpy(), keys))
    if len(np.unique(keys)) < len(keys):
        # Equal keys: one id in two corpora, or a collision of hashes.
        order = np.array(
            sorted(order.tolist(), key=lambda i: (keys[i], ids[i].as_py(), table.column(FROM)[i].as_py())), np.int64
        )
    slices = keys[order] >> np.uint64(64 - int(task.slices).bit_length() + 1) if task.slices > 1 else keys[order] * 0
    numbers, starts = np.unique(slices, return_index=True)
    ends = [*starts[1:].tolist(), len(order)] if len(order) else []
    sizes = []
    with store.writing(f"{task.file}.arrow") as path:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, schema, options=options) as writer:
            for start, end in zip(starts.tolist(), ends, strict=True):
                rows = table.take(pa.array(order[start:end])).combine_chunks()
                sizes.append(text_bytes(rows))
                writer.write_batch(rows.to_batches()[0])
    counts = {"slices": numbers.tolist(), "bytes": sizes}
    store.write_bytes(f"{task.file}.json", orjson.dumps(counts))
    rows = len(order)
    return {folder: Counts(rows_in=rows_in, rows_out=rows, rejected=rows_in - rows, bytes_in=sum(sizes))}


def text_bytes(table: pa.Table) -> int:
    """UTF-8 bytes of text."""
    return pc.sum(pc.binary_length(table.column("text"))).as_py() or 0


def _piece_schema(schema: pa.Schema) -> pa.Schema:
    return schema.append(pa.field(KEY, pa.uint64())).append(pa.field(FROM, pa.int32()))


def _keyed(task: Piece, part: Part, corpus: int, before: int, mask: np.ndarray) -> pa.Table:
    """The kept rows of one input shard, with the columns of the export and their keys."""
    store = part.inputs.workspace.store
    documents = _kept_documents(store, part, mask)
    rows = documents.num_rows
    scores = _kept_scores(part, mask)
    arrays: dict[str, pa.ChunkedArray] = {}
    for field in task.schema:
        if field.name == "weight" and task.weight is not None:
            source = scores.get(task.weight)
            source = documents.column(task.weight) if source is None else source
            arrays["weight"] = source.cast(pa.float64(), safe=False)
        elif field.name in documents.schema.names:
            arrays[field.name] = documents.column(field.name).cast(field.type)
        elif field.name in scores:
            arrays[field.name] = scores[field.name].cast(field.type)
        elif field.name == "corpus":
            arrays["corpus"] = pa.chunked_array([pa.repeat(part.inputs.corpus, rows)])
        else:
            arrays[field.name] = pa.chunked_array([pa.nulls(rows, field.type)])
    if task.step:
        keys = np.arange(before, before + rows, dtype=np.uint64) * np.uint64(task.step)
    else:
        keys = hashes(arrays["id"], task.seed)
    arrays[KEY] = pa.chunked_array([pa.array(keys)])
    arrays[FROM] = pa.chunked_array([pa.array(np.full(rows, corpus, np.int32))])
    return pa.table(arrays, schema=_piece_schema(task.schema))


def _kept_documents(store: Store, part: Part, mask: np.ndarray) -> pa.Table:
    """The kept rows of the documents, one row group in memory at a time."""
    tables = []
    with open_parquet(store, part.inputs.documents) as file:
        start = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            inside = mask[start : start + rows]
            start += rows
            if inside.any():
                table = file.read_row_group(group, columns=list(part.columns), use_threads=False)
                tables.append(table.filter(pa.array(inside)))
    return pa.concat_tables(tables)


def _kept_scores(part: Part, mask: np.ndarray) -> dict[str, pa.ChunkedArray]:
    if not part.inputs.parts:
        return {}
    ids = read_narrow(part.inputs.workspace.store, part.inputs.documents, ["id"]).column("id")
    keep = pa.array(mask)
    return {name: column.filter(keep) for name, column in part.inputs.scores(ids).items()}
