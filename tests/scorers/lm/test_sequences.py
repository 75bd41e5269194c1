"""Losses and attention of token sequences against eager passes that make every matrix, for several architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402

from scorers.lm.attention import CLASSES, EARLIER, OWN, SINK, SYSTEM, USER  # noqa: E402
from scorers.lm.model import open_model  # noqa: E402
from scorers.lm.sequences import Sequences, SequenceScores, score_sequences  # noqa: E402

CONTEXT = 96
LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.4,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama-gqa": LLAMA,
    "mistral-window": LLAMA | {"model_type": "mistral", "sliding_window": 7},
    "qwen3-norms": LLAMA | {"model_type": "qwen3", "head_dim": 8},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": CONTEXT},
    "gemma2-softcap": LLAMA
    | {"model_type": "gemma2", "head_dim": 8, "attn_logit_softcapping": 2.0, "sliding_window": 9},
    "gpt-oss-sinks": LLAMA
    | {
        "model_type": "gpt_oss",
        "head_dim": 8,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "sliding_window": 9,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
}
EAGER = ("gemma2-softcap", "gpt-oss-sinks")
"""Their kernels in torch's own attention are refused by transformers."""

LEAKS = "gpt-oss-sinks"
"""With the eager kernel, sequences of a row see each other: transformers makes no block mask for it."""


def save(folder: Path, values: dict[str, Any], seed: int = 0) -> Path:
    """A model with random weights, big enough that attention is uneven, and a tokenizer of bytes."""
    plain = Tokenizer(models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain)
    tokenizer.save_pretrained(folder)
    values = dict(values)
    config = transformers.AutoConfig.for_model(values.pop("model_type"), vocab_size=len(tokenizer), **values)
    torch.manual_seed(seed)
    network = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "sinks" in name:
                weight.normal_(0, 1)
            elif weight.ndim > 1:
                weight.mul_(3 if values.get("n_embd") else 1)
    network.save_pretrained(folder)
    return folder


