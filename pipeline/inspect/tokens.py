"""Which tokens of a document a token selection keeps: the text in colours, off a terminal with [-dropped-] tokens."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
from rich.console import Console
from rich.text import Text

from pipeline.distributions import text
from pipeline.errors import UserError
from pipeline.inspect import find, show
from pipeline.tokens.show import DROPPED, STYLES, views
from pipeline.workspace import Workspace


def of_document(
    to: Console,
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    corpus: str,
    id: str,
    characters: int | None,
    named: str | None = None,
) -> None:
    """The document in every selection of tokens that knows it, or in one. characters: of its text at most."""
    query = f"""SELECT selection, reason FROM token_selections WHERE corpus = {text(corpus)} AND id = {text(id)}
        {"" if named is None else f"AND selection = {text(named)}"} ORDER BY selection"""
    for row in find.counts(connection, query):
        head = f"tokens, {row['selection']}"
        if row["reason"] is not None:
            to.print()
            to.print(Text(show.visible(f"{head}: takes no part ({row['reason']})"), "bold"))
            continue
        try:
            (view,) = views(workspace, corpus, row["selection"], [id])
        except (UserError, OSError) as error:  # the tokenizer is gone, or no longer what it was
            to.print()
            to.print(Text(show.visible(f"{head}: cannot be shown: {error}"), "bold"))
            continue
        show.heading(to, f"{head}: {view.kept} of {view.tokens} response tokens kept")
        to.print(coloured(view.pieces, characters, to.is_terminal), soft_wrap=not to.is_terminal)


def coloured(pieces: Sequence[tuple[str, int]], characters: int | None, colours: bool) -> Text:
    """Pieces of a text by their kind (pipeline.tokens.show), at most so many characters of it."""
    whole, left = Text(), characters
    for piece, kind in pieces:
        cut = piece if left is None else piece[:left]
        whole.append(f"[-{show.visible(cut)}-]" if kind == DROPPED and not colours else show.visible(cut), STYLES[kind])
        if left is not None:
            left -= len(cut)
            if len(cut) < len(piece) or left <= 0:
                whole.append(" ...", "dim")
                break
    return whole


def stage(
    to: Console,
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    name: str,
    count: int,
    seed: int,
    characters: int | None,
) -> None:
    """What a selection of tokens kept in all, and a few documents in its colours."""
    query = f"""SELECT corpus, coalesce(reason, 'taking part') AS documents_that, count(*) AS documents,
        sum(n_tokens)::BIGINT AS "response tokens", sum(n_selected)::BIGINT AS kept FROM token_selections
        WHERE selection = {text(name)} GROUP BY ALL ORDER BY ALL"""
    show.table(to, f"token selection {name}", find.counts(connection, query))
    query = f"""SELECT corpus, id FROM token_selections WHERE selection = {text(name)} AND reason IS NULL
        AND n_tokens > 0 ORDER BY hash(id, {int(seed)}), id, corpus LIMIT {int(count)}"""
    for row in find.counts(connection, query):
        to.print()
        to.print(Text(show.visible(row["id"]), "bold"))
        of_document(to, workspace, connection, row["corpus"], row["id"], characters, name)
