"""Checkpoints: a folder that transformers and vLLM load as it is, plus what resuming needs.

    <run>/checkpoints/step-00000500/
      config.json, model.safetensors, tokenizer.json, ...   save_pretrained's layout, float32
      optimizer.pt                      tensors only; absent in the last checkpoint of a run
      training.json                     step, tokens, settings, fingerprint of the data; written last of all

A checkpoint is written under a temporary name, synced and renamed; where the workspace is an object store,
training.json is uploaded last and a folder without it does not count. So a crash or a full disk leaves the checkpoints
before it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch

from pipeline.storage import TEMPORARY, Store

FOLDER = "checkpoints"
RECORD = "training.json"
OPTIMIZER = "optimizer.pt"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is whole. folder: relative to the workspace."""

    folder: str
    record: dict[str, Any]

    @property
    def step(self) -> int:
        """The last step that is in it."""
        return self.record["step"]


def name_of(step: int) -> str:
    """Folder name of a step's checkpoint."""
    return f"step-{step:08d}"


def checkpoints(store: Store, run: str) -> list[Checkpoint]:
    """The whole checkpoints of a run, oldest first."""
    found = []
    for name in store.folders(f"{run}/{FOLDER}"):
        folder = f"{run}/{FOLDER}/{name}"
        with contextlib.suppress(FileNotFoundError):
            found.append(Checkpoint(folder, orjson.loads(store.read_bytes(f"{folder}/{RECORD}"))))
    return sorted(found, key=lambda one: one.step)


def save(
    store: Store, run: str, record: dict[str, Any], write_model: Callable[[Path], None], optimizer: Any | None
) -> Checkpoint:
    """Write a checkpoint, whole or not at all. write_model fills a folder with model and tokenizer."""
    folder = f"{run}/{FOLDER}/{name_of(record['step'])}"
    with _building(store, folder) as path:
        write_model(path)
        if optimizer is not None:
            torch.save(optimizer, path / OPTIMIZER)
        (path / RECORD).write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2))
    return Checkpoint(folder, record)


@contextlib.contextmanager
def _building(store: Store, folder: str) -> Iterator[Path]:
    parent, name = folder.rsplit("/", 1)
    if store.is_local:
        os.makedirs(store.path(parent), exist_ok=True)
        path = Path(store.path(f"{parent}/{TEMPORARY}{secrets.token_hex(6)}-{name}"))
        path.mkdir()
    else:
        path = Path(tempfile.mkdtemp(prefix="tamis-"))
    try:
        yield path
        if store.is_local:
            _publish(path, Path(store.path(folder)))
        else:
            names = sorted((p.name for p in path.iterdir()), key=lambda n: n == RECORD)
            for file in names:
                store.put(str(path / file), f"{folder}/{file}")
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _publish(path: Path, target: Path) -> None:
    for place in (*path.iterdir(), path):
        _sync(place)
    if target.exists():  # the same step again, after a run went back: the old one is as good, but this one is newer
        shutil.rmtree(target)
    os.replace(path, target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def prune(store: Store, run: str, keep: int) -> None:
    """Remove all but the newest checkpoints, and what killed runs left unfinished."""
    for old in checkpoints(store, run)[:-keep]:
        store.remove(f"{old.folder}/{RECORD}")  # first: a checkpoint that is half removed must not count
        store.remove(old.folder)
    parent = store.path(f"{run}/{FOLDER}")
    if store.is_local and os.path.isdir(parent):
        for entry in os.scandir(parent):
            if entry.name.startswith(TEMPORARY):
                shutil.rmtree(entry.path, ignore_errors=True)


@contextlib.contextmanager
def local(store: Store, folder: str) -> Iterator[Path]:
    """A checkpoint's folder as local files; fetched for the block where the workspace is an object store."""
    if store.is_local:
        yield Path(store.path(folder))
        return
    with tempfile.TemporaryDirectory(prefix="tamis-") as place:
        store.do(folder, lambda: store.fs.get(store.path(folder), place, recursive=True))
        inner = Path(place) / folder.rsplit("/", 1)[1]
        yield inner if inner.is_dir() else Path(place)


def read_optimizer(path: Path) -> dict[str, Any]:
    """The optimizer's state of a checkpoint. Tensors and numbers only: nothing in it is run."""
    return torch.load(path / OPTIMIZER, map_location="cpu", weights_only=True)
