"""What each checkpoint says of every token: token-passes/<corpus>/<role>-<hash8>/, one forward pass per checkpoint.

    passes = planned(workspace, settings)          # {role: Pass}, hashes files, opens nothing
    make_passes(workspace, passes, pool)

    id                             string
    nll                            list<float32>, nats, aligned to the tokens; the first one and those not run NaN
    entropy, rank                  list<float32>, list<int32>, if asked for
    mass_<class>                   list<float32>, five of them, of the checkpoint whose attention is measured; NaN
                                   outside of responses

A document whose tokens cannot be told apart has NULL. A checkpoint goes over all shards before the next one is opened;
two that differ in their adapter alone share the base model in memory.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from pipeline import models
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.extras import needed
from pipeline.ingest.shard import reason_counts
from pipeline.resident import check_gpu, close_model, on_gpu, resident
from pipeline.shards import batches, file_facts, write_narrow
from pipeline.stage import Stage, saved
from pipeline.tokens.encode import ASSISTANT, OTHER, TEXT, USER, Encoded, encode_document, identity, tokenizing_of
from pipeline.tokens.ranking import part_of
from pipeline.tokens.settings import Checkpoint, ScoreTokensSettings
from pipeline.trainer.encode import Tokenizing, Unfit
from pipeline.workspace import Corpus, Workspace

VERSION = 1
"""Raised whenever the same settings give other numbers."""
MASSES = ("system", "user", "earlier", "own", "sink")
"""Names of the classes of scorers.lm.attention, in its order."""


@dataclass(frozen=True)
class Pass:
    """One checkpoint over one corpus. `layer` is None where its attention is not measured."""

    stage: Stage
    settings: ScoreTokensSettings
    how: Tokenizing
    place: str
    adapter: str | None
    context: int
    threads: int | None
    layer: int | None


@dataclass(frozen=True)
class _Task:
    one: Pass
    documents: str
    has_messages: bool


def planned(workspace: Workspace, settings: ScoreTokensSettings, limit: int | None = None) -> dict[str, Pass]:
    """{role: pass}, in the order they run: those of one base model side by side. Fetches and hashes the models."""
    needed("scoring tokens", "lm", "torch", "transformers")
    from scorers.lm.files import check_folder, model_folder
    from scorers.lm.model import engine_record

    corpus = workspace.corpus(settings.corpus)
    places: dict[str, tuple[str, str | None]] = {}
    for role, one in settings.checkpoints.items():
        found = model_folder(one.model, one.revision, settings.trust_remote_code)
        check_folder(found, settings.trust_remote_code)
        places[role] = (str(found), _adapter(one))
    main = next(role for role in ("later", "reference", "earlier") if role in places)
    how = tokenizing_of(settings.tokenizer or places[main][0], settings.template)
    context = settings.context or _context([place for place, _ in places.values()])
    threads = None if on_gpu(settings.device) else settings.threads or os.cpu_count() or 1
    made = {}
    for role in sorted(places, key=lambda role: (places[role][0] != places[main][0], places[role][0])):
        place, adapter = places[role]
        check_tokenizer(place, how, role)
        layer = settings.layer if settings.watched == role else None
        fields = {
            "version": [VERSION, _scorer_version()],
            "corpus": corpus.hash,
            "tokenizer": identity(how),
            "model": model_identity(place, settings.trust_remote_code),
            "adapter": None if adapter is None else adapter_identity(adapter),
            "context": context,
            "layout": settings.layout,
            "token_budget": settings.token_budget,
            "layer": layer,
            "sinks": settings.sinks if layer is not None else None,
            "entropy": settings.entropy,
            "ranks": settings.ranks,
            "engine": engine_record(settings.dtype, settings.device, settings.kernel),
            "threads": threads,
            "trust_remote_code": settings.trust_remote_code,
            "limit": limit,
        }
        if settings.part is not None:
            fields |= {"part": [*settings.part, settings.seed]}
        info = {"model": settings.checkpoints[role].model, "adapter": settings.checkpoints[role].adapter}
        stage = Stage("token-pass", role, f"token-passes/{corpus.name}", fields, info)
        made[role] = Pass(stage, settings, how, place, adapter, context, threads, layer)
    return made


def _scorer_version() -> int:
    import scorers.lm

    return scorers.lm.VERSION


def model_identity(place: str, trust_remote_code: bool = False) -> str:
    """sha256 over names and contents of the files of a model but its tokenizer's; big files are hashed once."""
    from scorers.lm.files import TOKENIZER_FILES, model_files

    files = [file for file in model_files(Path(place), trust_remote_code) if file.name not in TOKENIZER_FILES]
    lines = [f"{file.name} {models.content_hash(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def adapter_identity(place: str) -> str:
    """sha256 over the files of a LoRA adapter."""
    from scorers.lm.adapters import FILES

    return hashlib.sha256("".join(f"{n} {models.content_hash(Path(place) / n)}\n" for n in FILES).encode()).hexdigest()


def _adapter(one: Checkpoint) -> str | None:
    from scorers.lm.adapters import check_adapter

    if one.adapter is None:
        return None
    needed("an adapter", "lora", "peft")
    place = Path(one.adapter).expanduser().absolute()
    check_adapter(place)
    return str(place)


def check_tokenizer(place: str, how: Tokenizing, role: str) -> None:
    """Raises UserError if a checkpoint comes with a tokenizer that does something else to a text."""
    from scorers.lengths import load_tokenizer
    from scorers.lm.tokens import plain_tokenizer

    file = Path(place) / "tokenizer.json"
    if not file.is_file():
        return
    own, used = (orjson.loads(plain_tokenizer(load_tokenizer(str(f))).to_str()) for f in (file, how.file))
    if own != used:
        differs = [key for key in used if own.get(key) != used[key]]
        raise UserError(
            f"{role}: the tokenizer of {place} differs from {how.file} ({', '.join(differs)}); the losses of a token "
            "can only be compared between checkpoints of one tokenizer"
        )


def _context(places: Sequence[str]) -> int:
    """The shortest limit that the models' configs name."""
    limits = []
    for place in places:
        values = orjson.loads((Path(place) / "config.json").read_bytes())
        values = values.get("text_config", values)
        limits += [int(values[key]) for key in ("max_position_embeddings", "n_positions") if values.get(key)]
    if not limits:
        raise UserError("no checkpoint names its longest context; set `context` to the tokens that may be scored")
    return min(limits)


def make_passes(workspace: Workspace, passes: Mapping[str, Pass], pool: Pool, limit: int | None = None) -> None:
    """Run what is not run yet. The caller holds the lock. Raises ShardsFailed once every checkpoint had its turn."""
    store = workspace.store
    failed: dict[str, str] = {}
    total = 0
    for role, one in passes.items():
        corpus = workspace.corpus(one.settings.corpus)
        folder = one.stage.folder
        todo = pending(workspace, folder, shards_of(corpus, limit))
        if not todo:
            continue
        gpu = on_gpu(one.settings.device)
        if gpu:
            check_gpu(pool)
        store.sweep(folder)
        if saved(store, folder) is None:
            one.stage.save(store)
        messages = has_messages(corpus)
        jobs = [Job(workspace, s, ((folder, n),), _Task(one, corpus.file(s), messages)) for s, n in todo]
        rows = pool.run(jobs, run_shard, f"tokens {role}", resources={"GPU": 1} if gpu else None, slow=True)
        failed |= {f"{role}/{row.shard}": row.error or "" for row in rows if not row.done}
        total += len(rows)
    if total:
        pool.client.run(close_model)
    if failed:
        raise ShardsFailed("tokens score", failed, total)


def shards_of(corpus: Corpus, limit: int | None = None) -> list[str]:
    """The document shards that are there, of the first `limit`."""
    return [shard for shard in corpus.shards[:limit] if shard in corpus.done]


def has_messages(corpus: Corpus) -> bool:
    """Whether the corpus is one of conversations."""
    from pipeline.catalog import document_schema

    return "messages" in document_schema(corpus).names


def read_documents(job: Job, documents: str, messages: bool, more: Sequence[str] = ()) -> pa.Table:
    """id, text, messages (if there are any) and more columns of a document shard."""
    columns = ["id", "text", *(["messages"] if messages else []), *more]
    tables = list(batches(job.workspace.store, documents, columns))
    return pa.concat_tables(tables) if tables else pa.table({name: pa.array([], pa.string()) for name in columns})


def encoded(settings: ScoreTokensSettings, how: Tokenizing, documents: pa.Table) -> list[Encoded | Unfit]:
    """The tokens of each document, or why it has none."""
    ids = documents.column("id").to_pylist()
    texts = documents.column("text").to_pylist()
    told = documents.column("messages").to_pylist() if "messages" in documents.column_names else [None] * len(texts)
    made: list[Encoded | Unfit] = []
    for name, text, messages in zip(ids, texts, told, strict=True):
        if settings.part is not None and part_of(name, settings.part[1], settings.seed) != settings.part[0]:
            made.append(Unfit("other_part"))
            continue
        try:
            made.append(encode_document(how, text, messages))
        except Unfit as error:
            made.append(error)
    return made


def run_shard(job: Job) -> dict[str, Counts | Exception]:
    """One checkpoint over one shard."""
    from scorers.lm.sequences import Sequences, score_sequences

    store, task, one = job.workspace.store, job.task, job.task.one
    [(target, _)] = job.outputs
    settings = one.settings
    documents = read_documents(job, task.documents, task.has_messages)
    made = encoded(settings, one.how, documents)
    fit = [document for document in made if isinstance(document, Encoded)]
    offsets = np.cumsum([0, *(len(document.ids) for document in fit)])
    sequences = Sequences(
        np.concatenate([np.zeros(0, np.int64), *(document.ids for document in fit)]),
        offsets,
        np.concatenate([np.zeros((0, 2), np.int64), *(d.responses + o for d, o in zip(fit, offsets, strict=False))]),
        np.concatenate([np.zeros(0, np.int8), *(classes(document, settings.sinks) for document in fit)]),
    )
    with resident(
        one.place, settings.dtype, settings.device, settings.kernel, settings.trust_remote_code, one.threads
    ) as model:
        model.adapters.wear(None if one.adapter is None else Path(one.adapter))
        try:
            found = score_sequences(
                model,
                sequences,
                context=one.context,
                token_budget=settings.token_budget,
                packed=settings.layout == "packed",
                layer=one.layer,
                entropy=settings.entropy,
                ranks=settings.ranks,
            )
        finally:
            model.adapters.wear(None)
    columns = {"nll": found.nll, "entropy": found.entropy, "rank": found.ranks}
    if found.masses is not None:
        columns |= {f"mass_{name}": found.masses[:, i] for i, name in enumerate(MASSES)}
    there = np.array([isinstance(document, Encoded) for document in made], bool)
    arrays = {name: lists(values, offsets, there) for name, values in columns.items() if values is not None}
    with store.writing(f"{target}/{job.shard}.parquet") as path:
        write_narrow(path, pa.table({"id": documents.column("id"), **arrays}))
        facts = file_facts(path)
    reasons = Counter(document.args[0] for document in made if isinstance(document, Unfit))
    size = sum(len(text.encode()) for text in documents.column("text").to_pylist())
    count = documents.num_rows
    return {target: Counts(count, count, bytes_in=size, reasons=reason_counts(reasons), **facts)}


def classes(document: Encoded, sinks: int) -> np.ndarray:
    """int8: the class of each token for the responses after it."""
    from scorers.lm.attention import EARLIER, SINK, SYSTEM
    from scorers.lm.attention import USER as ASKED

    found = np.full(len(document.roles), SYSTEM, np.int8)
    found[np.isin(document.roles, (USER, OTHER))] = ASKED
    found[np.isin(document.roles, (ASSISTANT, TEXT))] = EARLIER
    found[:sinks] = SINK
    return found


def lists(values: np.ndarray, offsets: np.ndarray, there: np.ndarray) -> pa.ListArray:
    """The values of the rows that are there, one after the other, as a column with NULL for the others."""
    counts = np.zeros(len(there), np.int64)
    counts[there] = np.diff(offsets)
    ends = np.cumsum(np.append(0, counts)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values), mask=pa.array(~there))
