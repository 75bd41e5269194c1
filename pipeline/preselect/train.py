"""From strengths to a classifier: models/<name>-<hash8>/ with model.bin and labels.parquet.

    stage = make_classifier(sample, strength_folder, LabelSettings(), TrainSettings(), "quality")

labels.parquet has a row per document of the sample: id, source, domain, weight, strength (float64), label (int8: 1, 0
or null for neither), held_out (bool: the domain is kept for the evaluation). Every document of a domain is on one side,
so that the evaluation shows what the classifier does on sites that it has never seen.
"""

from __future__ import annotations

import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from pipeline import ledger
from pipeline.classifier import MODEL, model_file
from pipeline.config_errors import nearest
from pipeline.errors import UserError
from pipeline.execute import Counts, next_attempt, write_row
from pipeline.preselect.sample import Sample
from pipeline.preselect.settings import LabelSettings
from pipeline.preselect.strength import read_strength
from pipeline.shards import file_facts, write_narrow
from pipeline.stage import Stage, saved
from pipeline.workspace import checked_name
from scorers.fasttext.train import TrainSettings

VERSION = 1
LABELS = "labels.parquet"


def train_stage(
    sample: Sample, strength: dict[str, Any], labels: LabelSettings, settings: TrainSettings, name: str
) -> Stage:
    """The stage; `strength` is the record of a strength stage."""
    return Stage(
        kind="preselect-train",
        name=checked_name(name, "classifier"),
        parent="models",
        fields={
            "version": VERSION,
            "strength": strength["hash"],
            "labels": labels.model_dump(mode="json"),
            "settings": settings.model_dump(mode="json"),
            "library": f"fasttext-modern {metadata.version('fasttext-modern')}",
        },
        info={"corpus": sample.corpus, "sample": sample.folder, "strength": f"strengths/{sample.corpus}"},
    )


def labelled(table: pa.Table, settings: LabelSettings) -> pa.Table:
    """The rows of labels.parquet from those of a strength stage. Raises UserError for a column that is not there."""
    from scorers.preselect.labels import label

    numbers = [f.name for f in table.schema if pa.types.is_float64(f.type) and f.name not in ("weight", "se")]
    if settings.by not in numbers:
        raise UserError(f"no strength {settings.by!r}{nearest(settings.by, numbers)}")
    domains = [name or "" for name in table.column("domain").to_pylist()]
    distinct, codes = np.unique(domains, return_inverse=True)
    names = [str(name) for name in distinct]
    out = np.array([_draw(name, settings.seed) < settings.held_out for name in names], bool)
    if settings.held_out and len(names) > 1 and not out.any():
        out[min(range(len(names)), key=lambda i: _draw(names[i], settings.seed))] = True
    try:
        labels = label(
            table.column(settings.by).to_numpy(),
            table.column("id"),
            settings.rule,
            positive=settings.positive,
            negative=settings.negative,
            domains=codes,
            per_domain=settings.per_domain,
            seed=settings.seed,
        )
    except ValueError as error:
        raise UserError(f"labels by {settings.by!r}: {error}") from None
    columns: dict[str, Any] = {name: table.column(name) for name in ("id", "source", "domain", "weight")}
    columns |= {"strength": table.column(settings.by), "label": labels, "held_out": pa.array(out[codes])}
    return pa.table(columns)


def _draw(domain: str, seed: int) -> float:
    """A number in [0, 1) that a domain always has."""
    return xxhash.xxh3_64_intdigest(domain.encode(), seed=seed) / 2**64


def make_classifier(
    sample: Sample, strength_folder: str, labels: LabelSettings, settings: TrainSettings, name: str
) -> Stage:
    """Train what is not trained yet. The caller holds the lock. Raises UserError if a label has no row to train on."""
    workspace, store = sample.workspace, sample.workspace.store
    record = saved(store, strength_folder)
    if record is None:
        raise UserError(f"no strengths in {store.shown(strength_folder)}; `tamis preselect strength` makes them")
    stage = train_stage(sample, record, labels, settings, name)
    if model_file(workspace, stage) is not None and store.exists(f"{stage.folder}/{LABELS}"):
        return stage
    begun = time.time()
    table = labelled(read_strength(sample, strength_folder), labels)
    rows = _rows(sample, table)
    for wanted in ("1", "0"):
        if not any(own == wanted for own, _ in rows):
            raise UserError(f"no document with label {wanted} outside the held-out domains; lower `held_out`")
    stage.save(store, strength=strength_folder, rows=len(rows))
    with store.writing(f"{stage.folder}/{LABELS}") as path:
        write_narrow(path, table)
    number = next_attempt(workspace, stage.folder, "model")
    with store.writing(f"{stage.folder}/{MODEL}") as path:
        train_rows(rows, path, settings, labels.zero_eos)
        facts = file_facts(path)
    size = sum(len(text.encode()) for _, text in rows)
    counts = Counts(rows_in=len(rows), rows_out=len(rows), bytes_in=size, **facts)
    write_row(workspace, stage.folder, "model", number, begun, counts)
    ledger.compact(store, stage.folder)
    return stage


def _rows(sample: Sample, table: pa.Table) -> list[tuple[str, str]]:
    """(label, text) of the documents to train on."""
    label, held_out = (table.column(name).to_pylist() for name in ("label", "held_out"))
    rows, at = [], 0
    for shard in sample.shards:
        for text in sample.table(shard, ["text"]).column("text").to_pylist():
            if label[at] is not None and not held_out[at]:
                rows.append((str(label[at]), text))
            at += 1
    return rows


def train_rows(rows: list[tuple[str, str]], path: str, settings: TrainSettings, zero_eos: bool) -> None:
    """Train into a file. The trainer shuffles, by content, and gives the same bytes every time."""
    from scorers.fasttext.train import train

    train(iter(rows), Path(path), settings)
    if zero_eos:
        clear_eos(path)


def clear_eos(path: str) -> None:
    """Set the row of `</s>` in a model file to zero; it still counts as a feature of every document."""
    from scorers.fasttext.classifier import load_classifier

    model = load_classifier(path)
    row, matrix = model.tables.eos, model.file.input
    assert matrix.groups == 0, "a model that was just trained is not quantised"
    if row < 0:
        return
    with open(path, "r+b") as file:
        file.seek(matrix.offset + row * matrix.cols * 4)
        file.write(bytes(matrix.cols * 4))
