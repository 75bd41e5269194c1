"""Which document gets which identifier: by owner, or documents drawn by hash for a grid of identifiers x repetitions.

    assigned(corpus, registry, settings, pool)       # a table of shard, id, number: places in registry.active

A document gets at most one. Documents are taken in the order of md5(seed, id), whatever the shards; those that
have no place for a sentence are passed over, so that a grid comes out exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import views
from pipeline.catalog import document_schema
from pipeline.config_errors import nearest
from pipeline.errors import UserError
from pipeline.execute import Pool
from pipeline.ghosts.registry import Registry
from pipeline.ghosts.settings import InsertSettings, levels
from pipeline.select.spread import answers
from pipeline.shards import batches
from pipeline.storage import Store
from pipeline.workspace import Corpus
from scorers.ghosts.places import choose_places
from scorers.texts import Texts

SCHEMA = pa.schema([("shard", pa.string()), ("id", pa.string()), ("number", pa.int64())])
SPARE = 1.25
"""Documents that are looked at for each that is needed: some have no place."""


def assigned(corpus: Corpus, registry: Registry, settings: InsertSettings, pool: Pool) -> pa.Table:
    """SCHEMA, by shard and id. Raises UserError where owners, documents or identifiers do not suffice."""
    picked = _picked(corpus, settings)
    if settings.owner_column is not None:
        found = _by_owner(corpus, registry, settings, picked)
    else:
        found = _by_grid(corpus, registry, settings, picked, pool)
    return found.sort_by([("shard", "ascending"), ("id", "ascending")])


def repetitions(registry: Registry, settings: InsertSettings) -> np.ndarray:
    """int64: the place in registry.active of each insertion of a grid. Raises UserError if there are too few."""
    active = len(registry.active)
    wanted = [(active, settings.repetitions)] if settings.grid is None else levels(settings.grid)
    needed = sum(count for count, _ in wanted)
    if needed > active:
        raise UserError(
            f"grid {settings.grid}: it needs {needed} identifiers, registry {registry.path} has {active} to insert"
        )
    times = np.repeat([times or 0 for _, times in wanted], [count for count, _ in wanted])
    return np.repeat(np.arange(needed), times)


def _picked(corpus: Corpus, settings: InsertSettings) -> pa.Table | None:
    """The ids that the user's SQL gives."""
    if settings.sql is None:
        return None
    from pipeline.sql import query

    found = query(corpus.workspace, settings.sql, [corpus.name])
    if "id" not in found.column_names:
        raise UserError(f"sql: it gives {', '.join(found.column_names)}; expected a column id")
    return pa.table({"id": found.column("id").cast(pa.string())})


def _eligible(corpus: Corpus, settings: InsertSettings, picked: pa.Table | None, column: str | None = None) -> str:
    """SQL of shard, id, owner and the hash of the documents that may get one."""
    names = document_schema(corpus).names
    owner = "NULL::VARCHAR" if column is None else f"CAST({views.quoted(column)} AS VARCHAR)"
    kept = ["true"]
    if "held_out" in names and not settings.held_out:
        kept.append("NOT coalesce(held_out, false)")
    if "messages" in names:
        kept.append("messages IS NULL")  # their text is made from the turns, and trainers read the turns
    if picked is not None:
        kept.append("id IN (SELECT id FROM picked)")
    return (
        f"SELECT shard, id, {owner} AS owner, md5('{settings.seed} ' || id) AS hash FROM documents "
        f"WHERE {' AND '.join(kept)}"
    )


def _ask(corpus: Corpus, sql: str, picked: pa.Table | None, **tables: pa.Table) -> pa.Table:
    with views.opened(corpus.workspace, [corpus.name]) as connection:
        for name, table in (tables | ({} if picked is None else {"picked": picked})).items():
            connection.register(name, table)
        return connection.sql(sql).to_arrow_table()


