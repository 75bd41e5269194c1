"""The pass over a shard against a plain transformers loop, one document at a time."""

from __future__ import annotations

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from scorers.lm.losses import token_losses  # noqa: E402
from scorers.lm.model import open_model  # noqa: E402
from tests.scorers.lm.conftest import CONTEXT, WORDS  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def documents(num: int, longest: int = 60, seed: int = 0, shortest: int = 1) -> list[str]:
    draw = random.Random(seed)
    vocabulary = [*WORDS.split(), "naïve", "你好", "\U0001f600", "\n\n", "x" * 9]
    return [" ".join(draw.choices(vocabulary, k=draw.randint(shortest, longest))) for _ in range(num)]


class Plain:
    """The reference: AutoTokenizer, AutoModelForCausalLM, one document, one forward."""

    def __init__(self, folder, dtype="float32"):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.network = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    def ids(self, text):
        ids = self.tokenizer(text, add_special_tokens=False, truncation=False).input_ids
        return ids if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id, *ids]

    @torch.inference_mode()
    def __call__(self, ids):
        if len(ids) < 2:
            return np.zeros(0)
        logits = self.network(input_ids=torch.tensor([ids])).logits[0, :-1].float()
        return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none").numpy()


def of(found, doc):
    return found.values[found.offsets[doc] : found.offsets[doc + 1]]


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("Llama", {}),
        ("Llama", {"bos": False}),
        ("GPT2", {}),
        ("Gemma2", {"final_logit_softcapping": 5.0}),  # caps its logits after the head
        ("Granite", {"logits_scaling": 7.0}),  # divides them
    ],
)
def test_losses_equal_a_plain_loop_over_one_document_at_a_time(make_model, architecture, changes):
    folder = make_model(architecture, **changes)
    texts = ["", "t", *documents(40, longest=15), ""]
    plain = Plain(folder)
    kernel = "eager" if architecture == "Gemma2" else "sdpa"  # its capped attention has no other
    with open_model(str(folder), attention=kernel) as model:
        assert model.split_head == (architecture in ("Llama", "GPT2"))
        found = token_losses(model, texts)
    assert found.values.dtype == np.float32
    assert found.sums.dtype == np.float64
    for doc, text in enumerate(texts):
        expected = plain(plain.ids(text))
        if changes.get("bos") is False and text[:1] > "\x7f":  # the other bytes of the first character
            expected = expected[len(text[0].encode()) - 1 :]
        assert len(of(found, doc)) == len(expected) == found.tokens[doc]
        np.testing.assert_allclose(of(found, doc), expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.sums[doc], expected.sum(dtype=np.float64), rtol=1e-4)


