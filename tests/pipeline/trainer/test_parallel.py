"""Two processes that share the model end with the weights of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.storage import Store  # noqa: E402
from pipeline.trainer.checkpoint import checkpoints, local  # noqa: E402
from pipeline.trainer.model import read_network  # noqa: E402
from tests.pipeline.trainer.packs import VOCABULARY, packed  # noqa: E402

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json
import sys
from pathlib import Path
import torch
from pipeline.storage import Store
from pipeline.trainer import parallel
from pipeline.trainer.checkpoint import checkpoints, local
from pipeline.trainer.loop import Training, train
from pipeline.trainer.methods import make_methods, method_settings
from pipeline.trainer.model import read_network
from pipeline.trainer.packed import Packed
from tests.pipeline.trainer.networks import network, settings

place, stop, entries, *files = sys.argv[1:]
torch.set_num_threads(1)
parallel.start("cpu")
packed = Packed(tuple(files), "fingerprint", 300, 0, 1)
chosen = settings(steps=6, data={"paths": ["x"], "weight": "weight"}, optimizer={"lr": 1e-2}, micro_batch=1)
methods = make_methods(method_settings(json.loads(entries), "test"), 0)
store = Store(place)
tokenizer = Path(place) / "tokenizer"
tokenizer.mkdir(parents=True, exist_ok=True)
record = {"run": "x", "fingerprint": "fingerprint"}
run = Training(store, "runs/x", chosen, packed, {"all": packed}, methods, record, tokenizer)
found = checkpoints(store, "runs/x")
if found:
    with local(store, found[-1].folder) as path:
        model = read_network(path, "sdpa")
else:
    model = network()
train(run, model, torch.device("cpu"), int(stop))
parallel.stop()
"""


REWEIGHT = [{"method": "reweight", "over": "step"}]


def trained(
    place: Path, files: tuple[str, ...], world: int, stop: int, entries: list[dict[str, Any]] = REWEIGHT
) -> dict[str, torch.Tensor]:
    """Weights after training in so many processes."""
    words = run(place, files, world, stop, entries)
    assert not any(words), "\n".join(words)
    store = Store(str(place))
    with local(store, checkpoints(store, "runs/x")[-1].folder) as path:
        return read_network(path, "sdpa").state_dict()


def run(place: Path, files: tuple[str, ...], world: int, stop: int, entries: list[dict[str, Any]]) -> list[str]:
    """Train in so many processes; what each that failed said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(place), str(stop), json.dumps(entries), *files],
            cwd=ROOT,
            env={**os.environ, **told, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in range(world)
    ]
    words = [process.communicate(timeout=240)[1].decode() for process in running]
    return [text if process.returncode else "" for process, text in zip(running, words, strict=True)]


def documents(tmp_path: Path) -> tuple[str, ...]:
    draw = np.random.default_rng(3)
    rows = [[0, *draw.integers(2, VOCABULARY, n).tolist(), 1] for n in draw.integers(1, 40, 60)]
    return packed(tmp_path, rows, draw.random(60).tolist()).files


# Blocks switch after steps 2 and 4, so the resumed run begins in the middle of one.
FRUGAL = [{"method": "frugal", "update_gap": 2, "density": 0.3}]
OTHERS = [
    {"method": "ditto", "end_tokens": list(range(10, 60)), "shortest": 2},
    {"method": "forget", "every": 2},
    {"method": "flatness", "batches": 2},
]


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param(REWEIGHT, id="reweight"),
        pytest.param(FRUGAL, id="frugal"),
        pytest.param(OTHERS, id="ditto-forget-flatness", marks=pytest.mark.slow),
        pytest.param([{"method": "znorm_softplus"}], id="znorm_softplus", marks=pytest.mark.slow),
    ],
)
def test_two_processes_end_with_the_weights_of_one_also_when_resumed_by_another_number(
    tmp_path: Path, entries: list[dict[str, Any]]
) -> None:
    files = documents(tmp_path)
    one = trained(tmp_path / "one", files, 1, 6, entries)
    # FRUGAL goes on with two: what is new is that its moments are dealt out again.
    two = None if entries is FRUGAL else trained(tmp_path / "two", files, 2, 6, entries)
    trained(tmp_path / "mixed", files, 2, 3, entries)
    mixed = trained(tmp_path / "mixed", files, 2 if entries is FRUGAL else 1, 6, entries)
    # A sign step passes on what rounding does to a gradient near zero.
    near = 5e-6 if entries is FRUGAL else 2e-6
    for found in (two, mixed) if two else (mixed,):
        assert found.keys() == one.keys()
        for name, value in one.items():
            torch.testing.assert_close(found[name], value, atol=near, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"), [("fira", "its projection needs the whole gradient"), ("multi_token", "its masks go round")]
)
def test_what_cannot_be_sharded_is_refused_with_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    words = run(tmp_path / "two", documents(tmp_path), 2, 6, [{"method": name}])
    assert all(f"method {name}: cannot run in 2 processes: {reason}" in text for text in words)
