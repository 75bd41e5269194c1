"""Every format of the input gives the documents that are in it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.execute import Compute, Pool
from pipeline.workspace import Workspace
from tests.pipeline.ingest.helpers import documents, leftovers, read, read_rejects, run, write, write_jsonl

ROWS = documents(50)
TEXTS = [row["text"] for row in ROWS]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "jsonl.zst", "ndjson"])
def test_json_lines_plain_and_compressed(tmp_path: Path, workspace: Workspace, pool: Pool, ending: str) -> None:
    run(workspace, pool, write_jsonl(tmp_path / f"a.{ending}", ROWS))
    table = read(workspace)
    assert table.column("text").to_pylist() == TEXTS
    assert table.column("n").to_pylist() == [row["n"] for row in ROWS]
    assert table.schema.names == ["id", "text", "source", "held_out", "n", "_extra"]
    assert table.schema.field("text").type == pa.large_string()
    assert set(table.column("source").to_pylist()) == {"web"}
    assert leftovers(workspace) == []


def test_parquet_keeps_types_and_widens_where_files_differ(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    columns = {"text": TEXTS, "n": pa.array(range(50), pa.int32()), "tags": [["a", "b"]] * 50}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=7)
    pq.write_table(pa.table({"text": ["one more"], "n": pa.array([2**40])}), tmp_path / "b.parquet")
    run(workspace, pool, tmp_path)
    table = read(workspace)
    assert table.column("text").to_pylist() == [*TEXTS, "one more"]
    assert table.column("n").to_pylist() == [*range(50), 2**40]
    assert table.column("tags").to_pylist() == [["a", "b"]] * 50 + [None]
    assert table.schema.field("n").type == pa.int64()


def test_parquet_columns_that_clash_are_an_error_that_names_both_files(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["a"], "n": [["x"]]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"'n' is int64 in a\.parquet but list.* in b\.parquet"):
        run(workspace, pool, tmp_path)
    run(workspace, pool, tmp_path, columns=[])


def test_dictionary_and_binary_text_columns_are_read_as_strings(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    kinds = {"text": pa.array([b"caf\xc3\xa9", b"tea"]), "kind": pa.array(["x", "x"]).dictionary_encode()}
    pq.write_table(pa.table(kinds), tmp_path / "a.parquet")
    run(workspace, pool, tmp_path / "a.parquet")
    assert read(workspace).column("text").to_pylist() == ["café", "tea"]
    assert read(workspace).schema.field("kind").type == pa.string()


def test_csv_with_quoted_newlines_numbers_and_names_that_look_like_numbers(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    data = 'text,n,zip,x\n"two\nlines, ""quoted""",1,00123,1.5\nplain,2,00456,2.25\nodd,three,7,\n'
    write(tmp_path / "a.csv", b"\xef\xbb\xbf" + data.encode())
    run(workspace, pool, tmp_path / "a.csv")
    table = read(workspace)
    assert table.column("text").to_pylist() == ['two\nlines, "quoted"', "plain", "odd"]
    assert table.column("zip").to_pylist() == ["00123", "00456", "7"]
    assert table.column("x").to_pylist() == [1.5, 2.25, None]
    assert table.column("n").to_pylist() == ["1", "2", "three"]


