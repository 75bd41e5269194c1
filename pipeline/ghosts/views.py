"""What ghosts leave in a workspace, in SQL: `insertions` and `ghost_runs`.

    insertions   a row per document that was to get an identifier (pipeline.ghosts.table)
    ghost_runs   the second stage of finding: a row per corpus, score stage and run of words that was found

Columns of ghost_runs: `corpus`, `stage` (alias of the scorer), `run`, `kind` (the strongest), `words`, `id` (of a
registered identifier), `copies`, `documents`, `lefts` and `rights` (different contexts before and after; the edge of a
text is one), `confidence`. Boilerplate repeats together with what stands around it; an identifier is the same run in
different contexts: with two or more copies whose contexts differ, on one side at least, in most of them, the confidence
is 1 - (1 - confidence) / 100. A run at the edge of every text (a footer, the end of a document) has one context there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pipeline.ghosts.table import INSERTIONS, MADE, TABLE
from pipeline.workspace import Corpus

VIEWS = ("insertions", "ghost_runs")
_TYPES = {"string": "VARCHAR", "int64": "BIGINT"}
_RUNS = {
    "stage": "VARCHAR",
    "run": "BIGINT",
    "kind": "VARCHAR",
    "words": "INTEGER",
    "id": "VARCHAR",
    "copies": "BIGINT",
    "documents": "BIGINT",
    "lefts": "BIGINT",
    "rights": "BIGINT",
    "confidence": "DOUBLE",
}


def insertion_selects(
    corpora: Iterable[Corpus], listed: Callable[[list[str]], str], text: Callable[[str], str]
) -> list[str]:
    """SELECTs of `insertions`, one per corpus that has a table."""
    selects = []
    for corpus in corpora:
        if corpus.record["fields"].get("made") == MADE and corpus.done:
            files = [f"{corpus.folder}/{TABLE}/{shard}.parquet" for shard in corpus.shards if shard in corpus.done]
            columns = ", ".join(INSERTIONS.names[1:])
            selects.append(
                f"SELECT id, {text(corpus.name)} AS corpus, parse_filename(filename, true) AS shard, {columns} "
                f"FROM read_parquet(getvariable('{listed(files)}'))"
            )
    if not selects:
        own = {field.name: _TYPES[str(field.type)] for field in INSERTIONS}
        kinds = {"id": "VARCHAR", "corpus": "VARCHAR", "shard": "VARCHAR"} | own
        selects.append(f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in kinds.items())} LIMIT 0")
    return selects


def run_selects(stages: Sequence[tuple[str, str, str]], text: Callable[[str], str]) -> list[str]:
    """SELECTs of `ghost_runs`. stages: (alias, its view, its column of spans)."""
    selects = [
        f"""SELECT corpus, {text(alias)} AS stage, s.run AS run,
          ['registry', 'carrier', 'passphrase', 'list'][min(list_position(['registry', 'carrier', 'passphrase', 'list'],
            s.kind))] AS kind,
          max(s.words) AS words, any_value(s.id) AS id, count(*) AS copies, count(DISTINCT document) AS documents,
          count(DISTINCT s.left) AS lefts, count(DISTINCT s.right) AS rights,
          CASE WHEN count(*) > 1 AND greatest(lefts, rights) * 2 > count(*) AND kind <> 'list'
            THEN 1 - (1 - max(s.confidence)) / 100 ELSE max(s.confidence) END::DOUBLE AS confidence
        FROM (SELECT corpus, id AS document, unnest({spans}) AS s FROM {view}) GROUP BY corpus, s.run"""
        for alias, view, spans in stages
    ]
    if not selects:
        kinds = {"corpus": "VARCHAR"} | _RUNS
        selects.append(f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in kinds.items())} LIMIT 0")
    return selects
