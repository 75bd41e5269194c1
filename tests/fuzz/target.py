"""What a target is, and what counts as a finding.

A target takes bytes and gives them to one reader or parser as a user's file or text would come. It may refuse them with
a ValueError or OSError whose text is not endless; anything else that is raised is a finding, as are a crash, a hang and
memory beyond the limit, which the caller of the target sees (tests/fuzz/run.py).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline import ledger
from pipeline.execute import Compute, Counts, Job, Pool, Work, ledger_row
from pipeline.ledger import Row
from pipeline.workspace import Workspace

REFUSED = (ValueError, OSError)
LONGEST = 10_000
"""Characters of a refusal: input that comes back in its own error must be cut somewhere."""
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Finding(AssertionError):
    """Input that is neither read nor refused as it should be."""


@dataclass(frozen=True)
class Target:
    """A reader or parser. run: raises nothing but REFUSED, or it is a finding. seeds: valid input to begin with."""

    name: str
    reads: str
    """in words, for the docs"""
    run: Callable[[bytes], None]
    make_seeds: Callable[[], Sequence[bytes]]
    words: tuple[bytes, ...] = ()
    """pieces of the format's own language"""

    @cached_property
    def seeds(self) -> list[bytes]:
        """As made, and the empty input."""
        return [*self.make_seeds(), b""]

    def attempt(self, data: bytes) -> bool:
        """Whether the input was taken. Raises Finding for a refusal that is none, and what else the target raises."""
        try:
            self.run(data)
        except REFUSED as error:
            text = str(error)
            if isinstance(error, UnicodeError) or not text:
                raise Finding(f"{self.name}: refused with a bare {error!r}") from error
            if len(text) > LONGEST:
                raise Finding(f"{self.name}: refused in {len(text)} characters: {text[:200]}") from error
            return False
        return True


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder in memory, gone afterwards."""
    with tempfile.TemporaryDirectory(dir=SCRATCH, prefix="tamis-fuzz-") as path:
        yield Path(path)


class Here(Pool):
    """A pool that does every job in this process, without Dask, and lets through what no job may raise."""

    def __init__(self, workspace: Workspace):
        super().__init__(Compute(), workspace)

    def run(
        self,
        jobs: Sequence[Job],
        work: Work,
        label: str,
        unit: str = "shards",
        resources: dict[str, float] | None = None,
    ) -> list[Row]:
        """Do all jobs; their ledger rows."""
        rows = []
        for job in jobs:
            outcomes: dict[str, Counts | Exception]
            try:
                outcomes = work(job)
            except REFUSED as error:
                outcomes = {name: error for name, _ in job.outputs}
            for name, number in job.outputs:
                rows.append(ledger_row(name, job.shard, number, 0.0, outcomes[name]))
                ledger.write(job.workspace.store, rows[-1])
        return rows
