"""The same rows give the same bytes, however they arrive; row groups are bounded by text."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import shards
from pipeline.shards import DocumentWriter, batches, digest, open_parquet, write_narrow
from pipeline.storage import Store

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("source", pa.string())])


def documents(texts: list[str]) -> pa.Table:
    ids = [f"doc-{i}" for i in range(len(texts))]
    return pa.table([ids, texts, ["web"] * len(texts)], schema=SCHEMA)


def written(path: str, table: pa.Table, cuts: list[int]) -> str:
    writer = DocumentWriter(path, SCHEMA)
    at = 0
    for cut in [*sorted(cuts), table.num_rows]:
        cut = min(cut, table.num_rows)
        writer.write(table.slice(at, cut - at))
        at = cut
    writer.close()
    return digest(path)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_the_bytes_do_not_depend_on_how_rows_arrive(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "GROUP_BYTES", 60)
        patch.setattr(shards, "GROUP_ROWS", 7)
        table = documents([t.encode("utf-8", "ignore").decode() for t in texts])
        assert written(f"{folder}/a", table, cuts) == written(f"{folder}/b", table, [])
        assert pq.read_table(f"{folder}/a").equals(table)


def test_row_groups_are_bounded_by_text_and_rows(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "GROUP_BYTES", 100)
    written(f"{tmp_path}/a", documents(["x" * 40] * 7), [])
    sizes = [pq.ParquetFile(f"{tmp_path}/a").metadata.row_group(i).num_rows for i in range(3)]
    assert sizes == [3, 3, 1]
    monkeypatch.setattr(shards, "GROUP_ROWS", 2)
    written(f"{tmp_path}/b", documents(["x"] * 5), [])
    assert pq.ParquetFile(f"{tmp_path}/b").metadata.num_row_groups == 3


def test_documents_carry_no_dictionary_and_no_statistics_on_text(tmp_path: os.PathLike[str]) -> None:
    written(f"{tmp_path}/a", documents(["one", "two"]), [])
    columns = pq.ParquetFile(f"{tmp_path}/a").metadata.row_group(0)
    text, ids = columns.column(1), columns.column(0)
    assert text.path_in_schema == "text"
    assert text.statistics is None
    assert "RLE_DICTIONARY" not in text.encodings
    assert text.has_offset_index
    assert ids.statistics is not None
    assert text.compression == "ZSTD"


def test_batches_give_every_row_in_order(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "GROUP_BYTES", 1000)
    monkeypatch.setattr(shards, "BATCH_BYTES", 90)
    table = documents(["y" * n for n in range(60)])
    written(f"{tmp_path}/a", table, [7, 30])
    parts = list(batches(Store(str(tmp_path)), "a", ["id", "text"]))
    assert len(parts) > 10
    assert pa.concat_tables(parts).equals(table.select(["id", "text"]))


def test_an_empty_shard_still_has_the_full_schema(tmp_path: os.PathLike[str]) -> None:
    written(f"{tmp_path}/a", documents([]), [])
    assert pq.read_schema(f"{tmp_path}/a").equals(SCHEMA)
    assert list(batches(Store(str(tmp_path)), "a", ["id", "text"])) == []


def test_a_damaged_file_is_named(tmp_path: os.PathLike[str]) -> None:
    path = f"{tmp_path}/a.parquet"
    write_narrow(path, documents(["one"]).select(["id"]))
    with open(path, "r+b") as file:
        file.truncate(30)
    with (
        pytest.raises(ValueError, match=r"a\.parquet is not a whole Parquet file"),
        open_parquet(Store(str(tmp_path)), "a.parquet"),
    ):
        pass


def test_narrow_tables_build_a_dictionary_only_where_values_repeat(tmp_path: os.PathLike[str]) -> None:
    table = pa.table({"id": ["a", "b"], "score": [0.5, 0.25], "reason": ["x", None], "reasons": [["x", "y"], []]})
    write_narrow(f"{tmp_path}/a", table)
    group = pq.ParquetFile(f"{tmp_path}/a").metadata.row_group(0)
    encodings = {group.column(i).path_in_schema: group.column(i).encodings for i in range(group.num_columns)}
    coded = {path for path, kinds in encodings.items() if "RLE_DICTIONARY" in kinds}
    assert coded == {"reason", "reasons.list.element"}
    assert pq.read_table(f"{tmp_path}/a").equals(table)