def test_windows_give_each_token_the_context_that_the_stride_says(make_model):
    folder = make_model()
    texts = documents(3, longest=250, seed=1, shortest=80)
    plain = Plain(folder)
    with open_model(str(folder)) as model:
        found = token_losses(model, texts, context=40, overlap=12)
    for doc, text in enumerate(texts):
        ids = plain.ids(text)
        assert len(ids) > 2 * CONTEXT
        expected = list(plain(ids[:41]))
        while len(expected) < len(ids) - 1:
            start = len(expected) - 12
            expected += list(plain(ids[start : start + 41])[12:])
        np.testing.assert_allclose(of(found, doc), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_document_that_just_fits_the_context_is_one_window_and_one_more_token_makes_two(make_model, beyond):
    folder = make_model()
    plain = Plain(folder)
    text = "x" * 200
    while len(plain.ids(text)) - 1 > CONTEXT + beyond:  # with BOS in front and the last token never run: CONTEXT inputs
        text = text[:-1]
    with open_model(str(folder)) as model:
        found = token_losses(model, [text])
    assert found.work.run == CONTEXT + beyond * (1 + CONTEXT // 16)
    assert found.work.scored == found.tokens[0] == CONTEXT + beyond
    np.testing.assert_allclose(of(found, 0)[:CONTEXT], plain(plain.ids(text)[: CONTEXT + 1]), rtol=1e-4, atol=1e-4)


def test_what_else_is_in_the_shard_changes_no_loss_beyond_rounding(make_model):
    texts = documents(30)
    shuffled = random.Random(3).sample(range(30), 30)
    with open_model(str(make_model())) as model:
        found = token_losses(model, texts)
        other = token_losses(model, [texts[doc] for doc in shuffled], token_budget=64)
    for place, doc in enumerate(shuffled):
        np.testing.assert_allclose(of(other, place), of(found, doc), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_shard_gives_the_same_bytes_on_a_rerun(make_model, dtype):
    texts = documents(30)
    runs = []
    for _ in range(2):
        with open_model(str(make_model()), dtype=dtype) as model:
            found = token_losses(model, texts)
            runs.append((found.values.tobytes(), found.sums.tobytes()))
    assert runs[0] == runs[1]


def test_bfloat16_is_near_float32_in_the_mean_of_a_document(make_model):
    texts = documents(10)
    folder = str(make_model(initializer_range=0.1))
    with open_model(folder) as model:
        exact = token_losses(model, texts)
    with open_model(folder, dtype="bfloat16") as model:
        rough = token_losses(model, texts)
    assert (rough.values != exact.values).any()
    np.testing.assert_allclose(rough.sums / rough.tokens, exact.sums / exact.tokens, rtol=0.02)


def test_characters_and_bytes_are_those_that_the_scored_tokens_spell(make_model):
    texts = ["", "plain words", "你好 \U0001f600", "\U0001f600 first"]
    with open_model(str(make_model())) as model:
        found = token_losses(model, texts)
    assert found.chars.tolist() == [len(text) for text in texts]
    assert found.bytes.tolist() == [len(text.encode()) for text in texts]
    with open_model(str(make_model(bos=False))) as model:
        found = token_losses(model, texts)
    rest = [text[begin:] for text, begin in zip(texts, found.begins, strict=True)]
    assert rest[3] == " first"  # the four tokens of the face are the first character
    assert 0 < found.begins[1] < len(texts[1])
    assert found.chars.tolist() == [len(text) for text in rest]
    assert found.bytes.tolist() == [len(text.encode()) for text in rest]
    assert found.finishes.tolist() == [len(text) for text in texts]


def test_a_special_token_written_in_a_document_is_scored_as_its_characters(make_model):
    with open_model(str(make_model())) as model:
        found = token_losses(model, ["the</s>dog"])
    assert {3, 4, 5, 6, 7} <= set(found.ends.tolist())


def test_a_shard_without_a_token_gives_empty_arrays(make_model):
    with open_model(str(make_model())) as model:
        for texts in ([], ["", ""]):
            found = token_losses(model, texts)
            assert len(found) == len(texts)
            assert found.values.shape == found.ends.shape == (0,)
            assert found.sums.tolist() == [0.0] * len(texts)
            assert found.work.overhead == 1


def test_little_is_computed_for_nothing(make_model):
    texts = documents(300, longest=100, seed=5)
    with open_model(str(make_model())) as model:
        work = token_losses(model, texts, token_budget=1024).work
    assert work.scored < work.run <= 1.1 * work.scored
    assert 0 < work.padded_share < 0.05


def test_a_context_beyond_the_models_positions_is_refused(make_model):
    with (
        open_model(str(make_model())) as model,
        pytest.raises(ValueError, match=r"context 65: .* at most 64 positions"),
    ):
        token_losses(model, ["a"], context=CONTEXT + 1)


def test_a_token_without_an_embedding_is_refused_before_anything_runs(make_model):
    with open_model(str(make_model())) as model:
        model.rows = 100
        with pytest.raises(ValueError, match=r"in document 1, but the model has only 100 embeddings"):
            token_losses(model, ["", "the quick"])