def _by_owner(corpus: Corpus, registry: Registry, settings: InsertSettings, picked: pa.Table | None) -> pa.Table:
    column = settings.owner_column or ""
    names = document_schema(corpus).names
    if column not in names:
        raise UserError(f"owner_column {column!r}: corpus {corpus.name!r} has no such column{nearest(column, names)}")
    numbers: dict[str, list[int]] = {}
    for number, one in enumerate(registry.active):
        numbers.setdefault(one.owner, []).append(number)
    owners = pa.table({"owner": list(numbers), "count": [len(own) for own in numbers.values()]})
    most = "" if settings.repetitions is None else f"WHERE rank < count * {settings.repetitions}"
    found = _ask(
        corpus,
        f"""WITH d AS ({_eligible(corpus, settings, picked, column)}),
        r AS (SELECT d.*, count, row_number() OVER (PARTITION BY owner ORDER BY hash, id) - 1 AS rank
              FROM d JOIN owners USING (owner))
        SELECT shard, id, owner, rank % count AS turn FROM r {most} ORDER BY shard, id""",
        picked,
        owners=owners,
    )
    if not found.num_rows:
        raise UserError(
            f"owner_column {column!r}: no document of corpus {corpus.name!r} belongs to an owner of the registry "
            f"({', '.join(map(repr, list(numbers)[:3]))}{', ...' if len(numbers) > 3 else ''})"
        )
    pairs = zip(found.column("owner").to_pylist(), found.column("turn").to_pylist(), strict=True)
    chosen = pa.array([numbers[owner][turn] for owner, turn in pairs], pa.int64())
    return pa.table([found.column("shard"), found.column("id"), chosen], schema=SCHEMA)


def _by_grid(
    corpus: Corpus, registry: Registry, settings: InsertSettings, picked: pa.Table | None, pool: Pool
) -> pa.Table:
    wanted = repetitions(registry, settings)
    parts: list[pa.Table] = []
    asked = have = 0
    while have < len(wanted):
        count = int((len(wanted) - have) * SPARE) + 64
        more = _ask(
            corpus,
            f"SELECT shard, id FROM ({_eligible(corpus, settings, picked)}) ORDER BY hash, id "
            f"LIMIT {count} OFFSET {asked}",
            picked,
        )
        if not more.num_rows:
            raise UserError(
                f"{len(wanted)} documents are needed, and only {have} of corpus {corpus.name!r} may be used and have a "
                f"place of the kind {settings.place!r}; fewer identifiers, fewer repetitions, or another place"
            )
        asked += more.num_rows
        more = more.filter(_with_place(corpus, settings, more, pool))
        parts.append(more)
        have += more.num_rows
    found = pa.concat_tables(parts).slice(0, len(wanted))
    arrays = [found.column("shard").cast(pa.string()), found.column("id").cast(pa.string()), pa.array(wanted)]
    return pa.table(arrays, schema=SCHEMA)


@dataclass(frozen=True)
class _Look:
    """Documents of one shard that may get a sentence."""

    store: Store
    documents: str
    ids: pa.Array


@dataclass(frozen=True)
class _Looker:
    settings: InsertSettings

    def __call__(self, look: _Look) -> list[str]:
        found: list[str] = []
        for batch in batches(look.store, look.documents, ["id", "text"]):
            batch = batch.filter(pc.is_in(batch.column("id"), look.ids))
            if batch.num_rows:
                places = places_of(batch, self.settings, np.zeros(batch.num_rows, np.uint64))
                found += batch.column("id").filter(pa.array(places.positions >= 0)).to_pylist()
        return found


def places_of(batch: pa.Table, settings: InsertSettings, draws: np.ndarray) -> Any:
    """The place of each document of a batch with `text`."""
    texts = Texts.from_arrow(batch.column("text"))
    return choose_places(texts.data, texts.offsets, settings.place, *settings.between, draws)


def _with_place(corpus: Corpus, settings: InsertSettings, asked: pa.Table, pool: Pool) -> pa.Array:
    """Whether each of the documents has a place."""
    looks = []
    for shard in pc.unique(asked.column("shard")).to_pylist():
        ids = asked.filter(pc.equal(asked.column("shard"), shard)).column("id").combine_chunks()
        looks.append(_Look(corpus.workspace.store, corpus.file(shard), ids))
    found: list[str] = []
    for ids in answers(pool, _Looker(settings), looks):
        found += ids
    return pc.is_in(asked.column("id"), pa.array(found, asked.schema.field("id").type))
