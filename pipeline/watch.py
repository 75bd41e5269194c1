"""A workspace that is looked at again and again: reads of the ledger only what is new, and tells how long is left.

watch = Watch("workspace")
while True:
    view = watch.look()         # view.status as in pipeline.status; view.left: {folder: seconds}
    time.sleep(2)
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from pipeline import ledger
from pipeline.ledger import Row
from pipeline.status import Status, status
from pipeline.workspace import Workspace

SPAN = 120.0
"""Seconds over which the pace of a stage is measured."""


@dataclass(frozen=True)
class Watched(Workspace):
    """A workspace that remembers the files of the ledger that it has read: they never change."""

    seen: dict[str, list[Row]] = field(default_factory=dict, compare=False, repr=False)

    def rows(self, folder: str) -> dict[str, Row]:
        """The row that counts of each shard of a stage."""
        return ledger.latest(ledger.read(self.store, folder, self.seen))


@dataclass(frozen=True)
class View:
    """One look. left: {folder of a stage: seconds until it is done}, of stages that went on lately."""

    status: Status
    left: dict[str, float]

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """{folder: (done, failed)}, to see whether anything has changed."""
        return {stage.folder: (stage.done, len(stage.failed)) for stage in self.status.stages}


class Watch:
    """Looks at one workspace."""

    def __init__(self, url: str):
        self.workspace = Watched(url)
        self._past: deque[tuple[float, dict[str, tuple[int, int]]]] = deque()

    def look(self, now: float | None = None) -> View:
        """Read what is new. now: seconds of a steady clock, for tests."""
        now = time.monotonic() if now is None else now
        found = status(self.workspace)
        counts = View(found, {}).counts
        self._past.append((now, counts))
        while self._past[0][0] < now - SPAN:
            self._past.popleft()
        then, before = self._past[0]
        left = {}
        for stage in found.stages:
            tried = sum(counts[stage.folder]) - sum(before.get(stage.folder, (0, 0)))
            if stage.missing and tried > 0:
                left[stage.folder] = stage.missing * (now - then) / tried
        return View(found, left)
