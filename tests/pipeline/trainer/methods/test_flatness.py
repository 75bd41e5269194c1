"""The probe estimates the trace of the Fisher information, which can be summed exactly for a tiny vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.trainer.methods.flatness import Settings, fisher_traces, make  # noqa: E402
from pipeline.trainer.model import Trainee  # noqa: E402
from pipeline.trainer.settings import ModelSettings  # noqa: E402
from tests.pipeline.trainer.networks import LLAMA, row_of  # noqa: E402
from tests.pipeline.trainer.packs import packed  # noqa: E402

TINY = LLAMA | {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}


def small() -> Trainee:
    """A model over six tokens."""
    from pipeline.trainer.model import open_network

    settings = ModelSettings.model_validate({"config": TINY | {"vocab_size": 6}})
    return Trainee(open_network(settings, 6, {"bos_token_id": 0, "eos_token_id": 1}, 0))


def exact(trainee: Trainee, micro: Any) -> float:
    """sum over positions and tokens of p(y) |grad log p(y)|^2, per position."""
    total = 0.0
    for place in range(len(micro.where)):
        for token in range(6):
            labels = micro.labels.clone()
            labels[place] = token
            nll = trainee(micro.inputs, micro.positions, micro.where, labels)[0][place]
            found = torch.autograd.grad(nll, list(trainee.parameters()), allow_unused=True)
            total += float(torch.exp(-nll.detach())) * sum(
                float(g.double().square().sum()) for g in found if g is not None
            )
    return total / len(micro.where)


def test_the_mean_of_the_estimate_is_the_exact_trace(tmp_path: Path) -> None:
    documents = packed(tmp_path, [[0, 2, 3, 4, 5, 2, 1], [0, 3, 3, 1]])
    micro, trainee = row_of(documents, [[0, 1]], 12), small()
    found = fisher_traces(trainee, [micro] * 600, seed=4)
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - exact(trainee, micro)) < 4 * error
    assert error < 0.1 * np.mean(found)


def test_it_leaves_model_gradients_and_random_state_alone(tmp_path: Path) -> None:
    documents = packed(tmp_path, [[0, 2, 3, 4, 5, 2, 1]])
    micro, trainee = row_of(documents, [[0]], 8), small()
    before = {name: p.detach().clone() for name, p in trainee.named_parameters()}
    state = torch.get_rng_state()
    method = make(Settings(batches=3), 0)
    assert method.probe is not None
    first, second = (method.probe(5, trainee, [micro] * 3) for _ in range(2))
    assert first == second
    assert first.keys() == {"fisher_trace", "fisher_trace_se"}
    assert all(p.grad is None and torch.equal(p, before[name]) for name, p in trainee.named_parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert trainee.training


def test_masked_positions_do_not_count(tmp_path: Path) -> None:
    document = [0, 2, 3, 4, 5, 2, 1]
    documents = packed(tmp_path, [document, document], None, [[0, 1, 1, 0, 0, 0, 0], None])
    trainee = small()
    masked, whole = row_of(documents, [[0]], 8), row_of(documents, [[1]], 8)
    assert len(masked.where) == 2
    (few,), (all_of_them,) = (fisher_traces(trainee, [one], 0) for one in (masked, whole))
    assert few != all_of_them
    short = packed(tmp_path, [[0, 2, 3]])
    (same,) = fisher_traces(trainee, [row_of(short, [[0]], 8)], 0)
    assert few == pytest.approx(same, rel=1e-4)
