"""What is damaged is named: by the read that meets it, and by `tamis verify` where nothing reads it."""

from __future__ import annotations

import contextlib
import random
import re
from pathlib import Path

import pyarrow as pa
import pytest

from cli.main import main
from pipeline import ledger
from pipeline.config import load
from pipeline.errors import UserError
from pipeline.execute import Pool
from pipeline.integrity import Damaged, sealed, unsealed
from pipeline.ledger import Row
from pipeline.run import run
from pipeline.shards import batches, check_shard, read_narrow, write_narrow
from pipeline.stage import Stage, saved
from pipeline.storage import Store
from pipeline.verify import forget, verify
from pipeline.workspace import Workspace
from tests.faults.files import flip, truncate
from tests.workspaces import WEB, add_corpus


@pytest.fixture
def corpus(workspace: Workspace) -> Path:
    """A shard of documents on disk."""
    rows = [
        {"id": str(n), "text": f"{n} {random.Random(n).random()} " * 40, "source": "s", "url": "u"} for n in range(99)
    ]
    add_corpus(workspace, "web", [pa.Table.from_pylist(rows, WEB)])
    return Path(workspace.url) / "corpora/web/part-00000-of-00001.parquet"


def test_records_come_back_and_one_flipped_bit_is_noticed() -> None:
    record = {"a": 1, "b": [None, 1.5, "ü"], "c": {"d": True}}
    data = sealed(record)
    assert unsealed(data, "r.json") == record
    caught = 0
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            found = unsealed(bytes(changed), "r.json")
        except Damaged:
            caught += 1
        else:  # the key of the hash itself was hit, and the rest is whole
            assert {k: v for k, v in found.items() if k in record} == record
    assert caught > 7 * len(data)


def test_records_without_a_hash_are_those_of_old_versions() -> None:
    assert unsealed(b'{"kind":"score"}', "stage.json") == {"kind": "score"}


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_in_documents_is_never_read_as_text(workspace: Workspace, corpus: Path, seed: int) -> None:
    name = "corpora/web/part-00000-of-00001.parquet"
    row = workspace.corpus("web").done["part-00000-of-00001"]
    check_shard(workspace.store, name, row.size, row.digest)
    whole = pa.concat_tables(list(batches(workspace.store, name, ["id", "text"])))
    flip(corpus, random.Random(seed))
    with pytest.raises(Damaged, match=re.escape(str(corpus))):
        check_shard(workspace.store, name, row.size, row.digest)
    parts = []
    with contextlib.suppress(Damaged):
        parts = list(batches(workspace.store, name, ["id", "text"]))
    # Without the digest, as on an object store: pages are right or refused; only a footer may hide them.
    assert not parts or pa.concat_tables(parts).equals(whole)


def test_a_narrow_table_cut_short_names_its_file(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with store.writing("t.parquet") as path:
        write_narrow(path, pa.table({"id": ["a", "b"], "x": [1.0, 2.0]}))
    truncate(tmp_path / "t.parquet", random.Random(1))
    with pytest.raises(Damaged, match=re.escape(str(tmp_path / "t.parquet"))):
        read_narrow(store, "t.parquet")


def test_a_damaged_stage_record_says_which_folder_to_remove(workspace: Workspace) -> None:
    stage = Stage("score", "x", "scores/web", {"a": 1})
    stage.save(workspace.store)
    file = Path(workspace.url) / stage.folder / "stage.json"
    file.write_bytes(file.read_bytes().replace(b'"a": 1', b'"a": 3'))
    with pytest.raises(Damaged, match="remove the folder"):
        saved(workspace.store, stage.folder)


def test_a_segment_whose_rows_changed_is_refused(workspace: Workspace) -> None:
    store = workspace.store
    ledger.write(store, Row("scores/web/x-1", "part-00000-of-00001", 1, "done", rows_in=1, rows_out=1, seconds=0.1))
    ledger.compact(store, "scores/web/x-1")
    [name] = store.sizes("ledger/scores/web/x-1")
    assert ledger.read(store, "scores/web/x-1")[0].rows_in == 1
    store.move(f"ledger/scores/web/x-1/{name}", f"ledger/scores/web/x-1/segment-r{'0' * 16}.parquet")
    with pytest.raises(Damaged, match="the next run makes the shards that it spoke of again"):
        ledger.read(store, "scores/web/x-1")


def test_verify_finds_what_changed_and_lets_the_next_run_make_it_again(
    workspace: Workspace, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(workspace) == []
    flip(corpus, random.Random(3))
    [fault] = verify(workspace)
    assert fault.file == "corpora/web/part-00000-of-00001.parquet"
    with pytest.raises(SystemExit) as ended:
        main(["verify", "-w", workspace.url])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == f"{fault.file}: has other bytes than were written\n"
    assert "1 files read" in said.err
    with pytest.raises(SystemExit) as ended:
        main(["verify", "-w", workspace.url, "--mend"])
    assert ended.value.code == 0
    assert workspace.corpus("web").done == {}
    assert verify(workspace) == []
    assert forget(workspace, []) == 0


def test_a_whole_run_with_rejects_and_an_export_has_no_faults(workspace: Workspace, pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "one two"}\n{"text": ""}\nnot json\n{"text": "three"}\n')
    (tmp_path / "run.yaml").write_text(
        "corpora: {web: {sources: [in.jsonl]}}\nscores: [lengths]\n"
        "selections: {all: {where: chars > 0}}\nexports: {all: {selection: all, format: hf}}\n"
    )
    run(load(str(tmp_path / "run.yaml")), workspace, pool)
    sizes: list[int] = []
    assert verify(workspace, sizes.append) == []
    assert len(sizes) >= 4  # documents, scores, selection, export
    exported = next(Path(workspace.url).glob("exports/*/**/train-*.parquet"))
    flip(exported, random.Random(0))
    assert [fault.file for fault in verify(workspace)] == [str(exported.relative_to(workspace.url))]


def test_there_is_nothing_to_verify_where_nothing_was_run(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="to verify"):
        verify(workspace)


def test_verify_names_files_that_are_gone(workspace: Workspace, corpus: Path) -> None:
    corpus.unlink()
    [fault] = verify(workspace)
    assert fault.wrong == "is gone"
