"""Counting repeats where it hurts: killed at random moments, and under a limit of memory that Dask enforces."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.execute import Compute, Pool
from pipeline.repeats import SpanSettings, count_repeats
from pipeline.workspace import Workspace
from tests.end_to_end.conftest import Tamis, command
from tests.end_to_end.test_kill import kill_during
from tests.pipeline.repeats.test_spans import TEXTS, contents
from tests.workspaces import add_corpus

pytestmark = pytest.mark.slow


def corpus(url: str, shards: int, documents: int) -> Workspace:
    """Documents of 200 random words, every tenth the same as one before it, and one span in all of them."""
    rng = random.Random(0)
    words = [f"w{i}" for i in range(50_000)]
    boilerplate = " ".join(f"b{i}" for i in range(60))
    tables, texts = [], ["first"]
    for shard in range(shards):
        texts = [
            rng.choice(texts) if i % 10 == 9 else f"{' '.join(rng.choices(words, k=200))} {boilerplate}"
            for i in range(documents)
        ]
        ids = [f"{shard}-{i}" for i in range(documents)]
        tables.append(pa.table([ids, texts, ["s"] * documents], schema=TEXTS))
    workspace = Workspace(url)
    add_corpus(workspace, "web", tables)
    return workspace


def test_a_count_killed_and_resumed_gives_the_same_bytes(tamis: Tamis, tmp_path: Path) -> None:
    calm, killed = (corpus(f"{tmp_path}/{name}", 8, 4000) for name in ("calm", "killed"))
    words = ("repeats", "spans", "--corpus", "web", "--workers", "2")
    assert tamis(*words, "-w", calm.url).returncode == 0
    rng = random.Random(1)
    for _ in range(5):
        kill_during(command(*words, "-w", killed.url), rng.uniform(2.0, 9.0), rng.random() < 0.6, rng)
    done = tamis(*words, "-w", killed.url)
    assert done.returncode == 0, done.stderr
    assert contents(calm, "repeats") == contents(killed, "repeats")
    assert contents(calm, "scores") == contents(killed, "scores")


def test_a_worker_stays_within_its_memory(tmp_path: Path) -> None:
    # Some 17 million spans: their records are half of the limit, a table of them all would be twice as much.
    workspace = corpus(f"{tmp_path}/big", 4, 20_000)
    with Pool(Compute(workers=1, memory="512MB"), workspace) as pool:
        result = count_repeats(workspace, "repeats", SpanSettings(), pool)
    assert result["windows"] > 15_000_000
    # 211 windows of a document touch the span that is in all of them; the others are those of copies.
    assert 0.3 < result["totals"]["words_2"] / result["words"] < 0.6
