"""How input is cut depends on input and settings alone; one huge file is shared by all workers."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.execute import Compute, Pool
from pipeline.ingest.read import TooLong, line_blocks, ranged_blocks
from pipeline.workspace import Workspace
from tests.pipeline.ingest.helpers import digests, documents, leftovers, read, run, write, write_jsonl

ROWS = documents(400)
TEXTS = [row["text"] for row in ROWS]


def many(folder: Path) -> Path:
    """A folder of files of all sizes, some larger than a shard of 8 kB."""
    for i, (start, stop) in enumerate([(0, 3), (3, 4), (4, 150), (150, 151), (151, 400)]):
        write_jsonl(folder / "sub" / f"{i}.jsonl", ROWS[start:stop])
    return folder


def test_one_worker_or_two_here_or_there_give_the_same_bytes(tmp_path: Path, pool: Pool) -> None:
    first, second, third = (Workspace(str(tmp_path / name)) for name in ("w1", "w2", "w3"))
    options = {"shard_mb": 0.008, "held_out": 0.3}
    run(first, pool, many(tmp_path / "a"), **options)
    with Pool(Compute(workers=1), second) as single:
        run(second, single, tmp_path / "a", **options)
        many(tmp_path / "moved" / "elsewhere")
        run(third, single, tmp_path / "moved" / "elsewhere", **options)
    assert digests(first) == digests(second) == digests(third)
    assert first.corpus("web").hash == third.corpus("web").hash
    assert len(first.corpus("web").shards) > 4
    assert read(first).column("text").to_pylist() == TEXTS


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst", "a.jsonl.gz"])
def test_one_huge_file_is_cut_and_ids_do_not_depend_on_the_cut(
    tmp_path: Path, workspace: Workspace, pool: Pool, name: str
) -> None:
    path = write_jsonl(tmp_path / name, ROWS)
    run(workspace, pool, path, name="cut", shard_mb=0.005)
    run(workspace, pool, path, name="whole")
    cut, whole = read(workspace, "cut"), read(workspace, "whole")
    assert len(workspace.corpus("cut").shards) >= 5
    assert len(workspace.corpus("whole").shards) == 1
    assert cut.column("id").to_pylist() == whole.column("id").to_pylist()
    assert cut.column("text").to_pylist() == TEXTS
    assert leftovers(workspace) == []


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_huge_csv_is_cut_between_records_not_inside_quotes(
    tmp_path: Path, workspace: Workspace, pool: Pool, name: str
) -> None:
    texts = [f'line {i}\n\n"quoted", {"x" * (i % 50)}\n' for i in range(300)]
    body = "".join('"{}",{}\r\n'.format(text.replace('"', '""'), i) for i, text in enumerate(texts))
    path = write(tmp_path / name, b"\xef\xbb\xbf" + f"text,n\r\n{body}".encode())
    run(workspace, pool, path, name="cut", shard_mb=0.002)
    run(workspace, pool, path, name="whole")
    cut, whole = read(workspace, "cut"), read(workspace, "whole")
    assert len(workspace.corpus("cut").shards) >= 5
    assert cut.column("text").to_pylist() == texts
    assert cut.column("n").to_pylist() == list(range(300))
    assert cut.drop("source").equals(whole.drop("source"))


def test_parquet_is_cut_by_row_groups(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet", row_group_size=40)
    run(workspace, pool, tmp_path / "a.parquet", name="cut", shard_mb=0.006)
    run(workspace, pool, tmp_path / "a.parquet", name="whole")
    assert len(workspace.corpus("cut").shards) == 10
    assert read(workspace, "cut").drop("source").equals(read(workspace, "whole").drop("source"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst"])
def test_a_limit_gives_the_first_shards_of_the_cut(tmp_path: Path, workspace: Workspace, pool: Pool, name: str) -> None:
    path = write_jsonl(tmp_path / name, ROWS)
    run(workspace, pool, path, name="all", shard_mb=0.005)
    run(workspace, pool, path, name="two", shard_mb=0.005, limit=2)
    assert workspace.corpus("two").shards == ["part-00000-of-00002", "part-00001-of-00002"]
    two = read(workspace, "two")
    assert read(workspace, "all").slice(0, two.num_rows).column("id").equals(two.column("id"))


def test_a_line_longer_than_a_shard_leaves_empty_shards_with_the_schema(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}, {"text": "x" * 20_000}, {"text": "b"}])
    rows = run(workspace, pool, path, shard_mb=0.003)
    assert 0 in [row.rows_out for row in rows]
    assert read(workspace).column("text").to_pylist() == ["a", "x" * 20_000, "b"]


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")), max_size=12),
    end=st.booleans(),
    block=st.integers(1, 9),
    cuts=st.lists(st.integers(0, 100), max_size=4),
)
def test_every_line_is_in_exactly_one_range(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bool, block: int, cuts: list[int]
) -> None:
    data = b"\n".join(lines) + (b"\n" if end else b"")
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(data)
    bounds = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    found = []
    for start, stop in pairwise(bounds):
        for offset, part in ranged_blocks(str(path), start, stop, 1 << 30):
            assert isinstance(part, bytes)
            assert data[offset : offset + len(part)] == part
            found += part.split(b"\n")
    expected = data.removesuffix(b"\n").split(b"\n") if data else []
    assert found == expected
    stream = [p for _, p in line_blocks(io.BytesIO(data).read, 0, None, 1 << 30, block)]
    assert [line for part in stream for line in (part.split(b"\n") if isinstance(part, bytes) else [])] == expected


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=8), block=st.integers(1, 10), end=st.booleans())
def test_lines_beyond_the_limit_are_passed_over_and_the_others_are_not(
    lengths: list[int], block: int, end: bool
) -> None:
    lines = [bytes([97 + i]) * n for i, n in enumerate(lengths)]
    data = b"\n".join(lines) + (b"\n" if end else b"")
    whole, passed, covered = [], [], 0
    for offset, part in line_blocks(io.BytesIO(data).read, 0, None, 10, block):
        assert offset == covered
        if isinstance(part, TooLong):
            passed.append((part.length, part.head[:1]))
            covered += part.length + 1
        else:
            whole += part.split(b"\n")
            covered += len(part) + 1
    long = [line for line in lines if len(line) > 10]
    assert passed == [(len(line), line[:1]) for line in long]
    if not end and lines[-1] == b"":
        lines.pop()  # what follows the last newline is no line
    assert whole == [line for line in lines if len(line) <= 10]
