"""The cleaning steps that `tamis ghosts survive` tries, and what each makes of marked documents.

    plain = facts(inner, "plain", settings, pool)
    kept = tried(inner, "own-line", registry, settings, plain, pool)      # {step: (copies kept, copies that count)}

pipeline/ghosts/survive.py lists the steps. A step that keeps or deletes whole documents is a test of a row of facts:
id, text, columns of the scores, `<profile>_keep`, and `values`, the losses of the language model if one is given.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import views
from pipeline.execute import Pool
from pipeline.ghosts.perplexity import token_values
from pipeline.ghosts.registry import Registry
from pipeline.ghosts.settings import SurviveSettings
from pipeline.workspace import Workspace
from scorers import scorer_module
from scorers.ghosts.find import Settings, load
from scorers.profiles import FOLLOWS
from scorers.repetition.gopher import gopher_limits
from scorers.texts import Texts

WINDOWS = (13, 50)
"""Words of the spans that are removed."""
FINEWEB_LINES = 0.01
LINES = 0.95
"""Share of the plain lines that the cut by the perplexity of lines keeps."""

Facts = dict[str, dict[str, Any]]
Test = Callable[[dict[str, Any]], bool]


@functools.cache
def usable_profiles() -> dict[str, Any]:
    """{name: scorer} of the tools of scorers.profiles whose word splitters are installed."""
    found = {}
    for profile in FOLLOWS:
        module = scorer_module("profile")
        try:
            scorer = module.load(module.Settings(profile=profile), {}, profile)
            scorer.score(Texts.from_arrow(pa.array(["One line. Another."], pa.large_string())))
            found[profile] = scorer
        except (ValueError, ImportError):
            continue
    return found


def facts(
    inner: Workspace, name: str, settings: SurviveSettings, pool: Pool, ids: Collection[str] | None = None
) -> Facts:
    """{id: what the steps look at}. ids: the documents that need the numbers of profiles and language model [all]."""
    limits = gopher_limits("later") | gopher_limits("all")
    columns = [*limits, "rep_line_excess_chars", *(["preselect_score"] if settings.model else []), "near_kept"]
    columns += [f'"spans{window}-{name}_words_2" AS spans{window}' for window in WINDOWS]
    with views.opened(inner, [name]) as connection:
        found = connection.sql(
            f"SELECT id, text, {', '.join(dict.fromkeys(columns))} FROM scored JOIN documents USING (id)"
        )
        rows = {row["id"]: row for row in found.to_arrow_table().to_pylist()}
    chosen = [*rows] if ids is None else [*ids]
    texts = Texts.from_arrow(pa.array([rows[id]["text"] for id in chosen], pa.large_string()))
    for profile, scorer in usable_profiles().items():
        column = f"{profile}_keep"
        for id, keep in zip(
            chosen, scorer.score(texts)[scorer.schema.get_field_index(column)].to_pylist(), strict=True
        ):
            rows[id][column] = keep
    if settings.language_model:
        for id, values in token_values(inner, name, settings.language_model, pool, ids).items():
            rows[id]["values"] = values
    return rows


def document_tests(plain: Facts, settings: SurviveSettings) -> dict[str, Test]:
    """Steps that keep or delete whole documents. Cuts at a share of the corpus take it from the plain documents."""

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
    if settings.language_model:
        measured = [row["values"].perplexity for row in plain.values()]
        for part, name in ((1 / 3, "perplexity, best third"), (2 / 3, "perplexity, best two thirds")):
            most = float(np.nanquantile(measured, part))
            tests[name] = lambda row, most=most: row["values"].perplexity <= most  # type: ignore[misc]
    return tests


def tried(
    inner: Workspace, name: str, registry: Registry, settings: SurviveSettings, plain: Facts, pool: Pool
) -> dict[str, tuple[int, int]]:
    """{step: (copies kept, copies that count)} of one marked corpus."""
    with views.opened(inner, [name]) as connection:
        rows = connection.sql("SELECT * FROM insertions WHERE reason IS NULL").to_arrow_table().to_pylist()
    places = {row["id"]: row for row in rows}
    marked = facts(inner, name, settings, pool, places)
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
    for step, test in document_tests(plain, settings).items():
        counted = [id for id in places if test(plain[id])]
        found[step] = (sum(test(marked[id]) for id in counted), len(counted))
    if settings.language_model:
        found["perplexity of lines"] = _line_cut(plain, marked, places)
    return found


def _bounds(text: str, begin: int, end: int, mark: str) -> tuple[int, int]:
    """The line or paragraph that text[begin:end] is in."""
    first = text.rfind(mark, 0, begin)
    last = text.find(mark, end)
    return (first + len(mark) if first >= 0 else 0), (last if last >= 0 else len(text))


def _piece(text: str, row: dict[str, Any], mark: str) -> str:
    begin, end = _bounds(text, row["phrase_start"], row["phrase_stop"], mark)
    return text[begin:end].strip()


def _deduplicated(marked: Facts, places: Facts, mark: str) -> tuple[int, int]:
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


def _line_cut(plain: Facts, marked: Facts, places: Facts) -> tuple[int, int]:
    """Lines of a perplexity above that of LINES of the plain lines go. A copy counts if its line would stay without."""
    every = [_line(row, at, at) for row in plain.values() for at in _starts(row["text"])]
    most = float(np.nanquantile(every, LINES))
    kept = counted = 0
    for id, row in places.items():
        if not _line(plain[id], row["start"], row["start"]) > most:  # a line too short to say stays
            counted += 1
            kept += not _line(marked[id], row["phrase_start"], row["phrase_stop"]) > most
    return kept, counted


def _starts(text: str) -> list[int]:
    found, at = [0], text.find("\n")
    while at >= 0:
        found.append(at + 1)
        at = text.find("\n", at + 1)
    return found


def _line(row: dict[str, Any], begin: int, end: int) -> float:
    first, last = _bounds(row["text"], begin, end, "\n")
    return row["values"].between(first, last)
