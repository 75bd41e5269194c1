"""`tamis plan` on a workspace of 10,000 shards: a corpus and two score stages, every shard of each done.

Ledger rows are the pipeline's own and every shard has a file of the size that its row says, but the files hold
nothing: plan looks at names and sizes. Timed: the whole command, start of Python included, in two states: ledger
compacted (as a run leaves it) and one JSON file per shard (as a run that was killed at its end leaves it).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from benchmarks.common import DATA, line, say

CONFIG = """\
corpora:
  web: {sources: [documents.jsonl]}
scores:
  - {scorer: lengths}
  - {scorer: repetition}
"""
BYTES = 16


def measure(shards: int, repeats: int) -> dict[str, Any]:
    """Seconds of `tamis plan`, several times in each state."""
    from pipeline import ledger
    from pipeline.workspace import Workspace

    folder = DATA / f"plan-{os.getpid()}"
    try:
        workspace = Workspace(str(folder / "workspace"))
        stages = _make(folder, workspace, shards)
        loose = _timed(folder, shards, repeats)
        for stage in stages:
            ledger.compact(workspace.store, stage)
        compacted = _timed(folder, shards, repeats)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "shards": shards,
        "lines": [line("ledger compacted", "s", compacted), line("one ledger file per shard", "s", loose)],
        "about": f"{shards} shards in each of {len(stages)} stages, {repeats} times.\n",
    }


def _make(folder: Path, workspace: Any, shards: int) -> list[str]:
    """The workspace; folders of its stages."""
    from pipeline.config import load
    from pipeline.ingest import ingest_stage
    from pipeline.score import score_stage

    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "documents.jsonl").write_bytes(orjson.dumps({"text": "one document"}) + b"\n")
    config = load(str(folder / "config.yaml"))
    stage = ingest_stage(workspace, "web", config.corpora["web"])
    stage.save(workspace.store, num_shards=shards)
    folders = [stage.folder]
    corpus = workspace.corpus("web")
    for entry in config.scores:
        stage = score_stage(corpus, entry.spec)
        stage.save(workspace.store)
        folders.append(stage.folder)
    for name in folders:
        _fill(Path(workspace.url), name, corpus.shards)
        say(f"plan: made {name}")
    return folders


def _fill(root: Path, stage: str, shards: list[str]) -> None:
    """Files and ledger rows as `ledger.write` writes them, without its fsync for each."""
    from pipeline import ledger

    (root / stage).mkdir(parents=True, exist_ok=True)
    (root / ledger.folder(stage)).mkdir(parents=True, exist_ok=True)
    sources = [{"source": "web", "rows_in": 30_000, "rows_out": 30_000, "rejected": 0}]
    for shard in shards:
        row = ledger.Row(
            stage, shard, 1, "done", rows_in=30_000, rows_out=30_000, bytes_in=60_000_000, size=BYTES, sources=sources
        )
        (root / stage / f"{shard}.parquet").write_bytes(bytes(BYTES))
        (root / ledger.folder(stage) / f"{shard}.1.json").write_bytes(orjson.dumps(asdict(row)))


def _timed(folder: Path, shards: int, repeats: int) -> list[float]:
    """Seconds of the command. Raises AssertionError unless it finds every stage done."""
    command = [str(Path(sys.executable).with_name("tamis")), "plan", "config.yaml", "-w", "workspace"]
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
        seconds.append(time.perf_counter() - begun)
        finished = [text for text in done.stdout.splitlines() if text.startswith("done")]
        if len(finished) != 3 or not all(f"{shards}/{shards} shards" in text for text in finished):
            raise AssertionError(f"plan does not find everything done:\n{done.stdout}")
    return seconds
