"""`tamis tokens show`: what a selection keeps and drops, in the text itself.

    for view in views(workspace, "chat", "sstoken", ids=["a17"]):
        print_view(view, Console())

On a terminal kept tokens are green, dropped ones red and struck through, the prompt dim; elsewhere dropped tokens stand
in brackets: `kept [-dropped-] kept`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.errors import UserError
from pipeline.output import CONTROL
from pipeline.shards import batches, read_narrow
from pipeline.tokens.encode import encode_document, tokenizing_of
from pipeline.tokens.export import find_selection
from pipeline.tokens.passes import has_messages
from pipeline.tokens.table import TokenTable, open_table
from pipeline.trainer.encode import Tokenizing
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

PROMPT, KEPT, DROPPED = range(3)
STYLES = ("dim", "green", "red strike")


@dataclass(frozen=True)
class View:
    """One document. pieces: (text, PROMPT, KEPT or DROPPED) in order. values: {column: of each token}."""

    name: str
    pieces: list[tuple[str, int]]
    kept: int
    tokens: int
    words: list[str]
    values: dict[str, np.ndarray]


def tokenizing_again(table: TokenTable) -> Tokenizing:
    """The tokenizer and template that a table was made with. Raises UserError if they are no longer what they were."""
    settings = table.record["info"]["settings"]
    how = tokenizing_of(table.record["info"]["tokenizer"], settings["template"])
    table.expect(how)
    return how


def views(
    workspace: Workspace, corpus: str, selection: str, ids: Sequence[str] = (), count: int = 3, control: bool = False
) -> Iterator[View]:
    """Documents by id, or the first ones that take part. Raises UserError for ids that are not there."""
    folder, record = find_selection(workspace, corpus, selection)
    table = open_table(workspace, corpus, record["info"]["table"].rsplit("/", 1)[1])
    how = tokenizing_again(table)
    wanted, left = set(ids), count
    for shard in table.shards:
        chosen = read_narrow(workspace.store, f"{folder}/{shard}.parquet")
        names = chosen.column("id").to_pylist()
        rows = [i for i, name in enumerate(names) if name in wanted]
        if not ids:
            fit = [i for i, reason in enumerate(chosen.column("reason").to_pylist()) if reason is None]
            rows = fit[:left]
            left -= len(rows)
        if rows:
            yield from _views(table, how, shard, chosen, rows, "control" if control else "selected")
        wanted -= {names[i] for i in rows}
        if (ids and not wanted) or (not ids and left <= 0):
            return
    if wanted:
        raise UserError(f"corpus {corpus!r} has no document {sorted(wanted)[0]!r}")


def _views(
    table: TokenTable, how: Tokenizing, shard: str, chosen: pa.Table, rows: list[int], mask: str
) -> Iterator[View]:
    corpus = table.corpus
    columns = ["id", "text", *(["messages"] if has_messages(corpus) else [])]
    texts = pa.concat_tables(list(batches(table.workspace.store, corpus.file(shard), columns))).take(rows).to_pylist()
    known = table.read(shard).take(rows).to_pylist()
    for document, tokens, row in zip(texts, known, chosen.take(rows).to_pylist(), strict=True):
        if row["reason"] is not None:
            raise UserError(f"document {row['id']!r} takes no part in the selection: {row['reason']}")
        made = encode_document(how, document["text"], document.get("messages"))
        if made.ids.tolist() != tokens["input_ids"]:
            raise UserError(f"{table.folder}: document {row['id']!r} no longer gives these tokens; score again")
        kinds = np.where(np.array(tokens["loss_mask"]) == 0, PROMPT, np.where(np.array(row[mask]) != 0, KEPT, DROPPED))
        values = {
            name: np.array(value)
            for name, value in tokens.items()
            if name.startswith(("nll_", "mass_", "entropy_", "rank_"))
        }
        words = [made.text[a:b] for a, b in zip(made.starts, made.ends, strict=True)]
        yield View(
            row["id"],
            _pieces(made.text, made.starts, kinds),
            int((kinds == KEPT).sum()),
            int((kinds != PROMPT).sum()),
            words,
            values | {"score": np.array(row["score"]), "kind": kinds},
        )


def _pieces(text: str, starts: np.ndarray, kinds: np.ndarray) -> list[tuple[str, int]]:
    """Runs of tokens of one kind; what no token holds goes with the token before it."""
    pieces: list[tuple[str, int]] = []
    edges = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(kinds)]
    for first, last in itertools.pairwise(edges):
        begin = int(starts[first]) if first else 0
        end = int(starts[last]) if last < len(starts) else len(text)
        if begin < end:
            pieces.append((text[begin:end], int(kinds[first])))
    return pieces


def print_view(view: View, console: Console, values: bool = False) -> None:
    """Write one document. values: with a line per response token."""
    from rich.text import Text

    shown = Text()
    for text, kind in view.pieces:
        clean = "\n".join(CONTROL.sub(" ", line) for line in text.split("\n"))
        if not console.is_terminal and kind == DROPPED:
            clean = f"[-{clean}-]"
        shown.append(clean, STYLES[kind])
    console.print(Text(f"{view.name}: {view.kept} of {view.tokens} response tokens kept", "bold"))
    console.print(shown, soft_wrap=True)
    if values:
        _print_values(view, console)
    console.print()


def _print_values(view: View, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    names = [name for name in view.values if name != "kind"]
    table = Table(box=None)
    table.add_column("token")
    for name in names:
        table.add_column(name, justify="right")
    for i in np.flatnonzero(view.values["kind"] != PROMPT):
        style = STYLES[int(view.values["kind"][i])]
        cells = [Text(f"{_number(view.values[name][i])}", style) for name in names]
        mark = "" if view.values["kind"][i] == KEPT or console.is_terminal else "-"
        table.add_row(Text(f"{mark}{view.words[i]!r}", style), *cells)
    console.print(table)


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)
