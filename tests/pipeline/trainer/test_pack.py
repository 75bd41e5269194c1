"""Packs: every row a document or a reject, the same bytes from the same input, another hash from another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Compute, Pool
from pipeline.export import ExportSettings, export
from pipeline.status import status
from pipeline.trainer.data import DataSettings
from pipeline.trainer.encode import Tokenizing, encode_text, tokenizing
from pipeline.trainer.pack import pack, pack_stage
from pipeline.trainer.packed import Packed
from pipeline.workspace import Workspace
from scorers.lengths import load_tokenizer
from tests.pipeline.trainer.packs import little
from tests.workspaces import small


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a byte-level tokenizer whose BOS is <s> (0) and EOS </s> (1)."""
    folder = tmp_path_factory.mktemp("tokenizer")
    little().save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
    (folder / "tokenizer_config.json").write_bytes(orjson.dumps(config))
    return str(folder)


def ids_of(tokenizer: str, text: str) -> list[int]:
    return load_tokenizer(tokenizer).encode(text, add_special_tokens=False).ids


def jsonl(path: Path, rows: list[Any]) -> str:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return str(path)


def documents(packed: Packed) -> dict[str, tuple[list[int], list[float] | None]]:
    """{id: tokens and weights}."""
    found = {}
    for i, name in enumerate(packed.ids(range(len(packed)))):
        weights = packed.token_weights(i)
        found[name] = (packed.tokens(i).tolist(), None if weights is None else weights.tolist())
    return found


def rejects(workspace: Workspace) -> list[dict[str, Any]]:
    files = sorted(Path(workspace.store.path("packs")).glob("*/rejects/*.parquet"))
    return sorted((row for file in files for row in pq.read_table(file).to_pylist()), key=lambda row: row["position"])


def test_a_text_stands_between_bos_and_eos(workspace: Workspace, pool: Pool, tmp_path: Path, tokenizer: str) -> None:
    texts = ["the quick brown fox", "tea </s> in <s>the é😀 garden", " "]
    path = jsonl(tmp_path / "in.jsonl", [{"id": i, "text": t, "source": "s"} for i, t in enumerate(texts)])
    packed = pack(workspace, "p", DataSettings(paths=[path], tokenizer=tokenizer), pool)
    for i, text in enumerate(texts):
        tokens, weights = documents(packed)[str(i)]
        assert tokens[0] == 0
        assert tokens[-1] == 1
        assert 0 not in tokens[1:-1]
        assert 1 not in tokens[1:-1]
        assert load_tokenizer(tokenizer).decode(tokens[1:-1]) == text
        assert weights is None
        assert packed.bytes[i] == len(text.encode())
    assert packed.weights.tolist() == [1, 1, 1]
    assert (packed.bos, packed.eos, packed.vocabulary) == (0, 1, little().get_vocab_size())


@pytest.mark.parametrize("form", ["parquet", "jsonl", "hf"])
def test_an_export_is_read_as_it_was_written(tmp_path: Path, pool: Pool, tokenizer: str, form: Any) -> None:
    workspace = small(f"{tmp_path}/workspace")
    export(workspace, "all", ExportSettings(corpora=["web"], format=form, weight="tokens"), pool)
    by_name = pack(workspace, "p", DataSettings(paths=["exports/all"], tokenizer=tokenizer, weight="weight"), pool)
    beside = pack_stage(workspace, "p", DataSettings(paths=["/a/exports/all"], tokenizer=tokenizer, weight="weight"))
    assert beside.hash == by_name.fingerprint
    [folder] = [str(path) for path in Path(workspace.store.path("exports")).iterdir()]
    by_path = pack(workspace, "p", DataSettings(paths=[folder], tokenizer=tokenizer, weight="weight"), pool)
    assert by_name.fingerprint == by_path.fingerprint
    found = documents(by_name)
    assert sorted(found) == sorted(f"w{i:02d}" for i in range(30))
    assert found["w07"][0] == [0, *ids_of(tokenizer, "text of w07"), 1]
    assert by_name.sources == ["blog", "wiki"]
    weights = dict(zip(by_name.ids(range(30)), by_name.weights.tolist(), strict=True))
    assert weights["w04"] == 50


