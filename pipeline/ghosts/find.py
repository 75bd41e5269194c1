"""Find identifiers in corpora, and what the policies make of the findings.

    find(workspace, corpora, "ghosts", {"registry": "owners.parquet"}, pool)       # log: scores, and nothing else
    second_stage(workspace, corpora, "ghosts", 8, None, pool)                      # the same words in different texts
    drop(workspace, corpora, "ghosts", "clean", 0.5, pool)                         # a selection without the documents
    strip_found(corpus, "ghosts", "stripped", 0.5, pool)                           # a corpus without the phrases
    print(summary(workspace, ["web"], "ghosts"))

To log is the default: an owner who marks texts wants to know where they go, and to take identifiers out in silence
while keeping the texts is to hide their use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline import ledger, views
from pipeline.catalog import shown_stages
from pipeline.distributions import quoted, text
from pipeline.execute import Pool
from pipeline.ghosts.recurring import recurring, repeats_of
from pipeline.ghosts.strip import Found, strip
from pipeline.score import ScoreSpec, score
from pipeline.select import SelectSettings, select
from pipeline.workspace import Corpus, Workspace
from scorers.ghosts.find import Settings

POLICIES = ("log", "drop", "strip")
MIN_WORDS = Settings().min_words
SHOWN = 20
"""Identifiers and runs that a summary names."""


def find(
    workspace: Workspace, corpora: Sequence[Corpus], alias: str, settings: dict[str, Any], pool: Pool, limit: int | None
) -> list[ledger.Row]:
    """Score what is not scored yet. The caller holds the lock."""
    return score(workspace, corpora, [ScoreSpec.of("ghosts", alias, **settings)], pool, limit)


def second_stage(
    workspace: Workspace, corpora: Sequence[Corpus], alias: str, size: int, repeats: str | None, pool: Pool
) -> str | None:
    """Words that recur in different texts, whatever list they are of; the folder, or None without a count of repeated
    spans of at most `size` words. repeats: the name of the count, `none` for no search. The caller holds the lock.
    """
    spans = None if repeats == "none" else repeats_of(corpora, size, repeats)
    return None if spans is None else recurring(workspace, alias, spans, size, pool)


def drop(workspace: Workspace, corpora: Sequence[Corpus], alias: str, name: str, least: float, pool: Pool) -> None:
    """A selection of the documents in which nothing was found (lists, and what is less certain, do not count)."""
    prefix = prefix_of(alias)
    condition = f"{prefix}count = 0 OR {prefix}confidence < {least!r}"
    select(workspace, name, SelectSettings(corpora=[one.name for one in corpora], where=condition), pool)


def strip_found(corpus: Corpus, alias: str, name: str, least: float, pool: Pool) -> dict[str, Any]:
    """A corpus without what was found."""
    return strip(corpus, name, pool, Found(alias, least=least))


def prefix_of(alias: str) -> str:
    """Of the columns."""
    return "ghost_" if alias == "ghosts" else f"{alias}_"


def summary(workspace: Workspace, corpora: Sequence[str], alias: str) -> str:
    """What was found, by kind; how often each registered identifier; the passphrases that come again."""
    lines: list[str] = []
    with views.opened(workspace, corpora) as connection:
        shown = {alias for name in corpora for alias in shown_stages(workspace.corpus(name))}
        if alias not in shown:
            return "nothing scored"
        view = quoted(views.unique([*shown], views.FIXED)[[*shown].index(alias)])
        count = f"{view}.{quoted(prefix_of(alias) + 'count')}"
        spans = quoted(prefix_of(alias) + "spans")
        whole = connection.sql(f"SELECT count(*), count_if({count} > 0) FROM {view}").fetchall()[0]
        lines.append(f"{whole[1]:,} of {whole[0]:,} documents hold an identifier or a passphrase")
        kinds = connection.sql(
            f"""SELECT s.kind, count(*), count(DISTINCT (corpus, id)), round(avg(s.confidence), 3)
            FROM (SELECT corpus, id, unnest({spans}) AS s FROM {view}) GROUP BY ALL ORDER BY 1"""
        ).fetchall()
        lines += [f"{kind:11}  {n:,} in {docs:,} documents, mean confidence {sure}" for kind, n, docs, sure in kinds]
        runs = connection.sql(
            f"""SELECT coalesce(id, 'unknown ' || run), kind, copies, documents, greatest(lefts, rights)
            FROM ghost_runs WHERE stage = {text(alias)} AND kind <> 'list' AND (id IS NOT NULL OR copies > 1)
            ORDER BY copies DESC, 1 LIMIT {SHOWN}"""
        ).fetchall()
        if runs:
            lines.append("most copies:")
            lines += [
                f"  {id}  {kind}, {n:,} copies in {docs:,} documents, {c:,} contexts" for id, kind, n, docs, c in runs
            ]
        again = connection.sql(
            f"""SELECT run, words, copies, documents, greatest(lefts, rights), confidence FROM ghost_recurring
            WHERE stage = {text(alias)} AND confidence > 0.5 ORDER BY copies DESC, words DESC, run LIMIT {SHOWN}"""
        ).fetchall()
        if again:
            lines.append("recurring in different contexts, whatever their list (view ghost_recurring):")
            lines += [
                f"  run {run}  {words} words, {n:,} copies in {docs:,} documents, {c:,} contexts, confidence {sure:.2f}"
                for run, words, n, docs, c, sure in again
            ]
    return "\n".join(lines)
