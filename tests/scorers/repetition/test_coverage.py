"""Coverage by repeated windows against a plain walk over all words."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from scorers.repetition.counting import Slab, Table
from scorers.repetition.coverage import Answered, Cursor, cover, stretches
from scorers.repetition.windows import windows_of
from scorers.texts import Texts

DOCUMENTS = st.lists(st.lists(st.sampled_from(["a", "bb", "ccc"]), max_size=30), min_size=1, max_size=6)
LEVELS = (2, 3, 5)


@given(DOCUMENTS, st.integers(2, 6))
def test_coverage_is_what_a_walk_over_the_words_finds(documents: list[list[str]], size: int) -> None:
    texts = Texts.from_arrow(pa.array([" ".join(words) for words in documents], pa.large_string()))
    sources = np.array([doc % 3 for doc in range(len(documents))], np.uint8)
    words = texts.words
    windows = windows_of(words.doc_offsets, words.hashes, size, sources)
    table = Table(0)
    slab = Slab.of(windows.records, 0)
    table.add(slab)
    table.seal()
    answers = table.answers(slab)
    rows = np.stack([answers.places.astype(np.uint32), answers.occurrences, answers.documents, answers.sets], axis=1)
    answered = Answered(*(np.empty(len(windows), np.uint32) for _ in range(3)))
    cursor = Cursor(np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([len(rows)]), rows)
    cursor.take(windows.records[:, 0], 0, answered, 0)
    assert cursor.is_through
    found = cover(words, windows, answered, size, LEVELS, sources, table.sets)

    plain = [(d, i, tuple(w[i : i + size])) for d, w in enumerate(documents) for i in range(len(w) - size + 1)]
    count = Counter(text for _, _, text in plain)
    spread = defaultdict(set)
    by_source: dict[tuple[str, ...], Counter[int]] = defaultdict(Counter)
    for doc, _, text in plain:
        spread[text].add(doc)
        by_source[text][doc % 3] += 1
    seen: set[tuple[str, ...]] = set()
    classes: Counter[tuple[int, int]] = Counter()
    class_chars: Counter[tuple[int, int]] = Counter()
    shared: Counter[tuple[int, int]] = Counter()
    for doc, text_words in enumerate(documents):
        here = [(i, text) for d, i, text in plain if d == doc]
        later = [(i, text) for i, text in here if text in seen or seen.add(text) is not None]  # type: ignore[func-returns-value]
        assert found.most[doc] == max((count[text] for _, text in here), default=0)
        for level, words_at, chars_at, docs_at in zip(LEVELS, found.words, found.chars, found.documents, strict=True):
            covered = {i + k for i, text in here if count[text] >= level for k in range(size)}
            assert words_at[doc] == len(covered)
            assert chars_at[doc] == sum(len(text_words[i]) for i in covered)
            assert docs_at[doc] == len({i + k for i, text in here if len(spread[text]) >= level for k in range(size)})
        assert found.later[doc] == len({i + k for i, _ in later for k in range(size)})
        elsewhere = {i + k for i, text in here if set(by_source[text]) - {doc % 3} for k in range(size)}
        assert found.elsewhere[doc] == len(elsewhere)
        for i, word in enumerate(text_words):
            over = [count[text] for start, text in here if start <= i < start + size]
            if max(over, default=1) > 1:
                classes[doc % 3, max(over)] += 1
                class_chars[doc % 3, max(over)] += len(word)
        for other in range(3):
            least = 2 if other == doc % 3 else 1
            covered = {
                i + k for i, text in here if count[text] > 1 and by_source[text][other] >= least for k in range(size)
            }
            shared[doc % 3, other] += len(covered)
    keys = [tuple(key) for key in found.classes.tolist()]
    assert dict(zip(keys, found.class_words.tolist(), strict=True)) == dict(classes)
    assert dict(zip(keys, found.class_chars.tolist(), strict=True)) == dict(class_chars)
    assert {(a, b): int(found.shared[a, b]) for a, b in np.argwhere(found.shared).tolist()} == +shared

    rows_found = stretches(windows, answered, size)
    covered_windows = 0
    for doc, first, length, occurrences in zip(
        rows_found.document, rows_found.first, rows_found.words, rows_found.occurrences, strict=True
    ):
        start = int(windows.starts[first])
        inside = [text for d, i, text in plain if d == doc and start <= i <= start + length - size]
        assert {count[text] for text in inside} == {occurrences}
        covered_windows += len(inside)
    assert covered_windows == sum(count[text] > 1 for _, _, text in plain)