def test_held_out_documents_are_a_split_of_their_own(
    workspace: Workspace, pool: Pool, tmp_path: Path, tokenizer: str
) -> None:
    from pipeline.ingest import IngestSettings, ingest

    path = jsonl(tmp_path / "in.jsonl", [{"id": f"d{i}", "text": f"fox {i}"} for i in range(60)])
    ingest(workspace, "web", IngestSettings(sources=[path], id="id", held_out=0.3), pool)
    for form in ("hf", "jsonl"):
        export(workspace, form, ExportSettings(corpora=["web"], format=form, with_held_out=True), pool)
        sets = [
            set(documents(pack(workspace, split, DataSettings(paths=[form], tokenizer=tokenizer, split=split), pool)))
            for split in ("train", "held_out")
        ]
        assert len(sets[1]) > 5
        assert not sets[0] & sets[1]
        assert len(sets[0] | sets[1]) == 60
        with pytest.raises(UserError, match="no split 'test'"):
            pack_stage(workspace, "p", DataSettings(paths=[form], tokenizer=tokenizer, split="test"))


def test_every_row_is_a_document_or_a_reject_with_a_reason(
    workspace: Workspace, pool: Pool, tmp_path: Path, tokenizer: str
) -> None:
    good = {"id": "good", "text": "fox", "w": 2, "source": "a"}
    rows = [
        good,
        b"{broken",
        good | {"text": ""},
        good | {"text": 3},
        good | {"w": -1},
        good | {"w": "2"},
        {"id": "x", "text": "fox"},
        b'{"id": "n", "text": "fox", "w": 1e300}',
        good | {"text": "\ud800", "id": "surrogate"},
    ]
    path = jsonl(tmp_path / "in.jsonl", rows)
    packed = pack(workspace, "p", DataSettings(paths=[path], tokenizer=tokenizer, weight="w"), pool)
    assert packed.ids(range(len(packed))) == ["good"]
    assert packed.weights.tolist() == [2]
    found = rejects(workspace)
    reasons = ["broken_json", "no_text", "no_text", "bad_weight", "bad_weight", "bad_weight", "bad_weight"]
    assert [row["reason"] for row in found][:7] == reasons
    assert len(found) == 8
    assert [row["position"] for row in found] == list(range(1, 9))
    [stage] = status(workspace).stages
    assert (stage.kind, stage.total, stage.done, stage.rows, stage.rejected) == ("pack", 1, 1, 1, 8)


def test_a_pack_of_nothing_but_rejects_is_refused(
    workspace: Workspace, pool: Pool, tmp_path: Path, tokenizer: str
) -> None:
    path = jsonl(tmp_path / "in.jsonl", [{"body": "fox"}])
    with pytest.raises(UserError, match=r"no document is left \(1 no_text\)"):
        pack(workspace, "p", DataSettings(paths=[path], tokenizer=tokenizer), pool)


def test_only_what_is_missing_is_packed_again_and_to_the_same_bytes(
    workspace: Workspace, pool: Pool, tmp_path: Path, tokenizer: str
) -> None:
    for part in range(3):
        table = pa.table({"id": [f"{part}-{i}" for i in range(50)], "text": [f"the fox {i}" * i for i in range(1, 51)]})
        pq.write_table(table, tmp_path / f"part-{part}.parquet")
    data = DataSettings(paths=[f"{tmp_path}/part-*.parquet"], tokenizer=tokenizer)
    first = pack(workspace, "p", data, pool)
    before = [Path(file).read_bytes() for file in first.files]
    times = [Path(file).stat().st_mtime_ns for file in first.files]
    Path(first.files[1]).unlink()
    Path(first.files[2]).write_bytes(before[2][:100])
    again = pack(workspace, "p", data, pool)
    assert again.fingerprint == first.fingerprint
    assert [Path(file).read_bytes() for file in again.files] == before
    assert [Path(f).stat().st_mtime_ns == t for f, t in zip(again.files, times, strict=True)] == [True, False, False]
    Path(first.files[0]).write_bytes(before[0][:100])
    with pytest.raises(UserError, match="another size"):
        pack(workspace, "p", data, None)


