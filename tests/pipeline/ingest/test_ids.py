"""Ids: given or made, unique over the whole corpus, the first of a kind kept; the held-out split follows from them."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
import xxhash

from pipeline.errors import ShardsFailed
from pipeline.execute import Compute, Pool
from pipeline.workspace import Workspace
from tests.pipeline.ingest.helpers import digests, documents, leftovers, read, read_rejects, run, write_jsonl


def keyed(count: int, every: int) -> list[dict[str, object]]:
    """Documents whose key comes again after `every` rows."""
    return [row | {"key": f"k{i % every}", "source": f"s{i % 3}"} for i, row in enumerate(documents(count))]


def test_without_a_column_an_id_is_a_hash_of_name_and_position(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    run(workspace, pool, write_jsonl(tmp_path / "a.jsonl", [{"text": "x", "id": 7}, {"text": "x", "id": 7}]))
    ids = [xxhash.xxh3_128_hexdigest(f"a.jsonl\0{position}".encode()) for position in (0, 20)]
    assert read(workspace).column("id").to_pylist() == ids
    assert read(workspace).column("input_id").to_pylist() == [7, 7]


def test_the_first_of_each_id_is_kept_whatever_the_workers(tmp_path: Path, pool: Pool) -> None:
    rows = keyed(300, 170)
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    many, one = Workspace(str(tmp_path / "w2")), Workspace(str(tmp_path / "w1"))
    run(many, pool, path, id="key", shard_mb=0.005)
    with Pool(Compute(workers=1), one) as single:
        run(one, single, path, id="key", shard_mb=0.005)
    assert digests(many) == digests(one)
    assert read(many).column("id").to_pylist() == [f"k{i}" for i in range(170)]
    assert read(many).column("n").to_pylist() == list(range(170))
    rejects = read_rejects(many)
    assert [(r["id"], r["reason"]) for r in rejects] == [(f"k{i % 170}", "duplicate_id") for i in range(170, 300)]
    lines = path.read_bytes().split(b"\n")
    starts = {sum(len(line) + 1 for line in lines[:i]): i for i in range(len(rows))}
    assert [starts[r["position"]] for r in rejects] == list(range(170, 300))
    assert [r["source"] for r in rejects] == [rows[i]["source"] for i in range(170, 300)]
    assert leftovers(many) == []


def test_a_file_that_changes_holds_the_corpus_back_and_the_next_run_gives_the_bytes_of_an_undisturbed_one(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    rows = keyed(90, 60)
    for i in range(3):
        write_jsonl(tmp_path / "in" / f"{i}.jsonl", rows[30 * i : 30 * i + 30])
    away = tmp_path / "in" / "0.jsonl"
    options = {"id": "key", "shard_mb": 0.0045}
    whole = Workspace(f"{tmp_path}/whole")
    run(whole, pool, tmp_path / "in", **options)
    with pytest.raises(ShardsFailed, match=r"0\.jsonl was changed while it was read") as failed:
        run_with_a_file_changed_between(workspace, pool, away, tmp_path / "in", options)
    assert len(failed.value.failed) == 1
    assert read_done(workspace) == []
    done = run(workspace, pool, tmp_path / "in", **options)
    assert [row.rejected for row in done] == [0, 0, 30]
    assert digests(workspace) == digests(whole)
    assert leftovers(workspace) == []


def test_a_damaged_file_fails_alone_and_duplicates_are_decided_without_it(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    rows = keyed(90, 60)
    for i in range(3):
        write_jsonl(tmp_path / "in" / f"{i}.jsonl", rows[30 * i : 30 * i + 30])
    with gzip.open(tmp_path / "in" / "0.jsonl.gz", "wb") as file:
        file.write((tmp_path / "in" / "0.jsonl").read_bytes())
    (tmp_path / "in" / "0.jsonl").unlink()
    cut = tmp_path / "in" / "0.jsonl.gz"
    cut.write_bytes(cut.read_bytes()[:-20])
    for _ in range(2):
        with pytest.raises(ShardsFailed, match=r"0\.jsonl\.gz cannot be read"):
            run(workspace, pool, tmp_path / "in", id="key", shard_mb=0.0045)
        assert sorted(read_done(workspace)) == sorted(f"k{i % 60}" for i in range(30, 90))


def run_with_a_file_changed_between(
    workspace: Workspace, pool: Pool, away: Path, folder: Path, options: dict[str, object]
) -> None:
    """Ingest while one file's time changes after the plan is made and before it is read."""
    original = pool.run

    def run_later(jobs, work, label, unit="shards"):  # type: ignore[no-untyped-def]
        if label.startswith("read"):
            os.utime(away, (1, 1))
        return original(jobs, work, label, unit)

    pool.run = run_later  # type: ignore[method-assign]
    try:
        run(workspace, pool, folder, **options)
    finally:
        pool.run = original  # type: ignore[method-assign]


def read_done(workspace: Workspace) -> list[str]:
    import pyarrow.parquet as pq

    corpus = workspace.corpus("web")
    return [
        i for shard in corpus.done for i in pq.read_table(workspace.store.path(corpus.file(shard)))["id"].to_pylist()
    ]


def test_the_held_out_split_is_a_hash_of_seed_and_id(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", keyed(300, 300))
    run(workspace, pool, path, name="all", id="key", held_out=0.25, seed=3)
    run(workspace, pool, path, name="some", id="key", held_out={"s1": 0.25, "s2": 1.0}, seed=3)
    every, some = read(workspace, "all").to_pylist(), read(workspace, "some").to_pylist()
    assert [row["held_out"] for row in every] == [xxhash.xxh64_intdigest(r["id"].encode(), 3) < 2**62 for r in every]
    assert 40 < sum(row["held_out"] for row in every) < 110
    for row, other in zip(some, every, strict=True):
        assert row["held_out"] == {"s0": False, "s1": other["held_out"], "s2": True}[row["source"]]
