"""Identifiers: how fast they are found and inserted, how many are found, and what is mistaken for one.

`measure` times (CPU time of one thread), batch by batch and in turns, the scorer with EFF's list alone, with a registry
of 1,000 and of 1,000,000 identifiers beside it, and with windows of both that do not name their list (every window is
then looked up); and the insertion of a sentence into every document. `kinds` counts what the scorer takes for a
passphrase in texts that hold none (benchmarks/ghost_texts.py), kind by kind, and how many of 20,000 inserted phrases it
finds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import ghost_texts
from benchmarks.common import line, say
from benchmarks.corpus import first_megabytes
from benchmarks.statistics import compare, median, most
from scorers.ghosts.edit import splice, to_arrow
from scorers.ghosts.find import Finder, Settings, load, schema_for
from scorers.ghosts.generator import Generator, draw, nulls
from scorers.ghosts.kernel import probes
from scorers.ghosts.places import choose_places
from scorers.ghosts.search import searcher
from scorers.ghosts.windows import Registered, _registered
from scorers.ghosts.word_kernel import canonical_words
from scorers.ghosts.wordlists import eff_large
from scorers.texts import Texts

WORDS = eff_large()
TEN = Generator(WORDS.hash, length=10)
BATCH = 8 << 20
SIDES = (
    *("find, the list alone", "find, 1,000 registered", "find, 1,000,000 registered"),
    *("find, 1,000 unlisted", "find, 1,000,000 unlisted", "insert"),
)


def registered(count: int) -> Registered:
    """A registry of so many identifiers, in memory."""
    rows = draw(TEN, WORDS, b"benchmark", 0, count)
    words = pa.array(WORDS.words).take(pa.array(rows.ravel()))
    phrases = pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * 10), words)
    table = pa.table({"id": pa.array([f"id{i}" for i in range(count)]), "words": phrases})
    return _registered(table, {"words": None, "generator": {"list_hash": WORDS.hash}}, "benchmark")


def _unlisted(known: Registered) -> Registered:
    """The same without the name of its list."""
    every = probes(known.probes.size, known.probes.sorted, listed=False)
    return Registered(every, None, known.hashes, known.rows, known.ids, known.phrases)


def measure(megabytes: float, repeats: int) -> dict[str, Any]:
    """MB/s of each side over the same batches, and the ratios of the large registry to the small one."""
    batches = list(_batches(first_megabytes(megabytes).column("text")))
    small, large = registered(1000), registered(1_000_000)
    finders = [
        load(Settings(), {}, "ghosts"),
        *(Finder(schema_for(), searcher(one, WORDS, 8)) for one in (small, large, _unlisted(small), _unlisted(large))),
    ]
    jobs: list[Callable[[Texts], Any]] = [*(finder.score for finder in finders), _insert]
    for job in jobs:
        job(batches[0])
    rates: list[list[float]] = [[] for _ in jobs]
    for turn in range(repeats):
        for n, texts in enumerate(batches):
            for k in range(len(jobs)):
                place = (k + n + turn) % len(jobs)
                begun = time.thread_time()
                jobs[place](texts)
                rates[place].append(texts.num_bytes / 1e6 / (time.thread_time() - begun))
        say(
            f"ghosts: turn {turn + 1} of {repeats}: "
            + ", ".join(f"{s} {median(r):.0f}" for s, r in zip(SIDES, rates, strict=False))
        )
    lines = [
        line(f"find, {side}" if side != "insert" else side, "MB/s", own)
        for side, own in zip(SIDES, rates, strict=False)
    ]
    for name, a, b in (("registered", 1, 2), ("unlisted", 3, 4)):
        ratio = compare(rates[a], rates[b])
        lines.append(
            {
                "what": f"1,000,000 {name}: times as slow as 1,000",
                "value": ratio.paired,
                "unit": "times",
                "low": ratio.low,
                "high": ratio.high,
            }
        )
    return {
        "lines": lines,
        "about": f"{megabytes:.0f} MB of manuals in batches of 8 MiB, in turns, {repeats} times, by the "
        "thread's own CPU time (a neighbour's load hardly counts). unlisted: "
        "the registry does not name its word list. insert: a sentence at a paragraph end of every document.\n",
    }


def _batches(column: pa.ChunkedArray) -> Any:
    array = column.combine_chunks()
    texts = Texts.from_arrow(array)
    first = 0
    while first < len(texts):
        last = int(np.searchsorted(texts.offsets, texts.offsets[first] + BATCH)) or first + 1
        yield Texts(texts.data, texts.offsets[first : min(last, len(texts)) + 1])
        first = last


SENTENCE = b" The ghost sentence of this text is " + TEN.phrase(WORDS, draw(TEN, WORDS, b"s", 0, 1)[0]).encode() + b"."


def _insert(texts: Texts, phrases: list[str] | None = None) -> tuple[pa.Array, np.ndarray]:
    """A sentence in every document that has a place; the texts, and which have one."""
    draws = np.arange(len(texts), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    chosen = choose_places(texts.data, texts.offsets, "paragraph_end", 0, 1, draws)
    docs = np.flatnonzero(chosen.positions >= 0)
    at = chosen.positions[docs]
    if phrases is None:
        pieces = [SENTENCE] * len(docs)
    else:
        pieces = [f" We saw {phrases[doc % len(phrases)]} in it.".encode() for doc in docs]
    return to_arrow(splice(texts, docs, at, at, pieces)), docs


def kinds(megabytes: float) -> dict[str, Any]:
    """What is found in texts without identifiers, per million words, and the share of inserted ones that is found."""
    finder = load(Settings(), {}, "ghosts")
    lines: list[dict[str, Any]] = []
    about = []
    for kind, file in ghost_texts.make().items():
        texts = Texts.from_arrow(pq.read_table(file, columns=["text"]).column("text"))
        words = sum(len(canonical_words(part.data, part.offsets).hashes) for part in _parts(texts))
        found = Counter(span["kind"] for part in _parts(texts) for row in _spans(finder, part) for span in row)
        for what, one in (("passphrases", found["passphrase"] + found["carrier"]), ("lists", found["list"])):
            rate = {"value": one / words * 1e6, "low": 0.0, "high": most(one) / words * 1e6}
            lines.append({"what": f"{kind}: {what}", "unit": "per million words"} | rate)
        about.append(f"{kind} {words / 1e6:.2f} million words")
    prose = pq.read_table(ghost_texts.make()["prose"], columns=["text"]).column("text")
    paragraphs = [p for text in prose.to_pylist() for p in text.split("\n\n") if len(p) > 200][:20_000]
    for length in (8, 10, 12):
        generator = Generator(WORDS.hash, length=length)
        phrases = [generator.phrase(WORDS, row) for row in nulls(generator, WORDS, "recall", 20_000)]
        marked, docs = _insert(Texts.from_arrow(pa.array(paragraphs, pa.large_string())), phrases)
        rows = finder.score(Texts.from_arrow(marked))[0].take(pa.array(docs)).to_numpy()
        share = float((rows == 1).mean() * 100)
        lines.append({"what": f"phrases of {length} words in prose: found", "value": share, "unit": "%"})
    about_all = (
        f"{', '.join(about)}; {len(docs)} phrases of each length. The upper end is a bound with 95 % confidence.\n"
    )
    return {"lines": lines, "about": about_all}


def _parts(texts: Texts) -> Any:
    for first in range(0, len(texts), 500):
        yield Texts(texts.data, texts.offsets[first : first + 501])


def _spans(finder: Finder, texts: Texts) -> list[list[dict[str, Any]]]:
    return finder.score(texts)[3].to_pylist()
