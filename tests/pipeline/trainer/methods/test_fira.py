"""Fira's update by its formula, in both modes, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.errors import UserError  # noqa: E402
from pipeline.trainer.methods.fira import Settings, make  # noqa: E402
from pipeline.trainer.methods.frugal import linear_weights  # noqa: E402
from pipeline.trainer.optimizer import make_adamw, set_rate  # noqa: E402
from pipeline.trainer.settings import OptimizerSettings  # noqa: E402
from tests.pipeline.trainer.networks import network  # noqa: E402

COMMON = OptimizerSettings(lr=1e-2, weight_decay=0.1, betas=(0.9, 0.999))


def gradients(model: Any, steps: int, scale: float = 1.0) -> list[dict[str, Any]]:
    """Of every step, the same for every optimizer; later ones are larger, so that the limiter has work."""
    generator = torch.Generator().manual_seed(7)
    return [
        {name: scale**step * torch.randn(p.shape, generator=generator) for name, p in model.named_parameters()}
        for step in range(steps)
    ]


def run(model: Any, optimizer: Any, found: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    for own in found:
        for name, parameter in model.named_parameters():
            parameter.grad = own[name].clone()
        set_rate(optimizer, COMMON.lr, 1.0)
        optimizer.step()
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters()}


def plain(weight: np.ndarray, found: list[np.ndarray], settings: Settings) -> np.ndarray:
    """The paper's update of one matrix, in float64, in the orientation that has fewer rows than columns."""
    wide = weight.shape[0] < weight.shape[1]
    w = (weight if wide else weight.T).astype(np.float64)
    beta1, beta2 = COMMON.betas
    m = v = before = p = None
    for step, gradient in enumerate(found):
        g = (gradient if wide else gradient.T).astype(np.float64)
        if step % settings.update_gap == 0:
            # The signs of singular vectors are free, and the moments outlive a change of p: the same float32 call.
            vectors = torch.linalg.svd(torch.from_numpy(g).float(), full_matrices=False).U
            p = vectors[:, : settings.rank].double().numpy()
        r = p.T @ g
        m = (1 - beta1) * r if m is None else beta1 * m + (1 - beta1) * r
        v = (1 - beta2) * r * r if v is None else beta2 * v + (1 - beta2) * r * r
        psi = m / (np.sqrt(v) + settings.eps)
        phi = np.linalg.norm(psi, axis=0) / np.linalg.norm(r, axis=0)
        inside = settings.alpha if settings.residual == "code" else 1.0
        s = (g - inside * p @ r) * phi
        size = np.linalg.norm(s)
        if settings.gamma is not None and before is not None and size / before > settings.gamma:
            s *= settings.gamma * before / size
            size = settings.gamma * before
        before = size
        rate = COMMON.lr * np.sqrt(1 - beta2 ** (step + 1)) / (1 - beta1 ** (step + 1))
        w -= rate * (settings.alpha * p @ psi + s)
        w *= 1 - COMMON.lr * COMMON.weight_decay
    return w if wide else w.T


@pytest.mark.parametrize("residual", ["paper", "code"])
@pytest.mark.parametrize("gamma", [1.01, None])
def test_the_update_follows_the_formula(residual: str, gamma: float | None) -> None:
    settings = Settings.model_validate({"rank": 6, "update_gap": 3, "residual": residual, "gamma": gamma})
    model = network()
    names = {id(p): name for name, p in model.named_parameters()}
    found = gradients(model, 5, scale=1.5)
    before = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    made = make(settings, 0)
    assert made.optimizer is not None
    matrices = [names[id(p)] for p in linear_weights(model)]
    after = run(model, made.optimizer(model, COMMON), found)
    for name in matrices:
        expected = plain(before[name], [one[name].numpy() for one in found], settings)
        np.testing.assert_allclose(after[name], expected, atol=2e-5)
    twin = network()
    adamw = run(twin, make_adamw(twin, COMMON), found)
    assert all(np.array_equal(adamw[name], value) for name, value in after.items() if name not in matrices)


def test_the_limiter_and_the_mode_matter() -> None:
    made = {}
    for residual in ("paper", "code"):
        for gamma in (1.01, None):
            model = network()
            method = make(Settings.model_validate({"rank": 6, "residual": residual, "gamma": gamma}), 0)
            assert method.optimizer is not None
            after = run(model, method.optimizer(model, COMMON), gradients(model, 3, scale=1.5))
            made[residual, gamma] = after["model.layers.0.mlp.up_proj.weight"]
    different = list(made.values())
    assert all(not np.allclose(a, b, atol=1e-4) for n, a in enumerate(different) for b in different[:n])


def test_state_is_as_small_as_the_rank_says() -> None:
    model = network()
    method = make(Settings(rank=4), 0)
    assert method.optimizer is not None
    optimizer = method.optimizer(model, COMMON)
    run(model, optimizer, gradients(model, 1))
    for parameter in linear_weights(model):
        state, (out, inside) = optimizer.state[parameter], parameter.shape
        assert state["exp_avg"].shape == (4, max(out, inside))
        assert state["projection"].shape == (min(out, inside), 4)


def test_several_processes_are_refused_with_the_reason() -> None:
    method = make(Settings(), 0)
    assert method.check is not None
    method.check(network(), 1)
    with pytest.raises(UserError, match=r"fira: cannot run in 2 processes: its projection needs the whole gradient"):
        method.check(network(), 2)


def test_a_step_without_gradient_does_not_stop_the_residual_for_good() -> None:
    model = network()
    method = make(Settings(rank=4, gamma=1.01), 0)
    assert method.optimizer is not None
    optimizer = method.optimizer(model, COMMON)
    nothing = [{name: torch.zeros_like(p) for name, p in model.named_parameters()}]
    run(model, optimizer, nothing)
    limits = []
    for _ in range(3):
        run(model, optimizer, gradients(model, 1))
        limits.append(float(optimizer.state[linear_weights(model)[0]]["limit"]))
    assert 0 < limits[0] < limits[1] < limits[2]
