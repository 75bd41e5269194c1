"""Who is shown with whom, and where."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorers.judge.design import design


@settings(max_examples=60, deadline=None)
@given(
    documents=st.integers(2, 80),
    size=st.integers(2, 9),
    rounds=st.integers(1, 5),
    anchors=st.integers(0, 3),
    seed=st.integers(0, 9),
)
def test_every_document_is_shown_each_round_and_never_twice_in_a_group(documents, size, rounds, anchors, seed):
    if documents < size or size - anchors < 1:
        with pytest.raises(ValueError):
            design(documents, size, rounds, anchors, seed)
        return
    found = design(documents, size, rounds, anchors, seed)
    for number in range(rounds):
        members = found.members[found.rounds == number]
        assert set(members.reshape(-1).tolist()) == set(range(documents))
        assert len(members) == -(-documents // (size - anchors))
    assert all(len(set(row)) == size for row in found.members.tolist())


def test_positions_are_balanced_to_within_one_over_the_rounds():
    found = design(64, 8, 8, seed=3)
    places = np.zeros((64, 8), int)
    for row in found.members:
        places[row, np.arange(8)] += 1
    assert (places == 1).all()


def test_four_rounds_of_eight_meet_every_quarter_once():
    found = design(80, 8, 4, seed=1)
    quarters = np.zeros((80, 4), int)
    for row in found.members:
        quarters[row, np.arange(8) // 2] += 1
    assert (quarters == 1).all()


def test_the_same_seed_gives_the_same_groups_and_another_seed_others():
    again = [design(50, 5, 2, 1, seed).members for seed in (4, 4, 5)]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


def test_chosen_documents_are_all_shown_and_others_only_fill_up():
    chosen = np.array([3, 9, 11, 20, 21])
    found = design(30, 4, 2, 1, seed=0, chosen=chosen, first_round=4)
    assert set(found.rounds.tolist()) == {4, 5}
    for number in (4, 5):
        assert set(chosen.tolist()) <= set(found.members[found.rounds == number].reshape(-1).tolist())


def test_anchors_come_back_in_other_groups_and_places():
    found = design(700, 8, 2, anchors=1, seed=0)
    counts = np.bincount(found.members.reshape(-1), minlength=700)
    often = np.flatnonzero(counts > 4)
    assert 10 <= len(often) <= 16  # the pool of anchors
    places = [int(np.flatnonzero(row == often[0])[0]) for row in found.members if often[0] in row]
    assert len(set(places)) > 1


def test_sizes_that_do_not_fit_are_refused():
    for arguments in ((10, 1, 1, 0), (10, 4, 1, 4), (3, 4, 1, 0), (10, 4, 0, 0)):
        with pytest.raises(ValueError):
            design(*arguments)
