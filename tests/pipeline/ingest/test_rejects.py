"""Bad rows become rejects with a reason; nothing is lost and nothing crashes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.execute import Job, Pool
from pipeline.ingest import IngestSettings
from pipeline.ingest.cut import Piece
from pipeline.ingest.layout import make_layout
from pipeline.ingest.lines import json_rows
from pipeline.ingest.shard import REJECTS, SliceTask, make_shard
from pipeline.ingest.sources import discover
from pipeline.workspace import Workspace
from tests.pipeline.ingest.helpers import read, read_rejects, run, write, write_jsonl

BAD = [
    (b'{"text": "cut off', "broken_json"),
    (b"[1, 2]", "not_an_object"),
    (b"null", "not_an_object"),
    (b'{"id": "q"}', "missing_text"),
    (b'{"id": "q", "text": null}', "missing_text"),
    (b'{"id": "q", "text": 5}', "text_not_string"),
    (b'{"id": "q", "text": ["x"]}', "text_not_string"),
    (b'{"id": "q", "text": ""}', "empty_text"),
    (b'{"id": "q", "text": " \\n\\u00a0"}', "empty_text"),
    (b'{"id": "q", "text": "\xff"}', "invalid_utf8"),
    (b'{"id": "q", "text": "\xed\xa0\x80"}', "lone_surrogate"),
    (b'{"id": "q", "text": "\\ud800 x"}', "lone_surrogate"),
    (b'{"id": "q", "text": "x", "score": NaN}', "broken_json"),
    (b'{"id": "q", "text": "' + b"x" * 101 + b'"}', "too_long"),
    (b'{"text": "no id"}', "missing_id"),
    (b'{"id": null, "text": "no id"}', "missing_id"),
    (b'{"id": "", "text": "empty id"}', "bad_id"),
    (b'{"id": 1.5, "text": "bad id"}', "bad_id"),
    (b'{"id": "good", "text": "again"}', "duplicate_id"),
    (b"[" * 5000, "broken_json"),
]


def test_every_reason_of_json_lines(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    lines = [
        b'{"id": "good", "text": "kept", "source": "s"}',
        *(line for line, _ in BAD),
        b'{"id": 7, "text": "\xc3\xa9"}',
    ]
    path = write_jsonl(tmp_path / "a.jsonl", lines)
    (row,) = run(workspace, pool, path, id="id", max_chars=100)
    assert read(workspace).column("id").to_pylist() == ["good", "7"]
    assert read(workspace).column("source").to_pylist() == ["s", "web"]
    rejects = read_rejects(workspace)
    data = path.read_bytes()
    found = {data[r["position"] : data.index(b"\n", r["position"])]: r["reason"] for r in rejects}
    assert found == dict(BAD)
    assert {r["reason"]: r["rows"] for r in row.reasons} == Counter(reason for _, reason in BAD)
    assert all(r["path"] == "a.jsonl" and len(r["sample"]) <= 2000 for r in rejects)
    assert next(r for r in rejects if r["reason"] == "invalid_utf8")["sample"] == '{"id": "q", "text": "\\xff"}'
    assert next(r for r in rejects if r["reason"] == "duplicate_id")["id"] == "good"


def test_rejects_of_a_clean_shard_are_an_empty_table_with_the_schema(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    (row,) = run(workspace, pool, write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}]))
    table = pq.read_table(workspace.store.path(f"corpora/web/rejects/{row.shard}.parquet"))
    assert table.schema.equals(REJECTS)
    assert table.num_rows == 0


def test_parquet_rows_are_rejected_one_by_one(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    def strings(*values: bytes | None) -> pa.Array:
        return pa.array(values, pa.binary()).view(pa.string())

    columns = {
        "text": strings(b"kept", None, b"", b" \t", "\u00a0".encode(), b"\xff", b"\xed\xa0\x80", b"x" * 101, b"fine"),
        "url": strings(*[b"u"] * 8, b"\xc3("),
        "id": pa.array([1, 2, 3, 4, 5, 6, 7, 8, 9]),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    run(workspace, pool, tmp_path / "a.parquet", max_chars=100)
    assert read(workspace).column("input_id").to_pylist() == [1]
    assert [(r["position"], r["reason"]) for r in read_rejects(workspace)] == [
        (1, "missing_text"),
        (2, "empty_text"),
        (3, "empty_text"),
        (4, "empty_text"),
        (5, "invalid_utf8"),
        (6, "lone_surrogate"),
        (7, "too_long"),
        (8, "invalid_utf8"),
    ]


def test_parquet_ids_that_are_missing_empty_or_twice(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    pq.write_table(pa.table({"text": list("abcde"), "key": ["k", None, "", "k", "l"]}), tmp_path / "a.parquet")
    run(workspace, pool, tmp_path / "a.parquet", id="key")
    assert read(workspace).column("text").to_pylist() == ["a", "e"]
    found = [(r["position"], r["reason"]) for r in read_rejects(workspace)]
    assert found == [(1, "missing_id"), (2, "bad_id"), (3, "duplicate_id")]


def test_csv_rows_with_too_many_fields_bad_quotes_or_bad_bytes(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    data = b'text,n\nkept,1\na,b,c\n"x"y,2\nbad \xff,3\n' + b"z" * 200 + b",4\n ,5\n\nalso kept,6\n"
    run(workspace, pool, write(tmp_path / "a.csv", data), max_chars=100)
    assert read(workspace).column("text").to_pylist() == ["kept", "also kept"]
    assert [(r["position"], r["reason"]) for r in read_rejects(workspace)] == [
        (1, "wrong_number_of_columns"),
        (2, "broken_csv"),
        (3, "invalid_utf8"),
        (4, "too_long"),
        (5, "empty_text"),
    ]


def test_a_line_beyond_the_limit_is_passed_over_unread(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    limit = IngestSettings(sources=["x"], max_chars=10).max_line
    huge = b'{"text": "' + b"x" * limit + b'"}'
    run(workspace, pool, write_jsonl(tmp_path / "a.jsonl.zst", [{"text": "one"}, huge, {"text": "two"}]), max_chars=10)
    assert read(workspace).column("text").to_pylist() == ["one", "two"]
    (reject,) = read_rejects(workspace)
    assert (reject["position"], reject["reason"], reject["detail"]) == (15, "too_long", f"a line of {len(huge)} bytes")


def test_a_text_file_beyond_the_limit_is_a_reject(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    write(tmp_path / "in" / "a.txt", b"x" * 41)
    write(tmp_path / "in" / "b.txt", b"short")
    run(workspace, pool, tmp_path / "in", max_chars=10)
    assert read(workspace).column("path").to_pylist() == ["b.txt"]
    assert [r["reason"] for r in read_rejects(workspace)] == ["too_long"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abct"), inner, max_size=3),
    max_leaves=5,
)
LINE = st.one_of(
    st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")),
    st.fixed_dictionaries({"text": st.text(max_size=8) | JSON}, optional={"n": JSON, "new": JSON}).map(
        lambda row: json.dumps(row).encode()
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINE, max_size=12))
def test_whatever_bytes_come_rows_are_kept_or_rejected_and_values_survive(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    root = tmp_path_factory.mktemp("any")
    write(root / "a.jsonl", b"\n".join(lines))
    workspace, chosen = Workspace(str(root / "ws")), IngestSettings(sources=[str(root / "a.jsonl")])
    layout = make_layout({"text": pa.string(), "n": pa.int64()}, chosen, schemaless=True)
    files = {file.path: file for file in discover(chosen).files}
    task = SliceTask(0, (Piece("a.jsonl"),), files, "jsonl", layout, chosen, "web", "corpora/web", False)
    counts = make_shard(Job(workspace, "part-00000-of-00001", (("corpora/web", 1),), task))["corpora/web"]
    assert not isinstance(counts, Exception)
    data = b"\n".join(lines).removeprefix(b"\xef\xbb\xbf")
    assert counts.rows_in == sum(bool(line.strip()) for line in data.split(b"\n"))
    good = [row for row in map(value_of, data.split(b"\n")) if is_document(row)]
    table = pq.read_table(workspace.store.path("corpora/web/part-00000-of-00001.parquet"))
    assert table.column("text").to_pylist() == [row["text"] for row in good]
    assert counts.rows_out == len(good)
    for row, n, extra in zip(good, table.column("n").to_pylist(), table.column("_extra").to_pylist(), strict=True):
        kept = {"n": n} | (orjson.loads(extra) if extra else {})
        expected = {name: value for name, value in row.items() if name != "text" and value is not None}
        assert {name: value for name, value in kept.items() if value is not None} == expected


def value_of(line: bytes) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def is_document(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("text"), str) and bool(row["text"].strip())


def test_a_byte_order_mark_is_no_part_of_the_first_row() -> None:
    batch = json_rows(0, b'\xef\xbb\xbf{"a": 1}\n{"a": 2}')
    assert batch.rows == [{"a": 1}, {"a": 2}]
    assert batch.positions == [3, 12]
