"""What a training run's membership tests refuse before the first step, and when they are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.ghosts.draw import DrawSettings
from pipeline.membership import training
from pipeline.membership.settings import CheckpointTests
from scorers.lm.engines import EngineError
from tests.registries import drawn


@pytest.fixture
def registry(tmp_path: Path) -> str:
    path = str(tmp_path / "r.parquet")
    return drawn(path, DrawSettings(count=2, m=199)).path


def test_checkpoints_are_tested_every_so_often_and_at_the_end() -> None:
    tests = CheckpointTests(registry="r", every=2)
    due = [step for step in range(10, 75, 10) if training.due(tests, step, 10, final=step == 70)]
    assert due == [20, 40, 60, 70]


def test_what_could_never_work_is_refused_before_the_first_step(
    registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no such file"):
        training.check(CheckpointTests(registry=str(tmp_path / "none.parquet")), 1)
    with pytest.raises(UserError, match="tests while training need one process, not 8"):
        training.check(CheckpointTests(registry=registry), 8)
    monkeypatch.setenv("TAMIS_VLLM_PYTHON", str(tmp_path / "gone"))
    with pytest.raises(EngineError, match="not an interpreter that can be run"):
        training.check(CheckpointTests(registry=registry), 1)
    path = str(tmp_path / "ratio.parquet")
    drawn(path, DrawSettings(count=2, m=199, statistic="ratio_nll", reference="clean"))
    with pytest.raises(UserError, match="needs a reference model"):
        training.check(CheckpointTests(registry=path), 1)


def test_moments_go_to_the_host_and_come_back_to_the_same_bits() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    before = {k: v.clone() for k, v in optimizer.state[layer.weight].items()}
    training._moved(optimizer, torch.device("cpu"))
    with training.given_back(layer, optimizer):
        pass
    assert all(torch.equal(before[name], value) for name, value in optimizer.state[layer.weight].items())
    moved = torch.optim.AdamW(layer.parameters())
    moved.load_state_dict(optimizer.state_dict())
    training._moved(moved, torch.device("meta"))  # another device, as far as a CPU has one
    state = moved.state[layer.weight]
    assert {name: value.device.type for name, value in state.items()} == {
        "step": "cpu",
        "exp_avg": "meta",
        "exp_avg_sq": "meta",
    }
