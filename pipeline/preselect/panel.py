"""The panel: its models on disk, their identity, and their downstream scores.

panel = read_panel("panel.yaml")
scores(panel)        # {"hellaswag": [0.76, 0.79, ...]}, one value per model
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson

from pipeline import models
from pipeline.config_errors import nearest, parsed
from pipeline.errors import UserError
from pipeline.preselect.settings import PanelModel, PanelSettings
from pipeline.workspace import checked_name
from pipeline.yaml_file import read_yaml


def read_panel(path: str) -> PanelSettings:
    """A panel file, with relative folders and results taken from the file's own folder. Raises UserError."""
    file = Path(path)
    panel = parsed(PanelSettings, read_yaml(path, "panel"), f"panel {path}")
    base = file.absolute().parent
    placed = []
    for one in panel.models:
        checked_name(one.name, f"panel {path}: model")
        changes: dict[str, Any] = {}
        if (base / one.model).is_dir():
            changes["model"] = str(base / one.model)
        if one.results is not None:
            changes["results"] = str(base / one.results)
        placed.append(one.model_copy(update=changes))
    return panel.model_copy(update={"models": placed})


def scores(panel: PanelSettings, wanted: list[str] | None = None) -> dict[str, list[float]]:
    """{benchmark: a score per model}, typed or read; `wanted`: only these. Raises UserError if a model lacks one."""
    read = [one.scores or _from_results(one, panel.benchmarks) for one in panel.models]
    names = wanted or list(dict.fromkeys(name for found in read for name in found))
    for one, found in zip(panel.models, read, strict=True):
        for name in names:
            if name not in found:
                raise UserError(
                    "panel: every model needs a score on the same benchmarks, and model "
                    f"{one.name!r} has none on {name!r}{nearest(name, found)}"
                )
    return {name: [float(found[name]) for found in read] for name in names}


def _from_results(one: PanelModel, benchmarks: dict[str, str]) -> dict[str, float]:
    """Scores from lm-evaluation-harness: results[task]["metric,filter"], or results[task]["metric"] of old versions."""
    assert one.results is not None
    place = Path(one.results)
    files = sorted(place.rglob("results*.json"), key=lambda file: file.name) if place.is_dir() else [place]
    if not files:
        raise UserError(f"panel: model {one.name!r}: no results*.json below {place}")
    file = files[-1]
    try:
        content = orjson.loads(file.read_bytes())
        results = content["results"]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"panel: {file} is not a results file of lm-evaluation-harness ({error!r})") from None
    found = {}
    for task, metric in benchmarks.items():
        if task not in results:
            raise UserError(f"panel: {file} has no task {task!r}{nearest(task, results)}")
        values = {key: value for key, value in results[task].items() if isinstance(value, (int, float))}
        keys = [key for key in values if key == metric or key.partition(",")[0] == metric]
        if not keys:
            raise UserError(f"panel: {file}: task {task!r} has no metric {metric!r}{nearest(metric, values)}")
        if len(keys) > 1:
            raise UserError(f"panel: {file}: task {task!r} has {' and '.join(keys)}; name one of them in `benchmarks`")
        better = content.get("higher_is_better", {}).get(task, {}).get(keys[0].partition(",")[0], True)
        found[task] = values[keys[0]] if better is not False else -values[keys[0]]
    return found


def folder(one: PanelModel, panel: PanelSettings) -> Path:
    """The local folder of a model, fetched if it is on the hub, and fit to be opened."""
    from scorers.lm.files import check_folder, model_folder

    found = model_folder(one.model, one.revision, panel.trust_remote_code)
    check_folder(found, panel.trust_remote_code)
    return found


def identity(place: Path, trust_remote_code: bool) -> str:
    """sha256 over names and contents of the files that decide what a model says; big files are hashed once."""
    from scorers.lm.files import model_files

    lines = [f"{file.name} {models.content_hash(file)}\n" for file in model_files(place, trust_remote_code)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def context_of(panel: PanelSettings, folders: list[Path]) -> int:
    """Tokens of a window: the setting, or the shortest limit that the models' configs name."""
    if panel.context is not None:
        return panel.context
    limits = []
    for place in folders:
        values = orjson.loads((place / "config.json").read_bytes())
        values = values.get("text_config", values)
        limits += [int(values[key]) for key in ("max_position_embeddings", "n_positions") if values.get(key)]
    if not limits:
        raise UserError("panel: no model names its longest context; set `context` to the tokens of a window")
    return min(limits)


def check_tokenizers(panel: PanelSettings, folders: list[Path], texts: list[str]) -> None:
    """Refuse a panel of different tokenizers before any model runs. Raises UserError unless `align` is set.

    Compared by what they do to some texts. A model without tokenizer.json is not probed here: its losses are compared
    token by token when they are read.
    """
    if panel.align:
        return
    from tokenizers import Tokenizer

    from scorers.lm.tokens import plain_tokenizer, tokenize

    first: tuple[str, list[int]] | None = None
    for one, place in zip(panel.models, folders, strict=True):
        if not (place / "tokenizer.json").is_file():
            continue
        tokenizer = plain_tokenizer(Tokenizer.from_file(str(place / "tokenizer.json")))
        ends = tokenize(tokenizer, None, texts).ends.tolist()
        if first is None:
            first = (one.name, ends)
        elif ends != first[1]:
            raise UserError(
                f"panel: {one.name} and {first[0]} cut text into different tokens; take models of one tokenizer, or "
                "set `align: true` to compare them over common pieces of text"
            )
