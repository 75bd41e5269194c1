"""Token selections in SQL: `token_selections`, a row per document of the newest selection of each corpus and name.

Rows begin with selection, corpus, shard and id; the other columns are those that pipeline.tokens.select describes:
reason, selected, control and score (a value per token), n_tokens and n_selected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.workspace import Corpus

VIEWS = ("token_selections",)
PARENT = "token-selections"
COLUMNS = {
    "reason": "VARCHAR",
    "selected": "TINYINT[]",
    "control": "TINYINT[]",
    "score": "FLOAT[]",
    "n_tokens": "INTEGER",
    "n_selected": "INTEGER",
}


def token_selects(
    corpora: Iterable[Corpus], listed: Callable[[list[str]], str], text: Callable[[str], str]
) -> list[str]:
    """SELECTs of the view, one per selection. listed: makes files known to the connection, and gives their variable."""
    selects = []
    for corpus in corpora:
        stages = corpus.workspace.stages(f"{PARENT}/{corpus.name}")
        newest = {record["name"]: folder for folder, record in stages.items()}  # oldest first
        for name, folder in newest.items():
            rows = corpus.workspace.rows(folder)
            files = [f"{folder}/{shard}.parquet" for shard, row in sorted(rows.items()) if row.done]
            if files:
                selects.append(
                    f"SELECT {text(name)} AS selection, {text(corpus.name)} AS corpus, "
                    f"parse_filename(filename, true) AS shard, id, {', '.join(COLUMNS)} "
                    f"FROM read_parquet(getvariable('{listed(files)}'))"
                )
    head = ", ".join(f"NULL::VARCHAR AS {name}" for name in ("selection", "corpus", "shard", "id"))
    return selects or [f"SELECT {head}, {', '.join(f'NULL::{kind} AS {c}' for c, kind in COLUMNS.items())} LIMIT 0"]
