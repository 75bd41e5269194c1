"""Answers of many items: each item is asked, whether it has a task of its own or shares one."""

from __future__ import annotations

import pytest

from pipeline.execute import Pool
from pipeline.select.spread import TASKS_PER_THREAD, TOGETHER, answers


def half(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


@pytest.mark.parametrize("count", [1, 5, 2 * TASKS_PER_THREAD * TOGETHER + 3, 700])
def test_every_item_is_asked_once(pool: Pool, count: int) -> None:
    assert sorted(answers(pool, half, range(0, 2 * count, 2))) == list(range(count))


def test_one_bad_item_among_many_is_told(pool: Pool) -> None:
    with pytest.raises(ValueError, match="333 is odd"):
        list(answers(pool, half, [*range(0, 600, 2), 333]))
