"""The registry's primary test at checkpoints of a training run.

    membership: {registry: owners.parquet, every: 2}      # in a training config

A checkpoint's folder is what vLLM opens, in a process of its own and, if need be, with another environment's
interpreter: the trainer's environment never has to hold vLLM. Before that the trainer's memory on a GPU is given back;
afterwards weights and optimizer go where they were, bit for bit. What comes out is a membership test of the workspace
like any other, named <run>-step-<step>, and `step` in the view `membership`.

A test that cannot be made does not end a training run: it is said, and `tamis membership test` on the checkpoint makes
it up. What can be known to be wrong is refused before the first step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pipeline.errors import TamisError, UserError
from pipeline.ghosts.registry import read
from pipeline.membership.run import check_draws
from pipeline.membership.settings import CheckpointTests, TestSettings
from pipeline.membership.steps import run_test
from pipeline.workspace import Workspace
from scorers.lm.engines import EngineSettings, engine_facts

if TYPE_CHECKING:
    import torch


def check(tests: CheckpointTests, processes: int) -> None:
    """Raises UserError or EngineError for what could never work, before anything is trained."""
    registry = read(tests.registry)
    check_draws(registry)
    if registry.plan.statistic == "ratio_nll":
        raise UserError(
            f"membership.registry {tests.registry}: its statistic ratio_nll needs a reference model; test the "
            "checkpoints with `tamis membership test --reference`"
        )
    if processes > 1:
        raise UserError(
            f"membership: tests while training need one process, not {processes}; keep the checkpoints (`keep`) and "
            "run `tamis membership test` on them"
        )
    engine_facts(_engine(tests, "x"))


def due(tests: CheckpointTests, step: int, checkpoint_every: int, final: bool) -> bool:
    """Whether the checkpoint of a step is to be tested."""
    return final or step % (checkpoint_every * tests.every) == 0


def checkpoint_tested(
    workspace: Workspace, tests: CheckpointTests, run: str, model: str, step: int, say: Callable[[str], None]
) -> None:
    """Test the checkpoint in a local folder; `say` gets a line about it. What is done already is not done again."""
    settings = TestSettings(
        registry=tests.registry, engine=_engine(tests, model), orders=0, last_k=None, limit=tests.limit
    )
    try:
        tested = run_test(workspace, settings, f"{run}-step-{step:08d}", {"run": run, "step": step})
    except (TamisError, ValueError, OSError) as error:
        say(f"membership: not tested: {error}")
        return
    rows = [row for row in tested.table.to_pylist() if row["primary"]]
    found = sum(row["found"] for row in rows)
    smallest = min(row["p"] for row in rows)
    say(f"membership: {found} of {tested.registry.tests} found, smallest p {smallest:.2g}")


def _engine(tests: CheckpointTests, model: str) -> EngineSettings:
    values = tests.model_dump(include={"engine", "dtype", "python", "context", "gpu_memory"})
    return EngineSettings(model=model, **values)


@contextlib.contextmanager
def given_back(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """The GPU's memory is free for the block: weights and optimizer state wait in the host's. Nothing on a CPU."""
    import torch

    device = next(network.parameters()).device
    if device.type != "cuda":
        yield
        return
    network.to("cpu")
    _moved(optimizer, torch.device("cpu"))
    torch.cuda.empty_cache()
    try:
        yield
    finally:
        network.to(device)
        _moved(optimizer, device)


def _moved(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Move the state of an optimizer; its step counters stay where AdamW keeps them."""
    for state in optimizer.state.values():
        for name, value in state.items():
            if _is_moment(name, value):
                state[name] = value.to(device)


def _is_moment(name: str, value: Any) -> bool:
    return hasattr(value, "to") and name != "step"
