"""Exports hold what was selected, and the libraries that install here read them as they are."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.execute import Pool
from pipeline.shards import read_narrow
from pipeline.tokens.export import COLUMNS, export_tokens
from pipeline.tokens.select import select_tokens
from pipeline.tokens.settings import ExportTokensSettings, SelectTokensSettings
from pipeline.trainer.data import DataSettings
from pipeline.trainer.pack import pack
from pipeline.workspace import Workspace
from tests.pipeline.tokens.tables import documents, write_table

ROWS = documents(40)
TAKING = {row["id"]: row for row in ROWS if row["reason"] is None and not row["held_out"]}


@pytest.fixture
def selected(workspace: Workspace, pool: Pool) -> dict[str, list[bool]]:
    """{id: which tokens carry loss}, of a selection `half`; the documents without one are left out."""
    write_table(workspace, ROWS)
    summary = select_tokens(workspace, "half", SelectTokensSettings(corpus="chat", rho=0.5), pool)
    found = {}
    for shard in sorted(workspace.rows(summary["folder"])):
        for row in read_narrow(workspace.store, f"{summary['folder']}/{shard}.parquet").to_pylist():
            if row["selected"] and any(row["selected"]):
                found[row["id"]] = [bool(keep) for keep in row["selected"]]
    return found


def exported(workspace: Workspace, pool: Pool, to: str, **changes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The record, and the rows of Parquet files."""
    settings = ExportTokensSettings.model_validate({"corpus": "chat", "selection": "half", "to": to} | changes)
    record = export_tokens(workspace, to, settings, pool)
    files = sorted(Path(record["folder"], "data").glob("*.parquet"))
    return record, [row for file in files for row in pq.read_table(file).to_pylist()]


@pytest.mark.parametrize("to", COLUMNS)
def test_columns_are_those_that_the_consumer_names_and_hold_the_selection(
    workspace: Workspace, pool: Pool, selected: dict[str, list[bool]], to: str
) -> None:
    record, rows = exported(workspace, pool, to)
    assert len(rows) == record["samples"] == len(selected)
    assert tuple(rows[0]) == COLUMNS[to]
    assert record["learnt"] == sum(map(sum, selected.values()))
    for row, (name, learn) in zip(rows, selected.items(), strict=True):
        ids = TAKING[name]["input_ids"]
        assert row.get("input_ids", row.get("tokens")) == ids[: len(learn)]
        if "labels" in row:
            assert row["labels"] == [i if keep else -100 for i, keep in zip(ids, learn, strict=True)]
        for key in ("assistant_masks", "loss_mask", "token_weights", "loss_weights"):
            assert [bool(v) for v in row.get(key, learn)] == learn
        if "mask" in row:
            assert row["mask"] == [not keep for keep in learn]
        assert set(row.get("attention_mask", [1])) == {1}
    assert sum(record["left_out"].values()) == len(ROWS) - len(selected)


def test_the_control_has_as_many_tokens_and_all_has_every_answer(
    workspace: Workspace, pool: Pool, selected: dict[str, list[bool]]
) -> None:
    chance, _ = exported(workspace, pool, "trl", mask="control")
    assert chance["learnt"] == sum(map(sum, selected.values()))
    whole, rows = exported(workspace, pool, "skyrl", mask="all")
    expected = [row["loss_mask"] for row in TAKING.values() if any(row["loss_mask"][1:])]
    assert [row["loss_mask"] for row in rows] == [[0, *mask[1:]] for mask in expected]
    assert whole["learnt"] > chance["learnt"]


def test_long_samples_are_cut_and_those_that_learn_nothing_before_are_left_out(
    workspace: Workspace, pool: Pool, selected: dict[str, list[bool]]
) -> None:
    record, rows = exported(workspace, pool, "axolotl", max_tokens=12)
    assert max(len(row["input_ids"]) for row in rows) == 12
    assert len(rows) == sum(any(learn[:12]) for learn in selected.values())
    assert record["left_out"]["nothing_to_learn"] >= sum(not any(learn[:12]) for learn in selected.values())


