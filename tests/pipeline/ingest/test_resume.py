"""Whatever stops an ingest, the next one goes on and ends with the same bytes."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Pool
from pipeline.ingest import IngestSettings, ingest_stage, sources
from pipeline.workspace import Workspace
from tests.pipeline.ingest.helpers import digests, documents, leftovers, read, run, write_jsonl

ROWS = [row | {"key": i % 350} for i, row in enumerate(documents(400))]


class Killed(BaseException):
    """Stands for the end of the main process."""


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst"])
@pytest.mark.parametrize("key", [None, "key"])
def test_a_run_that_ends_anywhere_is_resumed_to_the_same_bytes(
    tmp_path: Path, pool: Pool, name: str, key: str | None
) -> None:
    path = write_jsonl(tmp_path / name, ROWS)
    options = {"id": key, "shard_mb": 0.01}
    whole, workspace = Workspace(str(tmp_path / "whole")), Workspace(str(tmp_path / "ws"))
    run(whole, pool, path, **options)
    original = pool.map
    for allowed in (0, 1, 2, 3):  # jobs that finish before the process ends

        def stopping(function, items, allowed=allowed):  # type: ignore[no-untyped-def]
            for number, result in enumerate(original(function, items)):
                if number == allowed:
                    raise Killed
                yield result

        pool.map = stopping  # type: ignore[method-assign]
        try:
            run(workspace, pool, path, **options)
        except Killed:
            pass
        finally:
            pool.map = original  # type: ignore[method-assign]
    run(workspace, pool, path, **options)
    assert digests(workspace) == digests(whole)
    assert leftovers(workspace) == []


def test_published_but_not_recorded_shards_are_published_again_without_harm(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ROWS)
    options = {"id": "key", "shard_mb": 0.01}
    run(workspace, pool, path, **options)
    before = digests(workspace)
    shutil.rmtree(workspace.store.path("ledger"))
    run(workspace, pool, path, **options)
    assert digests(workspace) == before
    os.unlink(workspace.store.path(f"corpora/web/{workspace.corpus('web').shards[1]}.parquet"))
    run(workspace, pool, path, **options)
    assert digests(workspace) == before


def test_a_finished_corpus_is_left_alone_and_another_input_is_refused(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ROWS)
    first = run(workspace, pool, path, shard_mb=0.01)
    assert run(workspace, pool, path, shard_mb=0.01) == first
    with pytest.raises(UserError, match=r"settings\.seed: 0 -> 1"):
        run(workspace, pool, path, shard_mb=0.01, seed=1)
    write_jsonl(path, ROWS[1:])
    with pytest.raises(UserError, match=r"made of something else.*choose another --corpus name.*files\.a\.jsonl"):
        run(workspace, pool, path, shard_mb=0.01)


@pytest.mark.parametrize("damage", ["zst", "gz", "zst large", "gz garbage", "parquet", "csv header"])
def test_a_damaged_file_fails_its_shard_alone_and_is_named(
    tmp_path: Path, workspace: Workspace, pool: Pool, damage: str
) -> None:
    folder = tmp_path / "in"
    ending = {"parquet": "parquet", "csv header": "csv"}.get(damage, f"jsonl.{damage.split()[0]}")
    for i in range(3):
        path = folder / f"{i}.{ending}"
        rows = ROWS[100 * i : 100 * i + 100]
        if damage == "parquet":
            folder.mkdir(exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif damage == "csv header":
            folder.mkdir(exist_ok=True)
            path.write_text("text,n\n" + "".join(f"{row['text']},{row['n']}\n" for row in rows))
        else:
            write_jsonl(path, rows)
    bad = folder / f"1.{ending}"
    data = bad.read_bytes()
    changed = {"gz garbage": data + b"garbage", "csv header": b"text,text\n" + data}
    bad.write_bytes(changed.get(damage, data[: len(data) - 9]))
    size = 0.002 if damage == "zst large" else 0.013
    with pytest.raises(ShardsFailed, match=rf"1\.{ending}") as failed:
        run(workspace, pool, folder, shard_mb=size)
    assert len(failed.value.failed) == 1
    assert failed.value.total >= 3
    rows = workspace.corpus("web").done
    assert sum(row.rows_out for row in rows.values()) == 200


def test_many_frames_and_members_are_read_whole(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    lines = [b'{"text": "%d"}\n' % i for i in range(30)]
    (tmp_path / "a.jsonl.zst").write_bytes(b"".join(zstandard.ZstdCompressor().compress(line) for line in lines))
    (tmp_path / "b.jsonl.gz").write_bytes(b"".join(gzip.compress(line) for line in lines))
    run(workspace, pool, tmp_path / "a.jsonl.zst", tmp_path / "b.jsonl.gz")
    assert read(workspace).column("text").to_pylist() == [str(i) for i in range(30)] * 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_fails_alone_and_is_read_when_it_may_be(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    for i in range(2):
        write_jsonl(tmp_path / "in" / f"{i}.jsonl", ROWS[:200])
    (tmp_path / "in" / "1.jsonl").chmod(0)
    with pytest.raises(ShardsFailed, match=r"1\.jsonl"):
        run(workspace, pool, tmp_path / "in", shard_mb=0.02)
    (tmp_path / "in" / "1.jsonl").chmod(0o644)
    assert sum(row.rows_out for row in run(workspace, pool, tmp_path / "in", shard_mb=0.02)) == 400


def test_the_stage_does_not_read_again_what_has_not_changed(
    tmp_path: Path, workspace: Workspace, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ROWS)
    settings = IngestSettings(sources=[str(path)])
    first = ingest_stage(workspace, "web", settings)
    run(workspace, pool, path)
    facts = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert ingest_stage(workspace, "web", settings).hash == first.hash
    os.utime(path)
    assert ingest_stage(workspace, "web", settings).hash != first.hash


def test_a_file_that_changes_while_its_fingerprint_is_made_is_named_and_its_fingerprint_forgotten(
    tmp_path: Path, workspace: Workspace, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ROWS)
    settings = IngestSettings(sources=[str(path)])
    undisturbed = ingest_stage(workspace, "web", settings)
    whole, facts, made = path.read_bytes(), path.stat(), sources._print

    def changed(url: str, size: int) -> str:
        path.write_bytes(whole[::-1])
        return made(url, size)

    with monkeypatch.context() as changing:
        changing.setattr(sources, "_print", changed)
        with pytest.raises(ValueError, match=r"a\.jsonl was changed while it was read"):
            run(workspace, pool, path)
    path.write_bytes(whole)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # put back as `cp -p` does
    run(workspace, pool, path)
    assert workspace.corpus("web").hash == undisturbed.hash
