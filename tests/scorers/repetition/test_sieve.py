"""A sieve lets through all that was added, and little else."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scorers.repetition.sieve import BITS_PER_RECORD, Sieve


def records_of(keys: list[int] | np.ndarray) -> np.ndarray:
    return np.column_stack([np.asarray(keys, np.uint64), np.zeros(len(keys), np.uint64)])


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_all_that_was_added_passes(keys: list[int]) -> None:
    sieve = Sieve.for_records(len(keys))
    assert not sieve.passes(records_of(keys)).any()
    sieve.add(records_of(keys))
    assert sieve.passes(records_of(keys)).all()


def test_little_else_passes() -> None:
    keys = np.random.default_rng(0).integers(0, 2**64, 300_000, np.uint64)
    sieve = Sieve.for_records(100_000)
    sieve.add(records_of(keys[:100_000]))
    assert sieve.passes(records_of(keys[100_000:])).mean() <= 1 / BITS_PER_RECORD


def test_its_size_is_known_before_it_is_made() -> None:
    assert Sieve.for_records(1 << 20).bits.nbytes == 1 << 20
    assert Sieve.fits(1 << 20, 1 << 20)
    assert not Sieve.fits(1 << 20, (1 << 20) - 1)
