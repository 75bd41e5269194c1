"""Marks cover what they should, and the pieces of a text are the text."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pipeline.inspect.marks import ADDED, PLAIN, REMOVED, REPEAT, Mark, around, difference, pieces, repeats

WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=30).map(" ".join)


@given(WORDS, st.integers(1, 4))
def test_marked_words_are_those_of_runs_that_occur_twice(text: str, length: int) -> None:
    words = text.split()
    runs = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
    wanted = {i + k for i, run in enumerate(runs) if runs.count(run) > 1 for k in range(length)}
    marks = repeats(text, length)
    covered = {i for i in range(len(words)) if any(mark.begin <= 2 * i < mark.end for mark in marks)}
    assert covered == wanted
    assert all(left.end < right.begin for left, right in itertools.pairwise(marks))


@given(st.text(), st.lists(st.tuples(st.integers(-5, 50), st.integers(-5, 50))))
def test_pieces_are_the_text_whatever_the_marks_say(text: str, spans: list[tuple[int, int]]) -> None:
    found = pieces(text, [Mark(*span, REPEAT) for span in spans])
    assert "".join(piece for piece, _ in found) == text
    marked = {i for begin, end in spans for i in range(max(begin, 0), min(end, len(text)))}
    assert sum(len(piece) for piece, kind in found if kind == REPEAT) == len(marked)


@given(st.text("ab \n", max_size=60), st.text("ab \n", max_size=60))
def test_a_difference_holds_both_texts(before: str, after: str) -> None:
    found = difference(before, after)
    assert "".join(piece for piece, kind in found if kind != ADDED) == before
    assert "".join(piece for piece, kind in found if kind != REMOVED) == after
    if before == after:
        assert all(kind == PLAIN for _, kind in found)


def test_a_difference_of_megabytes_is_one_piece_and_long_stretches_are_cut() -> None:
    before, after = "same " * 9000 + "old " * 9000, "same " * 9000 + "new " * 9000
    found = difference(before, after)
    assert [kind for _, kind in found if kind] == [REMOVED, ADDED]
    shown = around([("x" * 1000, PLAIN), ("new", ADDED), ("y" * 1000, PLAIN)], 10)
    assert shown[0][0] == f" ... 990 characters ... {'x' * 10}"
    assert shown[1] == ("new", ADDED)
    assert shown[2][0] == f"{'y' * 10} ... 990 characters ... "
