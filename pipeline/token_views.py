"""Token tables and token selections, in SQL: `tokens` and `token_selections`.

Of each corpus the newest table of each name, and the newest selection of each name; one row per document, with lists
that are aligned to its tokens (`unnest` makes a row per token):

    tokens             scores (the table's name), corpus, shard, and the columns of pipeline.tokens.table
    token_selections   selection (its name), corpus, shard, and the columns of pipeline.tokens.select
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa

from pipeline.shards import open_parquet
from pipeline.workspace import Corpus

VIEWS = ("tokens", "token_selections")
PARENTS = {"tokens": ("tokens", "scores"), "token_selections": ("token-selections", "selection")}
"""{view: (folder, column of the name)}"""
LISTS = {
    "tokens": {
        "reason": "VARCHAR",
        "input_ids": "INTEGER[]",
        "roles": "TINYINT[]",
        "turns": "SMALLINT[]",
        "loss_mask": "TINYINT[]",
        "starts": "INTEGER[]",
        "ends": "INTEGER[]",
        **{f"nll_{role}": "FLOAT[]" for role in ("earlier", "later", "reference")},
        **{f"mass_{name}": "FLOAT[]" for name in ("system", "user", "earlier", "own", "sink")},
    },
    "token_selections": {
        "reason": "VARCHAR",
        "selected": "TINYINT[]",
        "control": "TINYINT[]",
        "score": "FLOAT[]",
        "n_tokens": "INTEGER",
        "n_selected": "INTEGER",
    },
}
"""Columns that are there in any case: NULL where no table has them."""


def token_selects(
    corpora: Iterable[Corpus],
    view: str,
    table: Callable[[str, list[str], pa.Schema], str],
    text: Callable[[str], str],
) -> list[str]:
    """SELECTs of a view, to be united by name. table: (corpus, files, schema) -> SELECT of id, corpus, shard and all
    columns of the files."""
    parent, column = PARENTS[view]
    selects = []
    for corpus in corpora:
        stages = corpus.workspace.stages(f"{parent}/{corpus.name}")  # oldest first
        newest = {record["name"]: folder for folder, record in stages.items()}
        for name, folder in newest.items():
            rows = corpus.workspace.rows(folder)
            files = [f"{folder}/{shard}.parquet" for shard, row in sorted(rows.items()) if row.done]
            if files:
                with open_parquet(corpus.workspace.store, files[0]) as file:
                    schema = file.schema_arrow
                selects.append(f"SELECT {text(name)} AS {column}, * FROM ({table(corpus.name, files, schema)})")
    nothing = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in LISTS[view].items())
    names = ", ".join(f"NULL::VARCHAR AS {name}" for name in (column, "id", "corpus", "shard"))
    return [f"SELECT {names}, {nothing} LIMIT 0", *selects]
