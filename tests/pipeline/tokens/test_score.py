"""Token tables of real (tiny, random) models on real Dask workers: numbers, resuming, what is refused, exports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from pipeline.errors import ShardsFailed, UserError  # noqa: E402
from pipeline.execute import Pool  # noqa: E402
from pipeline.ingest import IngestSettings, ingest  # noqa: E402
from pipeline.shards import read_narrow  # noqa: E402
from pipeline.sql import query  # noqa: E402
from pipeline.tokens.encode import tokenizing_of  # noqa: E402
from pipeline.tokens.passes import make_passes, planned  # noqa: E402
from pipeline.tokens.settings import ScoreTokensSettings  # noqa: E402
from pipeline.tokens.table import TokenTable, make_table, open_table  # noqa: E402
from pipeline.workspace import Workspace  # noqa: E402
from tests.pipeline.tokens.test_encode import folder as tokenizer_folder  # noqa: E402
from tests.pipeline.trainer.templates import TEMPLATES  # noqa: E402
from tests.scorers.lm.test_sequences import LLAMA, lora  # noqa: E402

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "the",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "boil",
    "a",
    "pot",
    "of",
    "strong",
    "tea",
]


def model(folder: Path, seed: int, template: str = "chatml") -> Path:
    tokenizer_folder(folder, TEMPLATES[template])
    values = {k: v for k, v in LLAMA.items() if k != "model_type"} | {"max_position_embeddings": 128}
    torch.manual_seed(seed)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=420, **values)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {name: model(place / name, seed) for seed, name in enumerate(("earlier", "later"))}


def talks(folder: Path, count: int = 14) -> Path:
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for n in range(count):
        talk = [
            {"role": ("user", "assistant")[i % 2], "content": " ".join(random.choice(WORDS, random.integers(1, 9)))}
            for i in range(2 * int(random.integers(1, 3)))
        ]
        rows.append({"id": f"t{n:02d}", "messages": talk})
    rows[3]["messages"][1]["content"] = "a<|im_end|>b"
    rows[5]["messages"][0]["content"] = " ".join(WORDS * 20)  # beyond the context
    file = folder / "talks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def chat(workspace: Workspace, pool: Pool, tmp_path: Path) -> Workspace:
    settings = IngestSettings(sources=[str(talks(tmp_path))], id="id", shard_mb=0.001, held_out=0.1, max_chars=5000)
    ingest(workspace, "chat", settings, pool)
    return workspace


def scored(workspace: Workspace, pool: Pool, models: dict[str, Path], **changes: Any) -> TokenTable:
    given = {role: str(place) for role, place in models.items()}
    settings = ScoreTokensSettings.model_validate({"corpus": "chat", "threads": 1, "context": 96} | given | changes)
    passes = planned(workspace, settings)
    make_passes(workspace, passes, pool)
    make_table(workspace, "tokens", passes, pool)
    return open_table(workspace, "chat", "tokens")


def rows_of(table: TokenTable) -> list[dict[str, Any]]:
    return [row for shard in table.shards for row in table.read(shard).to_pylist()]


def test_losses_and_masses_are_those_of_an_eager_model_on_the_template(
    chat: Workspace, pool: Pool, models: dict[str, Path]
) -> None:
    table = scored(chat, pool, models, ranks=True, entropy=True)
    assert len(table.shards) > 1
    network = transformers.AutoModelForCausalLM.from_pretrained(
        models["later"], attn_implementation="eager", dtype=torch.float32
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(models["later"])
    talk = {row["id"]: row["messages"] for row in query(chat, "SELECT id, messages FROM documents").to_pylist()}
    seen = 0
    for row in rows_of(table):
        if row["reason"] is not None:
            assert (row["id"], row["reason"]) == ("t03", "special_in_content")
            assert row["input_ids"] is None
            continue
        told = tokenizer.apply_chat_template(talk[row["id"]], tokenize=True)
        ids = list(told if isinstance(told, list) else told["input_ids"])
        assert row["input_ids"] == ids
        nll = np.array(row["nll_later"])
        assert np.isnan(nll[0])
        assert np.isnan(nll[96:]).all()
        whole = torch.tensor([ids[:96]])
        with torch.inference_mode():
            out = network(input_ids=whole, output_attentions=True)
        expected = torch.nn.functional.cross_entropy(out.logits[0, :-1], whole[0, 1:], reduction="none")
        np.testing.assert_allclose(nll[1:96], expected.numpy(), atol=1e-4)
        learns = np.array(row["loss_mask"]) == 1
        assert learns.any()
        masses = {name: np.array(row[f"mass_{name}"]) for name in ("system", "user", "earlier", "own", "sink")}
        total = np.sum(list(masses.values()), axis=0)
        np.testing.assert_allclose(total[:96][learns[:96]], 1, atol=1e-5)
        assert np.isnan(total[~learns]).all()
        # The prompt of a turn is everything before it.
        weights = out.attentions[-1][0].mean(0).numpy()
        prompt = sum(masses[name] for name in ("system", "user", "earlier", "sink"))
        turns = np.array(row["turns"])
        for i in np.flatnonzero(learns[:96]):
            begins = np.flatnonzero(learns & (turns == turns[i]))[0]
            assert prompt[i] == pytest.approx(weights[i, :begins].sum(), abs=1e-5)
            seen += 1
    assert seen > 80


def test_what_is_done_is_not_done_again_and_a_rerun_gives_the_same_bytes(
    chat: Workspace, pool: Pool, models: dict[str, Path]
) -> None:
    table = scored(chat, pool, models)
    passes = chat.stages("token-passes/chat")
    before = {folder: {s: row.digest for s, row in chat.rows(folder).items()} for folder in (*passes, table.folder)}
    assert set(before) == {*passes, table.folder}
    lost = f"{next(f for f in passes if 'later' in f)}/{table.shards[0]}.parquet"
    chat.store.remove(lost)
    chat.store.remove(table.file(table.shards[0]))
    again = scored(chat, pool, models)
    assert again.folder == table.folder
    for folder, digests in before.items():
        assert {s: row.digest for s, row in chat.rows(folder).items()} == digests
    attempts = {f: {s: row.attempt for s, row in chat.rows(f).items()} for f in before}
    assert sum(n - 1 for own in attempts.values() for n in own.values()) == 2
    # Another layer is another pass of the watched checkpoint alone.
    scored(chat, pool, models, layer=0)
    assert len(chat.stages("token-passes/chat")) == 3


def test_packed_and_padded_layouts_agree(chat: Workspace, pool: Pool, models: dict[str, Path]) -> None:
    padded = rows_of(scored(chat, pool, models))
    packed = rows_of(scored(chat, pool, models, layout="packed"))
    for one, other in zip(padded, packed, strict=True):
        if one["reason"] is None:
            np.testing.assert_allclose(one["nll_later"], other["nll_later"], atol=1e-4)
            np.testing.assert_allclose(one["mass_user"], other["mass_user"], atol=1e-5)


def test_an_adapter_is_scored_beside_its_base(
    chat: Workspace, pool: Pool, models: dict[str, Path], tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    base = str(models["earlier"])
    adapter = lora(tmp_path / "lora", models["earlier"], 0)
    both = {"earlier": {"model": base}, "later": {"model": base, "adapter": str(adapter)}}
    table = scored(chat, pool, {}, **both)
    plain = rows_of(scored(chat, pool, {"earlier": models["earlier"]}))
    for row, alone in zip(rows_of(table), plain, strict=True):
        if row["reason"] is None:
            np.testing.assert_allclose(row["nll_earlier"], alone["nll_earlier"], atol=1e-5)
            assert np.nanmax(np.abs(np.array(row["nll_later"]) - np.array(row["nll_earlier"]))) > 1e-3


def test_a_reader_with_another_tokenizer_template_or_model_is_refused(
    chat: Workspace, pool: Pool, models: dict[str, Path], tmp_path: Path
) -> None:
    table = scored(chat, pool, models)
    how = tokenizing_of(str(models["later"]), None)
    table.expect(how, {"later": (str(models["later"]), None)})
    with pytest.raises(UserError, match="is not the model that 'later' was"):
        table.expect(how, {"later": (str(models["earlier"]), None)})
    with pytest.raises(UserError, match="has no losses of 'reference'"):
        table.expect(how, {"reference": (str(models["earlier"]), None)})
    other = tokenizing_of(str(tokenizer_folder(tmp_path / "other", TEMPLATES["zephyr"])), None)
    with pytest.raises(UserError, match="another tokenizer or chat template"):
        table.expect(other)


def test_checkpoints_of_different_tokenizers_are_refused_before_any_work(
    chat: Workspace, models: dict[str, Path], tmp_path: Path
) -> None:
    odd = tmp_path / "odd"
    shutil.copytree(models["earlier"], odd)
    values = json.loads((odd / "tokenizer.json").read_text())
    values["model"]["merges"] = values["model"]["merges"][:-5]
    (odd / "tokenizer.json").write_text(json.dumps(values))
    settings = ScoreTokensSettings.model_validate(
        {"corpus": "chat", "earlier": str(odd), "later": str(models["later"])}
    )
    with pytest.raises(UserError, match=r"earlier: the tokenizer of .* differs from .* \(model\)"):
        planned(chat, settings)
    assert chat.store.folders("token-passes") == []


def test_a_broken_checkpoint_fails_alone_and_pickles_are_refused(
    chat: Workspace, pool: Pool, models: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(models["earlier"], broken)
    data = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ShardsFailed, match="earlier/part-00000"):
        scored(chat, pool, models | {"earlier": broken})
    done = [f for f in chat.stages("token-passes/chat") if "/later-" in f]
    assert all(row.done for row in chat.rows(done[0]).values())
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    settings = ScoreTokensSettings.model_validate({"corpus": "chat", "earlier": str(broken)})
    with pytest.raises(ValueError, match="a pickle"):
        planned(chat, settings)


def test_plain_text_is_scored_as_one_response(
    workspace: Workspace, pool: Pool, models: dict[str, Path], tmp_path: Path
) -> None:
    file = tmp_path / "text.jsonl"
    file.write_text("".join(json.dumps({"id": str(n), "text": " ".join(WORDS[n:])}) + "\n" for n in range(4)))
    ingest(workspace, "chat", IngestSettings(sources=[str(file)], id="id"), pool)
    [row, *_] = rows_of(scored(workspace, pool, models, sinks=0))
    assert row["loss_mask"] == [0] + [1] * (len(row["input_ids"]) - 1)
    own = np.array(row["mass_own"])[1:]
    np.testing.assert_allclose(own + np.array(row["mass_system"])[1:], 1, atol=1e-5)
    table = read_narrow(workspace.store, open_table(workspace, "chat", "tokens").file("part-00000-of-00001"))
    assert b"tamis.tokens" in table.schema.metadata
