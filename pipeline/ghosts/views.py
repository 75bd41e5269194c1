"""What ghosts leave in a workspace, in SQL: `insertions`, `ghost_runs` and `ghost_recurring`.

    insertions        a row per document that was to get an identifier (pipeline.ghosts.table)
    ghost_runs        a row per corpus, score stage and run of words that was found
    ghost_recurring   a row per run that recurs in repeated spans, of whatever words (pipeline.ghosts.recurring)

Columns of ghost_runs: `corpus`, `stage` (alias of the scorer), `run`, `kind` (the strongest), `words`, `id` (of a
registered identifier), `copies`, `documents`, `lefts` and `rights` (different contexts before and after, the edge of
a text aside), `different`, `confidence`. Boilerplate repeats together with what stands around it; an identifier is the
same run in different contexts. `different`: two copies at least, and on each side most of them differ, where a side on
which all copies but one stand at the edge of their text (a footer, the end of a document) says nothing; one side must
speak. Then the confidence is 1 - (1 - confidence) / 100.

ghost_recurring has `stage`, `run`, `words`, `copies`, `documents`, `corpora`, `lefts`, `rights`, `different`,
`elsewhere` (pairs of its words that stand in other places too) and `confidence`: RECURRING where the contexts are
different and no more pairs stand elsewhere than an eighth of its words, SAME for all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pipeline.ghosts.table import INSERTIONS, MADE, TABLE
from pipeline.workspace import Corpus, Workspace

PARENT = "recurring"
"""Where pipeline.ghosts.recurring puts what it found."""

VIEWS = ("insertions", "ghost_runs", "ghost_recurring")
RECURRING, SAME = 0.7, 0.05
"""In 14.5 million words of manuals, which quote each other's titles in many languages, 5 runs passed for drawn ones
(benchmarks/ghost_recurring.py): 0.34 per million. With one identifier per million words, 0.7 is about the share of
such runs that are identifiers."""
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
    "different": "BOOLEAN",
    "confidence": "DOUBLE",
}
_RECURRING = {name: kind for name, kind in _RUNS.items() if name not in ("kind", "id")}
_RECURRING |= {"elsewhere": "INTEGER", "corpora": "VARCHAR[]"}


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


def _contexts(left: str, right: str) -> str:
    """lefts, rights and different, of the hashes on both sides of the copies of a run."""
    sides = []
    for side in (left, right):
        counted = f"count(DISTINCT {side}) FILTER ({side} <> 0)", f"count_if({side} <> 0)"
        sides.append((*counted, f"({counted[1]} < 2 OR {counted[0]} * 2 > {counted[1]})", f"{counted[0]} > 1"))
    (lefts, _, left_may, left_does), (rights, _, right_may, right_does) = sides
    different = f"({left_may} AND {right_may} AND ({left_does} OR {right_does}))"
    return f"{lefts} AS lefts, {rights} AS rights, {different} AS different"


def recurring_selects(
    workspace: Workspace, corpora: Iterable[str], listed: Callable[[list[str]], str], text: Callable[[str], str]
) -> list[str]:
    """SELECTs of `ghost_recurring`, one per alias: the newest search of each, over the corpora named."""
    newest = {record["name"]: folder for folder, record in workspace.stages(PARENT).items()}  # oldest first
    selects = []
    for alias, folder in newest.items():
        parts = []
        for corpus in corpora:
            done = sorted(shard for shard, row in workspace.rows(f"{folder}/{corpus}").items() if row.done)
            if done:
                files = listed([f"{folder}/{corpus}/{shard}.parquet" for shard in done])
                parts.append(f"SELECT {text(corpus)} AS corpus, * FROM read_parquet(getvariable('{files}'))")
        if parts:
            selects.append(
                f"""SELECT {text(alias)} AS stage, run, max(words) AS words, count(*) AS copies,
                  count(DISTINCT (corpus, id)) AS documents, {_contexts('"left"', '"right"')},
                  max(elsewhere) AS elsewhere,
                  CASE WHEN different AND max(elsewhere) * 8 <= max(words) THEN {RECURRING} ELSE {SAME} END::DOUBLE
                    AS confidence,
                  list_sort(list(DISTINCT corpus)) AS corpora
                FROM ({" UNION ALL ".join(parts)}) GROUP BY run"""
            )
    if not selects:
        columns = ", ".join(f"NULL::{kind} AS {name}" for name, kind in _RECURRING.items())
        selects.append(f"SELECT {columns} LIMIT 0")
    return selects


def run_selects(stages: Sequence[tuple[str, str, str]], text: Callable[[str], str]) -> list[str]:
    """SELECTs of `ghost_runs`. stages: (alias, its view, its column of spans)."""
    selects = [
        f"""SELECT corpus, {text(alias)} AS stage, s.run AS run,
          ['registry', 'carrier', 'passphrase', 'list'][min(list_position(['registry', 'carrier', 'passphrase', 'list'],
            s.kind))] AS kind,
          max(s.words) AS words, any_value(s.id) AS id, count(*) AS copies, count(DISTINCT document) AS documents,
          {_contexts("s.left", "s.right")},
          CASE WHEN different AND kind <> 'list'
            THEN 1 - (1 - max(s.confidence)) / 100 ELSE max(s.confidence) END::DOUBLE AS confidence
        FROM (SELECT corpus, id AS document, unnest({spans}) AS s FROM {view}) GROUP BY corpus, s.run"""
        for alias, view, spans in stages
    ]
    if not selects:
        kinds = {"corpus": "VARCHAR"} | _RUNS
        selects.append(f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in kinds.items())} LIMIT 0")
    return selects
