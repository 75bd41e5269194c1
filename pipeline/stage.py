"""A stage as data: what is made, from what, with which settings. Its hash is the name of what it makes.

`fields` are hashed: settings, contents of model files, hashes of the inputs, the version of the code that makes the
numbers, --limit. `info` is not: where a model lay, when, by whom. Workers and memory are in neither. Both are
written to `stage.json` beside the data, so that a later plan can say which field made an output stale.
"""

from __future__ import annotations

import datetime
import functools
import getpass
import hashlib
import os
import socket
import sys
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import orjson

from pipeline import events
from pipeline.integrity import sealed, unsealed
from pipeline.redact import without_secrets
from pipeline.storage import Store

STAGE_FILE = "stage.json"


@functools.cache
def version() -> str:
    """The installed version of Tamis."""
    return metadata.version("tamis")


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    kind: ingest, train (a classifier), score, select, export, pack, run (a training), ...
    name: the corpus, alias, selection, export or run as the user calls it.
    parent: the folder under which outputs of this kind lie, relative to the workspace.
    """

    kind: str
    name: str
    parent: str
    fields: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def hash(self) -> str:
        """sha256 over the hashed fields, in hex."""
        return hashlib.sha256(orjson.dumps(self.fields, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def folder(self) -> str:
        """The output folder, relative to the workspace. A corpus goes by its name alone: documents never change."""
        if self.kind == "ingest":
            return f"{self.parent}/{self.name}"
        return f"{self.parent}/{self.name}-{self.hash[:8]}"

    @property
    def label(self) -> str:
        """How messages name the stage."""
        return f"{self.kind} {self.name}"

    def save(self, store: Store, **info: Any) -> None:
        """Write stage.json; `info` is added to what is not hashed."""
        made = {
            "tamis": version(),
            "python": sys.version.split()[0],
            # The newest of a name is what commands take: two may be begun within a second.
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "user": getpass.getuser() if os.environ.get("USER") or os.environ.get("LOGNAME") else "",
            "host": socket.gethostname(),
            "command": events.command(store.url),
        }
        record = {
            "kind": self.kind,
            "name": self.name,
            "hash": self.hash,
            "fields": self.fields,
            "info": without_secrets(made | self.info | info),
        }
        store.write_bytes(f"{self.folder}/{STAGE_FILE}", sealed(record, pretty=True))


def saved(store: Store, folder: str) -> dict[str, Any] | None:
    """The record in a folder's stage.json, or None if there is none."""
    try:
        data = store.read_bytes(f"{folder}/{STAGE_FILE}")
    except FileNotFoundError:
        return None
    return unsealed(data, f"{store.shown(folder)}/{STAGE_FILE}", "remove the folder and run the same command again")


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """What changed from one set of hashed fields to another, a line a field: `settings.newline: " " -> ""`."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in sorted(old.keys() | new.keys()):
            inner = f"{at}.{key}" if at else key
            lines += differences(old.get(key, "(absent)"), new.get(key, "(absent)"), inner)
        return lines
    if isinstance(old, list) and isinstance(new, list) and all(isinstance(i, dict) for i in [*old, *new]):
        if len(old) != len(new):
            return [f"{at}: {len(old)} entries -> {len(new)}"]
        return [line for n, pair in enumerate(zip(old, new, strict=True)) for line in differences(*pair, f"{at}[{n}]")]
    if old == new:
        return []
    return [f"{at}: {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = value if value == "(absent)" else orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:28]}...{text[-28:]}"
