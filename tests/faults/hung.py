"""Faults of tasks: a scorer that never ends.

Workers import this module when they start (Dask's `preload`): it adds a scorer that behaves, unless a file says
which document it is to hang at.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

import scorers
from pipeline.execute import Compute, Pool
from pipeline.status import status
from pipeline.workspace import Workspace
from scorers.texts import Texts
from tests.faults.lab import CONFIG, Lab
from tests.faults.outcomes import LOST, MENDED
from tests.faults.recover import Trial

VERSION = 1
MINUTES = 0.15
"""Time limit of the tasks that are to hang."""
ORDER = "TAMIS_TEST_HANG"
"""Environment variable: a file with what a text that is to hang begins with, and how."""

scorers.SCORERS["hung"] = "tests.faults.hung"


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def model_files(settings: Settings) -> dict[str, str]:
    return {}


def load(settings: Settings, files: dict[str, Path], name: str) -> Hanging:
    return Hanging(pa.schema([(f"{name}_bytes", pa.int64())]))


class Hanging:
    """Bytes of a document, or no end."""

    def __init__(self, schema: pa.Schema):
        self.schema = schema

    def score(self, texts: Texts) -> list[pa.Array]:
        order = Path(os.environ.get(ORDER, "/nowhere"))
        if order.exists():
            how, begins = order.read_bytes().split(b"\n", 1)
            data = bytes(texts.data)
            if any(data[a:b].startswith(begins) for a, b in zip(texts.offsets[:-1], texts.offsets[1:], strict=True)):
                _hang(how)
        return [pa.array([int(b - a) for a, b in zip(texts.offsets[:-1], texts.offsets[1:], strict=True)], pa.int64())]


def _hang(how: bytes) -> None:
    if how == b"sleep":
        time.sleep(3600)
    if how == b"read":  # of a pipe that nobody writes to: as of a file server that is gone
        reading, _ = os.pipe()
        os.read(reading, 1)
    while True:  # "loop"
        pass


@dataclass(frozen=True)
class Waiting:
    """Workers with a time limit, and the file that has them hang."""

    pool: Pool
    order: Path


@contextlib.contextmanager
def waiting(folder: Path) -> Iterator[Waiting]:
    """For the rest of the campaign."""
    order = folder / "hang"
    preload = {"DASK_DISTRIBUTED__WORKER__PRELOAD": '["tests.faults.hung"]', ORDER: str(order)}
    with _environment(preload):
        import dask

        compute = Compute(workers=2, task_minutes=MINUTES)
        preloaded = {"distributed.worker.preload": ["tests.faults.hung"]}
        with dask.config.set(preloaded), Pool(compute, Workspace(str(folder / "any"))) as pool:
            pool.client  # noqa: B018
            yield Waiting(pool, order)


@contextlib.contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in more}
    os.environ |= more
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def task(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
    """A scorer that never ends with one document: its shard is recorded as failed, the others are done."""
    how = rng.choice(("sleep", "read", "loop"))
    one = lab.once("waiting", lambda: waiting(lab.given.parent))
    assert isinstance(one, Waiting)
    config = lab.given / "hung.yaml"
    config.write_text(CONFIG.replace("scores:\n", "scores:\n  - {scorer: hung}\n"))
    workspace = folder / "workspace"
    shutil.copytree(lab.pristine, workspace)
    shard = rng.choice(sorted(workspace.glob("corpora/manuals/part-*.parquet")))
    text = rng.choice(pq.read_table(shard, columns=["text"]).column("text").to_pylist())
    one.order.write_bytes(how.encode() + b"\n" + text.encode())
    said = lab.attempt(config, workspace, one.pool) or ""
    one.order.unlink()
    what = f"{how} in {shard.stem}"
    [stage] = [s for s in status(Workspace(str(workspace))).stages if s.name == "hung"]
    if "not through after" not in said or set(stage.failed) != {shard.stem} or stage.missing:
        return what, LOST, said or "the run ended as if nothing had hung"
    if "not through after" not in stage.failed[shard.stem]:
        return what, LOST, f"status: {stage.failed}"
    again = lab.attempt(config, workspace, one.pool)
    if again is not None or not lab.made(workspace) or lab.whole(workspace):
        return what, LOST, again or "other bytes"
    [stage] = [s for s in status(Workspace(str(workspace))).stages if s.name == "hung"]
    return what, (MENDED if stage.done == stage.total and not stage.failed else LOST), said


KINDS: dict[str, Trial] = {"task hung": task}
