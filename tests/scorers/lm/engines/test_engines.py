"""vLLM and transformers on the same model: the same numbers, the same replies; and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scorers.lm.engines import Decoding, Engine, EngineError, EngineSettings, open_engine  # noqa: E402
from scorers.lm.losses import token_losses  # noqa: E402
from scorers.lm.model import open_model  # noqa: E402

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "Seven wizards boil a pot of strong tea; in the old garden, naïve dogs — 17 of them — sleep.",
    "x",
    "tea " * 40,
]
LENGTHS = {"max_position_embeddings": 256, "hidden_size": 64, "head_dim": 32, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def folder(make_model) -> Path:
    """A Llama with heads of a size that vLLM's CPU kernels know."""
    return make_model("Llama", num_key_value_heads=1, **LENGTHS)


@pytest.fixture(scope="module")
def vllm(vllm_python: str, folder: Path) -> Iterator[Engine]:
    with open_engine(EngineSettings(engine="vllm", model=str(folder), python=vllm_python)) as engine:
        yield engine


@pytest.fixture
def oracle(folder: Path) -> Iterator[Engine]:
    with open_engine(EngineSettings(engine="transformers", model=str(folder), device="cpu")) as engine:
        yield engine


def test_log_probabilities_of_vllm_are_those_of_transformers(vllm: Engine, oracle: Engine) -> None:
    ids = oracle.encode(TEXTS)
    theirs, ours = vllm.logprobs(ids), oracle.logprobs(ids)
    for one, a, b in zip(ids, theirs, ours, strict=True):
        assert a.dtype == np.float32
        assert len(a) == len(b) == len(one)
        assert np.isnan(a[0])
        assert np.isnan(b[0])
        np.testing.assert_allclose(a[1:], b[1:], atol=1e-3, rtol=0)


def test_an_order_of_prompts_does_not_move_their_values(vllm: Engine) -> None:
    ids = vllm.encode(TEXTS)
    forward, backward = vllm.logprobs(ids), vllm.logprobs(ids[::-1])[::-1]
    for a, b in zip(forward, backward, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=0)


def test_losses_of_a_panel_and_of_an_engine_are_the_same_numbers(folder: Path) -> None:
    with open_engine(EngineSettings(engine="transformers", model=str(folder), device="cpu")) as engine:
        found = engine.logprobs(engine.encode(TEXTS))
    with open_model(str(folder)) as model:
        losses = token_losses(model, TEXTS, context=256)
    np.testing.assert_allclose(-np.concatenate([one[1:] for one in found]), losses.values, atol=1e-4, rtol=0)


def test_choices_are_the_log_probabilities_of_one_more_token(vllm: Engine, oracle: Engine) -> None:
    allowed = list(range(2, 202))  # more than vLLM takes at once
    prompts = vllm.encode(TEXTS[:2])
    longer = [np.append(one, np.int32(token)) for one in prompts for token in allowed]
    expected = np.array([one[-1] for one in vllm.logprobs(longer)]).reshape(2, -1)
    np.testing.assert_allclose(vllm.choices(prompts, allowed), expected, atol=1e-3, rtol=0)
    np.testing.assert_allclose(oracle.choices(TEXTS[:2], allowed), expected, atol=1e-3, rtol=0)


def test_greedy_replies_agree_and_seeds_repeat(vllm: Engine, oracle: Engine) -> None:
    greedy = Decoding(max_tokens=8)
    assert vllm.generate(TEXTS[:3], greedy) == oracle.generate(TEXTS[:3], greedy)
    draws = Decoding("sampled", max_tokens=6, n=4, seed=5)
    first = vllm.generate(TEXTS[:2], draws)
    assert [len(one) for one in first] == [4, 4]
    assert len(set(first[0])) > 1
    assert first == vllm.generate(TEXTS[:2], draws)
    assert [len(one) for one in vllm.generate(TEXTS[:2], Decoding("beam", max_tokens=4, n=3))] == [3, 3]


def test_spans_name_the_characters_of_each_token(oracle: Engine) -> None:
    for text, ids, spans in zip(TEXTS, oracle.encode(TEXTS), oracle.spans(TEXTS), strict=True):
        assert len(ids) == len(spans)
        assert spans[0].tolist() == [0, 0]
        assert spans[1, 0] == 0
        assert spans[-1, 1] == len(text)


def test_nothing_is_cut_in_silence(vllm: Engine, oracle: Engine) -> None:
    for engine in (vllm, oracle):
        with pytest.raises(EngineError, match="the context holds 256"):
            engine.logprobs([np.zeros(257, np.int32)])
        with pytest.raises(EngineError, match="prompt 1 is empty"):
            engine.logprobs([np.zeros(3, np.int32), np.zeros(0, np.int32)])
        with pytest.raises(EngineError, match="and 300 more for the reply"):
            engine.generate(["tea"], Decoding(max_tokens=300))


def test_a_token_without_an_embedding_is_refused_and_the_engine_goes_on(vllm: Engine) -> None:
    with pytest.raises(EngineError, match=r"vLLM .* could not score prompts"):
        vllm.logprobs([np.array([0, 10**6], np.int32)])
    assert len(vllm.logprobs([np.array([0, 5], np.int32)])[0]) == 2


def test_a_context_beyond_the_model_is_refused(folder: Path) -> None:
    with pytest.raises(EngineError, match="the model has 256 positions"):
        open_engine(EngineSettings(engine="transformers", model=str(folder), device="cpu", context=512))
