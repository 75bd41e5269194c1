"""What is measured of a phrase, and where its tokens are."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorers.membership.phrases import rows_of
from scorers.membership.values import PLAIN, measured


def test_values_are_their_definitions_and_small_means_member() -> None:
    logprobs, phrase = np.log([0.5, 0.1, 0.9, 0.01, 0.2, 0.3]), "cupbearer tinsmith"
    [mean, total, low, packed] = [measured([logprobs], [phrase])[name][0] for name in PLAIN]
    assert mean == pytest.approx(-logprobs.mean())
    assert total == pytest.approx(-logprobs.sum())
    assert low == pytest.approx(-np.log([0.01, 0.1]).mean())  # the two of six that are least likely
    assert packed == pytest.approx(-logprobs.sum() / len(zlib.compress(phrase.encode())))
    likelier = measured([logprobs / 2], [phrase])
    assert all(likelier[name][0] < measured([logprobs], [phrase])[name][0] for name in PLAIN)


def test_a_certain_token_counts_as_a_token() -> None:
    found = measured([np.array([0.0, -1.0])], ["a b"])
    assert found["mean_nll"][0] == pytest.approx(0.5)
    assert found["tokens"][0] == 2


def test_what_is_not_finite_is_refused() -> None:
    for wrong in ([], [np.nan, -1.0], [-np.inf]):
        with pytest.raises(ValueError, match="not finite"):
            measured([np.array(wrong)], ["a"])


@given(st.lists(st.integers(1, 5), min_size=2, max_size=12), st.data())
def test_rows_are_the_tokens_that_hold_a_character_of_the_phrase(widths: list[int], data: st.DataObject) -> None:
    ends = np.cumsum(widths)
    spans = np.array([(0, 0), *zip(ends - widths, ends, strict=True)])
    begin = data.draw(st.integers(0, int(ends[-1]) - 1))
    end = data.draw(st.integers(begin + 1, int(ends[-1])))
    rows = rows_of(spans, begin, end)
    expected = [i for i in range(1, len(spans)) if set(range(*spans[i])) & set(range(begin, end))]
    assert list(range(rows.start, rows.stop)) == expected


def test_a_phrase_that_no_token_covers_is_refused() -> None:
    with pytest.raises(ValueError, match="no scored token"):
        rows_of(np.array([(0, 0), (0, 3)]), 3, 5)
    with pytest.raises(ValueError, match="do not cover"):
        rows_of(np.array([(0, 0), (0, 3)]), 1, 5)
    with pytest.raises(ValueError, match="no scored token"):
        rows_of(np.array([(0, 3), (3, 5)]), 0, 5)  # the first token has no log-probability
