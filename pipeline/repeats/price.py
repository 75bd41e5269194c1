"""The price of what a count of spans has found: per class of multiplicity, per source, and of all.

    report = price(workspace, None, parameters=1e9, epochs=1.0, tokens=None)

A word's class is the largest multiplicity of the spans over it; words under no repeated span are of class 1. A class of
W words and multiplicity m holds W / m distinct ones.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import UserError
from pipeline.repeats.counts import finished_counts
from pipeline.shards import read_narrow
from pipeline.stage import saved
from pipeline.workspace import Workspace
from scorers.repetition import price as formulas

BINS = ((1, 1), (2, 2), (3, 4), (5, 9), (10, 99), (100, 999), (1000, 2**62))
"""Classes of multiplicity that are shown together."""
TOKENS_PER_WORD = 1.3
"""Where nobody says otherwise: English in a usual tokenizer."""


def price(
    workspace: Workspace,
    alias: str | None,
    parameters: float,
    epochs: float | None = None,
    tokens: float | None = None,
    tokens_per_word: float | None = None,
) -> dict[str, Any]:
    """Figures for a model of so many parameters, trained for ``epochs`` over the corpus or on ``tokens`` tokens.

    Raises UserError if there is no count that says how often each word is covered.
    """
    name, folder = _count(workspace, alias)
    record = saved(workspace.store, folder)
    assert record is not None
    if record["fields"]["against"]:
        raise UserError(f"count {name!r} is against other corpora; a price needs one of a corpus itself")
    ratio = 1.0 if record["fields"]["tokenizer"] else (tokens_per_word or TOKENS_PER_WORD)
    classes, totals = (read_narrow(workspace.store, f"{folder}/{file}.parquet") for file in ("classes", "sources"))
    by_source = _by_source(classes, totals)
    every = _together(by_source.values())
    words = float(every[:, 1].sum())
    if not words:
        raise UserError(f"count {name!r} has no words")
    if tokens is not None:
        epochs = tokens / (words * ratio)
    assert epochs is not None
    tokens = words * ratio * epochs
    low, high = formulas.damage_band(parameters)
    return {
        "count": name,
        "folder": folder,
        "window": record["fields"]["settings"]["window"],
        "parameters": parameters,
        "epochs": epochs,
        "words": int(words),
        "tokens_per_word": ratio,
        "training_tokens": tokens,
        "winnowed": record["fields"]["settings"]["winnow"] is not None,
        "band": [low, high],
        "figures": [asdict(one) for one in formulas.priced(every[:, 0], every[:, 1], epochs, parameters, tokens)],
        "excess": 1 - float((every[:, 1] / every[:, 0]).sum()) / words,
        "mass": {k: float(every[every[:, 0] >= k, 1].sum()) / words for k in (2, 10, 100, 1000)},
        "level": formulas.level(formulas.share_in_band(every[:, 0], every[:, 1], epochs, parameters)),
        "classes": [_class(every, low_m, high_m, epochs, parameters, words) for low_m, high_m in BINS],
        "sources": [
            {"corpus": corpus, "source": source, **_source(rows, epochs, parameters)}
            for (corpus, source), rows in by_source.items()
        ],
        "newer": list(formulas.NEWER),
    }


def _count(workspace: Workspace, alias: str | None) -> tuple[str, str]:
    counts = finished_counts(workspace)
    usable = {name: folder for name, folder in counts.items() if workspace.store.exists(f"{folder}/classes.parquet")}
    plain = [n for n, f in usable.items() if not (saved(workspace.store, f) or {"fields": {}})["fields"].get("against")]
    name = alias if alias is not None else (plain[-1] if plain else None)
    if name is None or name not in usable:
        known = ", ".join(plain) or "none yet; `tamis repeats spans` makes one"
        sampled = "; a sample or a count of units has none" if name in counts else ""
        shown = f" called {name!r}" if name is not None else ""
        raise UserError(f"no count of spans with coverage{shown} in {workspace.url} (there: {known}{sampled})")
    return name, usable[name]


def _by_source(classes: pa.Table, totals: pa.Table) -> dict[tuple[str | None, str | None], np.ndarray]:
    """{(corpus, source): classes, float64 of shape (n, 2): multiplicity, words}; class 1 is what no class has."""
    found: dict[tuple[str | None, str | None], list[tuple[int, int]]] = {}
    for row in classes.to_pylist():
        found.setdefault((row["corpus"], row["source"]), []).append((row["multiplicity"], row["words"]))
    tables = {}
    for row in totals.to_pylist():
        key = row["corpus"], row["source"]
        repeated = found.get(key, [])
        once = row["words"] - sum(words for _, words in repeated)
        tables[key] = np.array([(1, once), *repeated], np.float64)
    return tables


def _together(tables: Any) -> np.ndarray:
    rows = np.concatenate([np.zeros((0, 2)), *tables])
    multiplicities, which = np.unique(rows[:, 0], return_inverse=True)
    return np.column_stack([multiplicities, np.bincount(which, rows[:, 1], len(multiplicities))])


def _class(
    every: np.ndarray, low: int, high: int, epochs: float, parameters: float, total: float
) -> dict[str, float | int | None]:
    """One line of the table of classes."""
    rows = every[(every[:, 0] >= low) & (every[:, 0] <= high)]
    words = float(rows[:, 1].sum())
    worth = formulas.effective(rows[:, 0], rows[:, 1], epochs) if words else 0.0
    return {
        "from": low,
        "to": high if high < 2**62 else None,
        "words": int(words),
        "share": words / total,
        "distinct": float((rows[:, 1] / rows[:, 0]).sum()),
        "in_band": formulas.share_in_band(rows[:, 0], rows[:, 1], epochs, parameters) if words else 0.0,
        "worth": worth,
        "worth_of_a_word": worth / (words * epochs) if words else None,
    }


def _source(rows: np.ndarray, epochs: float, parameters: float) -> dict[str, Any]:
    words = float(rows[:, 1].sum())
    band = formulas.share_in_band(rows[:, 0], rows[:, 1], epochs, parameters)
    return {
        "words": int(words),
        "excess": 1 - float((rows[:, 1] / rows[:, 0]).sum()) / words if words else 0.0,
        "repeated": float(rows[rows[:, 0] >= 2, 1].sum()) / words if words else 0.0,
        "in_band": band,
        "worth_of_a_word": formulas.effective(rows[:, 0], rows[:, 1], epochs) / (words * epochs) if words else None,
        "level": formulas.level(band),
    }
