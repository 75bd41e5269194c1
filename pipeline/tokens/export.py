"""`tamis tokens export`: a selection as files that a trainer reads as they are.

    export_tokens(workspace, "sstoken", ExportTokensSettings(corpus="chat", selection="sstoken", to="trl"), pool)

    parquet       id, input_ids, attention_mask, labels, loss_mask, token_weights: Tamis' own trainer, by its settings
                  `tokens: input_ids` and `token_weights: token_weights`; what the template writes after the last answer
                  is cut off, so that the trainer finds the end of the turn at the end
    trl           input_ids, attention_mask, labels, assistant_masks: TRL and the Hugging Face Trainer
    axolotl       exactly input_ids, attention_mask, labels
    llamafactory  dataset/: a saved dataset of input_ids, attention_mask, labels, for `tokenized_path`, whose collator
                  stumbles over any further column; data/: the same with loss_weights (float), for its v1 engine
    olmo          raw token files, raw bool files for `label_mask_paths`, and where documents begin and end (.csv.gz)
    torchtune     tokens, mask (true: no loss)
    skyrl         input_ids, loss_mask; its loader takes no other format in the folder: data/ alone

Labels are aligned to the tokens, -100 where there is no loss: models shift them themselves. Tokens without loss stay as
context. A sample without a token to learn is left out and counted. One file per shard, in the order of the corpus;
`tokens.json` says from what it is made, and that it is whole.
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, jobs_to_do
from pipeline.ingest.shard import reason_counts
from pipeline.shards import file_facts, read_narrow
from pipeline.stage import STAGE_FILE, Stage, version
from pipeline.storage import Store
from pipeline.tokens.ranking import flat
from pipeline.tokens.settings import ExportTokensSettings
from pipeline.tokens.table import TokenTable, open_table
from pipeline.workspace import Workspace, checked_name

VERSION = 2
RECORD = "tokens.json"
NO_LOSS = -100
MASKS = {"selected": "selected", "control": "control", "all": "loss_mask"}


@dataclass(frozen=True)
class Samples:
    """n samples, flat. ids: int64 (tokens,); learn: bool, whether a token carries loss; offsets: int64 (n + 1,)."""

    names: list[str]
    ids: np.ndarray
    learn: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class _Place:
    """Where the files of an export go."""

    store: Store
    folder: str

    def file(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name


@dataclass(frozen=True)
class _Task:
    table: TokenTable
    selection: str
    settings: ExportTokensSettings
    place: _Place
    names: tuple[str, ...]
    """the files of a shard"""
    kind: str
    """type of the tokens in raw files"""


def find_selection(workspace: Workspace, corpus: str, name: str) -> tuple[str, dict[str, Any]]:
    """Folder and record of the newest selection of a name. Raises UserError."""
    stages = workspace.stages(f"token-selections/{workspace.corpus(corpus).name}")
    found = {f: r for f, r in stages.items() if name in (r["name"], f.rsplit("/", 1)[1])}
    if not found:
        known = ", ".join(sorted({r["name"] for r in stages.values()})) or "none yet; `tamis tokens select` makes one"
        raise UserError(f"corpus {corpus!r} has no token selection {name!r} (there: {known})")
    return list(found.items())[-1]


def export_stage(workspace: Workspace, name: str, settings: ExportTokensSettings) -> Stage:
    """The stage that an export makes."""
    folder, record = find_selection(workspace, settings.corpus, settings.selection)
    fields = {
        "version": VERSION,
        "selection": record["hash"],
        "settings": settings.model_dump(mode="json", exclude={"corpus", "selection", "out"}),
    }
    info = {"selection": folder, "corpus": settings.corpus}
    return Stage("token-export", checked_name(name, "export"), "token-exports", fields, info)


def export_tokens(workspace: Workspace, name: str, settings: ExportTokensSettings, pool: Pool) -> dict[str, Any]:
    """Export what is not exported yet; its record, with `folder`. The caller holds the lock."""
    selection, chosen = find_selection(workspace, settings.corpus, settings.selection)
    stage = export_stage(workspace, name, settings)
    table = open_table(workspace, settings.corpus, chosen["info"]["table"].rsplit("/", 1)[1])
    place = _Place(workspace.store, stage.folder)
    if settings.out is not None:
        place = _Place(Store(settings.out if "://" in settings.out else os.path.abspath(settings.out)), "")
    if settings.to == "llamafactory" and not place.store.is_local:
        raise UserError("llamafactory: a saved dataset is written to a local folder; give `out`, or another target")
    shown = place.store.shown(place.folder).rstrip("/")
    there = _there(place, stage, shown)
    rows, files = workspace.rows(stage.folder), FILES[settings.to]
    sizes = place.store.sizes(place.file("data"))
    count = len(table.shards)
    names = {s: tuple(one.format(n=n, count=count) for one in files) for n, s in enumerate(table.shards)}
    todo = [
        (shard, attempt)
        for shard, attempt in jobs_to_do(
            rows, table.shards, {f"{s}.parquet": sizes[names[s][0]] for s in table.shards if names[s][0] in sizes}
        )
    ]
    if there is not None and there["complete"] and not todo:
        return there | {"folder": shown}
    place.store.write_bytes(place.file(RECORD), orjson.dumps({"hash": stage.hash, "complete": False}))
    stage.save(workspace.store, shards=list(table.shards), out=shown)
    kind = "uint16" if int(table.provenance.get("vocabulary") or 1 << 17) <= 1 << 16 else "uint32"
    jobs = [
        Job(
            workspace,
            shard,
            ((stage.folder, attempt),),
            _Task(table, selection, settings, place, names[shard], kind),
        )
        for shard, attempt in todo
    ]
    made = pool.run(jobs, export_shard, f"tokens export {name}")
    if failed := {row.shard: row.error or "" for row in made if not row.done}:
        raise ShardsFailed(f"tokens export {name}", failed, len(made))
    rows = workspace.rows(stage.folder)
    if settings.to == "llamafactory":
        _save_dataset(place, [names[shard][0] for shard in table.shards])
    reasons: Counter[str] = Counter()
    for item in (item for shard in table.shards for item in rows[shard].reasons):
        reasons[item["reason"]] += item["rows"]
    record = {
        "name": name,
        "hash": stage.hash,
        "complete": True,
        "tamis": version(),
        "to": settings.to,
        "mask": settings.mask,
        "samples": sum(rows[shard].rows_out for shard in table.shards),
        "left_out": dict(sorted(reasons.items())),
        "tokens": sum(one["rows_in"] for shard in table.shards for one in rows[shard].sources),
        "learnt": sum(one["rows_out"] for shard in table.shards for one in rows[shard].sources),
        "token_type": kind if settings.to == "olmo" else "int32",
        "selection": {"folder": selection, "hash": chosen["hash"], "settings": chosen["fields"]["settings"]},
        "table": {"folder": table.folder, **table.provenance},
        "files": {file: rows[s].digest for s in table.shards for file in names[s][:1]},
    }
    place.store.write_bytes(place.file(RECORD), orjson.dumps(record, option=orjson.OPT_INDENT_2))
    return record | {"folder": shown}


def _there(place: _Place, stage: Stage, shown: str) -> dict[str, Any] | None:
    """The record in the folder. Raises UserError if the folder holds anything but this export."""
    try:
        there = orjson.loads(place.store.read_bytes(place.file(RECORD)))
    except FileNotFoundError:
        there = None
    if there is not None and there.get("hash") == stage.hash:
        return there
    held = [n for n in place.store.sizes(place.folder) if n != STAGE_FILE] + place.store.folders(place.folder)
    if held:
        raise UserError(
            f"out {shown}: the folder holds {sorted(held)[0]!r}, which is not of this export; expected an "
            "empty folder, or this same export begun before"
        )
    return None


FILES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("parquet", "trl", "axolotl", "llamafactory", "torchtune", "skyrl"),
        ("train-{n:05d}-of-{count:05d}.parquet",),
    ),
    "olmo": tuple(
        f"{name}-{{n:05d}}-of-{{count:05d}}.{ending}"
        for name, ending in (("tokens", "npy"), ("label_mask", "npy"), ("tokens", "csv.gz"))
    ),
}
"""Files of a shard, below data/. The ending .npy is what OLMo-core's own have, though there is no header in them."""


