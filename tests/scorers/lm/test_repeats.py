"""Curves, teacher forcing and continuations against one plain forward pass per sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scorers.lm.model import LanguageModel, open_model  # noqa: E402
from scorers.lm.repeats import continuations, repeated_curves, teacher_forced  # noqa: E402

DRAW = np.random.default_rng(0)
PAIRS = [(DRAW.integers(2, 200, p), DRAW.integers(2, 200, s)) for p, s in ((3, 5), (6, 9), (2, 4), (4, 32))]


def plain(model: LanguageModel, ids: np.ndarray) -> np.ndarray:
    """float64 (tokens - 1, vocabulary): log-probabilities of one sequence."""
    with torch.inference_mode():
        logits = model.network(input_ids=torch.from_numpy(ids)[None], use_cache=False).logits[0, :-1].double()
    return torch.log_softmax(logits, -1).numpy()


@pytest.mark.parametrize(("architecture", "bos"), [("Llama", True), ("Gemma2", False)])
def test_curves_follow_the_definitions(make_model: Callable[..., Path], architecture: str, bos: bool) -> None:
    with open_model(str(make_model(architecture, bos=bos)), attention="eager") as model:
        found = repeated_curves(model, PAIRS, copies=5, token_budget=100)
        lead = [model.bos] if bos else []
        rows: list[list[tuple[float, bool, bool]]] = [[] for _ in range(6)]
        for prefix, sentence in PAIRS:
            count = min(6, (64 - len(lead) - len(prefix)) // len(sentence))
            if count < 2:
                continue
            ids = np.concatenate([lead, prefix, *[sentence] * count]).astype(np.int64)
            logp, start = plain(model, ids), len(lead) + len(prefix)
            for copy in range(count):
                for place, token in enumerate(sentence):
                    at = start + copy * len(sentence) + place - 1  # the position that predicts it
                    p, first = np.exp(logp[at, token]), np.exp(logp[start + place - 1, token])
                    rows[copy].append((p, p > first, logp[at].argmax() == token))
    for copy, own in enumerate(rows):
        values = np.array(own, float)
        assert found.tp[copy] == pytest.approx(values[:, 0].mean(), abs=1e-5)
        assert found.wr[copy] == pytest.approx(values[:, 2].mean())
        assert found.tokens[copy] == len(own)
        if copy:
            assert found.ip[copy] == pytest.approx(values[:, 1].mean())
    assert np.isnan(found.ip[0])
    assert found.sentences.tolist() == [3, 3, 3, 3, 3, 3]  # the last sentence does not fit twice


def test_teacher_forcing_does_not_depend_on_the_batch(make_model: Callable[..., Path]) -> None:
    sequences = [DRAW.integers(2, 200, n) for n in (1, 7, 30, 2, 64)]
    with open_model(str(make_model())) as model:
        found = teacher_forced(model, sequences, token_budget=70)
        for number, ids in enumerate(sequences):
            place = slice(found.offsets[number], found.offsets[number + 1])
            logp = plain(model, ids)
            expected = logp[np.arange(len(ids) - 1), ids[1:]]
            np.testing.assert_allclose(found.logp[place][1:], expected, atol=1e-4)
            assert found.choice[place][1:].tolist() == logp.argmax(-1).tolist()
            assert np.isnan(found.logp[place][0])
            assert found.choice[place][0] == -1
        with pytest.raises(ValueError, match=r"65 tokens; .* has at most 64 positions"):
            teacher_forced(model, [np.zeros(65, np.int64)])


def test_greedy_is_the_first_choice_again_and_again_whatever_the_models_own_settings(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in make_model().iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    own = {"repetition_penalty": 5.0, "do_sample": True, "temperature": 3.0, "bos_token_id": 0, "eos_token_id": 1}
    (folder / "generation_config.json").write_text(json.dumps(own))
    prefixes = [DRAW.integers(2, 200, 6) for _ in range(5)]
    with open_model(str(folder)) as model:
        before = model.network.generation_config
        state = torch.get_rng_state()
        found = continuations(model, prefixes, 12, batch=2)
        assert model.network.generation_config is before
        assert torch.equal(torch.get_rng_state(), state)
        for prefix, made in zip(prefixes, found, strict=True):
            ids = [model.bos, *prefix.tolist()]
            for token in made.tolist():
                with torch.inference_mode():
                    logits = model.network(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
                    logits[1] = -torch.inf  # the end is never drawn
                assert token == int(logits.argmax())
                ids.append(token)


def test_the_nucleus_repeats_by_seed(make_model: Callable[..., Path]) -> None:
    prefixes = [DRAW.integers(2, 200, 6) for _ in range(4)]
    with open_model(str(make_model())) as model:
        one, same, other = (continuations(model, prefixes, 10, 0.9, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert all(len(text) == 10 for text in one)
