"""Outputs that no config names: found, listed, and removed when the user says so.

Candidates are the folders below corpora/, scores/, models/, selections/ and exports/, with the ledger rows that belong
to them, and `tmp/`, where killed runs leave what they had begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import ledger
from pipeline.classifier import classifier_stage
from pipeline.config import Config
from pipeline.run import plan
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Unnamed:
    """A folder of the workspace that no config names, and the bytes in it."""

    folder: str
    size: int


def unnamed(workspace: Workspace, configs: Sequence[Config]) -> list[Unnamed]:
    """Stage folders that none of the configs makes, as the configs and the workspace are now."""
    kept: set[str] = set()
    store = workspace.store
    for corpus in store.folders("scores"):
        # No config can name scores that were made elsewhere, so none can fail to.
        stages = workspace.stages(f"scores/{corpus}")
        kept |= {folder for folder, record in stages.items() if record["fields"].get("scorer") == "import"}
    for config in configs:
        kept |= {step.folder for step in plan(config, workspace) if step.folder is not None}
        kept |= {f"corpora/{name}" for name in config.corpora}
        kept |= {classifier_stage(name, s).folder for name, s in config.classifiers.items()}
    found = [f"corpora/{name}" for name in store.folders("corpora")]
    found += [f"scores/{corpus}/{n}" for corpus in store.folders("scores") for n in store.folders(f"scores/{corpus}")]
    for parent in ("models", "selections", "exports"):
        found += [f"{parent}/{name}" for name in store.folders(parent)]
    found += [f"tmp/{name}" for name in store.folders("tmp")]
    return [Unnamed(folder, _size(workspace, folder)) for folder in found if folder not in kept]


def remove(workspace: Workspace, folders: Sequence[Unnamed]) -> None:
    """Remove folders and their ledger rows. The caller holds the lock.

    The ledger goes first: what is half removed is then no longer visible, and a later prune finishes it.
    """
    for item in folders:
        workspace.store.remove(ledger.folder(item.folder))
        workspace.store.remove(item.folder)


def _size(workspace: Workspace, folder: str) -> int:
    return int(workspace.store.fs.du(workspace.store.path(folder)))
