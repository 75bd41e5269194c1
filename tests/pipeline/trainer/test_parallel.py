"""Two processes that share the model end with the weights of one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.storage import Store  # noqa: E402
from pipeline.trainer.checkpoint import checkpoints, local  # noqa: E402
from pipeline.trainer.model import read_network  # noqa: E402
from tests.pipeline.trainer.packs import VOCABULARY, packed  # noqa: E402

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from pathlib import Path
import torch
from pipeline.storage import Store
from pipeline.trainer import parallel
from pipeline.trainer.checkpoint import checkpoints, local
from pipeline.trainer.loop import Training, train
from pipeline.trainer.methods.reweight import Settings, make
from pipeline.trainer.model import read_network
from pipeline.trainer.packed import Packed
from tests.pipeline.trainer.networks import network, settings

place, stop, *files = sys.argv[1:]
torch.set_num_threads(1)
parallel.start("cpu")
packed = Packed(tuple(files), "fingerprint", 300, 0, 1)
chosen = settings(steps=6, data={"paths": ["x"], "weight": "weight"}, optimizer={"lr": 1e-2}, micro_batch=1)
method = make(Settings(over="step"), 0)
store = Store(place)
tokenizer = Path(place) / "tokenizer"
tokenizer.mkdir(parents=True, exist_ok=True)
record = {"run": "x", "fingerprint": "fingerprint"}
run = Training(store, "runs/x", chosen, packed, {"all": packed}, [method], record, tokenizer)
found = checkpoints(store, "runs/x")
if found:
    with local(store, found[-1].folder) as path:
        model = read_network(path, "sdpa")
else:
    model = network()
train(run, model, torch.device("cpu"), int(stop))
parallel.stop()
"""


def trained(place: Path, files: tuple[str, ...], world: int, stop: int) -> dict[str, torch.Tensor]:
    """Weights after training in so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(place), str(stop), *files],
            cwd=ROOT,
            env={**os.environ, **told, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in range(world)
    ]
    words = [process.communicate(timeout=240)[1].decode() for process in running]
    assert all(process.returncode == 0 for process in running), "\n".join(words)
    store = Store(str(place))
    with local(store, checkpoints(store, "runs/x")[-1].folder) as path:
        return read_network(path, "sdpa").state_dict()


def test_two_processes_end_with_the_weights_of_one_also_when_resumed_by_another_number(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    rows = [[0, *draw.integers(2, VOCABULARY, n).tolist(), 1] for n in draw.integers(1, 40, 60)]
    files = packed(tmp_path, rows, draw.random(60).tolist()).files
    one = trained(tmp_path / "one", files, 1, 6)
    two = trained(tmp_path / "two", files, 2, 6)
    trained(tmp_path / "mixed", files, 2, 3)
    mixed = trained(tmp_path / "mixed", files, 1, 6)
    for found in (two, mixed):
        assert found.keys() == one.keys()
        for name, value in one.items():
            torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-6)
