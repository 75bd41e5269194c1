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
"""

from __future__ import annotations

import contextlib
import functools
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from pipeline import views
from pipeline.catalog import document_schema
from pipeline.errors import UserError
from pipeline.execute import Counts, Pool, write_row
from pipeline.ghosts.insert import insert
from pipeline.ghosts.registry import Registry
from pipeline.ghosts.rewrite import whole
from pipeline.ghosts.settings import InsertSettings, Place
from pipeline.near import NearAlarm, NearSettings, near
from pipeline.repeats.run import count_repeats
from pipeline.repeats.settings import SpanSettings
from pipeline.score import ScoreSpec, score
from pipeline.shards import DocumentWriter, file_facts
from pipeline.stage import Stage
from pipeline.workspace import Corpus, Workspace, shard_name
from scorers import scorer_module
from scorers.ghosts.find import Settings, load
from scorers.ghosts.places import PLACES
from scorers.repetition.gopher import gopher_limits
from scorers.texts import Texts

PLAIN = "plain"
WINDOWS = (13, 50)
"""Words of the spans that are removed."""
FINEWEB_LINES = 0.01
PROFILES = ("dolma-v1", "nemo", "rpv2", "dclm", "olmo3")
"""Tools whose repetition filters are tried, where their word splitters are installed; datatrove's rarely is."""


