"""FRUGAL's update by its formula; its blocks; and AdamW where everything is active."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from pipeline.trainer.methods.frugal import Settings, active, linear_weights, make  # noqa: E402
from pipeline.trainer.optimizer import make_adamw, set_rate  # noqa: E402
from pipeline.trainer.settings import OptimizerSettings  # noqa: E402
from tests.pipeline.trainer.networks import GPT2, network  # noqa: E402

COMMON = OptimizerSettings(lr=1e-2, weight_decay=0.1, betas=(0.9, 0.95))


def optimizer_of(model: Any, seed: int = 3, **changes: Any) -> Any:
    """FRUGAL for a model."""
    made = make(Settings.model_validate(changes), seed)
    assert made.optimizer is not None
    return made.optimizer(model, COMMON)


def run(model: Any, optimizer: Any, steps: int) -> dict[str, Any]:
    """Weights after steps with gradients that are the same for every optimizer."""
    generator = torch.Generator().manual_seed(7)
    for step in range(1, steps + 1):
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        set_rate(optimizer, COMMON.lr, 1 / step)
        optimizer.step()
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def test_all_active_is_adamw_bit_for_bit() -> None:
    ours, theirs = network(), network()
    frugal = run(ours, optimizer_of(ours, density=1.0, update_gap=1000), 6)
    adamw = run(theirs, make_adamw(theirs, COMMON), 6)
    assert all(torch.equal(value, frugal[name]) for name, value in adamw.items())


def test_the_update_follows_the_formula() -> None:
    settings = Settings(density=0.4, update_gap=3, scale=0.5, inactive_scale=0.25)
    model = network()
    matrices = {id(p): n for n, p in enumerate(linear_weights(model))}
    expected = {name: p.detach().double().numpy().copy() for name, p in model.named_parameters()}
    number = {name: matrices[id(p)] for name, p in model.named_parameters() if id(p) in matrices}
    decayed = {name for name, p in model.named_parameters() if id(p) in matrices}
    found = run(model, optimizer_of(model, seed=3, **settings.model_dump()), 8)

    generator = torch.Generator().manual_seed(7)
    m = {name: np.zeros_like(w) for name, w in expected.items()}
    v = {name: np.zeros_like(w) for name, w in expected.items()}
    (beta1, beta2), shapes = COMMON.betas, {name: p.shape for name, p in model.named_parameters()}
    for step in range(8):
        chosen = active(len(number), settings, step // 3, 3)
        for name, w in expected.items():
            g = torch.randn(shapes[name], generator=generator).double().numpy()
            lr = COMMON.lr / (step + 1) * (0.5 if name in number else 1.0)
            if name in decayed:
                w *= 1 - lr * 0.1
            if name in number and number[name] not in chosen:
                w -= lr * 0.25 * np.sign(g)
                continue
            if name in number and step % 3 == 0:
                m[name][:], v[name][:] = 0, 0
            t = step % 3 + 1 if name in number else step + 1
            m[name] = beta1 * m[name] + (1 - beta1) * g
            v[name] = beta2 * v[name] + (1 - beta2) * g * g
            w -= lr * m[name] / (1 - beta1**t) / (np.sqrt(v[name] / (1 - beta2**t)) + 1e-8)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].numpy(), value, atol=2e-6)


def test_inactive_matrices_have_no_moments() -> None:
    model = network()
    optimizer = optimizer_of(model, density=0.25, update_gap=2)
    matrices = linear_weights(model)
    for steps in (1, 2):
        run(model, optimizer, steps)
        with_moments = [p for p in matrices if "exp_avg" in optimizer.state[p]]
        assert len(with_moments) == round(len(matrices) * 0.25)
    others = [p for p in model.parameters() if all(p is not one for one in matrices)]
    assert all("exp_avg" in optimizer.state[p] for p in others)


def test_density_zero_is_sign_descent_on_matrices() -> None:
    model = network()
    before = [p.detach().clone() for p in linear_weights(model)]
    run(model, optimizer_of(model, density=0.0), 1)
    generator = torch.Generator().manual_seed(7)
    signs = {id(p): torch.randn(p.shape, generator=generator).sign() for p in model.parameters()}
    for old, new in zip(before, linear_weights(model), strict=True):
        torch.testing.assert_close(new.detach(), old * (1 - 1e-3) - 1e-2 * signs[id(new)])


@given(
    count=st.integers(1, 40),
    density=st.floats(0.05, 1),
    order=st.sampled_from(["random", "ascending", "descending", "mirror"]),
    seed=st.integers(0, 5),
)
def test_every_matrix_has_its_turn_in_each_cycle(count: int, density: float, order: str, seed: int) -> None:
    settings = Settings.model_validate({"density": density, "order": order})
    size = round(count * density)
    if size == 0:
        assert active(count, settings, 0, seed) == set()
        return
    cycle = -(-count // size)
    for first in (0, cycle, 2 * cycle):
        blocks = [active(count, settings, first + n, seed) for n in range(cycle)]
        assert all(len(block) == size for block in blocks)
        assert set().union(*blocks) == set(range(count))


def test_the_order_does_not_touch_the_global_generator() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    blocks = [active(14, Settings(), switch, 5) for switch in range(8)]
    assert torch.equal(torch.rand(1), expected)
    assert len({tuple(sorted(block)) for block in blocks}) > 3


def test_matrices_of_other_architectures_are_found() -> None:
    assert len(linear_weights(network(GPT2))) == 2 * 4
