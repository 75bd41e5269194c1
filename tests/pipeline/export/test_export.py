"""Whole exports by two workers: the rows, their order, the bytes, and what opens them."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
import yaml
import zstandard

from pipeline import ledger
from pipeline.errors import UserError
from pipeline.execute import Compute, Pool
from pipeline.export import CardSettings, ExportSettings, export, export_stage
from pipeline.export.card import feature
from pipeline.export.gather import cut
from pipeline.redact import scrubbed
from pipeline.select import SelectSettings, select
from pipeline.workspace import Workspace
from tests.pipeline.select.reference import Document, write
from tests.workspaces import add_corpus, add_scores


def documents(corpora: tuple[str, ...] = ("web",), count: int = 200) -> list[Document]:
    random = np.random.default_rng(1)
    return [
        Document(
            corpora[i % len(corpora)],
            f"d{i // len(corpora)}",
            ["wiki", "blog"][i % 2],
            float(random.random()),
            int(random.integers(1, 90)),
            i % 10 == 0,
        )
        for i in range(count)
    ]


@pytest.fixture
def made(workspace: Workspace, pool: Pool) -> Workspace:
    """One corpus of 200 documents in 3 shards, with a selection `best` of about half of its tokens."""
    write(workspace, documents(), 3)
    select(workspace, "best", SelectSettings(by="quality", budget="50% tokens"), pool)
    return workspace


def kept(workspace: Workspace) -> list[str]:
    (folder,) = workspace.stages("selections")
    ids = []
    for shard in workspace.corpus("web").shards:
        table = pq.read_table(workspace.store.path(f"{folder}/web/{shard}.parquet"))
        ids += table.filter(table.column("kept")).column("id").to_pylist()
    return ids


def rows(folder: str, pattern: str = "*.parquet") -> list[dict[str, Any]]:
    return [row for path in sorted(Path(folder).glob(pattern)) for row in pq.read_table(path).to_pylist()]


def content(folder: str) -> dict[str, bytes]:
    """Every file of an export but the record of when it was made."""
    root = Path(folder)
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "stage.json")
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_the_kept_documents_come_in_the_order_of_the_hash_of_id_and_seed(made: Workspace, pool: Pool) -> None:
    chosen = ExportSettings(selection="best", seed=4, shard_mb=0.0005, scores=["quality"], weight="tokens")
    done = export(made, "best", chosen, pool)
    found = rows(done["folder"])
    order = sorted(kept(made), key=lambda i: xxhash.xxh3_64_intdigest(i.encode(), seed=4))
    assert [row["id"] for row in found] == order
    by_id = {d.id: d for d in documents()}
    for row in found:
        d = by_id[row["id"]]
        assert row == {
            "id": d.id,
            "text": f"text of {d.id}",
            "source": d.source,
            "quality": d.score,
            "weight": float(d.tokens),
        }
    names = sorted(path.name for path in Path(done["folder"]).glob("*.parquet"))
    assert names == [f"part-{i:05d}-of-{len(names):05d}.parquet" for i in range(len(names))]
    assert len(names) == round(sum(len(f"text of {i}") for i in order) / 500)
    assert not made.store.exists("tmp/export-" + export_stage(made, "best", chosen).hash[:8])


def test_input_order_is_the_order_of_the_corpus(made: Workspace, pool: Pool) -> None:
    done = export(made, "best", ExportSettings(selection="best", order="input", shard_mb=0.0005), pool)
    assert [row["id"] for row in rows(done["folder"])] == kept(made)


def test_workers_and_pieces_change_no_byte(
    made: Workspace, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ExportSettings(selection="best", format="hf", shard_mb=0.0005, out=f"{tmp_path}/one")
    one = export(made, "best", chosen, pool)
    monkeypatch.setattr("pipeline.export.run.PIECE_BYTES", 1)
    with Pool(Compute(workers=1), made) as alone:
        two = export(made, "best", chosen.model_copy(update={"out": f"{tmp_path}/two"}), alone)
    assert content(one["folder"]) == content(two["folder"])
    assert len(content(one["folder"])) == 5


def test_several_corpora_keep_their_names_and_equal_ids_their_order(workspace: Workspace, pool: Pool) -> None:
    write(workspace, documents(("web", "news")), 2)
    done = export(workspace, "all", ExportSettings(), pool)
    found = rows(done["folder"])
    everything = [d for d in documents(("web", "news")) if not d.held_out]
    key = {"news": 1, "web": 0} if workspace.corpora()[0] == "web" else {"news": 0, "web": 1}
    everything.sort(key=lambda d: (xxhash.xxh3_64_intdigest(d.id.encode()), d.id, key[d.corpus]))
    assert [(row["id"], row["corpus"]) for row in found] == [(d.id, d.corpus) for d in everything]


def test_held_out_documents_are_a_split_of_their_own(made: Workspace, pool: Pool) -> None:
    done = export(made, "best", ExportSettings(selection="best", with_held_out=True), pool)
    held = {d.id for d in documents() if d.held_out}
    assert {row["id"] for row in rows(done["folder"], "held_out-*.parquet")} == held
    assert {row["id"] for row in rows(done["folder"], "part-*.parquet")} == set(kept(made))
    assert not held & set(kept(made))
    select(made, "mixed", SelectSettings(held_out=True), pool)
    with pytest.raises(UserError, match="made with held_out"):
        export(made, "mixed", ExportSettings(selection="mixed", with_held_out=True), pool)


def test_jsonl_has_a_line_per_document(made: Workspace, pool: Pool) -> None:
    done = export(made, "best", ExportSettings(selection="best", format="jsonl", scores=["quality"]), pool)
    (file,) = Path(done["folder"]).glob("part-00000-of-00001.jsonl.zst")
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(file.read_bytes())) as stream:
        lines = [orjson.loads(line) for line in stream.read().splitlines()]
    assert sorted(line["id"] for line in lines) == sorted(kept(made))
    assert lines[0].keys() == {"id", "text", "source", "quality"}


def test_a_dataset_folder_opens_in_datasets_as_it_is(made: Workspace, pool: Pool, tmp_path: Path) -> None:
    import datasets

    card = CardSettings(license="cc-by-4.0", language=["en"], pretty_name="The best", tags=["web"])
    chosen = ExportSettings(
        selection="best", format="hf", scores=["quality"], weight="tokens", with_held_out=True, shard_mb=0.001, hf=card
    )
    done = export(made, "best", chosen, pool)
    loaded = datasets.load_dataset(done["folder"], cache_dir=f"{tmp_path}/cache")
    assert {split: len(loaded[split]) for split in loaded} == {"train": len(kept(made)), "held_out": 20}
    schema = pq.read_schema(next(Path(done["folder"]).glob("data/train-*.parquet")))
    assert loaded["train"].features == datasets.Features.from_arrow_schema(schema)
    header = yaml.safe_load((Path(done["folder"]) / "README.md").read_text().split("---\n")[1])
    assert header["license"] == "cc-by-4.0"
    assert header["size_categories"] == ["n<1K"]
    assert header["tags"] == ["web", "tamis"]
    assert [s["num_examples"] for s in header["dataset_info"]["splits"]] == [len(kept(made)), 20]
    from_header = datasets.Features._from_yaml_list(header["dataset_info"]["features"])
    assert from_header == loaded["train"].features


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(),
        pa.float32(),
        pa.float64(),
        pa.bool_(),
        pa.date32(),
        pa.timestamp("us"),
        pa.timestamp("s", tz="UTC"),
        pa.large_string(),
        pa.list_(pa.int32()),
        pa.struct([("a", pa.string()), ("b", pa.list_(pa.float32()))]),
        pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
        pa.list_(pa.list_(pa.int64())),
    ],
)
def test_the_card_says_of_every_type_what_datasets_says(kind: pa.DataType) -> None:
    import datasets

    expected = datasets.Features.from_arrow_schema(pa.schema([("x", kind)]))
    assert datasets.Features._from_yaml_list([{"name": "x"} | feature(kind)]) == expected


def test_croissant_names_every_file_with_its_sha256_and_every_column(made: Workspace, pool: Pool) -> None:
    done = export(made, "best", ExportSettings(selection="best", format="hf", shard_mb=0.001), pool)
    described = json.loads((Path(done["folder"]) / "croissant.json").read_text())
    files = {f["@id"]: f["sha256"] for f in described["distribution"] if f["@type"] == "cr:FileObject"}
    there = sorted(Path(done["folder"]).glob("data/*.parquet"))
    assert files == {f"data/{p.name}": hashlib.sha256(p.read_bytes()).hexdigest() for p in there}
    assert [f["name"] for f in described["recordSet"][0]["field"]] == ["id", "text", "source"]


def test_the_lineage_says_how_every_row_was_chosen(made: Workspace, pool: Pool) -> None:
    done = export(made, "best", ExportSettings(selection="best"), pool)
    record = json.loads((Path(done["folder"]) / "lineage.json").read_text())
    assert record["complete"] is True
    assert record["splits"]["train"]["documents"] == len(kept(made))
    assert sum(record["splits"]["train"]["sources"].values()) == len(kept(made))
    assert record["selection"]["fields"]["settings"]["by"] == "quality"
    assert record["selection"]["result"]["cuts"][0]["last_score_in"] > 0
    assert set(record["scores"]["web"]) == {"preselect", "lengths"}
    assert record["corpora"]["web"]["rows"]["documents"] == 200
    text = b"".join(content(done["folder"]).values()) + (Path(done["folder"]) / "stage.json").read_bytes()
    import getpass
    import socket

    assert socket.gethostname().encode() not in text
    assert f'"user": "{getpass.getuser()}"'.encode() not in text


def test_secrets_are_taken_out_of_addresses_and_settings() -> None:
    record = {
        "model": "https://me:hunter2@example.com/m.bin?X-Amz-Signature=abc",
        "hf_token": "hf_abc",
        "nested": [{"api_key": "k", "path": "s3://bucket/a"}],
        "tokens": 5,
        "by": "tokens",
    }
    assert scrubbed(record) == {
        "model": "https://example.com/m.bin",
        "hf_token": "***",
        "nested": [{"api_key": "***", "path": "s3://bucket/a"}],
        "tokens": 5,
        "by": "tokens",
    }


def test_an_export_that_is_there_is_left_alone_and_a_broken_one_is_mended(made: Workspace, pool: Pool) -> None:
    chosen = ExportSettings(selection="best", format="hf", shard_mb=0.0003)
    first = export(made, "best", chosen, pool)
    before = content(first["folder"])
    attempts = len(ledger.read(made.store, export_stage(made, "best", chosen).folder))
    assert export(made, "best", chosen, pool) == first
    assert len(ledger.read(made.store, export_stage(made, "best", chosen).folder)) == attempts
    lost = Path(first["folder"]) / "data" / sorted(p.name for p in Path(first["folder"]).glob("data/*"))[1]
    lost.write_bytes(b"cut short")
    export(made, "best", chosen, pool)
    assert content(first["folder"]) == before
    assert len(ledger.read(made.store, export_stage(made, "best", chosen).folder)) == attempts + 1


def test_a_folder_that_holds_something_else_is_refused(made: Workspace, pool: Pool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export(made, "best", ExportSettings(selection="best", out=str(out)), pool)
    with pytest.raises(UserError, match="which is not of this export"):
        export(made, "best", ExportSettings(selection="best", out=str(out), seed=1), pool)
    (out / "lineage.json").unlink()
    with pytest.raises(UserError, match="expected an empty folder"):
        export(made, "best", ExportSettings(selection="best", out=str(out)), pool)


def test_an_incomplete_selection_is_refused_and_named(made: Workspace, pool: Pool) -> None:
    (folder,) = made.stages("selections")
    made.store.remove(f"{folder}/web/part-00001-of-00003.parquet")
    with pytest.raises(UserError, match=r"is not complete: part-00001-of-00003; run the same `tamis select`"):
        export(made, "best", ExportSettings(selection="best"), pool)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"selection": "bets"}, r"no selection 'bets' in .* \(there: best\)"),
        ({"scores": ["qualty"]}, "did you mean 'quality'"),
        ({"weight": "nope"}, "weight: corpus 'web' has no column 'nope'"),
        ({"columns": ["url"]}, "no document has a column 'url'"),
    ],
)
def test_a_mistake_is_one_clear_line(made: Workspace, pool: Pool, chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        export(made, "best", ExportSettings(**chosen), pool)


def test_columns_that_one_corpus_lacks_are_null_and_conflicting_types_are_refused(
    workspace: Workspace, pool: Pool
) -> None:
    def table(ids: list[str], **columns: Any) -> pa.Table:
        own = {"id": ids, "text": pa.array(ids, pa.large_string()), "source": ids}
        return pa.table(own | columns)

    add_corpus(workspace, "a", [table(["1"], year=pa.array([1999], pa.int32()), n=pa.array([1], pa.int32()))])
    add_corpus(workspace, "b", [table(["2"], n=pa.array(["x"]))])
    done = export(workspace, "all", ExportSettings(columns=["year"], order="input"), pool)
    assert [(row["id"], row["year"]) for row in rows(done["folder"])] == [("1", 1999), ("2", None)]
    with pytest.raises(UserError, match="column 'n' is string in corpus 'b' and int32 before; leave it out"):
        export(workspace, "all", ExportSettings(), pool)


def test_an_export_of_nothing_still_has_its_schema(workspace: Workspace, pool: Pool) -> None:
    write(workspace, documents(count=10), 1)
    select(workspace, "none", SelectSettings(where="false"), pool)
    done = export(workspace, "none", ExportSettings(selection="none", format="hf"), pool)
    assert pq.read_schema(f"{done['folder']}/data/train-00000-of-00001.parquet").names == ["id", "text", "source"]


def test_the_scores_of_an_export_are_those_its_selection_was_made_with(made: Workspace, pool: Pool) -> None:
    corpus = made.corpus("web")
    ids = [pq.read_table(made.store.path(corpus.file(s)), columns=["id"]).column("id") for s in corpus.shards]
    newer = [pa.table({"id": i, "quality": pa.array([9.0] * len(i))}) for i in ids]
    from pipeline.stage import Stage

    add_scores(made, Stage("ingest", "web", "corpora", corpus.record["fields"]), "preselect", newer, model="newer")
    done = export(made, "best", ExportSettings(selection="best", scores=["quality"]), pool)
    assert all(row["quality"] < 1 for row in rows(done["folder"]))


def test_output_shards_are_cut_at_equal_shares_of_the_text() -> None:
    counts = [{"slices": [0, 1, 3], "bytes": [10, 30, 5]}, {"slices": [1, 2], "bytes": [5, 50]}]
    assert cut(counts, 4, 50) == [(0, 3), (3, 4)]
    assert cut(counts, 4, 1000) == [(0, 4)]
    assert cut([], 4, 1000) == [(0, 4)]
