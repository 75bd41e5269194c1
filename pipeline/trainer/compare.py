"""Several selections at an equal token budget: the same model, the same recipe, several seeds, one table.

    name: which
    train: {context: 512, tokens: 5_000_000, model: {...}, data: {tokenizer: t.json}, evaluation: {held_out: {...}}}
    selections:
      preselect: {paths: [exports/preselect]}
      random: {paths: [exports/random]}
    seeds: [0, 1, 2]
    baseline: random

`train` is a training config without a name; `selections` say what of its `data` is different, `recipes` (if there are
any) what else. Every run is one of
`tamis train`: what is done is not done again. A seed draws the same initial weights for every selection, so differences
are taken within seeds.

    comparisons/<name>-<hash8>/results.parquet, table.md, curves.svg
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.config_errors import nearest, parsed
from pipeline.errors import UserError
from pipeline.execute import Compute, Pool
from pipeline.lock import held
from pipeline.stage import Stage
from pipeline.trainer import metrics
from pipeline.trainer.harness import harness_scores
from pipeline.trainer.packed import Packed
from pipeline.trainer.run import make_packs, placed_settings, train_run
from pipeline.trainer.settings import TrainSettings
from pipeline.training_views import RESULTS
from pipeline.workspace import Workspace, checked_name
from pipeline.yaml_file import changed, placed, read_yaml

COMPARISONS = "comparisons"
VERSION = 1
SHOWN = 3
"""Documents that an error lists."""


class CompareSettings(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    train: dict[str, Any]
    selections: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    recipes: dict[str, dict[str, Any]] = {}
    """what is different of `train` besides the data, such as `methods`; {} is `train` as it is. Every selection is
    trained by every recipe; runs are called by the recipe, with several selections by selection.recipe"""
    seeds: Annotated[list[int], Field(min_length=1)] = [0, 1, 2]
    baseline: str | None = None
    """the selection that the others are compared with; None: the last one"""
    tasks: list[str] = []
    """of lm-evaluation-harness, run on the last checkpoints; needs the package lm_eval"""
    allow_overlap: bool = False
    """evaluate although training data holds documents of the evaluation sets"""

    @model_validator(mode="after")
    def _several(self) -> CompareSettings:
        if len(self.selections) * max(len(self.recipes), 1) < 2:
            raise ValueError("one selection and one recipe are nothing to compare; give two `selections` or `recipes`")
        return self


@dataclass(frozen=True)
class Comparison:
    """What is compared, checked. runs: {(label, seed): settings}; a label is a selection, a recipe, or both."""

    settings: CompareSettings
    baseline: str
    runs: dict[tuple[str, int], TrainSettings]


def read_comparison(path: str, changes: list[str]) -> tuple[Comparison, str | None]:
    """A comparison's file and its workspace; paths are relative to its folder. Raises UserError."""
    values = changed(read_yaml(path, "config"), changes, "--set")
    base = Path(path).absolute().parent
    workspace = values.pop("workspace", None)
    settings = parsed(CompareSettings, values, f"config {path}")
    return comparison(settings, base, f"config {path}"), None if workspace is None else placed(str(workspace), base)


def comparison(settings: CompareSettings, base: Path, where: str) -> Comparison:
    """The runs of a comparison."""
    checked_name(settings.name, "comparison")
    labels = {
        _label(selection, recipe, settings): (data, changes)
        for selection, data in settings.selections.items()
        for recipe, changes in (settings.recipes or {"": {}}).items()
    }
    baseline = list(labels)[-1] if settings.baseline is None else settings.baseline
    if baseline not in labels:
        raise UserError(f"{where}: baseline: no selection or recipe {baseline!r}{nearest(baseline, labels)}")
    if len(set(settings.seeds)) < len(settings.seeds):
        raise UserError(f"{where}: seeds: a seed stands twice")
    for key in ("name", "seed"):
        if key in settings.train:
            raise UserError(f"{where}: train.{key}: a comparison sets it itself; take it out")
    runs = {}
    for label, (data, changes) in labels.items():
        checked_name(label, f"{where}: selection or recipe")
        recipe = _changed(settings.train, changes, f"{where}: recipes: {label}")
        for seed in settings.seeds:
            values = recipe | {
                "name": f"{settings.name}.{label}.{seed}",
                "data": settings.train.get("data", {}) | data,
                "seed": seed,
            }
            runs[label, seed] = placed_settings(parsed(TrainSettings, values, f"{where}: train"), base)
    one = next(iter(runs.values()))
    if one.tokens is None:
        raise UserError(
            f"{where}: train: selections are compared at equal `tokens`; give that instead of steps or epochs"
        )
    if not one.evaluation:
        raise UserError(f"{where}: train: no `evaluation` set; expected at least one, such as the held-out split")
    return Comparison(settings, baseline, runs)


