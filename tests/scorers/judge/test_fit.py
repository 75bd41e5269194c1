"""What is fitted to a judge's log-probabilities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorers.judge.design import design
from scorers.judge.fit import RIDGE, centred, expectation, fit


def answers(members: np.ndarray, utility: np.ndarray, bias: np.ndarray, noise: float, rng) -> np.ndarray:
    """Log-probabilities of a judge whose logits are quality, slot and noise."""
    logits = utility[members] + bias + noise * rng.normal(size=members.shape)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_without_noise_quality_and_bias_come_back():
    rng = np.random.default_rng(0)
    utility, bias = rng.normal(size=200), np.array([1.0, 0.3, 0, 0, -0.3, -1.0])
    groups = design(200, 6, 4, seed=1)
    found = fit(groups.members, answers(groups.members, utility, bias, 0, rng), 200, ridge=1e-9)
    assert np.allclose(found.utility, utility - utility.mean(), atol=1e-5)
    assert np.allclose(found.bias, bias - bias.mean(), atol=1e-5)
    assert found.noise < 1e-4
    assert found.explained > 0.999999


@settings(max_examples=25, deadline=None)
@given(documents=st.integers(4, 12), size=st.integers(2, 4), rounds=st.integers(1, 3), seed=st.integers(0, 99))
def test_it_is_the_least_squares_solution_of_the_written_problem(documents, size, rounds, seed):
    rng = np.random.default_rng(seed)
    groups = design(documents, size, rounds, seed=seed)
    logprobs = answers(groups.members, rng.normal(size=documents), rng.normal(size=size), 0.5, rng)
    found = fit(groups.members, logprobs, documents)
    rows, goal = [], []
    y = centred(logprobs)
    for k, members in enumerate(groups.members):
        for s in range(size):
            row = np.zeros(documents + size)
            row[members] -= 1 / size
            row[documents:] -= 1 / size
            row[members[s]] += 1
            row[documents + s] += 1
            rows.append(row)
            goal.append(y[k, s])
    for d in range(documents):
        row = np.zeros(documents + size)
        row[d] = np.sqrt(RIDGE)
        rows.append(row)
        goal.append(0)
    solution = np.linalg.lstsq(np.array(rows), np.array(goal), rcond=None)[0]
    utility, bias = solution[:documents], solution[documents:]
    assert np.allclose(found.utility, utility - utility.mean(), atol=1e-6)
    assert np.allclose(found.bias, bias - bias.mean(), atol=1e-6)


def test_two_in_a_group_is_bradley_terry_on_log_odds():
    members = np.array([[0, 1], [1, 0]])
    logprobs = np.log([[0.8, 0.2], [0.4, 0.6]])
    found = fit(members, logprobs, 2, ridge=1e-9)
    gap = (np.log(0.8 / 0.2) + np.log(0.6 / 0.4)) / 2
    assert np.isclose(found.utility[0] - found.utility[1], gap)
    assert np.isclose(found.bias[0] - found.bias[1], (np.log(0.8 / 0.2) - np.log(0.6 / 0.4)) / 2)


def test_documents_that_were_not_shown_have_no_quality():
    found = fit(np.array([[0, 2]]), np.log([[0.5, 0.5]]), 4)
    assert np.isnan(found.utility).tolist() == [False, True, False, True]


def test_errors_cover_the_truth_as_often_as_they_should():
    rng = np.random.default_rng(7)
    utility = rng.normal(size=600)
    groups = design(600, 8, 4, 1, seed=2)
    found = fit(groups.members, answers(groups.members, utility, np.zeros(8), 1.0, rng), 600)
    off = np.abs(found.utility - (utility - utility.mean())) / found.error
    assert 0.90 < (off < 1.96).mean() < 0.985


def test_letters_that_a_judge_rules_out_count_as_far_below_not_as_infinitely_far():
    members = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    hard = np.log(np.array([[1, 1e-30, 1e-300], [1e-30, 1e-300, 1], [1e-300, 1, 1e-30]]))
    found = fit(members, hard, 3)
    assert found.utility[0] > found.utility[1] >= found.utility[2]
    assert found.utility.max() < 24
    with pytest.raises(ValueError):
        fit(members, np.full((3, 3), np.nan), 3)


def test_expected_grades_weigh_grades_by_their_probability():
    assert np.allclose(expectation(np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])), [0.75, 1.7])
