"""Threads that read one file through a sandboxed connection read what they asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import sandbox
from pipeline.sandbox_files import Handle
from pipeline.storage import Store


def test_threads_that_share_a_handle_read_from_their_own_place(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(range(100)))
    for store in (Store(str(tmp_path)), Store("memory://handle")):
        if not store.is_local:
            store.write_bytes("f", bytes(range(100)))
        handle = Handle(store, "f")
        handle.seek(10)
        other = threading.Thread(target=handle.seek, args=(50,))
        other.start()
        other.join()
        assert handle.read(3) == bytes([10, 11, 12])
        assert handle.read() == bytes(range(13, 100))
        handle.close()


def test_parallel_row_groups_of_one_file_are_read_right(tmp_path: Path) -> None:
    values = np.arange(1_000_000)
    pq.write_table(pa.table({"x": values, "y": values[::-1]}), tmp_path / "f.parquet", row_group_size=20_000)
    for _ in range(5):
        connection = sandbox.connect({"f": (Store(str(tmp_path)), "f.parquet")})
        _, batches = sandbox.batches(
            connection, "SELECT sum(x)::BIGINT AS x, sum(x * y) AS y FROM read_parquet('tamis://f')"
        )
        assert next(batches).to_pylist()[0]["x"] == int(values.sum())
        connection.close()