def test_what_is_there_is_not_made_again_and_another_folder_is_not_touched(
    workspace: Workspace, pool: Pool, selected: dict[str, list[bool]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    record, _ = exported(workspace, pool, "trl", out=str(out))
    first = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    again, _ = exported(workspace, pool, "trl", out=str(out))
    assert again == record
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == first
    path = next(iter(first))
    data = path.read_bytes()
    path.unlink()
    exported(workspace, pool, "trl", out=str(out))
    assert path.read_bytes() == data
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(UserError, match="holds 'mine', which is not of this export"):
        exported(workspace, pool, "trl", out=str(tmp_path / "full"))
    with pytest.raises(UserError, match=r"no token selection 'none' \(there: half\)"):
        exported(workspace, pool, "trl", selection="none")


def test_tamis_own_trainer_packs_the_weights(workspace: Workspace, pool: Pool, selected: dict[str, list[bool]]) -> None:
    record, _ = exported(workspace, pool, "parquet")
    data = DataSettings(paths=[record["folder"]], tokens="input_ids", token_weights="token_weights", bos=0, eos=1)
    made = pack(workspace, "half", data, pool)
    assert list(made.ids(range(len(made)))) == list(selected)
    for number, (name, learn) in enumerate(selected.items()):
        weights = made.token_weights(number)
        assert weights is not None
        assert made.tokens(number)[1 : len(learn) + 1].tolist() == TAKING[name]["input_ids"]
        np.testing.assert_array_equal(weights[1 : len(learn) + 1], np.array(learn, np.float32))


def test_datasets_opens_the_folders(workspace: Workspace, pool: Pool, selected: dict[str, list[bool]]) -> None:
    import datasets

    record, rows = exported(workspace, pool, "trl")
    found = datasets.load_dataset(record["folder"], split="train")
    assert found.to_list() == rows
    record, rows = exported(workspace, pool, "llamafactory")
    saved = datasets.load_from_disk(f"{record['folder']}/dataset")
    assert saved.to_list() == [{name: row[name] for name in COLUMNS["axolotl"]} for row in rows]


def test_raw_files_are_tokens_and_bools_of_one_length(
    workspace: Workspace, pool: Pool, selected: dict[str, list[bool]]
) -> None:
    record, _ = exported(workspace, pool, "olmo")
    folder = Path(record["folder"], "data")
    ids, masks, spans, before = [], [], [], 0
    for file in sorted(folder.glob("tokens-*.npy")):
        ids.append(np.fromfile(file, record["token_type"]))
        masks.append(np.fromfile(folder / file.name.replace("tokens", "label_mask"), bool))
        assert len(ids[-1]) == len(masks[-1])
        lines = gzip.decompress(file.with_suffix(".csv.gz").read_bytes()).decode().splitlines()
        spans += [(int(a) + before, int(b) + before) for a, b in (line.split(",") for line in lines)]
        before += len(ids[-1])
    assert record["token_type"] == "uint16"
    assert np.concatenate(ids).tolist() == [i for name in selected for i in TAKING[name]["input_ids"]]
    assert np.concatenate(masks).tolist() == [keep for learn in selected.values() for keep in learn]
    ends = np.cumsum([len(learn) for learn in selected.values()]).tolist()
    assert spans == list(zip([0, *ends], ends, strict=False))


@pytest.mark.parametrize("packing", [False, True])
def test_trl_trains_on_exactly_the_selected_tokens(
    workspace: Workspace, pool: Pool, selected: dict[str, list[bool]], tmp_path: Path, packing: bool
) -> None:
    pytest.importorskip("torch")
    trl = pytest.importorskip("trl")
    import datasets
    import transformers

    from tests.pipeline.trainer.networks import network
    from tests.pipeline.trainer.packs import little

    record, _ = exported(workspace, pool, "trl")
    data = datasets.load_dataset(record["folder"], split="train")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=little(), eos_token="</s>", pad_token="<s>")
    arguments = trl.SFTConfig(
        output_dir=str(tmp_path), packing=packing, max_length=128, use_cpu=True, report_to="none", bf16=False
    )
    trainer = trl.SFTTrainer(model=network(), args=arguments, train_dataset=data, processing_class=tokenizer)
    learnt: list[int] = []
    for batch in trainer.get_train_dataloader():
        labels = batch["labels"].flatten()
        learnt += labels[labels != -100].tolist()
    expected = [
        i for name, learn in selected.items() for i, keep in zip(TAKING[name]["input_ids"], learn, strict=True) if keep
    ]
    assert sorted(learnt) == sorted(expected)


def test_the_hugging_face_collator_pads_the_labels(
    workspace: Workspace, pool: Pool, selected: dict[str, list[bool]]
) -> None:
    pytest.importorskip("torch")
    import transformers

    from tests.pipeline.trainer.networks import network
    from tests.pipeline.trainer.packs import little

    _, rows = exported(workspace, pool, "axolotl")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=little(), eos_token="</s>", pad_token="<s>")
    batch = transformers.DataCollatorForSeq2Seq(tokenizer)(rows[:4])
    assert int((batch["labels"] != -100).sum()) == sum(map(sum, list(selected.values())[:4]))
    assert float(network()(**batch).loss) > 0