def export_shard(job: Job) -> dict[str, Counts | Exception]:
    """The files of one shard."""
    task: _Task = job.task
    [(folder, _)] = job.outputs
    samples, reasons, count = read_samples(job.workspace, task.table, task.selection, job.shard, task.settings)
    facts = WRITERS[task.settings.to](task, samples)
    assert count == len(samples.names) + reasons.total(), (count, reasons)
    # What the ledger counts per source are rows; here there is one source, and it counts tokens.
    tokens = {"source": "tokens", "rows_in": len(samples.ids), "rows_out": int(samples.learn.sum()), "rejected": 0}
    counts = Counts(
        count, len(samples.names), reasons.total(), sources=[tokens], reasons=reason_counts(reasons), **facts
    )
    return {folder: counts}


def read_samples(
    workspace: Workspace, table: TokenTable, selection: str, shard: str, settings: ExportTokensSettings
) -> tuple[Samples, Counter[str], int]:
    """(the samples of a shard, why others are left out, rows of the shard)."""
    tokens = table.read(shard, ["id", "input_ids", "loss_mask"])
    chosen = read_narrow(workspace.store, f"{selection}/{shard}.parquet", ["id", "reason", "selected", "control"])
    if tokens.column("id").to_pylist() != chosen.column("id").to_pylist():
        raise ValueError(f"{selection}/{shard} is not of this token table; select again")
    ids, offsets = flat(tokens, "input_ids")
    reasons = chosen.column("reason").to_pylist()
    takes = np.array([reason is None for reason in reasons], bool)
    answers = flat(tokens, "loss_mask")[0] != 0
    learn = np.zeros(len(ids), bool)
    if settings.mask == "all":
        learn = answers & np.repeat(takes, np.diff(offsets))
    else:
        learn[np.repeat(takes, np.diff(offsets))] = flat(chosen, settings.mask)[0] != 0
    row = np.repeat(np.arange(len(takes)), np.diff(offsets))
    place = np.arange(len(ids)) - offsets[:-1][row]
    inside = place < (settings.max_tokens or len(ids) + 1)
    if settings.to == "parquet":
        last = np.zeros(len(takes), np.int64)
        np.maximum.at(last, row[answers], place[answers])
        inside &= place <= last[row]
    # The first token has nothing before it that could predict it.
    learn &= inside & (place > 0)
    learns = np.bincount(row[learn], minlength=len(takes)) > 0
    counts: Counter[str] = Counter(reason for reason in reasons if reason is not None)
    counts["nothing_to_learn"] += int((takes & ~learns).sum())
    keep = (takes & learns)[row] & inside
    kept = np.flatnonzero(takes & learns)
    lengths = np.bincount(row[keep], minlength=len(takes))[kept]
    names = tokens.column("id").to_pylist()
    made = Samples([names[i] for i in kept], ids[keep].astype(np.int64), learn[keep], np.append(0, np.cumsum(lengths)))
    return made, +counts, len(takes)


