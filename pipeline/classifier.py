"""Train a fastText classifier as a stage: labelled rows in, `models/<name>-<hash8>/model.bin` out.

The training itself is `scorers.fasttext.train` (the paper's settings, one thread in a process of its own, the same
bytes every time); here are its files, its hash and its ledger row.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import orjson
from pydantic import Field

from pipeline import ledger, models
from pipeline.errors import UserError
from pipeline.execute import Counts, next_attempt, write_row
from pipeline.ingest.read import compression, line_blocks, opened
from pipeline.shards import digest, file_facts
from pipeline.stage import Stage
from pipeline.storage import Store
from pipeline.workspace import Workspace, checked_name
from scorers.fasttext.train import TrainSettings

MODEL = "model.bin"
CODE_VERSION = 1
MAX_LINE = 64 << 20
"""Bytes of the longest labelled row that is read."""


class ClassifierSettings(TrainSettings):
    """Labelled rows and how to train on them."""

    rows: list[str] = Field(min_length=1)
    """JSONL files (plain, .gz or .zst)"""
    text: str = "text"
    """key of the text"""
    label: str = "label"
    """key of the label; values become __label__<value>"""


def classifier_stage(name: str, settings: ClassifierSettings) -> Stage:
    """The stage that trains a classifier. Reads and hashes the labelled rows."""
    files = [models.local_file(path, "rows") for path in settings.rows]
    values = settings.model_dump(mode="json")
    values.pop("rows")
    return Stage(
        kind="train",
        name=checked_name(name, "classifier"),
        parent="models",
        fields={
            "version": CODE_VERSION,
            "settings": values,
            "rows": [models.content_hash(file) for file in files],
            "library": f"fasttext-modern {metadata.version('fasttext-modern')}",
        },
        info={"rows": settings.rows},
    )


def model_file(workspace: Workspace, stage: Stage) -> str | None:
    """Path or URL of a trained model, None while it is not trained or if its file is not the one that was written."""
    row = workspace.rows(stage.folder).get("model")
    name = f"{stage.folder}/{MODEL}"
    if row is None or not row.done or workspace.store.sizes(stage.folder).get(MODEL) != row.size:
        return None
    store = workspace.store
    if store.is_local and row.digest != digest(store.path(name)):
        return None
    return store.address(name)


def train_classifier(workspace: Workspace, name: str, settings: ClassifierSettings) -> str:
    """Train what is not trained yet; the path or URL of the model. The caller holds the lock."""
    stage = classifier_stage(name, settings)
    if (known := model_file(workspace, stage)) is not None:
        return known
    store = workspace.store
    stage.save(store)
    begun = time.time()
    number = next_attempt(workspace, stage.folder, "model")
    rows = _Rows(settings)
    with store.writing(f"{stage.folder}/{MODEL}") as path:
        _train(rows, settings, path)
        facts = file_facts(path)
    counts = Counts(rows_in=rows.read, rows_out=rows.read, bytes_in=rows.num_bytes, **facts)
    write_row(workspace, stage.folder, "model", number, begun, counts)
    ledger.compact(store, stage.folder)
    return store.address(f"{stage.folder}/{MODEL}")


def train_file(settings: ClassifierSettings, out: str) -> int:
    """Train into a file of the user's choice, whole or not at all; the number of rows read."""
    rows = _Rows(settings)
    folder, name = os.path.split(os.path.abspath(out))
    with Store(folder).writing(name) as path:
        _train(rows, settings, path)
    return rows.read


def _train(rows: _Rows, settings: ClassifierSettings, path: str) -> None:
    from scorers.fasttext.train import train

    train(iter(rows), Path(path), TrainSettings(**{k: getattr(settings, k) for k in TrainSettings.model_fields}))


class _Rows:
    """(label, text) of the labelled files, counted as they are read."""

    def __init__(self, settings: ClassifierSettings):
        self.settings = settings
        self.read = self.num_bytes = 0

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for path in self.settings.rows:
            for number, line in enumerate(_lines(path), 1):
                if line.strip():
                    yield self._row(line, f"{path} line {number}")

    def _row(self, line: bytes, where: str) -> tuple[str, str]:
        wanted = self.settings
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UserError(f"{where}: not JSON ({error}); expected one object a line") from None
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected an object with {wanted.label!r} and {wanted.text!r}")
        for key in (wanted.text, wanted.label):
            if row.get(key) is None:
                raise UserError(f"{where}: no {key!r}; it has {', '.join(row)} (see `text` and `label`)")
        if not isinstance(row[wanted.text], str):
            raise UserError(f"{where}: {wanted.text!r} is not a text")
        self.read += 1
        self.num_bytes += len(row[wanted.text].encode())
        return str(row[wanted.label]), row[wanted.text]


def _lines(path: str) -> Iterator[bytes]:
    local = str(models.local_file(path, "rows"))
    with opened(local, compression(local)) as read:
        for _, block in line_blocks(read, 0, None, MAX_LINE):
            if not isinstance(block, bytes):
                raise UserError(f"{path}: a line of {block.length} bytes; at most {MAX_LINE} are read")
            yield from block.split(b"\n")