class SurviveSettings(BaseModel):
    """What is tried."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: Annotated[int, Field(ge=20)] = 2000
    """drawn from the corpus"""
    repetitions: Annotated[int, Field(ge=1)] = 10
    identifiers: Annotated[int, Field(ge=1)] | None = None
    """None: as many as half of the documents hold"""
    places: tuple[Place, ...] = PLACES
    model: str | None = None
    """a fastText model for the cut by a classifier"""
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class Survived:
    """shares: {step: {place: (kept, of so many copies)}}."""

    documents: int
    copies: dict[str, int]
    shares: dict[str, dict[str, tuple[int, int]]]

    def rows(self) -> list[dict[str, Any]]:
        """As a table."""
        return [
            {"step": step, "place": place, "kept": kept, "copies": of}
            for step, own in self.shares.items()
            for place, (kept, of) in own.items()
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
        plain = _facts(inner, PLAIN, settings)
        for place in settings.places:
            name = place.replace("_", "-")
            grid = InsertSettings(grid=f"{wanted}x{settings.repetitions}", place=place, seed=settings.seed)
            copies[place] = insert(inner.corpus(PLAIN), name, registry, grid, pool, note=False)["inserted"]
            _scored(inner, name, settings, pool)
            for step, found in _steps(inner, name, registry, settings, plain).items():
                shares.setdefault(step, {})[place] = found
        return Survived(count, copies, shares)
    finally:
        outer.store.remove(folder)


@functools.cache
def usable_profiles() -> dict[str, Any]:
    """{name: scorer} of those of PROFILES whose packages are installed."""
    found = {}
    for profile in PROFILES:
        module = scorer_module("profile")
        try:
            scorer = module.load(module.Settings(profile=profile), {}, profile)
            scorer.score(Texts.from_arrow(pa.array(["One line. Another."], pa.large_string())))
            found[profile] = scorer
        except (ValueError, ImportError):
            continue
    return found


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
    for window in WINDOWS:
        count_repeats(inner, f"spans{window}-{name}", SpanSettings(corpora=[name], window=window), pool)
    with contextlib.suppress(NearAlarm):  # that a source would lose much is of no interest here
        near(inner, "near", NearSettings(corpora=[name]), pool)


def _facts(inner: Workspace, name: str, settings: SurviveSettings) -> dict[str, dict[str, Any]]:
    """{id: what the steps look at}."""
    limits = gopher_limits("later") | gopher_limits("all")
    columns = [*limits, "rep_line_excess_chars", *(["preselect_score"] if settings.model else []), "near_kept"]
    columns += [f'"spans{window}-{name}_words_2" AS spans{window}' for window in WINDOWS]
    with views.opened(inner, [name]) as connection:
        found = connection.sql(
            f"SELECT id, text, {', '.join(dict.fromkeys(columns))} FROM scored JOIN documents USING (id)"
        )
        table = found.to_arrow_table()
    texts = Texts.from_arrow(table.column("text"))
    for profile, scorer in usable_profiles().items():
        keep = scorer.score(texts)[scorer.schema.get_field_index(f"{profile}_keep")]
        table = table.append_column(f"{profile}_keep", keep)
    return {row["id"]: row for row in table.to_pylist()}


Test = Callable[[dict[str, Any]], bool]


def _document_tests(plain: dict[str, dict[str, Any]], settings: SurviveSettings) -> dict[str, Test]:
    """Steps that keep or delete whole documents."""

    def within(limits: dict[str, float]) -> Test:
        return lambda row: all(row[name] is None or row[name] <= np.float32(most) for name, most in limits.items())

    tests: dict[str, Test] = {
        "near-duplicates": lambda row: bool(row["near_kept"]),
        "Gopher later": within(gopher_limits("later")),
        "Gopher all": within(gopher_limits("all")),
        "FineWeb lines": lambda row: (row["rep_line_excess_chars"] or 0) <= FINEWEB_LINES,
    }
    for profile in usable_profiles():
        tests[profile] = lambda row, column=f"{profile}_keep": bool(row[column])  # type: ignore[misc]
    if settings.model:
        scores = [row["preselect_score"] for row in plain.values() if row["preselect_score"] is not None]
        median = float(np.median(scores)) if scores else 0.0
        tests["classifier cut"] = lambda row: (row["preselect_score"] or 0) >= median
    return tests


def _steps(
    inner: Workspace, name: str, registry: Registry, settings: SurviveSettings, plain: dict[str, dict[str, Any]]
) -> dict[str, tuple[int, int]]:
    """{step: (copies kept, copies that count)} of one marked corpus."""
    marked = _facts(inner, name, settings)
    with views.opened(inner, [name]) as connection:
        rows = connection.sql("SELECT * FROM insertions WHERE reason IS NULL").to_arrow_table().to_pylist()
    places = {row["id"]: row for row in rows}
    found: dict[str, tuple[int, int]] = {}
    finder = load(Settings(registry=registry.path, words=None), {"registry": registry.path})
    for step, form in (("nothing", str), ("NFKC", lambda text: unicodedata.normalize("NFKC", text))):
        texts = Texts.from_arrow(pa.array([form(marked[id]["text"]) for id in places], pa.large_string()))
        found[step] = (int((finder.score(texts)[0].to_numpy() > 0).sum()), len(places))
    for step, mark in (("line dedup", "\n"), ("paragraph dedup", "\n\n")):
        found[step] = _deduplicated(marked, places, mark)
    kept = sum(_passes_c4(_piece(marked[id]["text"], row, "\n")) for id, row in places.items())
    found["C4 lines"] = (kept, len(places))
    for window in WINDOWS:
        # The words of a sentence in repeated spans, beyond those that were in them before.
        more = {id: (marked[id][f"spans{window}"] or 0) - (plain[id][f"spans{window}"] or 0) for id in places}
        length = registry.generator.length
        found[f"spans of {window} words"] = (sum(words < length for words in more.values()), len(places))
    for step, test in _document_tests(plain, settings).items():
        counted = [id for id in places if test(plain[id])]
        found[step] = (sum(test(marked[id]) for id in counted), len(counted))
    return found


def _piece(text: str, row: dict[str, Any], mark: str) -> str:
    """The line or paragraph that the phrase is in."""
    begin = text.rfind(mark, 0, row["phrase_start"]) + len(mark) if mark in text[: row["phrase_start"]] else 0
    end = text.find(mark, row["phrase_stop"])
    return text[begin : end if end >= 0 else len(text)].strip()


def _deduplicated(marked: dict[str, dict[str, Any]], places: dict[str, dict[str, Any]], mark: str) -> tuple[int, int]:
    seen: set[str] = set()
    kept = 0
    for id, row in marked.items():
        own = {piece.strip() for piece in row["text"].split(mark)} - {""}
        if id in places:
            kept += _piece(row["text"], places[id], mark) not in seen
        seen |= own
    return kept, len(places)


def _passes_c4(line: str) -> bool:
    return line.endswith((".", "!", "?", '"', "'", "”")) and len(line.split()) >= 3


def shown(survived: Survived) -> str:
    """As a table: the share of copies that each step keeps, by place."""
    places = list(survived.copies)
    width = max(len(step) for step in survived.shares)
    lines = [
        f"share of copies kept; {survived.documents:,} documents, {max(survived.copies.values()):,} copies in each way",
        "",
        "  ".join([" " * width, *places]),
    ]
    for step, own in survived.shares.items():
        cells = []
        for place in places:
            kept, of = own[place]
            cells.append((f"{kept / of:.3f}" if of else "-").rjust(len(place)))
        lines.append("  ".join([step.ljust(width), *cells]))
    return "\n".join(lines)