def _label(selection: str, recipe: str, settings: CompareSettings) -> str:
    if not settings.recipes:
        return selection
    return recipe if len(settings.selections) == 1 else f"{selection}.{recipe}"


def _changed(train: dict[str, Any], changes: dict[str, Any], where: str) -> dict[str, Any]:
    """`train` with a recipe's changes; settings that are groups, such as `optimizer`, are changed key by key."""
    for key in ("name", "seed", "data", "evaluation", "context", "tokens", "steps", "epochs"):
        if key in changes:
            raise UserError(f"{where}: {key}: recipes are compared on the same data and tokens; put it into `train`")
    made = dict(train)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(made.get(key), dict) and key != "model"
        made[key] = made[key] | value if both else value
    return made


def compare(workspace: Workspace, wanted: Comparison, compute: Compute) -> str:
    """Train what is not trained, evaluate, write the results; the folder, relative to the workspace."""
    packs: dict[str, dict[str, Packed]] = {}
    with held(workspace.store), Pool(compute, workspace) as pool:
        for (label, _), settings in wanted.runs.items():
            if label not in packs:
                packs[label] = make_packs(workspace, settings, pool)
                if not wanted.settings.allow_overlap:
                    check_apart(label, packs[label])
    rows = []
    for (label, seed), settings in wanted.runs.items():
        last = train_run(workspace, settings, compute)
        run = last.folder.split("/checkpoints/")[0]
        of_run = {
            "selection": label,
            "seed": seed,
            "step": last.step,
            "tokens": last.record["tokens"],
            "epochs": last.record["tokens"] / max(int((packs[label]["data"].lengths - 1).clip(0).sum()), 1),
        }
        found = metrics.read(workspace.store, run, metrics.EVALUATIONS).to_pylist()
        for row in (one for one in found if one["step"] == last.step):
            for metric in ("bits_per_byte", "nll"):
                if row[metric] is not None:
                    rows.append(
                        of_run | {k: row[k] for k in ("set", "source")} | {"metric": metric, "value": row[metric]}
                    )
        for (task, metric), value in harness_scores(workspace.store, last, wanted.settings.tasks).items():
            rows.append(of_run | {"set": task, "source": None, "metric": metric, "value": value})
    return _write(workspace, wanted, rows)


def check_apart(label: str, packs: Mapping[str, Packed]) -> None:
    """Raises UserError if a document of an evaluation set is among the training documents, by id or by tokens."""
    data = packs["data"]
    ids, texts = set(data.ids(range(len(data)))), {_digest(data.tokens(i)) for i in range(len(data))}
    for name, packed in packs.items():
        if name == "data":
            continue
        both = [
            document
            for number, document in enumerate(packed.ids(range(len(packed))))
            if document in ids or _digest(packed.tokens(number)) in texts
        ]
        if both:
            raise UserError(
                f"selection {label!r} trains on {len(both)} of {len(packed)} documents of evaluation set {name!r} "
                f"({', '.join(both[:SHOWN])}, ...); keep them out of the selection (a held-out split does), or set "
                "allow_overlap: true"
            )


def _digest(tokens: np.ndarray) -> bytes:
    return xxhash.xxh3_128_digest(tokens.tobytes())


def _write(workspace: Workspace, wanted: Comparison, rows: list[dict[str, Any]]) -> str:
    from pipeline.trainer.compare_report import draw_curves, table_of

    settings = {str(key): one.model_dump(mode="json", exclude={"membership"}) for key, one in wanted.runs.items()}
    stage = Stage(
        kind="compare",
        name=wanted.settings.name,
        parent=COMPARISONS,
        fields={"version": VERSION, "runs": settings, "tasks": wanted.settings.tasks, "baseline": wanted.baseline},
    )
    store = workspace.store
    stage.save(store)
    results = pa.Table.from_pylist(rows, RESULTS)
    with store.writing(f"{stage.folder}/results.parquet") as path:
        pq.write_table(results, path, compression="zstd")
    store.write_bytes(f"{stage.folder}/table.md", table_of(results, wanted.baseline).encode())
    curves = {}
    for (label, seed), one in wanted.runs.items():
        run = next(
            folder for folder, record in reversed(workspace.stages("runs").items()) if record["name"] == one.name
        )
        curves[label, seed] = (
            metrics.read(store, run, metrics.METRICS),
            metrics.read(store, run, metrics.EVALUATIONS),
        )
    with store.writing(f"{stage.folder}/curves.svg") as path:
        draw_curves(path, curves)
    return stage.folder
