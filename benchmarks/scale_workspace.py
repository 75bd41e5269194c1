"""A workspace of many shards with scores that were drawn, for what is measured of catalogs, plans and selections.

Files and ledger rows are written by the pipeline's own writers, without the sync of each that a real run makes. Texts
are one word: nothing here reads them. Every id, score and length is a shard's own.

    make("workspace", shards=10_000, rows=10_000)
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import ledger
from pipeline.ledger import Row
from pipeline.shards import DocumentWriter, write_narrow
from pipeline.stage import Stage
from pipeline.workspace import Workspace, shard_name

SOURCES = 20
DOCUMENTS = pa.schema(
    [("id", pa.string()), ("text", pa.large_string()), ("source", pa.string()), ("held_out", pa.bool_())]
)


def make(url: str, shards: int, rows: int) -> Workspace:
    """Write it: a corpus `web`, its scores `preselect` and its `lengths`."""
    workspace = Workspace(url)
    corpus = Stage("ingest", "web", "corpora", {"made": "scale", "shards": shards, "rows": rows})
    stages = {
        "documents": corpus,
        **{
            alias: Stage("score", alias, "scores/web", {"corpus": corpus.hash, "scorer": alias, "settings": {}})
            for alias in ("preselect", "lengths")
        },
    }
    written: dict[str, list[Row]] = {name: [] for name in stages}
    for stage in stages.values():
        stage.save(workspace.store, **({"num_shards": shards} if stage is corpus else {}))
    draw = np.random.default_rng(0)
    sources = pa.array([f"source-{i:02d}" for i in range(SOURCES)])
    for number in range(shards):
        shard = shard_name(number, shards)
        tables = _tables(number, rows, draw, sources)
        for name, stage in stages.items():
            path = Path(url) / stage.folder / f"{shard}.parquet"
            if name == "documents":
                writer = DocumentWriter(str(path), DOCUMENTS)
                writer.write(tables[name])
                writer.close()
            else:
                write_narrow(str(path), tables[name])
            counts: dict[str, Any] = {"rows_in": rows, "rows_out": rows, "bytes_in": 4 * rows}
            written[name].append(Row(stage.folder, shard, 1, "done", size=path.stat().st_size, seconds=0.1, **counts))
    for name, stage in stages.items():
        ledger.compact(workspace.store, stage.folder, written[name])
    return workspace


@functools.cache
def _numbers(rows: int) -> pa.Array:
    return pa.array([f"{row:05d}" for row in range(rows)])


def _tables(number: int, rows: int, draw: Any, sources: pa.Array) -> dict[str, pa.Table]:
    ids = pc.binary_join_element_wise(f"{number:05d}", _numbers(rows), "-")
    scores = draw.random(rows, np.float32)
    tokens = draw.lognormal(6.5, 1.0, rows).astype(np.int64) + 1
    chosen = sources.take(pa.array(draw.integers(0, SOURCES, rows)))
    text = pa.array(["word"], pa.large_string()).take(pa.array(np.zeros(rows, np.int64)))
    held = pa.array(np.arange(rows) % 100 == 0)
    return {
        "documents": pa.table([ids, text, chosen, held], schema=DOCUMENTS),
        "preselect": pa.table({"id": ids, "preselect_score": scores}),
        "lengths": pa.table({"id": ids, "tokens": tokens}),
    }
