"""What a selection or an export reads: columns and their owners, one shard's files as data, what is missing.

A worker gets `ShardInputs`: names of files, no ledger rows. Its table is laid side by side from aligned files; the ids
of each score table are compared with those of the documents.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipeline.catalog import HIDDEN, Scores, column_owners, document_schema, shown_stages
from pipeline.config_errors import nearest
from pipeline.errors import UserError
from pipeline.shards import open_parquet, read_narrow
from pipeline.storage import Store
from pipeline.workspace import Corpus, Workspace


@dataclass(frozen=True)
class ScorePart:
    """Columns of one score table; file None: the table is missing and its columns are null."""

    file: str | None
    fields: tuple[pa.Field, ...]


@dataclass(frozen=True)
class ShardInputs:
    """One document shard and the narrow columns that belong to it."""

    workspace: Workspace
    corpus: str
    shard: str
    documents: str
    columns: tuple[str, ...]
    """narrow columns of the documents, without id"""
    parts: tuple[ScorePart, ...]

    @property
    def missing(self) -> bool:
        """Whether a score table of this shard is not there."""
        return any(part.file is None for part in self.parts)

    def table(self) -> pa.Table:
        """`id`, the narrow document columns and the score columns, rows in document order."""
        store = self.workspace.store
        documents = read_narrow(store, self.documents, ["id", *self.columns])
        arrays = {name: documents.column(name) for name in documents.schema.names}
        return pa.table(arrays | self.scores(arrays["id"]))

    def scores(self, ids: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
        """The score columns. Raises ValueError if a score table is not aligned with `ids`."""
        store = self.workspace.store
        arrays: dict[str, pa.ChunkedArray] = {}
        for part in self.parts:
            names = [field.name for field in part.fields]
            if part.file is None:
                arrays |= {f.name: pa.chunked_array([pa.nulls(len(ids), f.type)]) for f in part.fields}
                continue
            scores = read_narrow(store, part.file, ["id", *names])
            check_aligned(store, part.file, self.documents, scores.column("id"), ids)
            arrays |= {name: scores.column(name) for name in names}
        return arrays


def check_aligned(store: Store, file: str, documents: str, ids: pa.ChunkedArray, expected: pa.ChunkedArray) -> None:
    """Raises ValueError unless a table's ids are those of its documents, in order."""
    if not ids.equals(expected):
        raise ValueError(
            f"{store.shown(file)} does not have the ids of {documents}: it was changed after it was written; "
            f"remove it and make it again"
        )


@dataclass(frozen=True)
class CorpusInputs:
    """A corpus, the columns wanted of it, and who owns them."""

    corpus: Corpus
    owners: Mapping[str, Scores | None]
    wanted: tuple[str, ...]

    @property
    def stages(self) -> dict[str, Scores]:
        """{alias: stage} of the wanted columns."""
        found = [owner for name in self.wanted if (owner := self.owners[name]) is not None]
        return {stage.alias: stage for stage in found}

    def missing(self) -> dict[str, dict[str, str]]:
        """{folder: {shard: why}} of documents and scores that are not there."""
        rows = self.corpus.workspace.rows(self.corpus.folder)
        lost: dict[str, dict[str, str]] = {self.corpus.folder: {}}
        for shard in self.corpus.shards:
            if shard not in self.corpus.done:
                row = rows.get(shard)
                lost[self.corpus.folder][shard] = "not ingested" if row is None else f"failed: {row.error}"
        for stage in self.stages.values():
            lost[stage.folder] = {s: why for s, why in stage.missing().items() if s in self.corpus.done}
        return {folder: shards for folder, shards in lost.items() if shards}

    def shards(self) -> list[ShardInputs]:
        """One entry per shard whose documents are there."""
        types = {stage.folder: stage.schema for stage in self.stages.values()}
        names = {
            stage.folder: [n for n in self.wanted if (o := self.owners[n]) is not None and o.folder == stage.folder]
            for stage in self.stages.values()
        }
        done = {stage.folder: set(stage.done) for stage in self.stages.values()}
        own = tuple(name for name in self.wanted if self.owners[name] is None and name != "id")
        workspace = Workspace(self.corpus.workspace.url)
        return [
            ShardInputs(
                workspace,
                self.corpus.name,
                shard,
                self.corpus.file(shard),
                own,
                tuple(
                    ScorePart(
                        stage.file(shard) if shard in done[stage.folder] else None,
                        tuple(types[stage.folder].field(name) for name in names[stage.folder]),
                    )
                    for stage in self.stages.values()
                ),
            )
            for shard in self.corpus.shards
            if shard in self.corpus.done
        ]


