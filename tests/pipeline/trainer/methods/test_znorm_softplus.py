"""The Z-loss by its formula, its invariances, and that nothing of it is shown as a perplexity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.trainer import metrics  # noqa: E402
from pipeline.trainer.methods.znorm_softplus import Settings, make, znorm_softplus  # noqa: E402
from pipeline.trainer.model import Trainee  # noqa: E402
from tests.pipeline.trainer.methods.test_all import documents, go_on, training  # noqa: E402, F401
from tests.pipeline.trainer.networks import GEMMA, LLAMA, network, row_of  # noqa: E402
from tests.pipeline.trainer.packs import packed  # noqa: E402


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (0.3, 8.0)])
def test_it_follows_the_formula_and_ignores_shift_and_scale(a: float, b: float) -> None:
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(2, 3, (7, 50)), draw.integers(0, 50, 7)
    z = (logits[np.arange(7), labels] - logits.mean(1)) / logits.std(1)
    expected = np.log1p(np.exp(a * (b - z))) / a
    own = torch.from_numpy(labels)
    for other in (logits, logits + 5, logits * 3 - 1):
        found = znorm_softplus(torch.from_numpy(other).float(), own, a, b)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize(("config", "attention"), [(LLAMA, "sdpa"), (GEMMA, "eager")], ids=["llama", "gemma2"])
def test_the_gradient_through_the_pieces_is_that_of_the_whole(
    tmp_path: Path, config: dict, attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.trainer.loss.PIECE_BYTES", 4 * 300 * 3)  # three positions a piece
    micro = row_of(packed(tmp_path, [[0, *range(5, 14), 1]]), [[0]], 12)
    trainee = Trainee(network(config, attention=attention))
    method = make(Settings(), 0)
    assert method.losses is not None
    values, nll, lse = method.losses(1, trainee, micro)
    assert nll.isnan().all()
    assert lse.isnan().all()
    logits = trainee.network(input_ids=micro.inputs, position_ids=micro.positions).logits.flatten(0, 1)[micro.where]
    whole = znorm_softplus(logits, micro.labels, 1.0, 0.0)
    torch.testing.assert_close(values, whole)
    found = torch.autograd.grad(values.sum(), list(trainee.parameters()), retain_graph=True)
    for a, b in zip(found, torch.autograd.grad(whole.sum(), list(trainee.parameters())), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_evaluations_have_its_loss_and_accuracy_but_no_bits(tmp_path: Path, documents) -> None:  # noqa: F811
    run = training(tmp_path, documents, "znorm_softplus")
    go_on(run)
    rows = metrics.read(run.store, run.folder, metrics.EVALUATIONS).to_pylist()
    assert rows
    assert all(row["nll"] is None and row["bits_per_byte"] is None for row in rows)
    steps = metrics.read(run.store, run.folder, metrics.METRICS).to_pylist()
    assert all(np.isnan(row["nll"]) and np.isfinite(row["loss"]) for row in steps)
    probes = [dict(row["probes"]) for row in steps if row["probes"]]
    assert len(probes) == 2
    assert all(one.keys() == {"znorm_softplus/all", "accuracy/all"} for one in probes)
