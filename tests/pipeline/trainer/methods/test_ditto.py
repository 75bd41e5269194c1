"""DITTO's rows, its loss by the formula, and what falls back to the plain loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.errors import UserError  # noqa: E402
from pipeline.trainer.batches import Batch, collate  # noqa: E402
from pipeline.trainer.methods.ditto import (  # noqa: E402
    CLOSED,
    ENDS,
    OPENS,
    Settings,
    ditto_losses,
    make,
    repeated,
    sentences,
    token_marks,
)
from pipeline.trainer.model import Trainee  # noqa: E402
from pipeline.trainer.plan import Plan  # noqa: E402
from pipeline.trainer.settings import LossSettings  # noqa: E402
from pipeline.trainer.step import share_out, to_micro  # noqa: E402
from tests.pipeline.trainer.networks import network  # noqa: E402
from tests.pipeline.trainer.packs import packed  # noqa: E402

END, BOS, EOS = 9, 0, 1
# Sentences of 4, 5 and 4 tokens; then a document without one that can repeat.
DOCUMENTS = [[BOS, 20, 21, 22, END, 30, 31, 32, 33, END, 40, 41, 42, END, EOS], [BOS, 50, 51, 52, EOS]]
SETTINGS = Settings(end_tokens=(END,))


def batch_of(folder: Path, rows: list[list[int]], context: int, weights: Any = None) -> Batch:
    documents = packed(folder, DOCUMENTS, weights)
    pieces = [document for row in rows for document in row]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    lengths = (documents.lengths[pieces] - 1).astype(np.int32)
    plan = Plan(np.array(pieces, np.int32), np.zeros(len(pieces), np.int32), lengths, offsets, context)
    return collate(documents, plan)


def test_sentences_have_one_before_them_in_their_own_document(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, [[0, 1]], 24)
    found = sentences(batch, 0, token_marks(SETTINGS, None), 3)
    tokens = [(batch.labels[0, a:b].tolist(), batch.labels[0, b:c].tolist()) for a, b, c in found]
    assert tokens == [([20, 21, 22, END], [30, 31, 32, 33, END]), ([30, 31, 32, 33, END], [40, 41, 42, END])]
    short = sentences(batch_of(tmp_path, [[0]], 14), 0, token_marks(SETTINGS, None), 3)
    assert [c - b for _, b, c in short] == [4]  # three copies of five do not fit behind a prefix
    assert sentences(batch, 0, token_marks(SETTINGS, None), 5).shape == (1, 3)


def test_rows_are_prefix_and_copies_and_only_later_copies_are_learnt(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, [[0], [1]], 18, [0.5, 1.0])
    made = repeated(batch, token_marks(SETTINGS, None), 3, [1, 2], 0)
    row = [*made.inputs[0].tolist(), int(made.labels[0, -1])]
    prefix, sentence = (
        ([20, 21, 22, END], [30, 31, 32, 33, END]) if row[0] == 20 else ([30, 31, 32, 33, END], [40, 41, 42, END])
    )
    assert row == (prefix + 4 * sentence)[:19]
    first = len(prefix) + len(sentence)
    expected = [0.5 if place + 1 >= first else 0 for place in range(18)]
    assert made.weights[0].tolist() == expected
    assert made.marks is not None
    assert made.marks[0].tolist() == [len(sentence) if weight else 0 for weight in expected]
    assert made.positions[0].tolist() == list(range(18))
    # A row without two sentences stays what it was.
    for name in ("inputs", "labels", "weights", "positions", "segments", "documents"):
        assert np.array_equal(getattr(made, name)[1], getattr(batch, name)[1])
    assert not made.marks[1].any()


@pytest.mark.parametrize("loss", ["nl", "nl_clip", "mse"])
def test_the_loss_compares_each_token_with_the_copy_before(tmp_path: Path, loss: str) -> None:
    settings = Settings.model_validate({"end_tokens": (END,), "loss": loss, "decay": 0.4})
    made = repeated(batch_of(tmp_path, [[0], [1]], 18), token_marks(settings, None), 3, [1, 2], 0)
    micro = to_micro(made, None, torch.device("cpu"))
    trainee = Trainee(network())
    values, nll, _ = ditto_losses(trainee, micro, settings)

    with torch.no_grad():
        logits = trainee.network(input_ids=micro.inputs, position_ids=micro.positions).logits.double()
    p = torch.softmax(logits, -1).gather(2, torch.from_numpy(made.labels)[..., None])[..., 0].numpy()
    expected = []
    for row, place in np.argwhere(made.weights > 0):
        lag = made.marks[row, place]
        d = p[row, place] - 0.4 * p[row, place - lag]
        size = {"nl": abs(d), "nl_clip": max(d, 0), "mse": 3 * d * d}[loss]
        expected.append(-np.log(p[row, place]) if lag == 0 else size if loss == "mse" else -np.log(1 - size))
    np.testing.assert_allclose(values.detach().numpy(), expected, rtol=1e-4, atol=1e-6)

    # No gradient through the copy before: that of the values is that of p alone, scaled by known factors.
    target = torch.tensor([p[row, place - made.marks[row, place]] for row, place in np.argwhere(made.weights > 0)])
    now = torch.exp(-nll)
    d = now - 0.4 * target.float()
    size = {"nl": d.abs(), "nl_clip": d.clamp_min(0), "mse": d}[loss]
    plain = 3 * d.square() if loss == "mse" else -torch.log(1 - size)
    lag = torch.tensor([made.marks[row, place] for row, place in np.argwhere(made.weights > 0)])
    objective = torch.where(lag > 0, plain, nll).sum()
    wanted = torch.autograd.grad(objective, list(trainee.parameters()), retain_graph=True)
    found = torch.autograd.grad(values.sum(), list(trainee.parameters()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_the_mean_is_over_the_penalised_tokens(tmp_path: Path) -> None:
    made = repeated(batch_of(tmp_path, [[0]], 18), token_marks(SETTINGS, None), 3, [1, 2], 0)
    micro = to_micro(made, None, torch.device("cpu"))
    share_out([micro], LossSettings())
    assert micro.shares.tolist() == pytest.approx([1 / int((made.marks > 0).sum())] * len(micro.shares))


def test_half_of_the_steps_are_plain_and_stay_untouched(tmp_path: Path) -> None:
    method = make(SETTINGS, 3, None)
    assert method.batch is not None
    batch = batch_of(tmp_path, [[0]], 18)
    made = [method.batch(step, [batch])[0] for step in range(400)]
    plain = [one is batch for one in made]
    assert 160 < sum(plain) < 240
    again = [method.batch(step, [batch])[0] for step in range(400)]
    assert all(np.array_equal(a.inputs, b.inputs) for a, b in zip(made, again, strict=True))
    assert len({one.inputs[0, 0] for one in made if one is not batch}) == 2


def test_tokens_say_where_sentences_end() -> None:
    from pathlib import Path as Place

    from tokenizers import Tokenizer

    place = Place(__file__).parents[4] / "configs" / "demo" / "data" / "tokenizer.json"
    marks, plain = token_marks(Settings(), str(place)), Tokenizer.from_file(str(place))
    ids = plain.encode("See the file a.txt. It is 3.5 long. Done!").ids
    kinds = [int(marks[i]) for i in ids]
    ends = [n for n, k in enumerate(kinds) if k & CLOSED or (k & ENDS and n + 1 < len(ids) and kinds[n + 1] & OPENS)]
    assert [plain.decode(ids[: n + 1]).strip() for n in ends] == [
        "See the file a.txt.",
        "See the file a.txt. It is 3.5 long.",
    ]


def test_without_a_tokenizer_the_ends_must_be_told() -> None:
    with pytest.raises(UserError, match="give `end_tokens`"):
        make(Settings(), 0, None)