def owners_of(corpus: Corpus, named: Collection[str] = (), pinned: Collection[str] = ()) -> dict[str, Scores | None]:
    """{column: its stage}, with the stages in `pinned` first, then those in `named`, then the newest of each alias."""
    stages = shown_stages(corpus, named)
    if pinned:
        exact = shown_stages(corpus, pinned)
        stages |= {alias: stage for alias, stage in exact.items() if stage.folder in pinned}
    return column_owners(corpus, stages.values())


def check_columns(corpus: Corpus, owners: Mapping[str, Scores | None], columns: Iterable[str], what: str) -> None:
    """Raises UserError for a column that the corpus does not have, naming the nearest one or the command to make it."""
    for name in columns:
        if name in owners:
            continue
        if name in HIDDEN:
            raise UserError(f"{what}: {name!r} is not a column of `scored`; it holds whole documents")
        if name == "tokens":
            hint = f"; `tamis score lengths --tokenizer NAME --corpus {corpus.name}` makes it"
        elif name in ("chars", "bytes", "words"):
            hint = f"; `tamis score lengths --corpus {corpus.name}` makes it"
        else:
            hint = nearest(name, owners)
        raise UserError(f"{what}: corpus {corpus.name!r} has no column {name!r}{hint}")


def mentioned(expression: str, owners: Iterable[str]) -> list[str]:
    """Columns that an SQL expression may use: every word of it that is a column, or all if it says COLUMNS."""
    words = {word.lower() for word in re.findall(r"\w+", expression)}
    if "columns" in words:
        return list(owners)
    plain = expression.lower()
    return [
        name for name in owners if name.lower() in words or (not re.fullmatch(r"\w+", name) and name.lower() in plain)
    ]


def refuse_missing(inputs: Iterable[CorpusInputs], allow: bool) -> dict[str, list[str]]:
    """{folder: shards that are missing}. Raises UserError that names them, unless it is allowed."""
    lost = {folder: shards for one in inputs for folder, shards in one.missing().items()}
    if lost and not allow:
        lines = []
        for folder, shards in lost.items():
            shown = "; ".join(f"{shard} {why}" for shard, why in list(shards.items())[:5])
            more = f"; and {len(shards) - 5} more" if len(shards) > 5 else ""
            lines.append(f"{folder} lacks {len(shards)} shards ({shown}{more})")
        raise UserError(
            ". ".join(lines) + ". Run the step again, or go on without them with --allow-missing "
            "(documents without scores are rejected, documents that are not there are not counted)"
        )
    return {folder: list(shards) for folder, shards in lost.items()}


def has_held_out(corpus: Corpus) -> bool:
    """Whether the documents say which of them are held out."""
    return "held_out" in document_schema(corpus).names


def metadata_bytes(store: Store, file: str, columns: Collection[str]) -> int:
    """Uncompressed bytes of some columns of a Parquet file, from its footer."""
    with open_parquet(store, file) as parquet:
        facts = parquet.metadata
        total = 0
        for group in range(facts.num_row_groups):
            row_group = facts.row_group(group)
            for index in range(row_group.num_columns):
                column = row_group.column(index)
                if column.path_in_schema.split(".")[0] in columns:
                    total += column.total_uncompressed_size
        return total