def test_another_input_has_another_hash(workspace: Workspace, tmp_path: Path, tokenizer: str) -> None:
    path = jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": "fox"}, {"id": "b", "text": "dog"}])
    data = DataSettings(paths=[path], tokenizer=tokenizer, weight="w")

    def hash_of(**changes: Any) -> str:
        return pack_stage(workspace, "p", data.model_copy(update=changes)).hash

    first = hash_of()
    assert hash_of(weight_as="resample") == first
    assert hash_of(weight=None) != first
    assert hash_of(limit_documents=1) != first
    assert hash_of(bos=7) != first
    other = tmp_path / "other"
    other.mkdir()
    little(330).save(str(other / "tokenizer.json"))
    assert hash_of(tokenizer=str(other), bos=0, eos=1) != first
    jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": "fox"}, {"id": "b", "text": "hog"}])
    assert hash_of() != first


@pytest.mark.parametrize("limit", [1, 4, 7, 50])
def test_a_limit_takes_the_first_rows(
    workspace: Workspace, pool: Pool, tmp_path: Path, tokenizer: str, limit: int
) -> None:
    pq.write_table(pa.table({"id": [f"a{i}" for i in range(4)], "text": ["fox"] * 4}), tmp_path / "a.parquet")
    lines = b"\n\n".join(json.dumps({"id": f"b{i}", "text": "fox"}).encode() for i in range(4))
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress(lines))
    paths = [str(tmp_path / "a.parquet"), str(tmp_path / "b.jsonl.zst")]
    packed = pack(workspace, "p", DataSettings(paths=paths, tokenizer=tokenizer, limit_documents=limit), pool)
    assert packed.ids(range(len(packed))) == [f"{x}{i}" for x in "ab" for i in range(4)][:limit]


def test_a_folder_of_save_to_disk_is_read(workspace: Workspace, pool: Pool, tmp_path: Path, tokenizer: str) -> None:
    from datasets import Dataset, DatasetDict

    sets = {split: Dataset.from_dict({"text": [f"{split} fox {i}" for i in range(5)]}) for split in ("train", "test")}
    DatasetDict(sets).save_to_disk(tmp_path / "set", num_shards={"train": 2, "test": 1})
    packed = pack(workspace, "p", DataSettings(paths=[str(tmp_path / "set")], tokenizer=tokenizer), pool)
    assert len(packed.files) == 2
    texts = [load_tokenizer(tokenizer).decode(packed.tokens(i)[1:-1].tolist()) for i in range(len(packed))]
    assert texts == [f"train fox {i}" for i in range(5)]
    assert packed.ids([0])[0].endswith("00000-of-00002.arrow:0")


def test_weights_of_tokens_must_be_one_per_token(
    workspace: Workspace, pool: Pool, tmp_path: Path, tokenizer: str
) -> None:
    count = len(ids_of(tokenizer, "the fox é"))
    weights = [0, *[0.5] * (count - 2), 1]
    rows = [
        {"id": "ok", "text": "the fox é", "t": weights},
        {"id": "all", "text": "the fox é", "t": None},
        {"id": "short", "text": "the fox é", "t": weights[1:]},
        {"id": "negative", "text": "the fox é", "t": [-1.0] * count},
        {"id": "words", "text": "the fox é", "t": ["a"] * count},
    ]
    path = jsonl(tmp_path / "in.jsonl", rows)
    packed = pack(workspace, "p", DataSettings(paths=[path], tokenizer=tokenizer, token_weights="t"), pool)
    found = documents(packed)
    assert list(found) == ["ok", "all"]
    assert found["ok"][1] == [0, *weights, 1]
    assert found["all"][1] is None
    first = len(load_tokenizer(tokenizer).decode(ids_of(tokenizer, "the fox é")[:1]))
    assert packed.bytes.tolist() == [10 - first, 10]
    assert [row["reason"] for row in rejects(workspace)] == ["token_weights_length", *["bad_token_weights"] * 2]


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_bytes_of_learnt_and_other_tokens_add_up(text: str, random: Any) -> None:
    how = ADDING_UP or _adding_up()
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    ids = load_tokenizer(how.file or "").encode(text, add_special_tokens=False).ids
    mask = np.array([random.random() < 0.5 for _ in ids], np.float32)
    one, other, whole = (encode_text(how, text, w).bytes for w in (mask, 1 - mask, np.ones(len(ids), np.float32)))
    assert one + other == whole == len(text.encode())


ADDING_UP: Tokenizing | None = None


