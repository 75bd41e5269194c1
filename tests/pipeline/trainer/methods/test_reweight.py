"""Samples count by their loss as the paper's formulas say, and together as much as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.errors import UserError  # noqa: E402
from pipeline.trainer.methods import make_methods, method_settings  # noqa: E402
from pipeline.trainer.methods.reweight import Settings, make, reweighted  # noqa: E402
from pipeline.trainer.settings import LossSettings  # noqa: E402
from pipeline.trainer.step import share_out  # noqa: E402
from tests.pipeline.trainer.networks import row_of  # noqa: E402
from tests.pipeline.trainer.packs import packed  # noqa: E402

DOCUMENTS = [[0, *range(2, 2 + n), 1] for n in (2, 5, 3, 8)]
WEIGHTS = [1.0, 2.0, 1.0, 0.5]
LOSSES = [1.0, 2.0, 4.0, 3.0]
"""Mean loss of each document."""


def plain(strategy: str, losses: list[float], priors: list[float], r: float) -> np.ndarray:
    """The formulas of the paper's code, one sample at a time."""
    low, high = min(losses), max(losses)
    weights = []
    for loss, prior in zip(losses, priors, strict=True):
        h = (2 * loss - (high + low)) / (high - low)
        f = {"linupper": min(h + 1, 1), "quadratic": 1 - h * h, "extremes": abs(h)}[strategy]
        weights.append(prior * np.exp(f / r))
    return np.array(weights) / sum(weights)


@pytest.mark.parametrize("strategy", ["linupper", "quadratic", "extremes"])
@pytest.mark.parametrize("r", [0.4, 1.0])
def test_weights_follow_the_formulas_and_their_sum_stays(tmp_path: Path, strategy: str, r: float) -> None:
    documents = packed(tmp_path, DOCUMENTS, WEIGHTS)
    micros = [row_of(documents, [[0, 1]], 20), row_of(documents, [[2, 3]], 20)]
    share_out(micros, LossSettings())
    # Tokens of a document differ around its mean: only the mean may matter.
    nll = [
        torch.cat([LOSSES[d] + 0.1 * torch.linspace(-1, 1, len(DOCUMENTS[d]) - 1) for d in rows])
        for rows in ((0, 1), (2, 3))
    ]
    settings = Settings.model_validate({"strategy": strategy, "r": r, "over": "step"})
    found = reweighted(micros, nll, settings)
    per_sample = np.concatenate(
        [np.bincount(m.samples.numpy(), s.numpy(), 2) for m, s in zip(micros, found, strict=True)]
    )
    np.testing.assert_allclose(per_sample, plain(strategy, LOSSES, WEIGHTS, r), rtol=1e-5)
    assert sum(float(s.sum()) for s in found) == pytest.approx(1, rel=1e-5)


def test_samples_of_equal_loss_keep_equal_weights(tmp_path: Path) -> None:
    micro = row_of(packed(tmp_path, DOCUMENTS), [[0, 1, 2]], 20)
    share_out([micro], LossSettings(per="sample"))
    nll = torch.full((len(micro.labels),), 2.5) + 1e-8 * torch.randn(len(micro.labels))
    (found,) = reweighted([micro], [nll], Settings())
    np.testing.assert_allclose(np.bincount(micro.samples.numpy(), found.numpy()), [1 / 3] * 3, rtol=1e-5)


def test_nothing_is_reweighted_during_the_warm_up(tmp_path: Path) -> None:
    micro = row_of(packed(tmp_path, DOCUMENTS), [[0, 1]], 20)
    share_out([micro], LossSettings())
    method = make(Settings(warmup_steps=5), 0)
    assert method.shares is not None
    nll = torch.arange(len(micro.labels), dtype=torch.float32)
    assert method.shares(5, [micro], [nll])[0] is micro.shares
    assert not torch.equal(method.shares(6, [micro], [nll])[0], micro.shares)


def test_unknown_methods_and_settings_are_named() -> None:
    with pytest.raises(UserError, match="did you mean 'reweight'"):
        method_settings([{"method": "reweigth"}], "config x")
    with pytest.raises(UserError, match="did you mean 'strategy'"):
        method_settings([{"method": "reweight", "strategie": "linupper"}], "config x")
    assert [m.name for m in make_methods(method_settings([{"method": "reweight"}], "x"), 0)] == ["reweight"]