def test_a_csv_number_that_does_not_fit_the_sample_goes_to_extra(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    lines = ["text,n"] + [f"row {i},{i}" for i in range(1500)] + ["last,many"]
    run(workspace, pool, write(tmp_path / "a.csv", "\n".join(lines).encode()))
    table = read(workspace)
    assert table.column("n").to_pylist() == [*range(1500), None]
    assert table.column("_extra").to_pylist()[-2:] == [None, '{"n":"many"}']


def test_tab_separated_files_and_another_delimiter(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    run(workspace, pool, write(tmp_path / "a.tsv", b"text\tn\na, b\t1\n"))
    run(workspace, pool, write(tmp_path / "b.csv", b"text;n\na, b;1\n"), name="semicolons", delimiter=";")
    assert read(workspace).column("text").to_pylist() == ["a, b"]
    assert read(workspace, "semicolons").column("text").to_pylist() == ["a, b"]


def test_a_folder_of_text_files_gives_a_document_per_file(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    for i in range(10):
        write(tmp_path / "in" / f"book{i % 2}" / f"{i}.txt", f"chapter {i}\nends".encode())
    write(tmp_path / "in" / "bad.txt", b"\xff\xfe no UTF-8")
    write(tmp_path / "in" / ".hidden.txt", b"not data")
    run(workspace, pool, tmp_path / "in")
    table = read(workspace)
    assert sorted(table.column("text").to_pylist()) == [f"chapter {i}\nends" for i in range(10)]
    assert set(table.column("source").to_pylist()) == {"book0", "book1"}
    assert table.column("path")[0].as_py() == "book0/0.txt"
    assert [(r["path"], r["reason"]) for r in read_rejects(workspace)] == [("bad.txt", "invalid_utf8")]


def test_globs_folders_and_several_sources(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    for place in ("x/a.jsonl", "x/b.jsonl", "y/a.jsonl"):
        write_jsonl(tmp_path / place, [{"text": f"in {place}"}])
    write(tmp_path / "x" / "README.unknown", b"no data")
    run(workspace, pool, f"{tmp_path}/*/a.jsonl", name="glob")
    run(workspace, pool, tmp_path / "x", tmp_path / "y", tmp_path / "x" / "b.jsonl", name="both")
    assert read(workspace, "glob").column("text").to_pylist() == ["in x/a.jsonl", "in y/a.jsonl"]
    table = read(workspace, "both")
    assert table.column("text").to_pylist() == ["in x/a.jsonl", "in x/b.jsonl", "in y/a.jsonl"]
    assert table.column("source").to_pylist() == ["x", "x", "y"]
    assert len(set(table.column("id").to_pylist())) == 3


def test_a_saved_dataset_and_one_that_load_dataset_reads(
    tmp_path: Path, workspace: Workspace, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    both = {"train": datasets.Dataset.from_dict({"text": TEXTS, "n": list(range(50))})}
    both["test"] = datasets.Dataset.from_dict({"text": ["held apart"], "n": [7]})
    datasets.DatasetDict(both).save_to_disk(str(tmp_path / "saved"))
    run(workspace, pool, tmp_path / "saved", name="saved", shard_mb=0.002)
    table = read(workspace, "saved")
    assert table.column("text").to_pylist() == [*TEXTS, "held apart"]
    assert table.column("n").to_pylist() == [*range(50), 7]
    assert len(workspace.corpus("saved").shards) > 1
    run(workspace, pool, tmp_path / "saved", name="test", hf_split="test")
    assert read(workspace, "test").column("text").to_pylist() == ["held apart"]

    write_jsonl(tmp_path / "files" / "train.jsonl", ROWS)
    run(workspace, pool, tmp_path / "files", name="files", format="hf")
    assert read(workspace, "files").column("text").to_pylist() == TEXTS
    with pytest.raises(UserError, match=r"no split 'dev' \(it has train, test\)"):
        run(workspace, pool, tmp_path / "saved", name="dev", hf_split="dev")


def test_a_workspace_and_input_in_memory(pool: Pool) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe("/ingest-in/a.jsonl", b'{"text": "one", "id": 1}\n{"text": "two", "id": 2}\n{"text": "again", "id": 1}\n')
    workspace = Workspace("memory://ingest-ws")
    with Pool(Compute(workers=1), workspace) as threads:
        run(workspace, threads, "memory://ingest-in/*.jsonl")
        run(workspace, threads, "memory://ingest-in", name="ids", id="id")
    assert read(workspace).column("text").to_pylist() == ["one", "two", "again"]
    assert read(workspace, "ids").column("id").to_pylist() == ["1", "2"]


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        ({}, {}, "no file matches"),
        ({"a.jsonl": b"{}\n", "b.csv": b"text\nx\n"}, {}, "several formats"),
        ({"a.jsonl": b""}, {}, "all 1 files are empty"),
        ({"a.jsonl": b"\n \n"}, {}, "no documents in 1 files"),
        ({"a.csv": b"text\n"}, {}, "no documents in 1 files"),
        ({"a.jsonl": b'{"texts": "x"}\n'}, {}, "no column 'text' .*did you mean 'texts'"),
        ({"a.jsonl": b'{"text": "x"}\n'}, {"id": "key"}, "--id: the input has no column 'key'"),
        ({"a.jsonl": b'{"text": "x"}\n'}, {"columns": ["url"]}, "--columns: the input has no column 'url'"),
        ({"a.jsonl": b'{"text": "x", "id": 1, "input_id": 2}\n'}, {}, "two input columns would be called 'input_id'"),
    ],
)
def test_what_the_user_got_wrong_is_said_before_anything_is_written(
    tmp_path: Path, workspace: Workspace, pool: Pool, files: dict[str, bytes], settings: dict, message: str
) -> None:
    (tmp_path / "in").mkdir()
    for name, data in files.items():
        write(tmp_path / "in" / name, data)
    with pytest.raises(UserError, match=message):
        run(workspace, pool, tmp_path / "in", **settings)
    assert workspace.corpora() == []


def test_parquet_text_of_numbers_is_an_error(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    pq.write_table(pa.table({"text": [1], "id": [0.5]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="'text' is int64, expected strings"):
        run(workspace, pool, tmp_path / "a.parquet")


def test_no_such_file(workspace: Workspace, pool: Pool) -> None:
    with pytest.raises(UserError, match=r"'org/name': no such file or folder \(a dataset of the hub is written hf://"):
        run(workspace, pool, "org/name")


def test_a_hub_dataset_that_cannot_be_had_is_one_clear_line(workspace: Workspace, pool: Pool) -> None:
    # The tests run with HF_HUB_OFFLINE: what is not in the cache is out of reach.
    with pytest.raises(UserError, match=r"^dataset 'nobody/nothing': "):
        run(workspace, pool, "hf://datasets/nobody/nothing")
    assert workspace.corpora() == []


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_array_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, workspace: Workspace, pool: Pool, indent: int | None
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ROWS[:3], indent=indent))
    with pytest.raises(UserError, match=r"a\.json is one JSON array; expected one object a line \(jq"):
        run(workspace, pool, tmp_path / "a.json")
