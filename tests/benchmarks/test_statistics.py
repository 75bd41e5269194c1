"""Ratios and their intervals: what every number of benchmarks/README.md goes through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.statistics import compare, interval, median, most

rates = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=15)


@given(rates, st.sampled_from([0.25, 1.0, 2.0, 64.0]))
def test_a_constant_ratio_is_found_exactly_whatever_the_parts_cost(base, factor):
    ratio = compare([rate * factor for rate in base], base)
    assert ratio.paired == ratio.low == ratio.high == factor
    assert ratio.of_medians == pytest.approx(factor)


@given(rates)
def test_the_interval_of_a_median_contains_it_and_lies_within_the_values(values):
    low, high = interval(values)
    assert min(values) <= low <= median(values) <= high <= max(values)


def test_a_neighbour_that_slows_both_sides_of_a_pair_leaves_the_paired_ratio_alone():
    quiet = compare([100.0] * 9, [4.0] * 9)
    loaded = compare([100.0] * 4 + [50.0] * 5, [4.0] * 4 + [2.0] * 5)
    assert loaded.paired == quiet.paired == 25.0


def test_a_wider_spread_gives_a_wider_interval():
    narrow, wide = interval([9.0, 10.0, 11.0] * 4), interval([5.0, 10.0, 15.0] * 4)
    assert wide[1] - wide[0] >= narrow[1] - narrow[0] > 0


def test_an_interval_is_the_same_every_time():
    assert interval([3.0, 1.0, 2.0, 5.0]) == interval([3.0, 1.0, 2.0, 5.0])


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [0.0]), ([-1.0], [1.0])])
def test_rates_that_cannot_be_compared_are_refused(ours, theirs):
    with pytest.raises(ValueError, match="rate"):
        compare(ours, theirs)


def test_the_bound_of_a_count_leaves_one_in_twenty_below_it():
    for count, bound in ((0, 2.996), (1, 4.744), (5, 10.513), (50, 63.287)):  # of a chi-squared distribution's tables
        assert most(count) == pytest.approx(bound, abs=5e-3)
