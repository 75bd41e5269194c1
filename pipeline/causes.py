"""Failures of shards summed up by their cause: a thousand shards that failed for one reason are one line.

Two errors have one cause if they are the same text once paths, names of shards and numbers are out of it. What a line
shows is the whole error of the first shard.

    for cause in causes({"part-00000-of-00002": "a/b.jsonl: row 7 ...", "part-00001-of-00002": "a/c.jsonl: row 9 ..."}):
        print(cause.shown())
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

NAMED = 3
"""Shards that a line names."""
PATH = re.compile(r"[^\s'\"(]*/[^\s'\",;:)]*")
NUMBER = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}|\d[\d,._]*", re.IGNORECASE)


@dataclass(frozen=True)
class Cause:
    """One cause. error: as the first of its shards has it."""

    error: str
    shards: tuple[str, ...]

    def shown(self) -> str:
        """One line: how many shards, the error, the first of them."""
        if len(self.shards) == 1:
            return f"{self.shards[0]}: {self.error}"
        more = f" and {len(self.shards) - NAMED} more" if len(self.shards) > NAMED else ""
        return f"{len(self.shards)} shards: {self.error} ({', '.join(self.shards[:NAMED])}{more})"


def causes(failed: Mapping[str, str]) -> list[Cause]:
    """{shard: error} by cause, the most frequent first."""
    found: dict[str, list[str]] = {}
    for shard in sorted(failed):
        found.setdefault(_kind(shard, failed[shard]), []).append(shard)
    made = [Cause(failed[shards[0]], tuple(shards)) for shards in found.values()]
    return sorted(made, key=lambda cause: -len(cause.shards))


def _kind(shard: str, error: str) -> str:
    plain = error.replace(shard.rpartition("/")[2], "SHARD")
    return NUMBER.sub("#", PATH.sub("PATH", plain))
