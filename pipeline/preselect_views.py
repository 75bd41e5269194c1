"""What PreSelect measured, in SQL: `preselect_sample`, `preselect_losses`, `preselect_strengths`.

Of each corpus the newest sample that was drawn from it as it is, the newest losses of each model on that sample, and
the newest strengths of each name on it. Rows begin with id, corpus and `sample_shard`, the shard of the sample:

    preselect_sample      text, source, domain, weight (pipeline.preselect.sample)
    preselect_losses      a row per document and model: model, tokens, begin, finish, characters, bytes, loss,
                          token_losses, token_widths (pipeline.preselect.losses)
    preselect_strengths   strength (the name), source, domain, weight, the strengths (pipeline.preselect.strength)

Files are listed from the ledger: shards that are done, no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pipeline.workspace import Corpus

VIEWS = ("preselect_sample", "preselect_losses", "preselect_strengths")
COLUMNS = {
    "preselect_sample": {
        "text": ("VARCHAR", "text"),
        "source": ("VARCHAR", "source"),
        "domain": ("VARCHAR", "domain"),
        "weight": ("DOUBLE", "weight"),
    },
    "preselect_losses": {
        "tokens": ("INTEGER", "tokens"),
        "begin": ("INTEGER", "begin"),
        "finish": ("INTEGER", "finish"),
        "characters": ("INTEGER", "finish - begin"),
        "bytes": ("BIGINT", "bytes"),
        "loss": ("DOUBLE", "loss"),
        "token_losses": ("FLOAT[]", '"values"'),
        "token_widths": ("INTEGER[]", "widths"),
    },
    "preselect_strengths": {
        "source": ("VARCHAR", "source"),
        "domain": ("VARCHAR", "domain"),
        "weight": ("DOUBLE", "weight"),
        "chars": ("BIGINT", "chars"),
        "tokens": ("BIGINT", "tokens"),
        "reason": ("VARCHAR", "reason"),
    },
}
"""{view: {column: (type, SQL over the files)}}; strengths have those of the estimators that were asked for besides."""
NAMES = {"preselect_losses": "model", "preselect_strengths": "strength"}
"""The column that holds a stage's name."""


def preselect_selects(
    corpora: Iterable[Corpus], view: str, listed: Callable[[list[str]], str], text: Callable[[str], str]
) -> list[str]:
    """SELECTs of a view, one per stage. listed: makes files known to the connection, and gives the list's variable.

    One empty SELECT if there is no stage yet.
    """
    columns = "* EXCLUDE (id)" if view == "preselect_strengths" else _aliased(COLUMNS[view], lambda _, value: value)
    selects = []
    for corpus in corpora:
        for folder, record in _shown(corpus, view).items():
            rows = corpus.workspace.rows(folder)
            files = [f"{folder}/{shard}.parquet" for shard, row in sorted(rows.items()) if row.done]
            if files:
                name = f", {text(record['name'])} AS {NAMES[view]}" if view in NAMES else ""
                selects.append(
                    f"SELECT id, {text(corpus.name)} AS corpus, parse_filename(filename, true) AS sample_shard{name}, "
                    f"{columns} FROM read_parquet(getvariable('{listed(files)}'))"
                )
    name = f"NULL::VARCHAR AS {NAMES[view]}, " if view in NAMES else ""
    kinds = _aliased(COLUMNS[view], lambda kind, _: f"NULL::{kind}")
    empty = f"SELECT NULL::VARCHAR AS id, NULL::VARCHAR AS corpus, NULL::VARCHAR AS sample_shard, {name}{kinds} LIMIT 0"
    return selects or [empty]


def _aliased(columns: dict[str, tuple[str, str]], shown: Callable[[str, str], str]) -> str:
    return ", ".join(f'{shown(*value)} AS "{name}"' for name, value in columns.items())


def _shown(corpus: Corpus, view: str) -> dict[str, dict[str, Any]]:
    """{folder: record} of the stages of a corpus that a view shows."""
    stages = corpus.workspace.stages
    samples = [
        (folder, record)
        for folder, record in stages("samples").items()  # oldest first
        if record["name"] == corpus.name and record["fields"]["corpus"] == corpus.hash
    ]
    if not samples:
        return {}
    folder, sample = samples[-1]
    if view == "preselect_sample":
        return {folder: sample}
    parent = "losses" if view == "preselect_losses" else "strengths"
    found = stages(f"{parent}/{corpus.name}")
    newest = {
        record["name"]: folder for folder, record in found.items() if record["fields"]["sample"] == sample["hash"]
    }
    return {folder: found[folder] for folder in newest.values()}
