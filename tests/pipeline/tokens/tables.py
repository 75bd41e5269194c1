"""Token tables and corpora written by hand, for tests that need no language model."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.shards import file_facts, write_narrow
from pipeline.stage import Stage
from pipeline.tokens.table import PROVENANCE, TokenTable, open_table
from pipeline.workspace import Workspace, shard_name
from tests.workspaces import add_corpus, record

MASSES = ("system", "user", "earlier", "own", "sink")


def documents(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a token table: two answers each, losses with many ties, masses that add up to 1."""
    random = np.random.default_rng(seed)
    rows = []
    for n in range(count):
        length = int(random.integers(2, 40))
        learns = np.zeros(length, np.int8)
        learns[length // 3 : length // 2 + 1] = 1
        learns[2 * length // 3 :] = 1
        masses = random.dirichlet(np.ones(5), length).astype(np.float32)
        masses[learns == 0] = np.nan
        losses = {role: random.integers(0, 6, length).astype(np.float32) for role in ("earlier", "later")}
        for values in losses.values():
            values[0] = np.nan
        row = {
            "id": f"d{n:03d}",
            "held_out": n % 10 == 9,
            "reason": "template" if n % 11 == 5 else None,
            "input_ids": random.integers(2, 300, length).tolist(),
            "loss_mask": learns.tolist(),
            **{f"nll_{role}": values.tolist() for role, values in losses.items()},
            **{f"mass_{name}": masses[:, i].tolist() for i, name in enumerate(MASSES)},
        }
        if row["reason"]:
            row |= {name: None for name in row if name not in ("id", "held_out", "reason")}
        rows.append(row)
    return rows


SCHEMA = pa.schema(
    [("id", pa.string()), ("held_out", pa.bool_()), ("reason", pa.string())]
    + [("input_ids", pa.list_(pa.int32())), ("loss_mask", pa.list_(pa.int8()))]
    + [(f"nll_{role}", pa.list_(pa.float32())) for role in ("earlier", "later")]
    + [(f"mass_{name}", pa.list_(pa.float32())) for name in MASSES]
)


def write_table(workspace: Workspace, rows: list[dict[str, Any]], shards: int = 3) -> TokenTable:
    """A corpus `chat` and its token table `tokens`."""
    parts = [list(part) for part in np.array_split(np.array(rows, object), shards)]
    corpus = add_corpus(
        workspace,
        "chat",
        [
            pa.table(
                {
                    "id": pa.array([row["id"] for row in part], pa.string()),
                    "text": pa.array(["user: a\n\nassistant: b"] * len(part), pa.large_string()),
                    "source": pa.array(["s"] * len(part), pa.string()),
                }
            )
            for part in parts
        ],
    )
    stage = Stage("tokens", "tokens", "tokens/chat", {"corpus": corpus.hash, "rows": len(rows)})
    provenance = {"tokenizer": "t", "vocabulary": 300, "models": {}}
    names = [shard_name(i, shards) for i in range(shards)]
    stage.save(workspace.store, shards=names, provenance=provenance)
    for name, part in zip(names, parts, strict=True):
        table = pa.Table.from_pylist(part, SCHEMA).replace_schema_metadata(
            {PROVENANCE: orjson.dumps(provenance | {"hash": stage.hash})}
        )
        with workspace.store.writing(f"{stage.folder}/{name}.parquet") as path:
            write_narrow(path, table)
            facts = file_facts(path)
        record(workspace, stage.folder, name, rows_in=len(part), rows_out=len(part), **facts)
    return open_table(workspace, "chat", "tokens")
