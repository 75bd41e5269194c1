"""The sigmoid of one-vs-all and negative sampling has the library's steps, float32 rounding included."""

from __future__ import annotations

import numpy as np

from scorers.fasttext.losses import near_step, stepped_sigmoid


def test_just_below_a_step_float32_rounds_up_to_it() -> None:
    assert stepped_sigmoid(np.array([-2e-7]))[0] == 0.5
    assert stepped_sigmoid(np.array([-1e-3]))[0] < 0.5


def test_beyond_the_table_it_is_zero_or_one() -> None:
    assert stepped_sigmoid(np.array([-8.1, 8.1])).tolist() == [0.0, 1.0]


def test_a_logit_near_a_step_is_noticed_and_one_between_steps_is_not() -> None:
    counts = np.array([10, 10])
    assert near_step(np.array([[1 / 32 + 1e-6], [1 / 64]]), counts).tolist() == [True, False]
