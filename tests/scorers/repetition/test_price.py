"""The published fits at the points that are known of them."""

from __future__ import annotations

import numpy as np
import pytest

from scorers.repetition.price import amount, damage_band, effective, level, priced, share_in_band, worth


@pytest.mark.parametrize(
    ("parameters", "left", "right"),
    [(1e7, 505, 16.1e3), (1e8, 139, 5.1e3), (8e8, 43, 1.8e3), (7e9, 13, 610), (1.75e11, 2.1, 122), (5e11, 1.2, 72)],
)
def test_the_damage_band_falls_with_the_size_of_the_model(parameters: float, left: float, right: float) -> None:
    low, high = damage_band(parameters)
    assert low == pytest.approx(left, rel=0.04)
    assert high == pytest.approx(right, rel=0.01)


@pytest.mark.parametrize(
    ("times", "value"), [(1, 1), (2, 1.97), (4, 3.73), (8, 6.62), (16, 10.58), (32, 14.3), (40, 15.2), (100, 16.36)]
)
def test_what_epochs_are_worth(times: int, value: float) -> None:
    assert worth(np.array([times]))[0] == pytest.approx(value, abs=0.06)


def test_a_corpus_without_repeats_is_worth_its_words_once_whatever_part_is_seen() -> None:
    words = np.array([1000.0])
    assert effective(np.array([1.0]), words, 1) == 1000
    assert effective(np.array([1.0]), words, 0.25) == 250
    # Four copies are one text seen four times.
    assert effective(np.array([4.0]), words, 1) == pytest.approx(effective(np.array([1.0]), words / 4, 4))


def test_epochs_move_a_class_into_the_band() -> None:
    multiplicities, words = np.array([1.0, 20.0]), np.array([900.0, 100.0])
    assert share_in_band(multiplicities, words, 1, 1e9) == 0
    assert share_in_band(multiplicities, words, 2, 1e9) == pytest.approx(0.1)
    assert [level(share) for share in (0.1, 0.03, 0.0299, 0.001)] == ["alarm", "warn", "note", ""]


def test_text_that_is_seen_once_is_never_in_the_band() -> None:
    # At 1e12 parameters the fitted band begins below one repeat.
    assert damage_band(1e12)[0] < 1
    assert share_in_band(np.array([1.0, 2.0]), np.array([900.0, 100.0]), 1, 1e12) == pytest.approx(0.1)


def test_every_figure_says_whose_it_is_and_where_it_leaves_what_was_measured() -> None:
    figures = priced(np.array([1.0, 50.0]), np.array([900.0, 100.0]), 1, 7e10, 2e12)
    assert all("arXiv" in one.model and one.measured for one in figures)
    assert all(any("parameters" in text for text in one.beyond) for one in figures)
    assert all(any("training tokens" in text for text in one.beyond) for one in figures)
    inside = priced(np.array([1.0, 50.0]), np.array([900.0, 100.0]), 1, 5e8, 1e11)
    assert not any("parameters" in text or "training tokens" in text for one in inside for text in one.beyond)


@pytest.mark.parametrize(("text", "value"), [("7B", 7e9), ("350m", 3.5e8), ("1e9", 1e9), ("1_000", 1000), ("2T", 2e12)])
def test_amounts_are_read(text: str, value: float) -> None:
    assert amount(text) == value


@pytest.mark.parametrize("text", ["", "seven", "-1B", "0", "nan", "1e999"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number such as 7B"):
        amount(text)
