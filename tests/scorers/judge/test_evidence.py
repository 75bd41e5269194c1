"""Judges that answer, and judges that only seem to."""

import numpy as np
import pytest

from scorers.judge.design import design
from scorers.judge.evidence import complaint, evidence

GROUPS = design(120, 6, 4, 1, seed=0)


def judged(quality: float, bias: np.ndarray, noise: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logits = quality * rng.normal(size=120)[GROUPS.members] + bias + noise * rng.normal(size=GROUPS.members.shape)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_an_honest_judge_is_taken():
    found = evidence(GROUPS, judged(1, np.linspace(1, -1, 6), 0.7), np.full(len(GROUPS), 0.9), 120)
    assert complaint(found) is None
    assert found.reliability > 0.7
    assert found.bias[0] > found.bias[-1]


@pytest.mark.parametrize(
    ("logprobs", "mass", "said"),
    [
        (judged(0, np.zeros(6), 0.001), 0.9, "flat"),
        (judged(0, np.linspace(3, -3, 6), 0.2), 0.9, "by position"),
        (judged(0, np.zeros(6), 1.0), 0.9, "does not agree with itself"),
        (judged(1, np.zeros(6), 0.2), 0.01, "something else"),
    ],
)
def test_a_judge_that_does_not_answer_is_found_out(logprobs, mass, said):
    found = evidence(GROUPS, logprobs, np.full(len(GROUPS), mass), 120)
    assert said in (complaint(found) or "")


def test_an_engine_that_does_not_tell_the_mass_is_not_blamed_for_it():
    assert complaint(evidence(GROUPS, judged(1, np.zeros(6), 0.2), None, 120)) is None
