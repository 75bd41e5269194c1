"""What the tests of ingest share: input files, and a corpus read back whole."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.execute import Pool
from pipeline.ingest import IngestSettings, ingest
from pipeline.ledger import Row
from pipeline.workspace import Workspace


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    """JSON lines; bytes go in as they are. Compressed as the name says."""
    data = b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows)
    return write(path, data)


def write(path: Path, data: bytes) -> Path:
    """A file, compressed as its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    elif path.suffix == ".zst":
        data = zstandard.ZstdCompressor().compress(data)
    path.write_bytes(data)
    return path


def documents(count: int, words: int = 20) -> list[dict[str, Any]]:
    """Rows with a text of their own each."""
    return [{"text": f"document {i} " + " ".join(f"w{i * j % 97}" for j in range(words)), "n": i} for i in range(count)]


def run(workspace: Workspace, pool: Pool, *sources: Any, name: str = "web", **settings: Any) -> list[Row]:
    """Ingest; every call checks that rows are conserved, per shard and per source, and that files match the counts."""
    chosen = IngestSettings(sources=[str(source) for source in sources], **settings)
    rows = ingest(workspace, name, chosen, pool)
    for row in rows:
        assert row.rows_in == row.rows_out + row.rejected
        assert sum(s["rows_in"] for s in row.sources) == row.rows_in
        assert all(s["rows_in"] == s["rows_out"] + s["rejected"] for s in row.sources)
        assert sum(r["rows"] for r in row.reasons) == row.rejected
        assert pq.read_metadata(open_file(workspace, f"corpora/{name}/{row.shard}.parquet")).num_rows == row.rows_out
        rejects = pq.read_metadata(open_file(workspace, f"corpora/{name}/rejects/{row.shard}.parquet"))
        assert rejects.num_rows == row.rejected
    return rows


def open_file(workspace: Workspace, name: str) -> Any:
    """What pyarrow opens."""
    return workspace.store.open(name)


def read(workspace: Workspace, name: str = "web") -> pa.Table:
    """All documents, in order."""
    corpus = workspace.corpus(name)
    return pa.concat_tables([pq.read_table(open_file(workspace, corpus.file(shard))) for shard in corpus.shards])


def read_rejects(workspace: Workspace, name: str = "web") -> list[dict[str, Any]]:
    """All rejects, in order."""
    found = []
    for shard in workspace.corpus(name).shards:
        found += pq.read_table(open_file(workspace, f"corpora/{name}/rejects/{shard}.parquet")).to_pylist()
    return found


def digests(workspace: Workspace, name: str = "web") -> dict[str, str]:
    """{file of the corpus: hash of its bytes}, without stage.json, which holds the time."""
    root = Path(workspace.store.path(f"corpora/{name}"))
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "stage.json"]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def leftovers(workspace: Workspace) -> list[str]:
    """Files that a finished ingest should not leave behind."""
    found = []
    for folder in ("tmp", "ledger/tmp"):
        for place, _, names in os.walk(workspace.store.path(folder)):
            found += [f"{place}/{name}" for name in names]
    return found
