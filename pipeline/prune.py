"""Outputs that no config names: found, listed, and removed when the user says so.

    found = unnamed(workspace, [read_named("run.yaml"), read_named("train.yaml")])
    remove(workspace, [item for item in found if not item.dear])

Configs are those of `tamis run`, `tamis train` and `tamis compare`. Candidates are all folders that hold a stage, with
the ledger rows that belong to them, and `tmp/`, where killed runs leave what they had begun. What is quickly made again
(PLAIN) is one thing; what a language model was run or trained for is another (`dear`), and what other commands may have
made without any config is dear too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import ledger
from pipeline.classifier import classifier_stage
from pipeline.config import Config, load
from pipeline.errors import UserError
from pipeline.redact import without_secrets
from pipeline.run import plan
from pipeline.stage import STAGE_FILE
from pipeline.workspace import Workspace
from pipeline.yaml_file import placed, read_yaml

PLAIN = ("corpora", "scores", "signatures", "near", "repeats", "recurring", "models", "selections", "exports", "tmp")
"""Parents of what no language model is needed for."""


@dataclass(frozen=True)
class Named:
    """What one config names: the stages of a run, or trainings by name with the data they read."""

    workspace: str | None
    config: Config | None = None
    runs: tuple[str, ...] = ()
    comparison: str | None = None
    paths: tuple[tuple[str, ...], ...] = ()
    """of data and evaluation sets: packs that were made of them stay"""


@dataclass(frozen=True)
class Unnamed:
    """A folder of the workspace that no config names, the bytes in it, and the seconds that its shards took."""

    folder: str
    size: int
    seconds: float
    dear: bool


def read_named(path: str) -> Named:
    """A config of any of the three commands. Raises UserError as they do, where prune needs to understand it."""
    values = read_yaml(path, "config")
    if not ({"model", "data"} <= set(values) or {"train", "selections"} <= set(values)):
        config = load(path)
        return Named(config.workspace, config)
    base = Path(path).absolute().parent
    workspace = values.get("workspace")
    place = None if workspace is None else placed(str(workspace), base)
    name = values.get("name")
    if not isinstance(name, str):
        raise UserError(f"config {path}: name: expected a text")
    recipe = _mapping(values.get("train", values))
    sets = [recipe.get("data"), *_mapping(recipe.get("evaluation")).values()]
    runs: tuple[str, ...] = (name,)
    if "train" in values:
        labels = _mapping(values["selections"])
        sets += labels.values()
        recipes = _mapping(values.get("recipes"))
        if recipes:  # runs are called by the recipe, and by both where there are several selections
            runs = tuple(f"{name}.{r}." if len(labels) == 1 else f"{name}.{s}.{r}." for s in labels for r in recipes)
        else:
            runs = tuple(f"{name}.{label}." for label in labels)
    found = [_mapping(one).get("paths") or () for one in sets]
    paths = tuple(tuple(without_secrets(placed(str(p), base)) for p in own) for own in found if isinstance(own, list))
    return Named(place, None, runs, name if "train" in values else None, paths)


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def unnamed(workspace: Workspace, configs: Sequence[Named]) -> list[Unnamed]:
    """Stage folders that none of the configs makes, as the configs and the workspace are now."""
    kept: set[str] = set()
    store = workspace.store
    for corpus in store.folders("scores"):
        # No config can name scores that were made elsewhere, so none can fail to.
        stages = workspace.stages(f"scores/{corpus}")
        kept |= {folder for folder, record in stages.items() if record["fields"].get("scorer") == "import"}
    for folder, record in workspace.stages("corpora").items():
        if "made" in record["fields"]:  # of another corpus, by a command (tamis ghosts): no config can name it either
            kept |= {folder, *workspace.stages(f"scores/{record['name']}")}
    for named in configs:
        kept |= _trainings(workspace, named) if named.config is None else _steps(workspace, named.config)
    found = [folder for folder in _candidates(workspace) if folder not in kept]
    return [
        Unnamed(folder, _size(workspace, folder), _seconds(workspace, folder), folder.split("/")[0] not in PLAIN)
        for folder in found
    ]


def _steps(workspace: Workspace, config: Config) -> set[str]:
    kept = {step.folder for step in plan(config, workspace) if step.folder is not None}
    kept |= {f"corpora/{name}" for name in config.corpora}
    return kept | {classifier_stage(name, s).folder for name, s in config.classifiers.items()}


def _trainings(workspace: Workspace, named: Named) -> set[str]:
    """Runs and comparisons go by name, whatever their settings were: a training is too dear to be lost to an edit."""
    kept = set()
    for parent in ("runs", "comparisons", "packs"):
        for folder, record in workspace.stages(parent).items():
            if parent == "packs":
                ours = tuple(record["info"].get("paths", ())) in named.paths
            elif parent == "comparisons":
                ours = record["name"] == named.comparison
            elif named.comparison is None:
                ours = record["name"] in named.runs
            else:
                ours = record["name"].startswith(named.runs)
            if ours:
                kept.add(folder)
    return kept


def _candidates(workspace: Workspace) -> list[str]:
    """Folders that may be removed: below a plain parent everything, elsewhere what holds a stage."""
    store = workspace.store
    found = []
    for parent in (*PLAIN, *(name for name in store.folders("") if name not in (*PLAIN, "ledger"))):
        for name in store.folders(parent):
            if (parent in PLAIN and parent != "scores") or store.exists(f"{parent}/{name}/{STAGE_FILE}"):
                found.append(f"{parent}/{name}")
                continue
            inner = [f"{parent}/{name}/{own}" for own in store.folders(f"{parent}/{name}")]
            found += [folder for folder in inner if parent == "scores" or store.exists(f"{folder}/{STAGE_FILE}")]
    return found


def remove(workspace: Workspace, folders: Sequence[Unnamed]) -> None:
    """Remove folders and their ledger rows. The caller holds the lock.

    The ledger goes first: what is half removed is then no longer visible, and a later prune finishes it.
    """
    for item in folders:
        workspace.store.remove(ledger.folder(item.folder))
        workspace.store.remove(item.folder)


def _size(workspace: Workspace, folder: str) -> int:
    return workspace.store.do(folder, lambda: int(workspace.store.fs.du(workspace.store.path(folder))))


def _seconds(workspace: Workspace, folder: str) -> float:
    folders = [folder]
    if folder.startswith("selections/"):  # ledgered per corpus
        folders += [f"{folder}/{name}" for name in workspace.store.folders(ledger.folder(folder))]
    return sum(row.seconds for own in folders for row in ledger.read(workspace.store, own))