def conversations(seed: int = 0) -> Sequences:
    """Sequences of many lengths, one beyond the context, one of two tokens; some with several responses."""
    random = np.random.default_rng(seed)
    ids, offsets, responses, classes = [], [0], [], []
    for length in (40, 23, 2, 96, 130, 61, 5, 1):
        kind = np.full(length, USER)
        kind[: length // 6] = SYSTEM
        at = length // 3
        while at < length:
            end = min(length, at + int(random.integers(1, 14)))
            responses.append((offsets[-1] + at, offsets[-1] + end))
            kind[at:end] = EARLIER
            at = end + int(random.integers(1, 6))
        kind[: min(2, length)] = SINK
        ids.append(random.integers(0, 250, length))
        classes.append(kind)
        offsets.append(offsets[-1] + length)
    return Sequences(
        np.concatenate(ids), np.array(offsets), np.array(responses), np.concatenate(classes).astype(np.int8)
    )


def expected(folder: Path, sequences: Sequences, layer: int) -> SequenceScores:
    """The same with all logits and all attention matrices, one sequence at a time."""
    network = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    count = len(sequences.ids)
    nll, entropy = np.full(count, np.nan, np.float32), np.full(count, np.nan, np.float32)
    ranks, masses = np.full(count, -1), np.full((count, CLASSES), np.nan, np.float32)
    for one in range(len(sequences)):
        start = sequences.offsets[one]
        length = min(CONTEXT, sequences.offsets[one + 1] - start)
        if length < 2:
            continue
        ids = torch.from_numpy(sequences.ids[start : start + length])[None]
        with torch.inference_mode():
            out = network(input_ids=ids, output_attentions=True, use_cache=False)
        logs = torch.log_softmax(out.logits[0, :-1].double(), -1)
        own = logs.gather(1, ids[0, 1:, None])
        nll[start + 1 : start + length] = -own[:, 0]
        entropy[start + 1 : start + length] = -(logs.exp() * logs).sum(-1)
        ranks[start + 1 : start + length] = (out.logits[0, :-1] > out.logits[0, :-1].gather(1, ids[0, 1:, None])).sum(
            -1
        )
        weights = out.attentions[layer][0].mean(0).numpy()
        for first, last in sequences.responses:
            if not start <= first < start + length:
                continue
            kinds = sequences.classes[start : start + length].copy()
            kinds[first - start :][kinds[first - start :] != SINK] = OWN
            for token in range(first - start, min(last - start, length)):
                for kind in range(CLASSES):
                    masses[start + token, kind] = weights[token, : token + 1][kinds[: token + 1] == kind].sum()
                # What a learnt sink takes is in no key's weight.
                masses[start + token, SINK] += 1 - weights[token].sum()
    return SequenceScores(nll, entropy, ranks, masses)


def check(found: SequenceScores, wanted: SequenceScores) -> None:
    np.testing.assert_allclose(found.nll, wanted.nll, atol=1e-4, rtol=0)
    assert found.masses is not None
    assert wanted.masses is not None
    np.testing.assert_allclose(found.masses, wanted.masses, atol=1e-5, rtol=0)
    there = ~np.isnan(found.masses[:, 0])
    np.testing.assert_allclose(found.masses[there].sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("layer", [-1, 1])
def test_scores_are_those_of_an_eager_pass(tmp_path: Path, name: str, layer: int) -> None:
    folder = save(tmp_path / "model", ARCHITECTURES[name])
    sequences = conversations()
    wanted = expected(folder, sequences, layer)
    assert wanted.masses is not None
    assert np.nanstd(wanted.masses, axis=0).max() > 0.05  # uneven, or nothing would be tested
    with open_model(str(folder), attention="eager" if name in EAGER else "sdpa") as model:
        found = score_sequences(
            model, sequences, context=CONTEXT, token_budget=200, layer=layer, entropy=True, ranks=True
        )
        check(found, wanted)
        assert found.entropy is not None
        np.testing.assert_allclose(found.entropy, wanted.entropy, atol=1e-4)
        assert found.ranks is not None
        assert wanted.ranks is not None
        np.testing.assert_array_equal(found.ranks, wanted.ranks)
        if name == LEAKS:
            with pytest.raises(ValueError, match="does not keep the sequences of a row apart"):
                score_sequences(model, sequences, context=CONTEXT, layer=layer, packed=True)
        else:
            packed = score_sequences(model, sequences, context=CONTEXT, token_budget=200, layer=layer, packed=True)
            check(packed, wanted)
        one_by_one = score_sequences(model, sequences, context=CONTEXT, token_budget=1, layer=layer)
        check(one_by_one, wanted)


def test_without_attention_the_losses_are_the_same_bits(tmp_path: Path) -> None:
    with open_model(str(save(tmp_path, LLAMA))) as model:
        sequences = conversations()
        with_it, without = (score_sequences(model, sequences, context=CONTEXT, layer=one) for one in (-1, None))
    np.testing.assert_array_equal(with_it.nll, without.nll)
    assert [without.masses, without.entropy, without.ranks] == [None] * 3


def test_the_state_before_the_input_norm_would_give_another_mass(tmp_path: Path) -> None:
    """The trap that the watched interface avoids: without the norm the numbers look plausible and are wrong."""
    folder = save(tmp_path, LLAMA)
    network = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    layer = network.model.layers[-1]
    layer.input_layernorm.register_forward_hook(lambda module, inputs, output: inputs[0])
    ids = torch.arange(30)[None]
    with torch.inference_mode():
        skipped = network(input_ids=ids, output_attentions=True).attentions[-1][0].mean(0)
    with open_model(str(folder)) as model:
        sequences = Sequences(ids[0].numpy(), np.array([0, 30]), np.array([[10, 30]]), np.full(30, USER, np.int8))
        found = score_sequences(model, sequences, layer=-1)
    assert found.masses is not None
    wrong = skipped[10:, :10].sum(1).numpy()
    assert np.abs(found.masses[10:, USER] - wrong).max() > 0.01


@pytest.mark.parametrize("packed", [False, True])
def test_ids_that_the_model_does_not_have_and_contexts_beyond_it_are_refused(tmp_path: Path, packed: bool) -> None:
    sequences = conversations()
    with open_model(str(save(tmp_path, LLAMA))) as model:
        with pytest.raises(ValueError, match="context 97"):
            score_sequences(model, sequences, context=97, packed=packed)
        with pytest.raises(ValueError, match="layer 3: the model has 3 layers"):
            score_sequences(model, sequences, layer=3, packed=packed)
        bad = Sequences(sequences.ids + 100, sequences.offsets, sequences.responses, sequences.classes)
        with pytest.raises(ValueError, match="tokenizer is not this model's"):
            score_sequences(model, bad, packed=packed)


def lora(folder: Path, base: Path, seed: int) -> Path:
    """A LoRA adapter whose weights are not zero."""
    peft = pytest.importorskip("peft")
    network = transformers.AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(seed)
    adapted = peft.get_peft_model(
        network, peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"])
    )
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.2)
    adapted.save_pretrained(folder)
    return folder


def test_adapters_on_and_off_are_the_merged_models_and_the_base(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    base = save(tmp_path / "base", LLAMA)
    sequences = conversations()
    adapters = [lora(tmp_path / f"lora-{seed}", base, seed) for seed in range(2)]
    with open_model(str(base)) as model:
        plain = score_sequences(model, sequences, context=CONTEXT, layer=-1)
        for adapter in (adapters[0], adapters[1], adapters[0]):
            model.adapters.wear(adapter)
            found = score_sequences(model, sequences, context=CONTEXT, layer=-1)
            merged = tmp_path / "merged"
            network = transformers.AutoModelForCausalLM.from_pretrained(base)
            peft.PeftModel.from_pretrained(network, adapter).merge_and_unload().save_pretrained(merged)
            check(found, expected(merged, sequences, -1))
            assert np.nanmax(np.abs(found.nll - plain.nll)) > 0.01
            model.adapters.wear(None)
            off = score_sequences(model, sequences, context=CONTEXT, layer=-1)
            np.testing.assert_array_equal(off.nll, plain.nll)


def test_an_adapter_that_is_a_pickle_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    base = save(tmp_path / "base", LLAMA)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "PREFIX_TUNING"}')
    (adapter / "adapter_model.bin").write_bytes(b"")

    with open_model(str(base)) as model:
        with pytest.raises(ValueError, match=r"no adapter_model\.safetensors"):
            model.adapters.wear(adapter)
        (adapter / "adapter_model.safetensors").write_bytes(b"")
        with pytest.raises(ValueError, match="expected LORA"):
            model.adapters.wear(adapter)
