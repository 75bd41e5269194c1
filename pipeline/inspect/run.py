"""The three things that `tamis inspect` does; see the package."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import duckdb

from pipeline.distributions import text
from pipeline.errors import UserError
from pipeline.inspect import find, marks, show, tokens
from pipeline.inspect.find import Document
from pipeline.inspect.marks import Mark
from pipeline.views import opened
from pipeline.workspace import Workspace

CHARACTERS = 3000
REPEATED = 10
"""Words of a run that is marked where it stands in the document twice."""


def inspect(
    workspace: Workspace,
    ids: Sequence[str] = (),
    where: str | None = None,
    count: int = 3,
    seed: int = 0,
    characters: int | None = CHARACTERS,
    repeated: int = REPEATED,
    corpora: Collection[str] = (),
    stages: Collection[str] = (),
) -> None:
    """Show documents by id, or `count` of those that a predicate keeps, drawn by `seed`.

    characters: of each text at most, None for all. repeated: length in words of the repeats that are marked. Raises
    UserError for an id that is not there and a predicate that is wrong or keeps nothing.
    """
    with opened(workspace, corpora, stages, locked=True, distributions=False) as connection:
        chosen: list[tuple[str | None, str]] = [(None, id) for id in ids]
        if not ids:
            chosen = [*find.drawn(connection, where, count, seed)]
            if not chosen:
                raise UserError(f"no document fits {where!r}" if where else "no documents here yet")
        to = show.console()
        for corpus, id in chosen:
            for one in find.by_id(connection, id):
                if corpus in (None, one.corpus):
                    _show(to, connection, one, characters, repeated)
                    tokens.of_document(to, workspace, connection, one.corpus, one.id, characters)


def _show(
    to: show.Console, connection: duckdb.DuckDBPyConnection, one: Document, characters: int | None, repeated: int
) -> None:
    cut = one.text if characters is None else one.text[:characters]
    found = marks.pieces(cut, [*marks.repeats(one.text, repeated), *_marks(connection, one)])
    show.document(to, one, found, len(one.text) - len(cut))


def _marks(connection: duckdb.DuckDBPyConnection, one: Document) -> list[Mark]:
    """Spans that score stages, counts of repeats and insertions have of a document."""
    found = [
        mark
        for values in one.scores.values()
        for name, value in values.items()
        for mark in marks.listed(value, marks.GHOST if "ghost" in name else marks.SHARED)
    ]
    here = f"corpus = {text(one.corpus)} AND id = {text(one.id)}"
    if _has(connection, "repeat_spans"):
        query = (
            f'SELECT p."begin" AS b, p."end" AS e FROM (SELECT unnest(places) AS p FROM repeat_spans) '
            f"WHERE p.corpus = {text(one.corpus)} AND p.id = {text(one.id)}"
        )
        found = [Mark(row["b"], row["e"], marks.SHARED) for row in find.counts(connection, query)] + found
    if _has(connection, "insertions"):
        query = f"SELECT phrase_start AS b, phrase_stop AS e FROM insertions WHERE {here} AND phrase_start IS NOT NULL"
        found += [Mark(row["b"], row["e"], marks.GHOST) for row in find.counts(connection, query)]
    return found


def _has(connection: duckdb.DuckDBPyConnection, view: str) -> bool:
    query = f"SELECT 1 FROM information_schema.tables WHERE table_schema = 'main' AND table_name = {text(view)}"
    return bool(find.counts(connection, query))


def stage(
    workspace: Workspace,
    name: str,
    count: int = 2,
    seed: int = 0,
    characters: int | None = 600,
    corpora: Collection[str] = (),
) -> None:
    """What a selection, of documents or of tokens, kept and left out; what the ingest of a corpus took in and turned
    away; what changed in a corpus that was made of another. With samples."""
    if (source := _made_of(workspace, name)) is not None:
        changes(workspace, source, name, count=count)
        return
    with opened(workspace, corpora, locked=True, distributions=False) as connection:
        to = show.console()
        known = [row["selection"] for row in find.counts(connection, "SELECT DISTINCT selection FROM selection")]
        if name in known:
            _selection(to, connection, name, count, seed, characters)
        elif name in (chosen := _token_selections(connection)):
            tokens.stage(to, workspace, connection, name, count, seed, characters)
        elif name in workspace.corpora():
            _ingest(to, connection, name, count, seed, characters)
        else:
            there = ", ".join([*sorted({*known, *chosen}), *workspace.corpora()])
            raise UserError(f"--stage {name}: no selection or corpus of that name (there: {there})")


def _token_selections(connection: duckdb.DuckDBPyConnection) -> list[str]:
    query = "SELECT DISTINCT selection FROM token_selections"
    return [row["selection"] for row in find.counts(connection, query)]


def _made_of(workspace: Workspace, name: str) -> str | None:
    """The corpus that a corpus was made of, by inserting identifiers or taking them out, if it is still here."""
    if name not in workspace.corpora():
        return None
    made = workspace.corpus(name).record["info"].get("of")
    return made if made in workspace.corpora() else None


def _selection(
    to: show.Console, connection: duckdb.DuckDBPyConnection, name: str, count: int, seed: int, characters: int | None
) -> None:
    query = f"""SELECT * FROM (SELECT coalesce(reason, 'kept') AS reason, count(*) AS documents
        FROM selection WHERE selection = {text(name)} GROUP BY ALL)
        ORDER BY reason <> 'kept', documents DESC, reason"""
    groups = find.counts(connection, query)
    show.table(to, f"selection {name}", groups)
    for group in groups:
        reason = "IS NULL" if group["reason"] == "kept" else f"= {text(group['reason'])}"
        query = f"""SELECT corpus, id FROM selection WHERE selection = {text(name)} AND reason {reason}
            ORDER BY hash(id, {int(seed)}), id, corpus LIMIT {int(count)}"""
        show.heading(to, f"{group['reason']}: {group['documents']:,} documents, such as")
        for row in find.counts(connection, query):
            for one in find.by_id(connection, row["id"]):
                if one.corpus == row["corpus"]:
                    _show(to, connection, one, characters, REPEATED)


def _ingest(
    to: show.Console, connection: duckdb.DuckDBPyConnection, name: str, count: int, seed: int, characters: int | None
) -> None:
    query = f"""SELECT sum(rows_in)::BIGINT AS "rows read", sum(rows_out)::BIGINT AS documents,
        sum(rejected)::BIGINT AS "turned away" FROM shard_runs
        WHERE kind = 'corpora' AND corpus = {text(name)} AND latest AND status = 'done'"""
    show.table(to, f"corpus {name}", find.counts(connection, query))
    query = f"""SELECT reason, count(*) AS rows FROM rejects WHERE corpus = {text(name)}
        GROUP BY ALL ORDER BY rows DESC, reason"""
    show.table(to, "turned away", find.counts(connection, query))
    query = f"""SELECT reason, path, position, detail, sample FROM rejects WHERE corpus = {text(name)}
        QUALIFY row_number() OVER (PARTITION BY reason ORDER BY hash(path, position, {int(seed)}), path) <= {int(count)}
        ORDER BY reason, path, position"""
    for row in find.counts(connection, query):
        to.print()
        to.print(show.Text(show.visible(f"{row['reason']}: {row['path']}, {row['position']}"), "bold"))
        to.print(show.Text(show.visible(f"{row['detail'] or ''}"), "dim"))
        to.print(show.Text(show.visible(row["sample"] or "")))
    for corpus, id in find.drawn(connection, f"corpus = {text(name)}", count, seed):
        for one in find.by_id(connection, id):
            if one.corpus == corpus:
                _show(to, connection, one, characters, REPEATED)


def changes(
    workspace: Workspace, before: str, after: str, ids: Sequence[str] = (), count: int = 3, context: int = 150
) -> None:
    """Texts that differ between two corpora, by id, as what went and what came.

    ids: these documents [the first `count` that differ]. Raises UserError if a corpus is not there.
    """
    with opened(workspace, [before, after], locked=True, distributions=False) as connection:
        to = show.console()
        both = f"""(SELECT id, text FROM documents WHERE corpus = {text(before)}) a
            FULL JOIN (SELECT id, text FROM documents WHERE corpus = {text(after)}) b USING (id)"""
        totals = f"""SELECT count(*) FILTER (a.text = b.text) AS "the same",
            count(*) FILTER (a.text <> b.text) AS changed, count(*) FILTER (b.text IS NULL) AS "only before",
            count(*) FILTER (a.text IS NULL) AS "only after" FROM {both}"""
        show.table(to, f"{before} -> {after}", find.counts(connection, totals))
        named = f"AND id IN ({', '.join(map(text, ids))})" if ids else ""
        query = f"""SELECT id, a.text AS old, b.text AS new FROM {both}
            WHERE a.text IS NOT NULL AND b.text IS NOT NULL {named} {"" if ids else "AND a.text <> b.text"}
            ORDER BY hash(id), id LIMIT {len(ids) or int(count)}"""
        rows = find.counts(connection, query)
        if missing := [id for id in ids if id not in {row["id"] for row in rows}]:
            raise UserError(f"no document {missing[0]!r} in both {before!r} and {after!r}")
        for row in itertools.islice(rows, count if not ids else None):
            to.print()
            to.print(show.Text(show.visible(row["id"]), "bold"))
            found = marks.around(marks.difference(row["old"], row["new"]), context)
            to.print(show.marked(found, to.is_terminal), soft_wrap=not to.is_terminal)
