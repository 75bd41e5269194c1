"""What the experiments that train models share: the text, the model, runs of a config, and the head of a result.

The text is that of the benchmark (`make bench-data`): manuals in some twenty languages, cut into documents of 1 to 4 KB
and shuffled. The two manuals that the demo's labelled chunks are from are left out, so that those chunks can be a
target that nobody trained on. Models are tiny Llamas with the demo's tokenizer of 4,096 tokens.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from benchmarks import common
from pipeline.config import load
from pipeline.errors import UserError
from pipeline.execute import Compute, Pool
from pipeline.lock import held
from pipeline.run import run
from pipeline.workspace import Workspace

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "experiments" / ".runs"
TOKENIZER = ROOT / "configs" / "demo" / "data" / "tokenizer.json"
LABELLED_SOURCES = ["python3.11-doc", "postgresql-doc-15"]
BYTES_PER_TOKEN = 2.2
"""About; text is cut with it so that there is enough."""
CONTEXT, ROWS = 256, 8
"""Tokens of a row, rows of a step."""
ONE = Compute(workers=1)


@dataclass(frozen=True)
class Size:
    """Of a Llama with four heads."""

    width: int
    layers: int

    def parameters(self) -> tuple[int, int]:
        """All, and those that are not in the embedding (which is tied to the output)."""
        vocabulary = len(json.loads(TOKENIZER.read_text())["model"]["vocab"])
        inner = self.layers * (4 * self.width**2 + 3 * self.width * 3 * self.width + 2 * self.width) + self.width
        return inner + vocabulary * self.width, inner


def manuals(megabytes: float) -> pa.Table:
    """The first documents (id, text, source) that reach so many MB of text, or all. UserError if there are none."""
    if not common.DOCUMENTS.exists():
        raise UserError(f"{common.shown(common.DOCUMENTS)} is not there; `make bench-data` makes it")
    table = pq.read_table(common.DOCUMENTS, columns=["id", "text", "source"])
    table = table.filter(pc.invert(pc.is_in(table["source"], pa.array(LABELLED_SOURCES)))).combine_chunks()
    ends = np.cumsum(pc.binary_length(table["text"]).to_numpy())
    return table.slice(0, int(np.searchsorted(ends, megabytes * 1e6)) + 1)


def run_config(workspace: Workspace, place: Path, values: dict[str, Any]) -> None:
    """Write a config and run it, as `tamis run` does."""
    place.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    with held(workspace.store), Pool(ONE, workspace) as pool:
        run(load(str(place)), workspace, pool)


def recipe(tokens: int, size: Size, evaluation: dict[str, Any]) -> dict[str, Any]:
    """The training recipe of a comparison, one thread."""
    model = {
        "model_type": "llama",
        "hidden_size": size.width,
        "intermediate_size": 3 * size.width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
    }
    return {
        "data": {"tokenizer": str(TOKENIZER), "bos": 0},
        "evaluation": {name: {"bos": 0} | data for name, data in evaluation.items()},
        "model": {"config": model},
        "context": CONTEXT,
        "batch": ROWS,
        "micro_batch": ROWS,
        "tokens": tokens,
        "optimizer": {"lr": 3e-3},
        "threads": 1,
        "device": "cpu",
        "keep": 1,
    }


def arguments(what: str, tokens: float, seeds: int) -> argparse.ArgumentParser:
    """The options that both experiments have, with their full size as the default."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--tokens", type=float, default=tokens, help="of a run")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where files and workspace are; by default experiments/.runs/")
    parser.add_argument("--fill", action="store_true", help="put the result into docs/experiments")
    return parser


def speed(workspace: Workspace) -> str:
    """Tokens per second of the runs of a workspace, as they were trained."""
    from pipeline.sql import query

    [row] = query(
        workspace,
        """SELECT median(tokens_per_second) AS speed, sum(seconds) / 60 AS minutes, count(DISTINCT run) AS runs
           FROM training""",
    ).to_pylist()
    return (
        f"{row['runs']} runs, {row['minutes']:.1f} minutes of steps, {row['speed']:,.0f} tokens/s (median of the steps)"
    )


def head(size: Size) -> str:
    """Command, machine, date, commit and model of a run, as lines of text."""
    machine = common.machine()
    command = " ".join(shlex.quote(word) for word in sys.argv[1:])
    every, inner = size.parameters()
    return "\n".join(
        [
            f"    python -m experiments.{Path(sys.argv[0]).stem} {command}".rstrip(),
            "",
            f"Llama of {size.layers} layers, width {size.width}: {every:,} parameters, {inner:,} of them not in the "
            f"embedding; rows of {CONTEXT} tokens, {ROWS} a step, AdamW at 3e-3 with a cosine, float32, one thread. "
            f"{machine['cpu']}, {machine['cores']} cores for this process, {machine['memory_gb']} GB; "
            f"{common.now()['time'][:10]}, commit {common.commit()}.",
        ]
    )


def fill(document: Path, text: str) -> None:
    """Put a run's output between the markers of a document."""
    page = document.read_text(encoding="utf-8")
    pattern = re.compile(r"(<!-- run -->\n).*?(\n<!-- /run -->)", re.DOTALL)
    assert pattern.search(page), document
    document.write_text(pattern.sub(lambda m: m[1] + text.strip("\n") + m[2], page), encoding="utf-8")
