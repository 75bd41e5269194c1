"""The panel's losses as a stage, with real (tiny, random) language models. Needs the extra `lm`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from pipeline.errors import ShardsFailed, UserError  # noqa: E402
from pipeline.execute import Pool  # noqa: E402
from pipeline.preselect.losses import make_losses  # noqa: E402
from pipeline.preselect.matrix import make_pairs, read_pairs  # noqa: E402
from pipeline.preselect.panel import read_panel  # noqa: E402
from pipeline.preselect.sample import Sample, make_sample  # noqa: E402
from pipeline.preselect.settings import PanelSettings, SampleSettings  # noqa: E402
from pipeline.shards import read_narrow  # noqa: E402
from pipeline.stage import saved  # noqa: E402
from pipeline.workspace import Workspace  # noqa: E402
from tests.pipeline.preselect.helpers import web  # noqa: E402

CONTEXT = 64


def _tokenizer(vocabulary: int) -> transformers.PreTrainedTokenizerFast:
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    text = "because therefore explains reason example index page menu next list and the of"
    plain.train_from_iterator(
        [text] * 3, trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>")


def _model(folder: Path, seed: int, vocabulary: int = 300) -> None:
    tokenizer = _tokenizer(vocabulary)
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("panel")
    for seed, name in enumerate("ab"):
        _model(place / name, seed)
    _model(place / "other", 2, vocabulary=320)
    return place


def _panel(folder: Path, names: str | list[str] = "ab", **settings: object) -> PanelSettings:
    entries = [{"name": n, "model": n, "scores": {"quiz": float(i)}} for i, n in enumerate(names)]
    (folder / "panel.yaml").write_text(yaml.safe_dump({"models": entries, "threads": 1, **settings}))
    return read_panel(str(folder / "panel.yaml"))


@pytest.fixture
def sample(workspace: Workspace, pool: Pool) -> Sample:
    return make_sample(web(workspace), SampleSettings(domains=5, per_domain=4, shard_rows=8), pool)


def test_losses_are_those_of_a_plain_loop_and_a_rerun_gives_the_same_bytes(
    sample: Sample, folder: Path, pool: Pool
) -> None:
    stages = make_losses(sample, _panel(folder), pool)
    network = transformers.AutoModelForCausalLM.from_pretrained(folder / "b", dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "b")
    digests = []
    for shard in sample.shards:
        table = read_narrow(sample.workspace.store, f"{stages['b'].folder}/{shard}.parquet")
        for row, text in zip(table.to_pylist(), sample.table(shard, ["text"]).column("text").to_pylist(), strict=True):
            ids = [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]
            assert row["tokens"] == len(row["values"]) == len(ids) - 1
            assert sum(row["widths"]) == row["finish"] == len(text)
            if len(ids) > CONTEXT:
                continue
            whole = torch.tensor([ids])
            with torch.inference_mode():
                logits = network(input_ids=whole).logits[0, :-1].float()
            expected = torch.nn.functional.cross_entropy(logits, whole[0, 1:], reduction="none")
            np.testing.assert_allclose(row["values"], expected.numpy(), rtol=1e-4, atol=1e-5)
        digests.append(sample.workspace.rows(stages["b"].folder)[shard].digest)
    store = sample.workspace.store
    store.remove(f"{stages['b'].folder}/{sample.shards[0]}.parquet")
    make_losses(sample, _panel(folder), pool)
    rows = sample.workspace.rows(stages["b"].folder)
    assert [rows[shard].digest for shard in sample.shards] == digests
    assert rows[sample.shards[0]].attempt == 2  # only what was gone was made again
    assert {row.attempt for shard, row in rows.items() if shard != sample.shards[0]} <= {1}
    assert {row.attempt for row in sample.workspace.rows(stages["a"].folder).values()} == {1}


def test_bfloat16_gives_losses_near_those_of_float32_and_is_in_the_record(
    sample: Sample, folder: Path, pool: Pool
) -> None:
    exact, rounded = (make_losses(sample, _panel(folder, dtype=dtype), pool) for dtype in ("float32", "bfloat16"))
    store = sample.workspace.store
    for name, stage in rounded.items():
        for record, dtype in ((saved(store, exact[name].folder), "float32"), (saved(store, stage.folder), "bfloat16")):
            assert record is not None
            assert record["fields"]["engine"]["dtype"] == dtype
        for shard in sample.shards:
            one, other = (read_narrow(store, f"{s.folder}/{shard}.parquet") for s in (exact[name], stage))
            for column in ("id", "tokens", "begin", "finish", "bytes", "widths"):
                assert one.column(column).equals(other.column(column))
            tokens = one.column("tokens").to_numpy()
            means = [table.column("loss").to_numpy() / tokens for table in (one, other)]
            np.testing.assert_allclose(means[1], means[0], atol=0.05)
            assert (means[1] != means[0]).any()  # else it was float32


def test_another_tokenizer_is_refused_before_any_model_runs_or_aligned(
    sample: Sample, folder: Path, pool: Pool
) -> None:
    names = ["a", "other"]
    with pytest.raises(UserError, match="align: true"):
        make_losses(sample, _panel(folder, names), pool)
    assert sample.workspace.store.folders("losses") == []
    mixed = _panel(folder, names, align=True)
    found = read_pairs(sample, make_pairs(sample, mixed, make_losses(sample, mixed, pool), pool))
    assert (found.reasons == 0).all()
    assert found.pairs is not None
    totals = found.pairs.difference[:, 0] * found.tokens
    np.testing.assert_allclose(totals, found.losses[:, 0] - found.losses[:, 1], rtol=1e-3, atol=1e-3)


def test_the_hash_knows_model_dtype_and_threads_but_not_the_place(sample: Sample, folder: Path, tmp_path: Path) -> None:
    from pipeline.preselect.losses import losses_stages

    first = {name: stage.hash for name, (stage, _) in losses_stages(sample, _panel(folder)).items()}
    for change in ({"dtype": "bfloat16"}, {"threads": 2}, {"context": 32}, {"attention": "eager"}):
        stage, _ = losses_stages(sample, _panel(folder, **change))["a"]
        assert stage.hash != first["a"], change
    import shutil

    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    assert losses_stages(sample, _panel(moved))["a"][0].hash == first["a"]
    assert first["a"] != first["b"]


def test_a_panel_for_gpus_is_refused_where_no_worker_offers_one(sample: Sample, folder: Path, pool: Pool) -> None:
    with pytest.raises(UserError, match="resource GPU"):
        make_losses(sample, _panel(folder, device="cuda"), pool)
    assert sample.workspace.store.folders("losses") == []


def test_a_model_that_breaks_leaves_the_others_losses(sample: Sample, folder: Path, pool: Pool, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    data = (broken / "a" / "model.safetensors").read_bytes()
    (broken / "a" / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ShardsFailed, match="a/part-00000"):
        make_losses(sample, _panel(broken), pool)
    done = [f for f in sample.workspace.stages(f"losses/{sample.corpus}") if f"/{sample.corpus}/b-" in f]
    assert all(row.done for row in sample.workspace.rows(done[0]).values())
