"""A function over all shards whose answers come back: histograms, totals, footers. Nothing is written or recorded.

for answer in answers(pool, Count(ranking), shards):
    ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipeline.execute import RETRIES, Pool, explained, is_transient
from pipeline.limits import Limited, Overdue, limit

TOGETHER = 8
"""Most items of a task: a task costs Dask what it takes to look at two shards of ten thousand documents."""
TASKS_PER_THREAD = 16
"""Items are put together only if so many tasks a thread are left: no thread waits long for the last one."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class _Each(Generic[T, R]):
    """Answers to several items; what one of them raises is its answer, except Overdue, which ends the task."""

    function: Callable[[T], R]

    def __call__(self, items: Sequence[T]) -> list[R | Exception]:
        return [self._one(item) for item in items]

    def _one(self, item: T) -> R | Exception:
        try:
            return self.function(item)
        except Overdue:
            raise
        except Exception as error:
            return error


def answers(pool: Pool, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """One answer per item, in no particular order; what is transient is tried again. Raises ValueError for the rest."""
    left = list(items)
    each = _Each(Limited(function, limit(pool.compute.task_minutes)))
    for trial in range(RETRIES + 1):
        again = []
        heard = 0
        for some, found in pool.map(each, _together(left, pool) if left else []):
            for item, answer in zip(
                some, [found] * len(some) if isinstance(found, BaseException) else found, strict=True
            ):
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


def _together(items: list[T], pool: Pool) -> list[list[T]]:
    """Items of a task each."""
    size = max(1, min(TOGETHER, len(items) // (TASKS_PER_THREAD * pool.threads)))
    return [items[at : at + size] for at in range(0, len(items), size)]


def _named(item: Any, error: BaseException) -> BaseException:
    if isinstance(error, ValueError):
        return error
    return ValueError(f"{getattr(item, 'documents', item)}: {explained(error)}")
