"""A function over all shards whose answers come back: histograms, totals, footers. Nothing is written or recorded.

for answer in answers(pool, Count(ranking), shards):
    ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from pipeline.execute import RETRIES, Pool, explained, is_transient
from pipeline.limits import Limited, limit

T = TypeVar("T")
R = TypeVar("R")


def answers(pool: Pool, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """One answer per item, in no particular order; what is transient is tried again. Raises ValueError for the rest."""
    left = list(items)
    limited = Limited(function, limit(pool.compute.task_minutes))
    for trial in range(RETRIES + 1):
        again = []
        heard = 0
        for item, answer in pool.map(limited, left):
            heard += 1
            if not isinstance(answer, BaseException):
                yield answer
            elif is_transient(answer) and trial < RETRIES:
                again.append(item)
            else:
                raise _named(item, answer)
        # A shard that nobody asked would be missing from every sum, and no sum would show it.
        assert heard == len(left), f"{len(left)} shards were to answer, {heard} did"
        if not again:
            return
        left = again


def _named(item: Any, error: BaseException) -> BaseException:
    if isinstance(error, ValueError):
        return error
    return ValueError(f"{getattr(item, 'documents', item)}: {explained(error)}")