def _adding_up() -> Tokenizing:
    global ADDING_UP
    from tempfile import mkdtemp

    folder = mkdtemp()
    little().save(f"{folder}/tokenizer.json")
    ADDING_UP = tokenizing(DataSettings(paths=["x"], tokenizer=folder, bos=0, eos=1))
    return ADDING_UP


def test_ready_tokens_get_what_they_lack(workspace: Workspace, pool: Pool, tmp_path: Path, tokenizer: str) -> None:
    ids = ids_of(tokenizer, "the lazy dog")
    table = pa.table(
        {
            "id": ["bare", "framed", "foreign", "none"],
            "ids": pa.array([ids, [0, *ids, 1], [5, 400], None], pa.list_(pa.int32())),
            "t": pa.array([[1.0] * len(ids), [0.0, *[2.0] * len(ids), 3.0], None, None], pa.list_(pa.float64())),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    data = DataSettings(paths=[str(tmp_path / "in.parquet")], tokenizer=tokenizer, tokens="ids", token_weights="t")
    packed = pack(workspace, "p", data, pool)
    found = documents(packed)
    assert found["bare"] == ([0, *ids, 1], [0, *[1.0] * len(ids), 1])
    assert found["framed"] == ([0, *ids, 1], [0, *[2.0] * len(ids), 3])
    assert packed.bytes.tolist() == [12, 12]
    assert [row["reason"] for row in rejects(workspace)] == ["bad_tokens", "no_tokens"]


def test_ready_tokens_need_no_tokenizer(workspace: Workspace, pool: Pool, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "in.jsonl", [{"id": "a", "ids": [5, 70_000, 6]}])
    packed = pack(workspace, "p", DataSettings(paths=[path], tokens="ids", bos=9), pool)
    assert documents(packed) == {"a": ([9, 5, 70_000, 6], None)}
    assert packed.vocabulary == 70_001
    with pytest.raises(UserError, match="need the id of the token in front"):
        pack_stage(workspace, "p", DataSettings(paths=[path], tokens="ids"))


def test_a_tokenizer_without_bos_and_eos_is_refused_until_they_are_named(
    workspace: Workspace, pool: Pool, tmp_path: Path
) -> None:
    little().save(str(tmp_path / "tokenizer.json"))
    path = jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": "fox"}])
    data = DataSettings(paths=[path], tokenizer=str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="neither a BOS nor an EOS"):
        pack_stage(workspace, "p", data)
    packed = pack(workspace, "p", data.model_copy(update={"bos": 400, "eos": 401}), pool)
    assert packed.tokens(0).tolist() == [400, *ids_of(str(tmp_path), "fox"), 401]
    assert packed.vocabulary == 402


@pytest.mark.parametrize(
    ("path", "said"),
    [("nowhere", "no file, folder or export 'nowhere'"), ("*.parquet", "no file matches"), ("", "holds no data")],
)
def test_paths_without_data_are_named(
    workspace: Workspace, tmp_path: Path, tokenizer: str, path: str, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    place = path if path == "nowhere" else f"{tmp_path}/empty/{path}"
    with pytest.raises(UserError, match=said):
        pack_stage(workspace, "p", DataSettings(paths=[place], tokenizer=tokenizer))


def test_a_column_that_is_not_there_is_named(workspace: Workspace, pool: Pool, tmp_path: Path, tokenizer: str) -> None:
    pq.write_table(pa.table({"id": ["a"], "body": ["fox"]}), tmp_path / "in.parquet")
    with pytest.raises(ShardsFailed, match=r"no column 'text' \(it has id, body\)"):
        pack(workspace, "p", DataSettings(paths=[str(tmp_path / "in.parquet")], tokenizer=tokenizer), pool)


def test_a_remote_workspace_is_read_from_a_local_copy(
    tmp_path: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    workspace = Workspace("memory://packs-of-a-test")
    path = jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": "fox"}])
    with Pool(Compute(workers=1), workspace) as threads:
        packed = pack(workspace, "p", DataSettings(paths=[path], tokenizer=tokenizer), threads)
    assert all(file.startswith(str(tmp_path / "cache")) for file in packed.files)
    assert documents(packed) == {"a": ([0, *ids_of(tokenizer, "fox"), 1], None)}
