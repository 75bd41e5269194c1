"""Which cleaning steps delete identifiers, and which keep them, for each way to place them: measured, not argued.

    survived = survive(workspace.corpus("web"), registry, SurviveSettings(documents=2000), pool)
    print(shown(survived))

Documents are drawn from the corpus by hash into a workspace of its own below `tmp/`, identifiers are inserted in each
way, and the steps are run by Tamis itself over the plain and the marked documents. A copy counts for a step if its
document, without the identifier, passes the step; it is kept if it is still there with it. The workspace is removed at
the end.

    NFKC                   the text in Unicode's form NFKC, then looked up in the registry
    line, paragraph dedup  a line (paragraph) that stood before, in any document, is deleted
    C4 lines               lines that do not end in . ! ? or a quote, or have fewer than 3 words, are deleted
    spans of N words       what lies in a span of N words that occurs twice (tamis repeats spans) is deleted
    near-duplicates        documents that are near-duplicates of another (tamis repeats near) are deleted
    Gopher later, all      documents beyond Gopher's repetition limits are deleted
    dolma-v1, nemo, ...    documents that another tool's repetition filter rejects (the scorer `profile`) are deleted
    FineWeb lines          documents of whose characters more than 0.01 lie in repeated lines are deleted
    classifier cut         documents below the median score of a fastText model are deleted (with `model`)
    perplexity             documents beyond a third (two thirds) of the plain ones are deleted; lines above 95 % of the
                           plain ones (with `language_model`)

Each place is tried with the registry's sentences and with the phrases alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pipeline import views
from pipeline.catalog import document_schema
from pipeline.errors import UserError
from pipeline.execute import Counts, Pool, write_row
from pipeline.ghosts import perplexity, survive_steps
from pipeline.ghosts.insert import insert
from pipeline.ghosts.registry import Registry
from pipeline.ghosts.rewrite import whole
from pipeline.ghosts.settings import InsertSettings, Place, SurviveSettings
from pipeline.near import NearAlarm, NearSettings, near
from pipeline.repeats.run import count_repeats
from pipeline.repeats.settings import SpanSettings
from pipeline.score import ScoreSpec, score
from pipeline.shards import DocumentWriter, file_facts
from pipeline.stage import Stage
from pipeline.workspace import Corpus, Workspace, shard_name

PLAIN = "plain"
WITHOUT = "without carrier"


@dataclass(frozen=True)
class Survived:
    """copies: {way: how many}; shares: {step: {way: (kept, of so many copies)}}. A way: a place, perhaps WITHOUT."""

    documents: int
    copies: dict[str, int]
    shares: dict[str, dict[str, tuple[int, int]]]

    def rows(self) -> list[dict[str, Any]]:
        """As a table."""
        return [
            {
                "step": step,
                "place": way.partition(",")[0],
                "carrier": not way.endswith(WITHOUT),
                "kept": kept,
                "copies": of,
            }
            for step, own in self.shares.items()
            for way, (kept, of) in own.items()
        ]


def survive(corpus: Corpus, registry: Registry, settings: SurviveSettings, pool: Pool) -> Survived:
    """Run all steps for all places. The caller holds the lock. Raises UserError."""
    outer = corpus.workspace
    folder = f"tmp/survive-{registry.commitment[:8]}-{corpus.hash[:8]}"
    outer.store.remove(folder)
    inner = Workspace(f"{outer.url.rstrip('/')}/{folder}")
    try:
        count = _drawn(whole(corpus), inner, settings)
        possible = min(len(registry.active), count // 2 // settings.repetitions)
        wanted = settings.identifiers or possible
        if not 1 <= wanted <= possible:
            raise UserError(
                f"{wanted or 1} identifiers in {settings.repetitions} documents each: {count} documents and "
                f"{len(registry.active)} identifiers allow {possible} (half of the documents stay as they are)"
            )
        shares: dict[str, dict[str, tuple[int, int]]] = {}
        copies: dict[str, int] = {}
        _scored(inner, PLAIN, settings, pool)
        plain = survive_steps.facts(inner, PLAIN, settings, pool)
        for way, place, sentences in _ways(registry, settings):
            name = way.replace("_", "-").replace(", ", "-").replace(" ", "-")
            between = settings.between if place == "word" else (0.0, 1.0)
            grid = InsertSettings(
                grid=f"{wanted}x{settings.repetitions}", place=place, between=between, seed=settings.seed
            )
            copies[way] = insert(inner.corpus(PLAIN), name, sentences, grid, pool, note=False)["inserted"]
            _scored(inner, name, settings, pool)
            for step, found in survive_steps.tried(inner, name, registry, settings, plain, pool).items():
                shares.setdefault(step, {})[way] = found
        if settings.language_model:
            perplexity.closed(pool)
        return Survived(count, copies, shares)
    finally:
        outer.store.remove(folder)


def _ways(registry: Registry, settings: SurviveSettings) -> Iterator[tuple[str, Place, Registry]]:
    """(way, place, the registry with the sentences to insert)."""
    alone = tuple(
        replace(one, carrier="{phrase}.", element="", sentence=f"{one.phrase}.", begin=0, end=len(one.phrase))
        for one in registry.identifiers
    )
    for carrier, sentences in ((True, registry), (False, replace(registry, identifiers=alone))):
        if settings.carrier in ("both", "with" if carrier else "without"):
            for place in settings.places:
                yield (place if carrier else f"{place}, {WITHOUT}"), place, sentences


def _drawn(corpus: Corpus, inner: Workspace, settings: SurviveSettings) -> int:
    """Write the drawn documents as a corpus of one shard; how many they are."""
    held = "AND NOT coalesce(held_out, false)" if "held_out" in document_schema(corpus).names else ""
    with views.opened(corpus.workspace, [corpus.name]) as connection:
        table = connection.sql(
            f"""SELECT id, text, source FROM documents WHERE true {held}
            ORDER BY md5('{settings.seed} ' || id), id LIMIT {settings.documents}"""
        ).to_arrow_table()
    schema = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("source", pa.string())])
    stage = Stage("ingest", PLAIN, "corpora", {"of": corpus.hash, "settings": settings.model_dump(mode="json")})
    stage.save(inner.store, num_shards=1)
    shard = shard_name(0, 1)
    with inner.store.writing(f"{stage.folder}/{shard}.parquet") as path:
        writer = DocumentWriter(path, schema)
        writer.write(table.cast(schema))
        writer.close()
        facts = file_facts(path)
    rows = table.num_rows
    write_row(inner, stage.folder, shard, 1, 0.0, Counts(rows, rows, bytes_in=writer.num_bytes, **facts))
    return rows


def _scored(inner: Workspace, name: str, settings: SurviveSettings, pool: Pool) -> None:
    """All that the steps look at, over one corpus."""
    specs = [ScoreSpec.of("repetition")]
    if settings.model:
        specs.append(ScoreSpec.of("preselect", model=settings.model))
    score(inner, [inner.corpus(name)], specs, pool)
    for window in survive_steps.WINDOWS:
        count_repeats(inner, f"spans{window}-{name}", SpanSettings(corpora=[name], window=window), pool)
    with contextlib.suppress(NearAlarm):  # that a source would lose much is of no interest here
        near(inner, "near", NearSettings(corpora=[name]), pool)


def shown(survived: Survived) -> str:
    """As tables: the share of copies that each step keeps, by place, with the carrier and without."""
    lines = [
        f"share of copies kept; {survived.documents:,} documents, {max(survived.copies.values()):,} copies in each way"
    ]
    for title, without in (("the sentence with its carrier", False), ("the phrase without its carrier", True)):
        ways = [way for way in survived.copies if way.endswith(WITHOUT) == without]
        if ways:
            lines += ["", title, "", *_table(survived, ways)]
    return "\n".join(lines)


def _table(survived: Survived, ways: list[str]) -> list[str]:
    places = [way.partition(",")[0] for way in ways]
    width = max(len(step) for step in survived.shares)
    lines = ["  ".join([" " * width, *places])]
    for step, own in survived.shares.items():
        cells = []
        for way, place in zip(ways, places, strict=True):
            kept, of = own[way]
            cells.append((f"{kept / of:.3f}" if of else "-").rjust(len(place)))
        lines.append("  ".join([step.ljust(width), *cells]))
    return lines
