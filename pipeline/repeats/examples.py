"""The longest and the most repeated spans, readable, with the places where they stand.

A span is a stretch of windows of one multiplicity. Every shard keeps the best of each ranking; a span among the best
of all is among the best of every shard that has it, so that the places found add up exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.output import CONTROL
from pipeline.repeats.counts import finished_counts
from pipeline.shards import read_narrow
from pipeline.workspace import Workspace
from scorers.repetition.coverage import Stretches
from scorers.repetition.unit_records import KINDS

PLACES = 5
"""Places of a span that are kept: the first ones."""
LONGEST_TEXT = 2000
"""Characters of an example; what is longer loses its middle."""

Span = dict[str, Any]
"""identity, kind, words, occurrences, documents, found (places seen), text, chars, places"""

RANKINGS: dict[str, Callable[[Any, Any], tuple[Any, ...]]] = {
    "longest": lambda words, occurrences: (words, occurrences),
    "most": lambda words, occurrences: (occurrences, words),
    "mass": lambda words, occurrences: (words * occurrences, words),
}
"""What a ranking goes by, first and second."""


def gathered(
    kept: dict[int, Span],
    found: Stretches,
    most: int,
    describe: Callable[[int], tuple[str, int, Any]],
    kinds: np.ndarray | None = None,
) -> None:
    """Add the stretches of a batch to the best so far. describe: text, characters and place of a stretch.

    kinds: of units, by their numbers in KINDS.
    """
    if not len(found.identity):
        return
    distinct, first, counts = np.unique(found.identity, return_index=True, return_counts=True)
    words, occurrences = found.words[first], found.occurrences[first]
    best = np.zeros(len(distinct), np.bool_)
    for ranking in RANKINGS.values():
        one, two = ranking(words, occurrences)
        best[np.lexsort((distinct, -two, -one))[:most]] = True
    floors = _floors(kept, most)
    for i in np.flatnonzero(best).tolist():
        identity = int(distinct[i])
        if identity not in kept and floors and not _is_above(int(words[i]), int(occurrences[i]), identity, floors):
            continue
        places = np.flatnonzero(found.identity == distinct[i])[:PLACES]
        described = [describe(int(place)) for place in places]
        add(
            kept,
            {
                "identity": identity,
                "kind": "span" if kinds is None else KINDS[kinds[first[i]]],
                "words": int(words[i]),
                "occurrences": int(occurrences[i]),
                "documents": int(found.documents[first[i]]),
                "found": int(counts[i]),
                "text": described[0][0],
                "chars": described[0][1],
                "places": [place for _, _, place in described],
            },
        )
    prune(kept, most)


def _floors(kept: dict[int, Span], most: int) -> dict[str, tuple[Any, ...]]:
    """What a span must outdo to get among the best of a ranking; empty as long as there is room."""
    if len(kept) < most:
        return {}
    return {name: _place(ranked(kept.values(), name)[most - 1], name) for name in RANKINGS}


def _is_above(words: int, occurrences: int, identity: int, floors: dict[str, tuple[Any, ...]]) -> bool:
    span = {"words": words, "occurrences": occurrences, "identity": identity}
    return any(_place(span, name) < floor for name, floor in floors.items())


def add(kept: dict[int, Span], span: Span) -> None:
    """Add a span, or the further places of one that is there."""
    there = kept.get(span["identity"])
    if there is None:
        kept[span["identity"]] = span
        return
    there["found"] += span["found"]
    there["places"] = (there["places"] + span["places"])[:PLACES]


def prune(kept: dict[int, Span], most: int) -> None:
    """Leave the best of each ranking."""
    if len(kept) <= most:
        return
    best: set[int] = set()
    for name in RANKINGS:
        best |= {span["identity"] for span in ranked(kept.values(), name)[:most]}
    for identity in kept.keys() - best:
        del kept[identity]


def ranked(spans: Iterable[Span], ranking: str) -> list[Span]:
    """The spans, best first."""
    return sorted(spans, key=lambda span: _place(span, ranking))


def _place(span: Span, ranking: str) -> tuple[Any, ...]:
    """Smaller is better."""
    one, two = RANKINGS[ranking](span["words"], span["occurrences"])
    return -one, -two, span["identity"]


def shortened(text: str) -> str:
    """The text, or its beginning and end."""
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]} [...] {text[-half:]}"


def chosen(workspace: Workspace, alias: str | None, ranking: str, most: int) -> tuple[str, list[Span]]:
    """The name of a count, and its spans by a ranking, best first. Raises UserError if there is none."""
    counts = finished_counts(workspace)
    names = [name for name, folder in counts.items() if workspace.store.exists(f"{folder}/spans.parquet")]
    name = alias if alias is not None else (names[-1] if names else "")
    if name not in names:
        known = ", ".join(names) or "none yet; `tamis repeats spans` makes one"
        called = f" {name!r}" if name else ""
        raise UserError(f"no count of spans{called} in {workspace.url} (there: {known})")
    table = read_narrow(workspace.store, f"{counts[name]}/spans.parquet")
    rows = table.filter(pc.equal(table.column("ranking"), ranking)).slice(0, most)
    return name, rows.to_pylist()


def shown(span: Span, width: int) -> str:
    """A span on a few lines: numbers, places, text."""
    places = [f"{p['corpus']}:{p['id']} {p['begin']}-{p['end']}" for p in span["places"]]
    more = span["found"] - len(places)
    where = "; ".join(places) + (f"; and {more:,} more" if more > 0 else "")
    text = CONTROL.sub(" ", span["text"])
    cut = text if len(text) <= width else f"{text[: width - 3]}..."
    return (
        f"{span['rank']}. {span['occurrences']:,} times in {span['documents']:,} documents, {span['words']:,} words\n"
        f"   at {where}\n   {cut}"
    )
