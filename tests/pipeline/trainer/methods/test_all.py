"""What holds for every method: interrupted and resumed is the same as never interrupted, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from pipeline.storage import Store  # noqa: E402
from pipeline.trainer import metrics  # noqa: E402
from pipeline.trainer.changed import PARTS, changer, read_changed  # noqa: E402
from pipeline.trainer.checkpoint import checkpoints, local  # noqa: E402
from pipeline.trainer.loop import Training, train  # noqa: E402
from pipeline.trainer.methods import METHODS, make_methods, method_settings  # noqa: E402
from pipeline.trainer.model import read_network  # noqa: E402
from pipeline.trainer.packed import Packed  # noqa: E402
from tests.pipeline.trainer.networks import network, settings  # noqa: E402
from tests.pipeline.trainer.packs import VOCABULARY, packed  # noqa: E402

RUN = "runs/test-12345678"
ENDS = list(range(10, 60))
"""Tokens that end a sentence, one in six."""
ENTRIES: dict[str, dict[str, Any]] = {
    "ditto": {"end_tokens": ENDS, "shortest": 2},
    "fira": {"rank": 4, "update_gap": 3},
    "fira-staggered": {"rank": 4, "update_gap": 4, "residual": "code", "stagger": True},
    "flatness": {"batches": 2},
    "forget": {"every": 4, "until": 9, "tied": "refuse"},
    "frugal": {"update_gap": 3, "density": 0.3},
    "lost": {"rank": 4, "density": 0.2},
    "lost-silu": {"rank": 4, "activation": "silu"},
    "multi_token": {"masks": 2, "anchors": 3, "rank": 2, "batches": 1},
    "multi_token-trained": {"masks": 2, "anchors": 3, "rank": 2, "batches": 1, "base": "trained"},
    "reweight": {"over": "step"},
    "tokens": {"select": "attention"},
    "tokens-step": {"select": "random", "scope": "step", "per": "sample"},
    "znorm_softplus": {"batches": 1},
}


@pytest.fixture
def documents(tmp_path: Path) -> Packed:
    draw = np.random.default_rng(2)
    rows = [[0, *draw.integers(2, VOCABULARY, n).tolist(), 1] for n in draw.integers(1, 40, 60)]
    return packed(tmp_path, rows, draw.random(60).tolist())


def training(place: Path, documents: Packed, entry: str, **changes: Any) -> Training:
    """A run of twelve steps with one method."""
    tokenizer = place / "tokenizer"
    tokenizer.mkdir(parents=True, exist_ok=True)
    name = entry.partition("-")[0]
    methods = make_methods(method_settings([{"method": name} | ENTRIES[entry]], "test"), 5)
    chosen = settings(steps=12, data={"paths": ["x"], "weight": "weight"}, context=24, evaluate_every=6, **changes)
    record = {"run": "test", "hash": "1", "fingerprint": documents.fingerprint}
    return Training(Store(str(place)), RUN, chosen, documents, {"all": documents}, methods, record, tokenizer)


def go_on(run: Training, stop_after: int | None = None) -> Path:
    """Train from where the run stands; the folder of its last checkpoint."""
    found, changes = checkpoints(run.store, run.folder), changer(run.methods)
    if found:
        with local(run.store, found[-1].folder) as path:
            model = read_changed(path, "sdpa", changes) if changes else read_network(path, "sdpa")
    else:
        model = network()
        if changes is not None and changes.prepare is not None:
            changes.prepare(model, True)
    train(run, model, torch.device("cpu"), stop_after)
    return Path(run.store.path(checkpoints(run.store, run.folder)[-1].folder))


def weights(folder: Path) -> dict[str, Any]:
    """All that a checkpoint says of the network."""
    names = [name for name in ("model.safetensors", PARTS) if (folder / name).exists()]
    assert names
    return {key: value for name in names for key, value in load_file(folder / name).items()}


def test_every_method_is_in_the_list() -> None:
    assert {entry.partition("-")[0] for entry in ENTRIES} == METHODS.keys()


@pytest.mark.parametrize("entry", ENTRIES)
def test_twelve_steps_are_seven_and_five_more_bit_for_bit(tmp_path: Path, documents: Packed, entry: str) -> None:
    whole = weights(go_on(training(tmp_path / "whole", documents, entry)))
    run = training(tmp_path / "parts", documents, entry)
    go_on(run, stop_after=7)
    parts = weights(go_on(run))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    begun = network().state_dict()
    assert any(name not in begun or not torch.equal(value, begun[name]) for name, value in whole.items())
    curves = [
        metrics.read(Store(str(tmp_path / name)), RUN, metrics.METRICS).select(["step", "loss", "probes"]).to_pylist()
        for name in ("whole", "parts")
    ]
    assert curves[0] == curves[1]
