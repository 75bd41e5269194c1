"""Does a selection train a better small model than a random one of the same size?

    python -m experiments.selections                                # 5 seeds of 2.5 million tokens: about two hours
    python -m experiments.selections --tokens 8e5 --seeds 3

Needs the extra `lm` and `make bench-data`. The corpus is manuals in some twenty languages (experiments/trainings.py),
so large that the budget, which is also what is trained on, is a tenth of it if there is so much text. Four selections:

preselect    the best by a PreSelect classifier, made from a panel: six tiny Llamas that differ in data and size
             (configs/preselect-small), measured by bits per byte on explaining chapters, read documents of a pool of
             their own; a quarter from each end of `noise` teaches the classifier
labelled     the best by a classifier trained on labelled chunks, explaining chapters against listings
repetition   random, but none that breaks Gopher's rules on repetition
random       random

Evaluated on the held-out split, and on explaining chapters of two manuals of which the corpus has nothing: `target`.
The chunks of the benchmark, of the panel's training and of the labelled classifier are other ones than the target's,
but of the same manuals: the first two selections are told what the target looks like. Everything goes through Tamis,
and what is done is not done again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from experiments.preselect_text import labelled_chunks
from experiments.selections_report import ARMS, by_source, composition, panel
from experiments.trainings import (
    BYTES_PER_TOKEN,
    ONE,
    ROOT,
    RUNS,
    TOKENIZER,
    Size,
    arguments,
    fill,
    head,
    manuals,
    recipe,
    run_config,
    speed,
)
from pipeline.trainer.compare import CompareSettings, compare, comparison
from pipeline.workspace import Workspace

SHARE = 0.1
"""Of the corpus's tokens, where there are so many."""
SPARE = 1.02
"""A selection's tokens by those of a run: nothing is read twice."""
TAUGHT = 340
"""Chunks of each label that panel, benchmark and classifier know: as many as configs/preselect-small takes."""
CLASSIFIER = {"dim": 16, "bucket": 100_000, "lr": 0.5, "epoch": 25}
HELD_OUT = 250_000
"""Bytes that are held out, about."""
DOCUMENT = ROOT / "docs" / "experiments" / "selections.md"


def write_text(out: Path, tokens: int, pool: int) -> None:
    """The corpus, the pool of the panel, the labelled chunks and the target, as files to ingest."""
    table = manuals(tokens / SHARE * BYTES_PER_TOKEN / 1e6)
    pq.write_table(table.slice(0, pool), out / "pool.parquet")
    pq.write_table(table.slice(pool), out / "documents.parquet", row_group_size=4096)
    chunks = labelled_chunks()
    known = [{"label": str(int(kind)), "text": text} for kind, own in chunks.items() for text in own[:TAUGHT]]
    target = [{"id": f"chapter-{n}", "text": text} for n, text in enumerate(chunks[True][TAUGHT:])]
    for name, rows in (("labelled", known), ("target", target)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (out / f"{name}.part").write_text(lines, encoding="utf-8")
        (out / f"{name}.part").replace(out / f"{name}.jsonl")


def config(out: Path, tokens: int) -> dict[str, Any]:
    """The run from documents to exports."""
    budget = f"{int(SPARE * tokens)} tokens"
    held_out = min(HELD_OUT / pq.read_metadata(out / "documents.parquet").num_rows / 2100, 0.05)
    return {
        "corpora": {
            "manuals": {"sources": ["documents.parquet"], "id": "id", "shard_mb": 8, "held_out": round(held_out, 5)},
            "pool": {"sources": ["pool.parquet"], "id": "id"},
        },
        "classifiers": {"explaining": {"rows": "labelled.jsonl"} | CLASSIFIER},
        "preselect": {
            "panel": {
                "corpus": "pool",
                "panel": "panel.yaml",
                "sample": {"sql": "SELECT id, source AS domain FROM documents WHERE corpus = 'pool'"},
                "strength": {"benchmarks": ["bits"]},
                "labels": {"by": "noise", "rule": "quantile", "positive": 0.25, "negative": 0.25, "held_out": 0},
                "train": CLASSIFIER,
            }
        },
        "scores": [
            {"scorer": "lengths", "tokenizer": str(TOKENIZER), "corpora": ["manuals"]},
            {"scorer": "repetition", "corpora": ["manuals"]},
            {"scorer": "preselect", "model": "panel", "corpora": ["manuals"]},
            {"scorer": "preselect", "alias": "labelled", "model": "explaining", "corpora": ["manuals"]},
        ],
        "selections": {
            "preselect": {"corpora": ["manuals"], "by": "preselect_score", "budget": budget},
            "labelled": {"corpora": ["manuals"], "by": "labelled_score", "budget": budget},
            "repetition": {"corpora": ["manuals"], "random": 1, "gopher": "later", "budget": budget},
            "random": {"corpora": ["manuals"], "random": 1, "budget": budget},
        },
        "exports": {name: {"selection": name, "format": "hf", "with_held_out": name == "random"} for name in ARMS},
    }


def make_panel(out: Path, steps: int) -> None:
    """The six models, with configs/preselect-small/make_panel.py."""
    if not (out / "panel.yaml").exists():
        script = ROOT / "configs" / "preselect-small" / "make_panel.py"
        command = [sys.executable, str(script), str(out), "--steps", str(steps), "--documents", "0"]
        subprocess.run(command, check=True, stdout=sys.stderr)


def main() -> None:
    """See the module."""
    parser = arguments("Selections of equal budget, trained and compared.", tokens=2.5e6, seeds=5)
    parser.add_argument("--pool", type=int, default=500, help="documents that the panel reads")
    parser.add_argument("--panel-steps", type=int, default=100)
    given = parser.parse_args()
    tokens, size = int(given.tokens), Size(given.width, given.layers)
    begun = head(size)
    out = (given.out or RUNS / f"selections-{tokens}").absolute()
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    workspace = Workspace(str(out / "workspace"))
    if not (out / "target.jsonl").exists():
        write_text(out, tokens, given.pool)
    make_panel(out, given.panel_steps)
    run_config(workspace, out / "selections.yaml", config(out, tokens))
    sets = {
        "held_out": {"paths": ["exports/random"], "split": "held_out"},
        "target": {"paths": [str(out / "target.jsonl")]},
    }
    settings = CompareSettings(
        name="selections",
        train=recipe(tokens, size, sets),
        selections={name: {"paths": [f"exports/{name}"]} for name in ARMS},
        seeds=list(range(given.seeds)),
    )
    made = compare(workspace, comparison(settings, out / "workspace", "selections"), ONE)
    table = workspace.store.read_bytes(f"{made}/table.md").decode()
    results = pq.read_table(workspace.store.open(f"{made}/results.parquet")).to_pylist()
    parts = [begun, speed(workspace), table, by_source(results, "random"), panel(workspace), composition(workspace)]
    text = "\n\n".join(part.strip("\n") for part in parts) + "\n"
    print(text)
    if given.fill:
        fill(DOCUMENT, text)


if __name__ == "__main__":
    main()
