"""The curves of a run: Parquet in the workspace while it goes on, a bar on a terminal, TensorBoard if asked for.

    <run>/metrics/steps-00000001.parquet       a row a step, in parts that end where a checkpoint is made at the latest
    <run>/evaluations/steps-00000500.parquet   a row per set and source

`tamis sql "SELECT step, loss FROM training"` reads them, also while the run goes on.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.extras import needed
from pipeline.storage import Store
from pipeline.training_views import SETS, STEPS

METRICS, EVALUATIONS = "metrics", "evaluations"
FLUSH_SECONDS = 30


class Metrics:
    """Collects rows, writes them in parts, and shows where the run is."""

    def __init__(self, store: Store, run: str, label: str, steps: int, begin: int, tensorboard: str | None):
        self.store, self.run, self.label, self.steps, self.step = store, run, label, steps, begin
        self._rows: list[dict[str, Any]] = []
        self._flushed = self._begun = time.monotonic()
        self._from = begin
        self._bar: Any = None
        self._writer: Any = None
        if tensorboard is not None:
            needed("tensorboard: true", "lm", "tensorboard")
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(tensorboard)

    def __enter__(self) -> Metrics:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.label, total=self.steps, completed=self.step, state="")
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()
        if self._bar is not None:
            self._bar.stop()
        if self._writer is not None:
            self._writer.close()

    def add(self, row: dict[str, Any]) -> None:
        """One step."""
        self.step = row["step"]
        self._rows.append(row)
        if self._bar is not None:
            state = f"loss {row['loss']:.3f}, {row['tokens_per_second']:,.0f} tokens/s"
            self._bar.update(self._task, completed=self.step, state=state)
        if self._writer is not None:
            for name in ("loss", "nll", "grad_norm", "lr", "tokens_per_second"):
                self._writer.add_scalar(name, row[name], self.step)
            for name, value in row["probes"].items():
                self._writer.add_scalar(name, value, self.step)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def evaluated(self, rows: list[dict[str, Any]]) -> None:
        """One evaluation of all sets."""
        if not rows:
            return
        _write(self.store, f"{self.run}/{EVALUATIONS}/{_part(rows[0]['step'])}", rows, SETS)
        for row in rows:
            if row["source"] is None and row["bits_per_byte"] is not None:
                self.say(f"{row['set']}: {row['bits_per_byte']:.4f} bits/byte, {row['nll']:.4f} nats/token")
                if self._writer is not None:
                    self._writer.add_scalar(f"bits_per_byte/{row['set']}", row["bits_per_byte"], row["step"])

    def flush(self) -> None:
        """Write what there is as one part."""
        if self._rows:
            _write(self.store, f"{self.run}/{METRICS}/{_part(self._rows[0]['step'])}", self._rows, STEPS)
            self._rows = []
        self._flushed = time.monotonic()

    def say(self, text: str) -> None:
        """A line about this moment, to stderr; above the bar on a terminal."""
        line = f"{self.label} step {self.step}/{self.steps}: {text}"
        if self._bar is not None:
            self._bar.console.print(line, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)


def forget(store: Store, run: str, step: int) -> None:
    """Remove the metrics of steps after `step`: they are about to be made again."""
    for folder in (METRICS, EVALUATIONS):
        for name in store.sizes(f"{run}/{folder}"):
            if int(name.removeprefix("steps-").partition(".")[0]) > step:
                store.remove(f"{run}/{folder}/{name}")


def read(store: Store, run: str, folder: str) -> pa.Table:
    """All rows of a run's metrics or evaluations, by step."""
    schema = STEPS if folder == METRICS else SETS
    tables = [pq.read_table(store.open(f"{run}/{folder}/{name}")) for name in sorted(store.sizes(f"{run}/{folder}"))]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _part(step: int) -> str:
    return f"steps-{step:08d}.parquet"


def _write(store: Store, name: str, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    with store.writing(name) as path:
        pq.write_table(pa.Table.from_pylist(rows, schema), path, compression="zstd")
