"""Signatures of a corpus: per shard the band keys of its documents, sorted, so that any range of keys is one read.

    signatures/<corpus>-<hash8>/part-00003-of-00064.keys

A file is little-endian: int64 documents, int64 records, int64 of shape (BUCKETS + 1,): where each bucket of keys (its
first 12 bits) begins; then the keys (uint64, ascending), the row of each (uint32), and the words of each document
(uint32). A partition of the keys is a run of buckets. It depends on nothing but the shard and the signature's settings:
a search with another policy, or with one more corpus, finds it there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.errors import ShardsFailed
from pipeline.execute import Counts, Job, Pool, jobs_to_do
from pipeline.near.settings import NearSettings
from pipeline.shards import batches, check_shard, file_facts
from pipeline.stage import Stage, saved
from pipeline.storage import Store
from pipeline.workspace import Corpus
from scorers import words
from scorers.near import folding, minhash
from scorers.texts import Texts

BUCKET_BITS = 12
BUCKETS = 1 << BUCKET_BITS
HEADER = 8 * (2 + BUCKETS + 1)
FILE = "{shard}.keys"


@dataclass(frozen=True)
class _Task:
    documents: str
    size: int
    scheme: minhash.Scheme
    fold: bool


def signature_stage(corpus: Corpus, settings: NearSettings) -> Stage:
    """The stage that the signatures of a corpus make."""
    scheme = settings.scheme
    return Stage(
        kind="signatures",
        name=corpus.name,
        parent="signatures",
        fields={
            "corpus": corpus.hash,
            "version": [minhash.VERSION, folding.VERSION, words.VERSION],
            "settings": {**vars_of(scheme), "fold": settings.fold},
        },
        info={"corpus": corpus.name},
    )


def vars_of(scheme: minhash.Scheme) -> dict[str, int]:
    """The fields of a scheme."""
    return {"ngram": scheme.ngram, "bands": scheme.bands, "rows": scheme.rows, "seed": scheme.seed}


def make_signatures(corpus: Corpus, settings: NearSettings, pool: Pool, limit: int | None = None) -> str:
    """Make what is not there yet; the folder. The caller holds the lock. Raises ShardsFailed."""
    stage = signature_stage(corpus, settings)
    workspace, store = corpus.workspace, corpus.workspace.store
    shards = [shard for shard in corpus.shards[:limit] if shard in corpus.done]
    todo = jobs_to_do(workspace.rows(stage.folder), shards, store.sizes(stage.folder), FILE)
    if not todo:
        return stage.folder
    store.sweep(stage.folder)
    if saved(store, stage.folder) is None:
        stage.save(store)
    warm = Texts(np.frombuffer(b"Warm up. Warm up.", np.uint8), np.array([0, 17]))
    keys_of(warm, settings.scheme, settings.fold)  # compiled and cached once
    jobs = [
        Job(
            workspace,
            shard,
            ((stage.folder, attempt),),
            _Task(corpus.file(shard), corpus.done[shard].size, settings.scheme, settings.fold),
        )
        for shard, attempt in todo
    ]
    rows = pool.run(jobs, _sign, f"signatures {corpus.name}")
    if failed := {row.shard: row.error or "" for row in rows if not row.done}:
        raise ShardsFailed(f"signatures {corpus.name}", failed, len(rows))
    return stage.folder


def keys_of(texts: Texts, scheme: minhash.Scheme, fold: bool) -> tuple[np.ndarray, np.ndarray]:
    """(keys of shape (documents, bands), words per document)."""
    split = minhash.words_of(texts, fold)
    return minhash.band_keys(minhash.signatures(split, scheme), scheme), np.diff(split.doc_offsets)


def _sign(job: Job) -> dict[str, Counts | Exception]:
    """The signatures of one shard."""
    store = job.workspace.store
    task: _Task = job.task
    [(folder, _)] = job.outputs
    check_shard(store, task.documents, task.size)
    keys, counts, bytes_in = [np.zeros((0, task.scheme.bands), np.uint64)], [np.zeros(0, np.int64)], 0
    for batch in batches(store, task.documents, ["text"]):
        texts = Texts.from_arrow(batch.column("text"))
        bytes_in += texts.num_bytes
        found, sizes = keys_of(texts, task.scheme, task.fold)
        keys.append(found)
        counts.append(sizes)
    sizes = np.concatenate(counts)
    with store.writing(f"{folder}/{job.shard}.keys") as path:
        write_keys(path, np.concatenate(keys), sizes)
        facts = file_facts(path)
    return {folder: Counts(len(sizes), len(sizes), bytes_in=bytes_in, **facts)}


def write_keys(path: str, keys: np.ndarray, sizes: np.ndarray) -> None:
    """Write the keys of a shard's documents; those without a word have none."""
    rows = np.flatnonzero(sizes).astype(np.uint32)
    flat = keys[rows].reshape(-1)
    owners = np.repeat(rows, keys.shape[1])
    order = np.argsort(flat, kind="stable")
    flat = flat[order]
    edges = np.arange(1, BUCKETS, dtype=np.uint64) << np.uint64(64 - BUCKET_BITS)
    begins = np.concatenate([[0], np.searchsorted(flat, edges), [len(flat)]])
    with open(path, "wb") as file:
        for array in (np.array([len(sizes), len(flat)]), begins):
            file.write(array.astype("<i8").tobytes())
        file.write(flat.astype("<u8").tobytes())
        file.write(owners[order].astype("<u4").tobytes())
        file.write(sizes.astype("<u4").tobytes())


def num_records(store: Store, name: str, documents: int) -> int:
    """Keys in a file, from its size."""
    return (store.size(name) - HEADER - 4 * documents) // 12


def read_keys(store: Store, name: str, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """(keys, rows) of buckets first to stop, keys ascending."""
    records = int(_read(store, name, 8, 16, "<i8")[0])
    ends = _read(store, name, 16 + 8 * first, 16 + 8 * (stop + 1), "<i8")
    begin, end = int(ends[0]), int(ends[-1])
    rows_at = HEADER + 8 * records
    return (
        _read(store, name, HEADER + 8 * begin, HEADER + 8 * end, "<u8"),
        _read(store, name, rows_at + 4 * begin, rows_at + 4 * end, "<u4"),
    )


def read_words(store: Store, name: str) -> np.ndarray:
    """uint32, the words of each document of a shard."""
    documents, records = (int(value) for value in _read(store, name, 0, 16, "<i8"))
    at = HEADER + 12 * records
    return _read(store, name, at, at + 4 * documents, "<u4")


def _read(store: Store, name: str, start: int, end: int, kind: str) -> np.ndarray:
    if start == end:
        return np.zeros(0, kind)
    found = np.frombuffer(store.read_range(name, start, end), kind)
    if found.nbytes != end - start:
        raise ValueError(f"{store.shown(name)} is cut short; remove it and run again")
    return found