def _columns(samples: Samples) -> dict[str, Callable[[], pa.Array]]:
    """Every column that some trainer reads."""
    offsets = pa.array(samples.offsets.astype(np.int32))

    def of(values: np.ndarray) -> pa.ListArray:
        return pa.ListArray.from_arrays(offsets, pa.array(values))

    return {
        "id": lambda: pa.array(samples.names, pa.string()),
        "input_ids": lambda: of(samples.ids.astype(np.int32)),
        "tokens": lambda: of(samples.ids.astype(np.int32)),
        "attention_mask": lambda: of(np.ones(len(samples.ids), np.int8)),
        "labels": lambda: of(np.where(samples.learn, samples.ids, NO_LOSS).astype(np.int32)),
        "assistant_masks": lambda: of(samples.learn.astype(np.int8)),
        "loss_mask": lambda: of(samples.learn.astype(np.int8)),
        "mask": lambda: of(~samples.learn),
        "token_weights": lambda: of(samples.learn.astype(np.float32)),
        "loss_weights": lambda: of(samples.learn.astype(np.float32)),
    }


COLUMNS = {
    "parquet": ("id", "input_ids", "attention_mask", "labels", "loss_mask", "token_weights"),
    "trl": ("input_ids", "attention_mask", "labels", "assistant_masks"),
    "axolotl": ("input_ids", "attention_mask", "labels"),
    "llamafactory": ("input_ids", "attention_mask", "labels", "loss_weights"),
    "torchtune": ("tokens", "mask"),
    "skyrl": ("input_ids", "loss_mask"),
}


def _write_parquet(task: _Task, samples: Samples) -> dict[str, Any]:
    columns = _columns(samples)
    table = pa.table({name: columns[name]() for name in COLUMNS[task.settings.to]})
    with task.place.store.writing(task.place.file(f"data/{task.names[0]}")) as path:
        pq.write_table(table, path, compression="zstd", use_dictionary=False, row_group_size=1 << 14)
        return file_facts(path)


def _write_raw(task: _Task, samples: Samples) -> dict[str, Any]:
    # A conversation has several ends of turns, so its own end cannot be found by them: OLMo-core reads it beside.
    spans = "".join(f"{first},{end}\n" for first, end in pairwise(samples.offsets.tolist()))
    contents = (
        samples.ids.astype(task.kind).tobytes(),
        samples.learn.tobytes(),
        gzip.compress(spans.encode(), mtime=0),
    )
    facts = {}
    for name, content in zip(task.names, contents, strict=True):
        with task.place.store.writing(task.place.file(f"data/{name}")) as path:
            Path(path).write_bytes(content)
            facts[name] = file_facts(path)
    return facts[task.names[0]]


WRITERS: dict[str, Callable[[_Task, Samples], dict[str, Any]]] = dict.fromkeys(COLUMNS, _write_parquet)
WRITERS["olmo"] = _write_raw


def _save_dataset(place: _Place, names: list[str]) -> None:
    """The Parquet files, without loss_weights, as a folder of `save_to_disk` beside them."""
    from datasets import Dataset, disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    with tempfile.TemporaryDirectory(prefix="tamis-") as cache:
        files = [place.store.path(place.file(f"data/{name}")) for name in names]
        found = Dataset.from_parquet(files, cache_dir=cache, columns=list(COLUMNS["axolotl"]))
        found.save_to_disk(place.store.path(place.file("dataset")))
