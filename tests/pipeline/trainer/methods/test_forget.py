"""Forgetting redraws the embedding and its moments, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from pydantic import ValidationError  # noqa: E402

from pipeline.errors import UserError  # noqa: E402
from pipeline.trainer.methods.forget import Settings, make  # noqa: E402
from pipeline.trainer.optimizer import make_adamw  # noqa: E402
from pipeline.trainer.settings import OptimizerSettings  # noqa: E402
from tests.pipeline.trainer.networks import LLAMA, network  # noqa: E402

TIED = LLAMA | {"tie_word_embeddings": True}


def trained(config: dict[str, Any] = LLAMA) -> tuple[Any, Any]:
    """A model and an optimizer with moments."""
    model = network(config)
    optimizer = make_adamw(model, OptimizerSettings())
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return model, optimizer


def moments(optimizer: Any) -> dict[int, list[Any]]:
    return {id(p): [state[k].clone() for k in sorted(state)] for p, state in optimizer.state.items()}


def test_only_the_embedding_and_its_moments_begin_anew() -> None:
    model, optimizer = trained()
    weight = model.get_input_embeddings().weight
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    kept = moments(optimizer)
    method = make(Settings(every=10), 3)
    assert method.after_step is not None
    method.after_step(9, model, optimizer)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    method.after_step(10, model, optimizer)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == (parameter is not weight)
    for parameter, state in optimizer.state.items():
        same = all(torch.equal(state[k], old) for k, old in zip(sorted(state), kept[id(parameter)], strict=True))
        assert same == (parameter is not weight)
    assert all(not value.any() for value in optimizer.state[weight].values())  # moments and step count
    # The model's own deviation (0.2 here), not 1.
    assert float(weight.detach().std()) == pytest.approx(model.config.initializer_range, rel=0.02)


def test_active_goes_on_and_temporary_ends() -> None:
    for until, expected in ((None, [10, 20, 30, 40]), (25, [10, 20])):
        model, optimizer = trained()
        method = make(Settings(every=10, until=until), 3)
        assert method.after_step is not None
        found = []
        for step in range(1, 45):
            before = model.get_input_embeddings().weight.detach().clone()
            method.after_step(step, model, optimizer)
            if not torch.equal(before, model.get_input_embeddings().weight):
                found.append(step)
        assert found == expected


def test_draws_differ_by_step_and_repeat_by_seed() -> None:
    drawn = {}
    for seed in (1, 2):
        for step in (10, 20):
            model, optimizer = trained()
            method = make(Settings(every=10), seed)
            assert method.after_step is not None
            state = torch.get_rng_state()
            method.after_step(step, model, optimizer)
            assert torch.equal(torch.get_rng_state(), state)
            drawn[seed, step] = model.get_input_embeddings().weight.detach().clone()
    values = list(drawn.values())
    assert all(not torch.equal(a, b) for n, a in enumerate(values) for b in values[:n])
    model, optimizer = trained()
    method = make(Settings(every=10), 1)
    assert method.after_step is not None
    method.after_step(10, model, optimizer)
    assert torch.equal(model.get_input_embeddings().weight, drawn[1, 10])


def test_a_tied_output_is_refused_unless_it_is_wanted() -> None:
    model, optimizer = trained(TIED)
    refuses, both = make(Settings(every=1), 0), make(Settings(every=1, tied="both"), 0)
    assert refuses.check is not None
    assert both.check is not None
    assert both.after_step is not None
    with pytest.raises(UserError, match="the model's output is tied to its embedding"):
        refuses.check(model, 1)
    both.check(model, 1)
    both.after_step(1, model, optimizer)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_an_end_before_the_first_time_is_refused() -> None:
    with pytest.raises(ValidationError, match="comes before the first time"):
        Settings(every=100, until=50)
