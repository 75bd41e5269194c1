"""A step is the same however its rows are dealt out in micro-batches."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.trainer.model import Trainee  # noqa: E402
from pipeline.trainer.optimizer import make_adamw, rate  # noqa: E402
from pipeline.trainer.settings import OptimizerSettings, ScheduleSettings  # noqa: E402
from pipeline.trainer.step import TrainingFailed, share_out, update  # noqa: E402
from tests.pipeline.trainer.networks import network, row_of, settings  # noqa: E402
from tests.pipeline.trainer.packs import VOCABULARY, packed  # noqa: E402

DRAW = np.random.default_rng(1)
DOCUMENTS = [[0, *DRAW.integers(2, VOCABULARY, n).tolist(), 1] for n in (7, 3, 11, 1, 9, 14)]
WEIGHTS = [1.0, 0.5, 2.0, 1.0, 0.0, 3.0]
MASKS = [None, None, [0, 1, 0] * 4 + [1], None, None, None]


def gradients(tmp_path: Path, rows: list[list[list[int]]], **changes: Any) -> tuple[float, dict[str, Any]]:
    """Loss and gradients of one step over these micro-batches."""
    documents = packed(tmp_path, DOCUMENTS, WEIGHTS, MASKS)
    trainee = Trainee(network())
    optimizer = torch.optim.SGD(trainee.parameters(), lr=1.0)
    micros = [row_of(documents, one, 20) for one in rows]
    chosen = settings(optimizer={"clip": None, "lr": 1e-9}, **changes)
    outcome = update(1, 10, trainee, optimizer, micros, [], chosen)
    return outcome.loss, {name: p.grad for name, p in trainee.named_parameters()}


@pytest.mark.parametrize("per", ["token", "sample"])
@pytest.mark.parametrize("divide", ["weights", "tokens"])
def test_accumulation_gives_the_gradient_of_the_whole_batch(tmp_path: Path, per: str, divide: str) -> None:
    loss = {"per": per, "divide": divide, "logz": 1e-3}
    whole, expected = gradients(tmp_path, [[[0, 2], [1, 3, 4], [5]]], loss=loss)
    parts, found = gradients(tmp_path, [[[0, 2]], [[1, 3, 4]], [[5]]], loss=loss)
    assert parts == pytest.approx(whole, rel=1e-6)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-5)


def test_the_loss_is_the_weighted_mean_over_tokens(tmp_path: Path) -> None:
    documents = packed(tmp_path, DOCUMENTS, WEIGHTS, MASKS)
    model = network()
    total = count = 0.0
    for number, weight in enumerate(WEIGHTS):
        ids = torch.from_numpy(documents.tokens(number).astype(np.int64))[None]
        nll = torch.nn.functional.cross_entropy(model(input_ids=ids[:, :-1]).logits[0], ids[0, 1:], reduction="none")
        mask = MASKS[number]
        tokens = torch.ones(len(nll)) if mask is None else torch.tensor(mask[1:], dtype=torch.float32)
        total += float((weight * tokens * nll.detach()).sum())
        count += float((weight * tokens).sum())
    found, _ = gradients(tmp_path, [[[0, 2]], [[1, 3, 4]], [[5]]])
    assert found == pytest.approx(total / count, rel=1e-5)


def test_a_loss_that_is_not_finite_changes_nothing(tmp_path: Path) -> None:
    trainee = Trainee(network())
    with torch.no_grad():
        trainee.network.model.norm.weight[0] = float("nan")
    before = {name: p.clone() for name, p in trainee.named_parameters()}
    optimizer = make_adamw(trainee.network, OptimizerSettings())
    micros = [row_of(packed(tmp_path, DOCUMENTS), [[0]], 20)]
    with pytest.raises(TrainingFailed, match="step 3: the loss is nan"):
        update(3, 10, trainee, optimizer, micros, [], settings())
    assert all(torch.equal(p, before[name]) or p.isnan().any() for name, p in trainee.named_parameters())
    assert not optimizer.state


def test_micro_batches_of_padding_alone_count_nothing(tmp_path: Path) -> None:
    documents = packed(tmp_path, DOCUMENTS)
    micros = [row_of(documents, [[0, 1]], 20), row_of(documents, [[]], 20)]
    sums, _ = share_out(micros, settings().loss)
    assert sums.tolist() == [12.0, 12.0, 12.0, 28.0]
    assert float(micros[0].shares.sum()) == pytest.approx(1)
    loss, _ = gradients(tmp_path, [[[0, 1]], [[]]])
    assert loss == pytest.approx(gradients(tmp_path, [[[0, 1]]])[0])


@pytest.mark.parametrize("shape", ["cosine", "linear", "wsd", "constant"])
def test_the_rate_rises_to_its_peak_and_falls_to_its_end(shape: str) -> None:
    schedule = ScheduleSettings.model_validate({"shape": shape, "warmup": 0.1, "final": 0.1})
    rates = [rate(step, 100, schedule) for step in range(1, 101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1)
    assert max(rates) == pytest.approx(1)
    assert rates[-1] == pytest.approx(1 if shape == "constant" else 0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))
