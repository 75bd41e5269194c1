"""What a person sees while a stage runs: a bar with rows/s and MB/s on a terminal, one closing line elsewhere.

MB are 10^6 bytes of decompressed text. Everything goes to stderr; stdout is for data. Each begin, shard and end is an
event too (pipeline.events).
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from pipeline import events

if TYPE_CHECKING:
    from pipeline.ledger import Row


class Progress:
    """Progress of one stage, fed with ledger rows."""

    def __init__(self, label: str, total: int, unit: str = "shards"):
        self.label, self.total, self.unit = label, total, unit
        self.rows = self.bytes = self.failed = 0
        self._begun = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if self.total:
            events.emit("stage", label=self.label, total=self.total, unit=self.unit)
        if self.total and sys.stderr.isatty() and not events.is_json():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(self.unit),
                TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.label, total=self.total, speed="")
        return self

    def advance(self, rows: list[Row]) -> None:
        """Count one finished job by its ledger rows."""
        for row in rows:
            events.emit_shard(row)
        if rows:
            # A pass of several scorers reads the text once: its rows speak of the same documents.
            self.rows += max(row.rows_in for row in rows)
            self.bytes += max(row.bytes_in for row in rows)
            self.failed += any(not row.done for row in rows)
        if self._bar is not None:
            self._bar.update(self._task, advance=1, speed=self._speed())

    def _speed(self) -> str:
        seconds = max(time.monotonic() - self._begun, 1e-9)
        parts = [f"{self.rows / seconds:,.0f} rows/s"] if self.rows else []
        parts += [f"{self.bytes / seconds / 1e6:,.1f} MB/s"] if self.bytes else []
        parts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(parts)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if not self.total:
            return
        seconds = time.monotonic() - self._begun
        counted = {"total": self.total, "failed": self.failed, "rows": self.rows, "bytes_in": self.bytes}
        events.emit("stage_end", label=self.label, seconds=seconds, **counted, whole=error[0] is None)
        if error[0] is None and not events.is_json():
            rows = f", {self.rows:,} rows" if self.rows else ""
            speed = f" ({self._speed()})" if self._speed() else ""
            print(f"{self.label}: {self.total} {self.unit}{rows} in {seconds:.1f} s{speed}", file=sys.stderr)
